# RTU framing, inline for every C caller: the CRC, and where an ADU ends.
# See MODBUS over Serial Line V1.02, 2.5.1.
#
#       0         1               2                      size - 2
#      +---------+---------------+------ - - -----------+---------+---------+
#      | unit_id | function_code | data                 | CRC low | CRC high|
#      +---------+---------------+------ - - -----------+---------+---------+
#
# No length is sent. On a wire, silence ends an ADU; in a stream of bytes only the function code and the
# counts after it tell. So a function code whose layout we don't know makes the stream broken.
#
# Invariant: every pointer travels with its end; nothing is read at or past it; nothing is allocated.
from libc.stdint cimport uint8_t, uint16_t

from fluxfast.modbus.constants cimport (
    FX_ENCAPSULATED_INTERFACE_TRANSPORT,
    FX_MASK_WRITE_REGISTER,
    FX_MAX_RTU_ADU_SIZE,
    FX_MEI_READ_DEVICE_IDENTIFICATION,
    FX_READ_COILS,
    FX_READ_INPUT_REGISTERS,
    FX_READ_WRITE_MULTIPLE_REGISTERS,
    FX_WRITE_MULTIPLE_COILS,
    FX_WRITE_MULTIPLE_REGISTERS,
    FX_WRITE_SINGLE_COIL,
    FX_WRITE_SINGLE_REGISTER,
)
from fluxfast.modbus.frame cimport (
    FX_BAD_CRC,
    FX_BAD_FUNCTION,
    FX_BAD_LENGTH,
    FX_COMPLETE,
    FX_NEED_DATA,
    frame_status,
)


cdef extern from *:
    """
    /* Four bits at a time: 16 entries stay in one cache line; a table of 256 would not. */
    static inline uint16_t fx_crc16_byte(uint16_t crc, uint8_t byte) {
        static const uint16_t table[16] = {
            0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401,
            0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400};
        crc = (uint16_t)((crc >> 4) ^ table[(crc ^ byte) & 15]);
        return (uint16_t)((crc >> 4) ^ table[(crc ^ (byte >> 4)) & 15]);
    }
    """
    uint16_t fx_crc16_byte(uint16_t crc, uint8_t byte) noexcept nogil


cdef inline uint16_t crc16(const uint8_t *p, const uint8_t *end) noexcept nogil:
    # CRC-16/MODBUS. Its low byte is sent first.
    cdef uint16_t crc = 0xFFFF
    while p < end:
        crc = fx_crc16_byte(crc, p[0])
        p += 1
    return crc


cdef inline frame_status _counted(
    const uint8_t *p, const uint8_t *end, Py_ssize_t count_at, Py_ssize_t *size
) noexcept nogil:
    # The byte at count_at counts the bytes between itself and the CRC.
    if end - p <= count_at:
        return FX_NEED_DATA
    size[0] = count_at + 1 + p[count_at] + 2
    return FX_COMPLETE


cdef inline frame_status _identification_size(
    const uint8_t *p, const uint8_t *end, Py_ssize_t *size
) noexcept nogil:
    # Every object brings its own length: walk them (MAP 6.21).
    cdef Py_ssize_t n = end - p
    cdef Py_ssize_t at = 8
    cdef int left
    if n < 8:
        return FX_NEED_DATA
    left = p[7]
    while left > 0:
        if at + 2 * left + 2 > FX_MAX_RTU_ADU_SIZE:
            return FX_BAD_LENGTH
        if n < at + 2:
            return FX_NEED_DATA
        at += 2 + p[at + 1]
        left -= 1
    size[0] = at + 2
    return FX_COMPLETE


cdef inline frame_status _rtu_size(
    const uint8_t *p, const uint8_t *end, bint is_request, Py_ssize_t *size
) noexcept nogil:
    # FX_COMPLETE: size is known, whether or not so many bytes are there.
    cdef uint8_t function_code
    if end - p < 2:
        return FX_NEED_DATA
    function_code = p[1]
    size[0] = 8
    if FX_READ_COILS <= function_code <= FX_READ_INPUT_REGISTERS:
        return FX_COMPLETE if is_request else _counted(p, end, 2, size)
    if function_code == FX_WRITE_SINGLE_COIL or function_code == FX_WRITE_SINGLE_REGISTER:
        return FX_COMPLETE
    if function_code == FX_WRITE_MULTIPLE_COILS or function_code == FX_WRITE_MULTIPLE_REGISTERS:
        return _counted(p, end, 6, size) if is_request else FX_COMPLETE
    if function_code == FX_MASK_WRITE_REGISTER:
        size[0] = 10
        return FX_COMPLETE
    if function_code == FX_READ_WRITE_MULTIPLE_REGISTERS:
        return _counted(p, end, 10 if is_request else 2, size)
    if function_code == FX_ENCAPSULATED_INTERFACE_TRANSPORT:
        if end - p < 3:
            return FX_NEED_DATA
        if p[2] != FX_MEI_READ_DEVICE_IDENTIFICATION:
            return FX_BAD_FUNCTION
        if is_request:
            size[0] = 7
            return FX_COMPLETE
        return _identification_size(p, end, size)
    if function_code & 0x80 and not is_request:
        size[0] = 5
        return FX_COMPLETE
    return FX_BAD_FUNCTION


cdef inline frame_status split_rtu(
    const uint8_t *p, const uint8_t *end, bint is_request, Py_ssize_t *adu_size
) noexcept nogil:
    cdef frame_status status = _rtu_size(p, end, is_request, adu_size)
    cdef const uint8_t *crc
    if status != FX_COMPLETE:
        return status
    if adu_size[0] > FX_MAX_RTU_ADU_SIZE:
        return FX_BAD_LENGTH
    if end - p < adu_size[0]:
        return FX_NEED_DATA
    crc = p + adu_size[0] - 2
    if crc16(p, crc) != (crc[0] | (crc[1] << 8)):
        return FX_BAD_CRC
    return FX_COMPLETE
