# The decode program and the columns it fills, as C structs; plan/program.py builds the same layouts as
# NumPy dtypes (a test holds the two together).
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint64_t


cdef enum raw_kind:
    RAW_UINT = 0      # big-endian unsigned, `size` bytes
    RAW_INT = 1       # two's complement
    RAW_FLOAT = 2     # IEEE 754, 2, 4 or 8 bytes
    RAW_BIT = 3       # one bit of a coil or discrete-input reply; `source` counts bits
    RAW_STRING = 4    # `size` bytes, cut at the first NUL


cdef enum value_kind:
    VALUE_FLOAT64 = 0
    VALUE_FLOAT32 = 1
    VALUE_INT64 = 2
    VALUE_UINT64 = 3
    VALUE_BOOL = 4
    VALUE_STRING = 5


cdef enum swap_bits:
    SWAP_BYTES = 1    # inside each register
    SWAP_WORDS = 2    # registers in reverse order


ctypedef packed struct Op:
    # One value: where its raw bytes lie in a block's data, what they mean, which column it goes to.
    int32_t column          # index into the columns of the whole plan
    uint16_t source         # byte offset (RAW_BIT: bit offset) in the data of the reply
    uint8_t size            # raw bytes (RAW_STRING: up to 250)
    uint8_t raw             # raw_kind
    uint8_t swap            # swap_bits
    uint8_t shift           # for a field of bits: (raw >> shift) & mask
    uint16_t n_sentinels
    int32_t first_sentinel  # raw bit patterns that mean "no value"
    uint8_t scaled          # 0: value = raw
    uint8_t plain           # 1: raw is what the column holds: no sentinels, mask, scale or limits
    uint16_t alike          # so many ops after it go on where it ends, in reply and columns, all else equal
    uint64_t mask
    double mul              # value = (raw * mul + add) / div, all three exact for decimal scales,
    double add              # so 2301 at scale 0.1 is 230.1 and not 230.10000000000002
    double div
    double low              # limits in engineering units
    double high


ctypedef packed struct Column:
    uint64_t values         # address of values[rows]; a NumPy array of the Table owns the memory
    uint64_t quality        # address of quality[rows], one code per cell
    int32_t kind            # value_kind
    int32_t width           # bytes per value


cdef void decode_block(
    const Op *ops, Py_ssize_t n_ops, const uint64_t *sentinels, const uint8_t *data,
    const Column *columns, Py_ssize_t row, uint8_t quality,
) noexcept nogil

cdef void mark_block(
    const Op *ops, Py_ssize_t n_ops, const Column *columns, Py_ssize_t row, uint8_t quality,
) noexcept nogil
