# Cuts a block that a unit refuses in two; see cut.pyx.
from libc.stdint cimport int32_t

from fluxfast.link.schedule cimport Schedule

cdef bint schedule_cut(Schedule *s, int32_t b) noexcept nogil
