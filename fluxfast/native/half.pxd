# IEEE 754 numbers of their bits: binary32, and binary16, which C does not have.
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy


cdef inline float float_of(uint32_t bits) noexcept nogil:
    cdef float f
    memcpy(&f, &bits, 4)
    return f


cdef inline double half_to_double(uint16_t h) noexcept nogil:
    # Widened to binary32 by shifting; subnormals are exact multiples of 2**-24.
    cdef uint32_t bits, exponent = (h >> 10) & 0x1F, fraction = h & 0x3FF
    cdef double value
    if exponent == 0:
        value = fraction * 5.9604644775390625e-08
        return -value if h & 0x8000 else value
    if exponent == 31:
        bits = 0x7F800000 | (fraction << 13)
    else:
        bits = ((exponent + 112) << 23) | (fraction << 13)
    bits |= (<uint32_t>(h & 0x8000)) << 16
    return float_of(bits)
