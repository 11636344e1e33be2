# A binary heap of links by the time at which each wants to be looked at; every link is in it at most once.
#
# Timers are lazy: a link whose wish moves later stays where it is, and is put back when it comes up early.
# So the usual case, a request that is answered long before its deadline, costs nothing here.
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free, malloc


ctypedef struct Timers:
    int32_t *heap      # links, the earliest first
    int32_t *place     # place[link] in heap, -1 if not there
    int64_t *due_ns    # due_ns[link]
    int32_t n


cdef inline bint timers_make(Timers *t, int32_t n_links) noexcept nogil:
    cdef int32_t i
    t.n = 0
    t.heap = <int32_t *>malloc((n_links + 1) * sizeof(int32_t))
    t.place = <int32_t *>malloc((n_links + 1) * sizeof(int32_t))
    t.due_ns = <int64_t *>calloc(n_links + 1, sizeof(int64_t))
    if t.heap == NULL or t.place == NULL or t.due_ns == NULL:
        return False
    for i in range(n_links):
        t.place[i] = -1
    return True


cdef inline void timers_free(Timers *t) noexcept nogil:
    free(t.heap)
    free(t.place)
    free(t.due_ns)


cdef inline void timers_put(Timers *t, int32_t at, int32_t link) noexcept nogil:
    t.heap[at] = link
    t.place[link] = at


cdef inline void timers_up(Timers *t, int32_t at) noexcept nogil:
    cdef int32_t link = t.heap[at], parent
    while at > 0:
        parent = (at - 1) // 2
        if t.due_ns[t.heap[parent]] <= t.due_ns[link]:
            break
        timers_put(t, at, t.heap[parent])
        at = parent
    timers_put(t, at, link)


cdef inline void timers_down(Timers *t, int32_t at) noexcept nogil:
    cdef int32_t link = t.heap[at], child
    while 2 * at + 1 < t.n:
        child = 2 * at + 1
        if child + 1 < t.n and t.due_ns[t.heap[child + 1]] < t.due_ns[t.heap[child]]:
            child += 1
        if t.due_ns[link] <= t.due_ns[t.heap[child]]:
            break
        timers_put(t, at, t.heap[child])
        at = child
    timers_put(t, at, link)


cdef inline void timers_want(Timers *t, int32_t link, int64_t due_ns) noexcept nogil:
    # Look at `link` no later than due_ns.
    if t.place[link] < 0:
        t.due_ns[link] = due_ns
        t.n += 1
        t.heap[t.n - 1] = link
        timers_up(t, t.n - 1)
    elif due_ns < t.due_ns[link]:
        t.due_ns[link] = due_ns
        timers_up(t, t.place[link])


cdef inline int32_t timers_pop(Timers *t, int64_t now_ns) noexcept nogil:
    # A link whose time has come, taken out; -1 if there is none.
    cdef int32_t link
    if t.n == 0 or t.due_ns[t.heap[0]] > now_ns:
        return -1
    link = t.heap[0]
    t.n -= 1
    t.place[link] = -1
    if t.n > 0:
        t.heap[0] = t.heap[t.n]
        timers_down(t, 0)
    return link
