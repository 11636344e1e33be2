# What carries the links' bytes: a socket each in one poll set, or a stream of Python's; see ports.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t

from fluxfast.link.links cimport Links
from fluxfast.native.tcp cimport fx_address

cdef enum:
    RECEIVE_SIZE = 65536
    MANY = 64                # replies: below that, none waits for another


# What a stream is to do, until Python has seen to it.
cdef enum stream_wish:
    WISH_CONNECT = 1
    WISH_SEND = 2
    WISH_CLOSE = 4
    WISH_ABORT = 8


ctypedef struct Port:
    int32_t fd               # -1: closed, or a stream
    uint8_t is_stream
    uint8_t wishes           # of a stream
    fx_address address


ctypedef struct Ports:
    Links *links
    Port *ports              # ports[link]
    int32_t *wishing         # streams that have wishes, each at most once
    uint8_t *buffer
    int32_t n_wishing
    int32_t n_open           # sockets, connected or about to be
    int poll_set
    int64_t simulated_ns     # -1: the clock is the system's


cdef bint ports_make(Ports *s, Links *links) noexcept nogil
cdef void ports_close(Ports *s) noexcept nogil
cdef void ports_free(Ports *s) noexcept nogil
cdef int64_t ports_now(const Ports *s) noexcept nogil
cdef void ports_drain(Ports *s, int64_t slice_ns) noexcept nogil
cdef void ports_data(Ports *s, int32_t i, const uint8_t *data, Py_ssize_t n) noexcept nogil
