"""A Modbus TCP server for thousands of addresses on one poll set, without the GIL.

In come bytes on any number of connections, out go the answers of ``answer.pyx``, in the order of the requests
and in one send for all that one receive brought::

    recv -> [ADU][ADU][part of an ADU]        MIG 3.1.3; frame.pxd cuts
    send <- [ADU][ADU]

Invariants:

1. One receive buffer and one send buffer for all connections: what one receive can bring (RECEIVE_SIZE) never
   asks for more than SEND_SIZE of answers. A connection owns memory of its own only while it has part of a
   request (at most 260 bytes) or answers that its peer does not take (at most SEND_SIZE).
2. A connection that owes its peer answers is not read; one that has owed them for BLOCKED_NS is closed.
3. A stream that can't be cut into ADUs is closed at once: there is no resynchronising.
4. The listening sockets belong to Python; the connections and the poll set belong to the Server.
5. A healthy endpoint pays one look at its fault (fault.pxd) for each receive.
"""

cimport cython
from libc.errno cimport EINTR, EMFILE, ENFILE, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from fluxfast.modbus.frame cimport FX_COMPLETE, FX_NEED_DATA, frame_status, split_mbap
from fluxfast.native.endian cimport store_u16
from fluxfast.native.poll cimport (
    FX_POLL_BATCH, FX_POLL_HANGUP, FX_POLL_READ, FX_POLL_WRITE,
    fx_now_ns, fx_poll_add, fx_poll_create, fx_poll_event, fx_poll_modify, fx_poll_wait,
)
from fluxfast.native.tcp cimport fx_receive, fx_send
from fluxfast.sim.answer cimport answer_pdu
from fluxfast.sim.fault cimport (
    FATE_ANSWER, FATE_RESET, FATE_SILENCE, FAULT_BLACKHOLE, FAULT_NONE, FAULT_REFUSE, FAULT_SLOW,
    fault, fault_judge, fault_random,
)
from fluxfast.sim.maps cimport allocate, copy_of, maps_of

import os


cdef extern from "fluxfast/sim/socket.h" nogil:
    int fx_accept(int listener) noexcept
    uint64_t fx_local_key(int fd) noexcept
    int fx_spare() noexcept
    void fx_deafen(int fd) noexcept
    void fx_undeafen(int fd) noexcept
    void fx_reset_on_close(int fd) noexcept
    int c_close "close"(int fd) noexcept

cdef enum:
    ADU_MAX = 260
    RECEIVE_SIZE = 4096
    # The greediest request is FC43's 11 bytes for 260; the shortest whole ADU is 8.
    SEND_SIZE = (RECEIVE_SIZE + ADU_MAX) // 8 * ADU_MAX
    ACCEPTS_PER_WAKE = 64
    GATEWAY_TARGET_FAILED = 0x0B

cdef enum:
    _SERVED = 0
    _INTERRUPTED = 1
    _STOPPED = 2

cdef int64_t BLOCKED_NS = 5_000_000_000
cdef uint32_t LISTENER = 0x80000000  # bit of a poll id: the rest is a listener's number, not a connection's
cdef uint32_t NONE = 0xFFFFFFFF

SERVED = _SERVED
INTERRUPTED = _INTERRUPTED
STOPPED = _STOPPED


@cython.final
cdef class Server:
    """Answers for all devices. ``serve`` runs it; nothing else may touch the images meanwhile but to look."""

    def __cinit__(self):
        self._set = self._spare = -1
        self._free = NONE

    def __init__(self, images, units, endpoints, keys, key_endpoints, listeners, listener_endpoints, seed):
        self._keep = (images, list(listeners))
        self._random = <uint64_t>seed | 1
        self._in = <uint8_t *>allocate(ADU_MAX + RECEIVE_SIZE)
        self._out = <uint8_t *>allocate(SEND_SIZE)
        self._maps = maps_of(images)
        self._units = <unit *>copy_of(units, sizeof(unit))
        self._endpoints = <endpoint *>copy_of(endpoints, sizeof(endpoint))
        self._faults = <fault *>allocate(len(endpoints) * sizeof(fault))
        self._keys = <uint64_t *>copy_of(keys, sizeof(uint64_t))
        self._key_endpoints = <int32_t *>copy_of(key_endpoints, sizeof(int32_t))
        self._key_count = len(keys)
        self._listener_endpoints = <int32_t *>copy_of(listener_endpoints, sizeof(int32_t))
        self._listener_fds = <int *>allocate(len(listeners) * sizeof(int))
        self._set = fx_poll_create()
        if self._set < 0:
            raise OSError(errno, os.strerror(errno))
        self._spare = fx_spare()
        self._listener_count = len(listeners)
        for i, listener in enumerate(listeners):
            self.listen(i, listener)

    def __dealloc__(self):
        self._close()
        free(self._connections)
        free(self._maps)
        free(self._units)
        free(self._endpoints)
        free(self._faults)
        free(self._slow)
        free(self._keys)
        free(self._key_endpoints)
        free(self._listener_fds)
        free(self._listener_endpoints)
        free(self._in)
        free(self._out)

    def close(self):
        """Close every connection and the poll set. The listening sockets are closed by who opened them."""
        self._close()
        self._keep = None

    def stop(self):
        """Make ``serve`` return soon, now and ever after; may be called from a signal handler or a thread."""
        self._stopping = True

    def listen(self, uint32_t number, listener):
        """Accept from a socket in the place of that number; the one before it there has been closed."""
        self._keep[1][number] = listener
        self._listener_fds[number] = listener.fileno()
        if fx_poll_add(self._set, self._listener_fds[number], LISTENER | number, FX_POLL_READ) < 0:
            raise OSError(errno, os.strerror(errno))

    def set_fault(self, uint32_t number, uint32_t kind, uint32_t unit_id, uint32_t share, int64_t delay_ns):
        """Make an endpoint ill (fault.pxd), or well by 0. Its listener is the caller's to close or open."""
        cdef fault *f = self._faults + number
        cdef uint32_t i
        cdef uint32_t before = f.kind
        f.kind, f.unit_id, f.share, f.delay_ns = kind, unit_id, share, delay_ns
        self.faulty += <uint32_t>(kind != FAULT_NONE) - <uint32_t>(before != FAULT_NONE)
        if FAULT_BLACKHOLE in (before, kind):  # what waits at its listener must stay there: see listen.py
            fx_poll_modify(
                self._set, self._listener_fds[number], LISTENER | number,
                0 if kind == FAULT_BLACKHOLE else FX_POLL_READ,
            )
        for i in range(self._capacity):
            if self._connections[i].fd >= 0 and self._connections[i].endpoint == number:
                if kind == FAULT_BLACKHOLE:
                    fx_deafen(self._connections[i].fd)
                elif before == FAULT_BLACKHOLE:
                    fx_undeafen(self._connections[i].fd)
                if kind == FAULT_REFUSE:
                    self._drop(i)

    def serve(self, int64_t until_ns):
        """Serve until that moment of ``now_ns``; SERVED, or INTERRUPTED by a signal, or STOPPED."""
        cdef int result
        if self._set < 0:
            return _STOPPED
        with nogil:
            result = self._serve(until_ns)
        if result < 0:
            raise OSError(errno, os.strerror(errno))
        return result

    cdef void _close(self) noexcept:
        cdef uint32_t i
        for i in range(self._capacity):
            if self._connections[i].fd >= 0:
                self._drop(i)
        if self._set >= 0:
            c_close(self._set)
        if self._spare >= 0:
            c_close(self._spare)
        self._set = self._spare = -1
        self._listener_count = 0

    cdef int _serve(self, int64_t until_ns) noexcept nogil:
        cdef fx_poll_event events[FX_POLL_BATCH]
        cdef int64_t now, wake_ns
        cdef int i, n
        self._close_blocked()
        while True:
            if self._stopping:
                return _STOPPED
            now = fx_now_ns()
            if now >= until_ns:
                return _SERVED
            wake_ns = until_ns
            if self._slow_count:
                wake_ns = self._serve_slow(now, until_ns)
            n = fx_poll_wait(self._set, events, FX_POLL_BATCH, <int>((wake_ns - now + 999_999) // 1_000_000))
            if n < 0:
                return _INTERRUPTED if errno == EINTR else -1
            for i in range(n):
                if events[i].id & LISTENER:
                    self._accept(events[i].id & ~LISTENER)
                elif events[i].id < self._capacity and self._connections[events[i].id].fd >= 0:
                    # (A slot that was closed in this batch may already be someone else's: reading it then
                    # finds nothing, which is no harm.)
                    if self._connections[events[i].id].owed != NULL:
                        if events[i].events & FX_POLL_HANGUP:
                            self._drop(events[i].id)
                        else:
                            self._send_owed(events[i].id)
                    elif self._faults[self._connections[events[i].id].endpoint].kind == FAULT_SLOW:
                        self._put_off(events[i].id, fx_now_ns())
                    else:
                        self._receive(events[i].id)

    cdef void _accept(self, uint32_t listener) noexcept nogil:
        cdef int fd, _i
        cdef int32_t where
        cdef uint32_t slot
        cdef endpoint *e = NULL
        for _i in range(ACCEPTS_PER_WAKE):
            fd = fx_accept(self._listener_fds[listener])
            if fd < 0:
                if (errno == EMFILE or errno == ENFILE) and self._spare >= 0:
                    # The listener would stay readable for ever: let the peer in and out again.
                    c_close(self._spare)
                    fd = fx_accept(self._listener_fds[listener])
                    if fd >= 0:
                        c_close(fd)
                        self.refused += 1
                    self._spare = fx_spare()
                return
            where = self._listener_endpoints[listener]
            if where < 0:
                where = self._find(fx_local_key(fd))
            slot = NONE
            if where >= 0:
                e = self._endpoints + where
                if e.limit == 0 or e.open < e.limit:
                    slot = self._slot()
            if slot == NONE or fx_poll_add(self._set, fd, slot, FX_POLL_READ) < 0:
                c_close(fd)
                self.refused += 1
                if slot != NONE:
                    self._connections[slot].next_free = self._free
                    self._free = slot
                continue
            self._connections[slot].fd = fd
            self._connections[slot].endpoint = <uint32_t>where
            e.open += 1
            self.accepted += 1
            self.connections += 1

    cdef int32_t _find(self, uint64_t key) noexcept nogil:
        # Binary search of the declared addresses; -1 when it is none of them.
        cdef Py_ssize_t low = 0
        cdef Py_ssize_t high = self._key_count
        cdef Py_ssize_t middle
        while low < high:
            middle = (low + high) // 2
            if self._keys[middle] < key:
                low = middle + 1
            else:
                high = middle
        return self._key_endpoints[low] if low < self._key_count and self._keys[low] == key else -1

    cdef uint32_t _slot(self) noexcept nogil:
        # A free slot off the list, the table doubled when there is none; NONE without memory.
        cdef uint32_t i, capacity
        cdef connection *grown
        if self._free == NONE:
            capacity = 2 * self._capacity if self._capacity else 64
            grown = <connection *>realloc(self._connections, capacity * sizeof(connection))
            if grown == NULL:
                return NONE
            self._connections = grown
            memset(grown + self._capacity, 0, (capacity - self._capacity) * sizeof(connection))
            for i in range(self._capacity, capacity):
                grown[i].fd = -1
                grown[i].next_free = i + 1
            grown[capacity - 1].next_free = NONE
            self._free = self._capacity
            self._capacity = capacity
        i = self._free
        self._free = self._connections[i].next_free
        return i

    cdef void _drop(self, uint32_t slot) noexcept nogil:
        cdef connection *c = self._connections + slot
        c_close(c.fd)
        self._endpoints[c.endpoint].open -= 1
        free(c.part)
        if c.owed != NULL:
            free(c.owed)
            self._blocked -= 1
        memset(c, 0, sizeof(connection))
        c.fd = -1
        c.next_free = self._free
        self._free = slot
        self.connections -= 1

    cdef void _receive(self, uint32_t slot) noexcept nogil:
        cdef connection *c = self._connections + slot
        cdef uint8_t *start = self._in + ADU_MAX
        cdef uint8_t *end
        cdef uint8_t *out = self._out
        cdef Py_ssize_t n, adu_size
        cdef frame_status status
        cdef const fault *f = self._faults + c.endpoint
        cdef bint ill = f.kind != FAULT_NONE
        cdef int verdict = FATE_ANSWER
        n = fx_receive(c.fd, start, RECEIVE_SIZE)
        if n <= 0:
            if n < 0:
                self._drop(slot)
            return
        end = start + n
        if c.part_size:
            start -= c.part_size
            memcpy(start, c.part, c.part_size)
            c.part_size = 0
        while True:
            status = split_mbap(start, end, &adu_size)
            if status != FX_COMPLETE:
                break
            if ill:
                verdict = fault_judge(f, start, &self._random)
            if verdict == FATE_RESET:
                fx_reset_on_close(c.fd)
                self._drop(slot)
                return
            if verdict != FATE_SILENCE:
                out = self._answer(c, start, start + adu_size, <uint8_t>verdict, out)
            start += adu_size
        if out > self._out and not self._send(slot, self._out, out - self._out):
            return
        if status != FX_NEED_DATA:
            self.broken += 1
            self._drop(slot)
        elif start < end:
            if c.part == NULL:
                c.part = <uint8_t *>malloc(ADU_MAX)
                if c.part == NULL:
                    self._drop(slot)
                    return
            c.part_size = <uint32_t>(end - start)
            memcpy(c.part, start, c.part_size)

    cdef uint8_t *_answer(
        self, connection *c, const uint8_t *adu, const uint8_t *end, uint8_t exception_code, uint8_t *out
    ) noexcept nogil:
        # Appends the response ADU to out and returns its end. An exception code that is not 0 is the answer.
        cdef endpoint *e = self._endpoints + c.endpoint
        cdef uint32_t i
        cdef Py_ssize_t n = 0
        if exception_code == 0:
            exception_code = GATEWAY_TARGET_FAILED
            for i in range(e.first, e.first + e.count):
                if self._units[i].unit_id == adu[6]:
                    n = answer_pdu(self._maps + self._units[i].map, self._units[i].row, adu + 7, end, out + 7)
                    break
        if n == 0:
            out[7] = adu[7] | 0x80
            out[8] = exception_code
            n = 2
        memcpy(out, adu, 4)  # transaction_id, and the protocol_id, which is 0
        store_u16(out + 4, <uint16_t>(n + 1))
        out[6] = adu[6]
        self.requests += 1
        self.exceptions += out[7] >> 7
        return out + 7 + n

    cdef bint _send(self, uint32_t slot, const uint8_t *data, Py_ssize_t size) noexcept nogil:
        # Sends what the socket takes and keeps the rest as owed. False: the connection is gone.
        cdef connection *c = self._connections + slot
        cdef Py_ssize_t n = fx_send(c.fd, data, size)
        if n == size:
            return True
        if n < 0:
            self._drop(slot)
            return False
        c.owed = <uint8_t *>malloc(size - n)
        if c.owed == NULL:
            self._drop(slot)
            return False
        memcpy(c.owed, data + n, size - n)
        c.owed_size = <uint32_t>(size - n)
        c.owed_sent = 0
        c.blocked_ns = fx_now_ns()
        self._blocked += 1
        fx_poll_modify(self._set, c.fd, slot, FX_POLL_WRITE)
        return True

    cdef void _send_owed(self, uint32_t slot) noexcept nogil:
        cdef connection *c = self._connections + slot
        cdef Py_ssize_t n = fx_send(c.fd, c.owed + c.owed_sent, c.owed_size - c.owed_sent)
        if n <= 0:
            if n < 0:
                self._drop(slot)
            return
        c.owed_sent += <uint32_t>n
        c.blocked_ns = fx_now_ns()
        if c.owed_sent == c.owed_size:
            free(c.owed)
            c.owed = NULL
            self._blocked -= 1
            fx_poll_modify(self._set, c.fd, slot, FX_POLL_READ)

    cdef void _put_off(self, uint32_t slot, int64_t now) noexcept nogil:
        # A slow endpoint has been sent something. It is not read for a while, then all at once.
        cdef connection *c = self._connections + slot
        cdef int64_t mean = self._faults[c.endpoint].delay_ns
        cdef uint32_t room
        cdef uint32_t *grown
        if c.due_ns:
            self._drop(slot)  # nothing but a hang-up can come of a connection that is not read
            return
        if self._slow_count == self._slow_room:
            room = 2 * self._slow_room if self._slow_room else 64
            grown = <uint32_t *>realloc(self._slow, room * sizeof(uint32_t))
            if grown == NULL:
                self._drop(slot)
                return
            self._slow, self._slow_room = grown, room
        self._slow[self._slow_count] = slot
        self._slow_count += 1
        c.due_ns = now + mean // 2 + <int64_t>(mean * (fault_random(&self._random) / 4294967296.0))
        fx_poll_modify(self._set, c.fd, slot, 0)

    cdef int64_t _serve_slow(self, int64_t now, int64_t until_ns) noexcept nogil:
        # Reads what has waited its time; returns when the next is due, at most until_ns.
        cdef uint32_t i = 0, slot
        cdef connection *c
        while i < self._slow_count:
            slot = self._slow[i]
            c = self._connections + slot
            if c.due_ns > now:
                until_ns = min(until_ns, c.due_ns)
                i += 1
                continue
            self._slow_count -= 1
            self._slow[i] = self._slow[self._slow_count]
            if c.due_ns:  # else it has gone, or has stood here twice
                c.due_ns = 0
                fx_poll_modify(self._set, c.fd, slot, FX_POLL_READ)
                self._receive(slot)
        return until_ns

    cdef void _close_blocked(self) noexcept nogil:
        cdef uint32_t i
        cdef int64_t now
        if self._blocked == 0:
            return
        now = fx_now_ns()
        for i in range(self._capacity):
            if self._connections[i].owed != NULL and now - self._connections[i].blocked_ns > BLOCKED_NS:
                self._drop(i)


def now_ns():
    """Return the clock of ``serve``: nanoseconds that go on while the machine sleeps."""
    return fx_now_ns()
