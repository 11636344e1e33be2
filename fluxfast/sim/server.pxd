# The server's own state, as C structs; see server.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from fluxfast.sim.answer cimport device_map
from fluxfast.sim.fault cimport fault


cdef struct connection:
    int fd                  # -1 when the slot is free
    uint32_t endpoint
    uint32_t next_free
    uint32_t part_size
    uint8_t *part           # the beginning of a request; ADU_MAX bytes, or NULL
    uint8_t *owed           # answers that did not fit into the socket's buffer, or NULL
    uint32_t owed_size
    uint32_t owed_sent
    int64_t blocked_ns      # since when
    int64_t due_ns          # slow: it is not read before; 0: it waits for nothing

# One host:port. The units behind it are units[first : first + count]. Laid out as ENDPOINT in image.py.
cdef struct endpoint:
    uint32_t first
    uint32_t count
    uint32_t limit          # of connections; 0: none
    uint32_t open

# One device. Laid out as the NumPy dtype UNIT in image.py.
cdef struct unit:
    uint32_t unit_id
    uint32_t map
    uint32_t row


@cython.final
cdef class Server:
    cdef int _set
    cdef int _spare              # a descriptor to give up when there are no more, to refuse a peer
    cdef volatile int _stopping
    cdef connection *_connections
    cdef uint32_t _capacity
    cdef uint32_t _free
    cdef uint32_t _blocked
    cdef device_map *_maps
    cdef unit *_units
    cdef endpoint *_endpoints
    cdef fault *_faults          # what is wrong with each endpoint
    cdef uint64_t _random
    cdef uint32_t *_slow         # connections that wait for their due_ns; one may stand here twice
    cdef uint32_t _slow_count
    cdef uint32_t _slow_room
    cdef uint64_t *_keys         # sorted; the endpoint of _keys[i] is _key_endpoints[i]
    cdef int32_t *_key_endpoints
    cdef Py_ssize_t _key_count
    cdef int *_listener_fds
    cdef int32_t *_listener_endpoints  # -1: any declared address, ask the connection where it arrived
    cdef uint32_t _listener_count
    cdef uint8_t *_in            # room for a kept part, then RECEIVE_SIZE
    cdef uint8_t *_out           # SEND_SIZE
    cdef object _keep            # what the C pointers point into, and the listening sockets
    cdef readonly uint64_t requests
    cdef readonly uint64_t exceptions
    cdef readonly uint64_t broken
    cdef readonly uint64_t accepted
    cdef readonly uint64_t refused
    cdef readonly uint32_t connections
    cdef readonly uint32_t faulty

    cdef void _close(self) noexcept
    cdef int _serve(self, int64_t until_ns) noexcept nogil
    cdef void _accept(self, uint32_t listener) noexcept nogil
    cdef int32_t _find(self, uint64_t key) noexcept nogil
    cdef uint32_t _slot(self) noexcept nogil
    cdef void _drop(self, uint32_t slot) noexcept nogil
    cdef void _receive(self, uint32_t slot) noexcept nogil
    cdef uint8_t *_answer(
        self, connection *c, const uint8_t *adu, const uint8_t *end, uint8_t exception_code, uint8_t *out
    ) noexcept nogil
    cdef bint _send(self, uint32_t slot, const uint8_t *data, Py_ssize_t size) noexcept nogil
    cdef void _send_owed(self, uint32_t slot) noexcept nogil
    cdef void _put_off(self, uint32_t slot, int64_t now) noexcept nogil
    cdef int64_t _serve_slow(self, int64_t now, int64_t until_ns) noexcept nogil
    cdef void _close_blocked(self) noexcept nogil
