"""What carries the links' bytes: a socket each in one poll set, or a stream whose bytes go through Python.

The transport of links.pyx. Who owns what: sockets, poll set and buffers are ours. One receive buffer serves
all links, because no bytes stay in it between two events: an unfinished frame (< 260 bytes) moves into its
conversation.
"""

from libc.errno cimport ECONNREFUSED
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.unistd cimport close

from fluxfast.link.conversation cimport Conversation
from fluxfast.link.links cimport (
    LINK_CONNECTING, LINK_NO_ADDRESS, LINK_UP, Link, Links, links_down, links_phase_ns, links_receive,
    links_sent, links_up,
)
from fluxfast.modbus.constants cimport FX_MAX_TCP_ADU_SIZE
from fluxfast.native.poll cimport (
    FX_POLL_BATCH, FX_POLL_READ, FX_POLL_WRITE, fx_now_ns, fx_pause, fx_poll_add, fx_poll_create,
    fx_poll_event, fx_poll_modify, fx_poll_wait,
)
from fluxfast.native.tcp cimport fx_abort, fx_connect, fx_connect_result, fx_receive, fx_send
from fluxfast.table.quality cimport Q_LOST, Q_REFUSED, Q_UNREACHABLE

cdef int64_t SECOND = 1_000_000_000
cdef int64_t PAUSE = SECOND // 2000


cdef bint ports_make(Ports *s, Links *links) noexcept nogil:
    # `links` is made already, and stays where it is. False if there is no memory or descriptor.
    cdef int32_t i
    s.links = links
    s.simulated_ns = -1
    s.poll_set = fx_poll_create()
    s.ports = <Port *>calloc(links.n_links, sizeof(Port))
    s.wishing = <int32_t *>malloc(links.n_links * sizeof(int32_t))
    s.buffer = <uint8_t *>malloc(RECEIVE_SIZE + FX_MAX_TCP_ADU_SIZE)
    if s.ports == NULL:
        return False
    for i in range(links.n_links):  # before anything else may fail: 0 is somebody's stdin, not ours to close
        s.ports[i].fd = -1
    if s.poll_set < 0 or s.wishing == NULL or s.buffer == NULL:
        return False
    links.transport.owner = s
    links.transport.connect = port_connect
    links.transport.send = port_send
    links.transport.close = port_close
    return True


cdef void ports_close(Ports *s) noexcept nogil:
    # In an orderly way: FIN frees the device's slot.
    cdef int32_t i
    if s.ports == NULL:
        return
    for i in range(s.links.n_links):
        s.links.links[i].state = LINK_NO_ADDRESS
        if s.ports[i].fd >= 0:
            close(s.ports[i].fd)
            s.ports[i].fd = -1
    s.n_open = 0
    if s.poll_set >= 0:
        close(s.poll_set)
        s.poll_set = -1


cdef void ports_free(Ports *s) noexcept nogil:
    ports_close(s)
    free(s.ports)
    free(s.wishing)
    free(s.buffer)


cdef int64_t ports_now(const Ports *s) noexcept nogil:
    return fx_now_ns() if s.simulated_ns < 0 else s.simulated_ns


# ---- what has arrived ----

cdef void ports_drain(Ports *s, int64_t slice_ns) noexcept nogil:
    # Handle what is there; and while an open tick waits for replies and they keep coming, stay here for up to
    # slice_ns. Waiting here costs one system call a batch, going round through the outer loop ten times that.
    # Replies that trickle in are let gather for a moment: to be woken for each costs as much as to read it.
    cdef fx_poll_event events[FX_POLL_BATCH]
    cdef int n = 0, e, wait_ms
    cdef int32_t i
    cdef Link *k
    cdef int64_t end = min(fx_now_ns() + slice_ns, links_phase_ns(s.links)) if slice_ns else 0
    while s.n_open:
        wait_ms = 1 if slice_ns and s.links.schedule.tick_open and s.links.schedule.outstanding else 0
        if wait_ms and s.links.schedule.outstanding >= MANY and n < MANY:
            fx_pause(PAUSE)
        n = fx_poll_wait(s.poll_set, events, FX_POLL_BATCH, wait_ms)
        for e in range(n):
            i = <int32_t>events[e].id
            k = &s.links.links[i]
            if k.state == LINK_CONNECTING:
                connected(s, i)
            elif k.state == LINK_UP:
                if events[e].events & FX_POLL_WRITE and k.out_size > 0:
                    fx_poll_modify(s.poll_set, s.ports[i].fd, <uint32_t>i, FX_POLL_READ)
                    links_sent(s.links, i, ports_now(s))
                if k.state == LINK_UP and events[e].events & ~<uint32_t>FX_POLL_WRITE:
                    receive(s, i)
        if n <= 0 or fx_now_ns() >= end:
            return


cdef void receive(Ports *s, int32_t i) noexcept nogil:
    cdef int32_t held = s.links.links[i].conversation.held
    cdef long n = fx_receive(s.ports[i].fd, s.buffer + held, RECEIVE_SIZE)
    if n < 0:
        links_down(s.links, i, Q_LOST, False, ports_now(s))
    elif n > 0:
        hand_over(s, i, s.buffer, n)


cdef void ports_data(Ports *s, int32_t i, const uint8_t *data, Py_ssize_t n) noexcept nogil:
    # The same from a stream: at most RECEIVE_SIZE bytes. They end where the buffer ends, so that a sanitizer
    # sees a read past them.
    cdef int32_t held = s.links.links[i].conversation.held
    cdef uint8_t *p = s.buffer + RECEIVE_SIZE + FX_MAX_TCP_ADU_SIZE - held - n
    memcpy(p + held, data, n)
    hand_over(s, i, p, n)


cdef void hand_over(Ports *s, int32_t i, uint8_t *p, Py_ssize_t n) noexcept nogil:
    # n new bytes stand at p + held. The beginning of a frame that an earlier receive brought comes first.
    cdef Conversation *c = &s.links.links[i].conversation
    cdef const uint8_t *end = p + c.held + n
    memcpy(p, c.rest, c.held)
    c.held = 0
    links_receive(s.links, i, p, end, ports_now(s))


cdef void connected(Ports *s, int32_t i) noexcept nogil:
    # Up or refused: the socket is writable, so the kernel knows.
    cdef int error = fx_connect_result(s.ports[i].fd)
    if error or fx_poll_modify(s.poll_set, s.ports[i].fd, <uint32_t>i, FX_POLL_READ) < 0:
        links_down(s.links, i, Q_REFUSED if error == ECONNREFUSED else Q_UNREACHABLE, False, ports_now(s))
    else:
        links_up(s.links, i, ports_now(s))


# ---- the transport of links.pyx ----

cdef void port_connect(void *owner, int32_t i, int64_t now_ns) noexcept nogil:
    cdef Ports *s = <Ports *>owner
    cdef Port *port = &s.ports[i]
    # How long sent bytes may stay unacknowledged: no shorter than the timeouts in a row that close a link, so
    # that those decide wherever a request is in flight.
    cdef int64_t patience = max(3 * s.links.plans[i].timeout_ns, 2 * SECOND)
    if port.is_stream:
        wish(s, i, WISH_CONNECT)
        return
    port.fd = fx_connect(&port.address, <int>(patience // 1_000_000))
    s.n_open += port.fd >= 0
    if port.fd < 0 or fx_poll_add(s.poll_set, port.fd, <uint32_t>i, FX_POLL_WRITE) < 0:
        links_down(s.links, i, Q_REFUSED if port.fd == -ECONNREFUSED else Q_UNREACHABLE, False, now_ns)


cdef long port_send(void *owner, int32_t i, const uint8_t *p, long n) noexcept nogil:
    cdef Ports *s = <Ports *>owner
    cdef long sent
    if s.ports[i].is_stream:
        wish(s, i, WISH_SEND)
        return 0
    sent = fx_send(s.ports[i].fd, p, n)
    if 0 <= sent < n:
        fx_poll_modify(s.poll_set, s.ports[i].fd, <uint32_t>i, FX_POLL_READ | FX_POLL_WRITE)
    return sent


cdef void port_close(void *owner, int32_t i, bint abort) noexcept nogil:
    cdef Ports *s = <Ports *>owner
    cdef Port *port = &s.ports[i]
    if port.is_stream:
        wish(s, i, WISH_ABORT if abort else WISH_CLOSE)
    elif port.fd >= 0:
        s.n_open -= 1
        if abort:
            fx_abort(port.fd)
        else:
            close(port.fd)
    port.fd = -1


cdef void wish(Ports *s, int32_t i, stream_wish what) noexcept nogil:
    cdef Port *port = &s.ports[i]
    if not port.wishes:
        s.wishing[s.n_wishing] = i
        s.n_wishing += 1
    if what == WISH_CLOSE or what == WISH_ABORT:
        port.wishes = 0  # nothing that it wished before matters any more
    port.wishes |= what
