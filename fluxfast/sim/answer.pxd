# One request PDU in, one response PDU out; see answer.pyx.
from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef enum:
    TABLE_COIL = 0             # the order of image.py's TABLES
    TABLE_DISCRETE = 1
    TABLE_HOLDING = 2
    TABLE_INPUT = 3

cdef enum:
    FLAG_NO_SINGLE_WRITE = 1  # quirk write_function: 16
    FLAG_NO_MULTIPLE_WRITE = 2  # quirk write_function: 6

cdef enum:
    KIND_UNSIGNED = 0
    KIND_SIGNED = 1
    KIND_FLOAT = 2

# These two are laid out as the NumPy dtypes SEGMENT and RULE in image.py.
cdef struct segment:
    uint32_t table
    uint32_t first             # addresses, inclusive
    uint32_t last
    uint32_t offset            # of the first address in a row of the image

cdef struct write_rule:
    uint64_t mask              # over the raw value, after shifting; all ones for a whole point
    double scale
    double shift_value         # the point's `offset`; value = raw * scale + shift_value
    double low                 # in engineering units
    double high
    uint32_t offset            # of the point in a row
    uint32_t size              # bytes: 2, 4 or 8
    uint32_t kind
    uint32_t shift             # bits
    uint8_t order[8]           # big-endian byte i of the value is byte order[i] of the point

# One profile's shape and the memory of its devices. Owns nothing: the arrays belong to the Image.
cdef struct device_map:
    uint8_t *image             # [devices, row_size]
    Py_ssize_t row_size
    const uint8_t *writable    # [row_size]: 1 where a client may write
    const segment *segments
    Py_ssize_t segment_count
    const write_rule *rules
    Py_ssize_t rule_count
    const uint8_t *identity    # the objects of MAP 6.21, each: id, size, bytes
    Py_ssize_t identity_size
    uint32_t max_registers
    uint32_t max_bits
    uint32_t flags


# Writes the response PDU (at most 253 bytes) to out and returns its size.
cdef Py_ssize_t answer_pdu(
    const device_map *m, uint32_t row, const uint8_t *pdu, const uint8_t *end, uint8_t *out
) noexcept nogil
