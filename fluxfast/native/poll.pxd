# One readiness set (epoll or kqueue) and the clock; see poll.h.
from libc.stdint cimport int64_t, uint32_t


cdef extern from "fluxfast/native/poll.h" nogil:
    enum:
        FX_POLL_READ
        FX_POLL_WRITE
        FX_POLL_HANGUP
        FX_POLL_BATCH
    ctypedef struct fx_poll_event:
        uint32_t id
        uint32_t events
    int fx_poll_create() noexcept
    int fx_poll_add(int set, int fd, uint32_t id, int interest) noexcept
    int fx_poll_modify(int set, int fd, uint32_t id, int interest) noexcept
    int fx_poll_wait(int set, fx_poll_event *out, int max, int timeout_ms) noexcept
    int64_t fx_now_ns() noexcept
    void fx_pause(int64_t ns) noexcept
