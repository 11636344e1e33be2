# The reactor's own state; see reactor.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t

from fluxfast.link.calls cimport Call
from fluxfast.link.links cimport Link, Links
from fluxfast.link.ports cimport Ports
from fluxfast.link.writes cimport Writes

cdef enum:
    SEND_RUN = 64            # links served between two looks at the replies, when a tick begins


@cython.final
cdef class Reactor:
    cdef object owners
    cdef Links links
    cdef Ports ports
    cdef Writes writes

    cdef Link *link_at(self, int link) except NULL
    cdef Call *call_at(self, int slot) except NULL
    cdef void send_tick(self) noexcept nogil
