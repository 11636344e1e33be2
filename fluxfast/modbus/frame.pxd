# The part of the protocol that every C caller shares, inline: cutting a stream into MBAP frames,
# building read requests, judging the responses to reads and writes. MIG = Messaging on TCP/IP Implementation
# Guide v1.0b, MAP = Application Protocol v1.1b3. Python sees it through adu.pyx, read.pyx and write.pyx.
#
#       0              2             4        6         7
#      +--------------+-------------+--------+---------+---------------+------ - -
#      |transaction_id| protocol_id | length | unit_id | function_code | data
#      +--------------+-------------+--------+---------+---------------+------ - -
#                                            |<------- length (2..254) --------->|
#
# Invariants: every pointer travels with its end; nothing is read at or past it; nothing is allocated.
# The caller owns all buffers.
from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcmp

from fluxfast.modbus.constants cimport FX_MASK_WRITE_REGISTER
from fluxfast.native.endian cimport load_u16, store_u16


cdef enum frame_status:
    FX_COMPLETE = 0            # a whole ADU, or a response that answers its request
    FX_NEED_DATA = 1           # a legal beginning
    # Broken: the stream can't be cut into frames any more. The connection must be closed.
    FX_BAD_PROTOCOL_ID = 2
    FX_BAD_LENGTH = 3
    FX_BAD_FUNCTION = 4        # RTU only: no length is known for this function code
    FX_BAD_CRC = 5             # RTU only
    # The frame is whole; only the request it claims to answer fails.
    FX_EXCEPTION = 16          # a legal exception response
    FX_WRONG_FUNCTION = 17
    FX_WRONG_COUNT = 18        # byte count and quantity disagree
    FX_WRONG_ECHO = 19
    FX_MALFORMED = 20


cdef inline frame_status split_mbap(
    const uint8_t *p, const uint8_t *end, Py_ssize_t *adu_size
) noexcept nogil:
    # Judges as early as the bytes allow: a wrong protocol_id or length is broken at once, not after
    # waiting for a body that will never come (pymodbus waits; see style.md section 4).
    cdef Py_ssize_t n = end - p
    cdef uint16_t length
    if n >= 3 and p[2] != 0:
        return FX_BAD_PROTOCOL_ID
    if n >= 4 and p[3] != 0:
        return FX_BAD_PROTOCOL_ID
    if n >= 5 and p[4] != 0:
        return FX_BAD_LENGTH
    if n < 6:
        return FX_NEED_DATA
    length = load_u16(p + 4)
    if length < 2 or length > 254:
        return FX_BAD_LENGTH
    adu_size[0] = 6 + length
    return FX_COMPLETE if n >= adu_size[0] else FX_NEED_DATA


cdef inline void build_read(
    uint8_t *out, uint16_t transaction_id, uint8_t unit_id, uint8_t function_code,
    uint16_t starting_address, uint16_t quantity,
) noexcept nogil:
    # Writes 12 bytes: a whole read request (MAP 6.1 to 6.4).
    store_u16(out, transaction_id)
    store_u16(out + 2, 0)
    store_u16(out + 4, 6)
    out[6] = unit_id
    out[7] = function_code
    store_u16(out + 8, starting_address)
    store_u16(out + 10, quantity)


cdef inline frame_status check_read_response(
    const uint8_t *pdu, const uint8_t *end, uint8_t function_code, uint16_t quantity,
    uint8_t *exception_code,
) noexcept nogil:
    # Does this PDU answer a read of that function code and quantity? If FX_COMPLETE, the data are at
    # pdu + 2 up to end. If FX_EXCEPTION, exception_code is what the unit sent, known or not.
    cdef Py_ssize_t n = end - pdu
    cdef Py_ssize_t data_size
    if n < 1:
        return FX_MALFORMED
    if pdu[0] == (function_code | 0x80):
        if n != 2:
            return FX_MALFORMED
        exception_code[0] = pdu[1]
        return FX_EXCEPTION
    if pdu[0] != function_code:
        return FX_WRONG_FUNCTION
    if n < 2:
        return FX_MALFORMED
    data_size = (quantity + 7) // 8 if function_code <= 2 else 2 * <Py_ssize_t>quantity
    if pdu[1] != data_size or n != 2 + data_size:
        return FX_WRONG_COUNT
    return FX_COMPLETE


cdef inline Py_ssize_t write_echo_size(uint8_t function_code) noexcept nogil:
    # How many bytes of a write request (function codes 5, 6, 15, 16, 22) its response repeats.
    return 7 if function_code == FX_MASK_WRITE_REGISTER else 5


cdef inline frame_status check_write_response(
    const uint8_t *pdu, const uint8_t *end, const uint8_t *request, const uint8_t *request_end,
    uint8_t *exception_code,
) noexcept nogil:
    # Does this PDU answer that legal write request PDU?
    cdef Py_ssize_t n = end - pdu
    cdef Py_ssize_t echo_size
    if n < 1 or request_end - request < 1:
        return FX_MALFORMED
    if pdu[0] == (request[0] | 0x80):
        if n != 2:
            return FX_MALFORMED
        exception_code[0] = pdu[1]
        return FX_EXCEPTION
    if pdu[0] != request[0]:
        return FX_WRONG_FUNCTION
    echo_size = write_echo_size(request[0])
    if n != echo_size or request_end - request < echo_size:
        return FX_MALFORMED
    return FX_COMPLETE if memcmp(pdu, request, <size_t>echo_size) == 0 else FX_WRONG_ECHO
