# Bytewise loads and stores, big-endian but for those named _le: no pointer casts, so no alignment or
# aliasing to think of.
# The caller has checked that the bytes are there.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef inline uint16_t load_u16(const uint8_t *p) noexcept nogil:
    return <uint16_t>((p[0] << 8) | p[1])


cdef inline uint32_t load_u32(const uint8_t *p) noexcept nogil:
    return ((<uint32_t>p[0]) << 24) | ((<uint32_t>p[1]) << 16) | ((<uint32_t>p[2]) << 8) | p[3]


cdef inline uint64_t load_u64(const uint8_t *p) noexcept nogil:
    return ((<uint64_t>load_u32(p)) << 32) | load_u32(p + 4)


cdef inline uint16_t load_u16_le(const uint8_t *p) noexcept nogil:
    return <uint16_t>((p[1] << 8) | p[0])


cdef inline uint32_t load_u32_le(const uint8_t *p) noexcept nogil:
    return ((<uint32_t>p[3]) << 24) | ((<uint32_t>p[2]) << 16) | ((<uint32_t>p[1]) << 8) | p[0]


cdef inline uint64_t load_u64_le(const uint8_t *p) noexcept nogil:
    return ((<uint64_t>load_u32_le(p + 4)) << 32) | load_u32_le(p)


cdef inline void store_u16(uint8_t *p, uint16_t v) noexcept nogil:
    p[0] = <uint8_t>(v >> 8)
    p[1] = <uint8_t>(v & 0xFF)
