# TCP sockets as the link wants them; see tcp.h.
from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef extern from "fluxfast/native/tcp.h" nogil:
    ctypedef struct fx_address:
        pass
    void fx_address_set(
        fx_address *a, const uint8_t *ip, int ip_size, uint16_t port, uint32_t scope) noexcept
    int fx_connect(const fx_address *a, int unacknowledged_ms) noexcept
    int fx_connect_result(int fd) noexcept
    void fx_abort(int fd) noexcept
    long fx_send(int fd, const uint8_t *p, long n) noexcept
    long fx_receive(int fd, uint8_t *p, long n) noexcept
