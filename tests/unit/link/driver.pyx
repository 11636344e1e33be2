# The link's C parts as Python objects, so that tests can drive them without sockets or clocks.
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fluxfast.link.conversation cimport (
    EVENT_BROKEN, EVENT_FAILED, EVENT_FOREIGN, EVENT_LATE, EVENT_NONE, EVENT_REPLY, Conversation, Event,
    conversation_deadline, conversation_expire, conversation_next, conversation_open, conversation_ready_ns,
    conversation_request,
)
from fluxfast.link.structs cimport Block
from fluxfast.link.timers cimport Timers, timers_free, timers_make, timers_pop, timers_want


cdef class Heap:
    cdef Timers timers
    cdef int size

    def __cinit__(self, int size):
        self.size = size
        if not timers_make(&self.timers, size):
            raise MemoryError

    def __dealloc__(self):
        timers_free(&self.timers)

    def want(self, int link, int64_t due_ns):
        assert 0 <= link < self.size
        timers_want(&self.timers, link, due_ns)

    def pop(self, int64_t now_ns):
        return timers_pop(&self.timers, now_ns)

    def is_sound(self):
        cdef Timers *t = &self.timers
        places = {link: t.place[link] for link in range(self.size) if t.place[link] >= 0}
        return (
            sorted(places.values()) == list(range(t.n))
            and all([t.heap[place] == link for link, place in places.items()])
            and all([t.due_ns[t.heap[(i - 1) // 2]] <= t.due_ns[t.heap[i]] for i in range(1, t.n)])
        )


cdef class Talk:
    cdef Conversation c
    cdef const uint8_t[::1] blocks

    def __cinit__(self, const uint8_t[::1] blocks, first_id, zero_ids=False):
        self.blocks = blocks
        conversation_open(&self.c, first_id, zero_ids)

    @property
    def held(self):
        return self.c.held

    @property
    def in_flight(self):
        return self.c.in_flight

    @property
    def deadline(self):
        return conversation_deadline(&self.c)

    @property
    def timeouts(self):
        return self.c.timeouts

    def ready(self, int64_t quarantine_ns):
        return conversation_ready_ns(&self.c, quarantine_ns)

    def feed_kinds(self, bytes data):
        """Return what the frames in ``data`` are called, in order."""
        names = {EVENT_LATE: "late", EVENT_FOREIGN: "foreign", EVENT_REPLY: "reply", EVENT_BROKEN: "broken"}
        return [names[kind] for kind in self.kinds(data)]

    def kinds(self, bytes data):
        cdef const uint8_t *p = data
        cdef const uint8_t *end = p + len(data)
        cdef Event event
        found = []
        while True:
            conversation_next(&self.c, <const Block *>&self.blocks[0], &p, end, &event)
            if event.kind == EVENT_NONE:
                return found
            found.append(event.kind)

    def request(self, int block, int64_t now_ns):
        cdef uint8_t out[12]
        conversation_request(&self.c, <const Block *>&self.blocks[0], block, now_ns, out)
        return PyBytes_FromStringAndSize(<char *>out, 12)

    def feed(self, bytes data):
        """Return [(kind, block, data or quality)] as the reactor would get them; in a buffer without slack."""
        cdef Py_ssize_t size = self.c.held + len(data)
        cdef uint8_t *buffer = <uint8_t *>malloc(size if size else 1)
        cdef const uint8_t *p = buffer
        cdef const uint8_t *fresh = data
        cdef Event event
        cdef const Block *b
        cdef Py_ssize_t n
        memcpy(buffer, self.c.rest, self.c.held)
        memcpy(buffer + self.c.held, fresh, len(data))
        self.c.held = 0
        events = []
        try:
            while True:
                conversation_next(&self.c, <const Block *>&self.blocks[0], &p, buffer + size, &event)
                if event.kind == EVENT_NONE:
                    return events
                if event.kind == EVENT_REPLY:
                    b = <const Block *>&self.blocks[0] + event.block
                    n = (b.quantity + 7) // 8 if b.function_code <= 2 else 2 * b.quantity
                    events.append(("reply", event.block, PyBytes_FromStringAndSize(<char *>event.data, n)))
                elif event.kind == EVENT_BROKEN:
                    events.append(("broken", -1, event.quality))
                    return events
                else:
                    kind = "failed" if event.kind == EVENT_FAILED else "dropped"
                    events.append((kind, event.block if kind == "failed" else -1, event.quality))
                if event.ends_stream:
                    events.append(("broken", -1, event.quality))
                    return events
        finally:
            free(buffer)

    def expire(self, int64_t now_ns):
        cdef Event event
        if not conversation_expire(&self.c, now_ns, &event):
            return None
        return "broken" if event.kind == EVENT_BROKEN else "failed", event.block, event.quality
