# What a server thinks of a request PDU, inline for every C caller (MAP 6, the state diagrams).
#
# Invariant: every pointer travels with its end; nothing is read at or past it; nothing is allocated.
from libc.stdint cimport uint8_t, uint16_t

from fluxfast.modbus.constants cimport (
    FX_ENCAPSULATED_INTERFACE_TRANSPORT,
    FX_ILLEGAL_DATA_ADDRESS,
    FX_ILLEGAL_DATA_VALUE,
    FX_ILLEGAL_FUNCTION,
    FX_MASK_WRITE_REGISTER,
    FX_MAX_READ_BITS,
    FX_MAX_READ_REGISTERS,
    FX_MAX_READ_WRITE_READ_REGISTERS,
    FX_MAX_READ_WRITE_WRITE_REGISTERS,
    FX_MAX_WRITE_BITS,
    FX_MAX_WRITE_REGISTERS,
    FX_MEI_READ_DEVICE_IDENTIFICATION,
    FX_READ_COILS,
    FX_READ_DISCRETE_INPUTS,
    FX_READ_HOLDING_REGISTERS,
    FX_READ_INPUT_REGISTERS,
    FX_READ_WRITE_MULTIPLE_REGISTERS,
    FX_WRITE_MULTIPLE_COILS,
    FX_WRITE_MULTIPLE_REGISTERS,
    FX_WRITE_SINGLE_COIL,
    FX_WRITE_SINGLE_REGISTER,
)
from fluxfast.native.endian cimport load_u16


cdef inline uint8_t _check_span(const uint8_t *span, Py_ssize_t limit) noexcept nogil:
    # span: a starting address and a quantity, 4 bytes.
    cdef Py_ssize_t quantity = load_u16(span + 2)
    if quantity < 1 or quantity > limit:
        return FX_ILLEGAL_DATA_VALUE
    if load_u16(span) + quantity > 65536:
        return FX_ILLEGAL_DATA_ADDRESS
    return 0


cdef inline uint8_t check_request(const uint8_t *pdu, const uint8_t *end) noexcept nogil:
    # 0 if the PDU is legal, else the exception code to answer with; value before address, as in MAP 6.
    # An empty PDU, and function codes from 0x80 on, have no function code to answer to: caller's care.
    cdef Py_ssize_t n = end - pdu
    cdef uint8_t function_code, wrong
    if n < 1:
        return FX_ILLEGAL_FUNCTION
    function_code = pdu[0]

    if function_code == FX_READ_COILS or function_code == FX_READ_DISCRETE_INPUTS:
        return _check_span(pdu + 1, FX_MAX_READ_BITS) if n == 5 else FX_ILLEGAL_DATA_VALUE
    if function_code == FX_READ_HOLDING_REGISTERS or function_code == FX_READ_INPUT_REGISTERS:
        return _check_span(pdu + 1, FX_MAX_READ_REGISTERS) if n == 5 else FX_ILLEGAL_DATA_VALUE

    if function_code == FX_WRITE_SINGLE_COIL:
        if n != 5 or pdu[4] != 0 or (pdu[3] != 0 and pdu[3] != 0xFF):
            return FX_ILLEGAL_DATA_VALUE
        return 0
    if function_code == FX_WRITE_SINGLE_REGISTER:
        return 0 if n == 5 else FX_ILLEGAL_DATA_VALUE
    if function_code == FX_MASK_WRITE_REGISTER:
        return 0 if n == 7 else FX_ILLEGAL_DATA_VALUE

    if function_code == FX_WRITE_MULTIPLE_COILS:
        if n < 6 or pdu[5] != n - 6 or pdu[5] != (load_u16(pdu + 3) + 7) // 8:
            return FX_ILLEGAL_DATA_VALUE
        return _check_span(pdu + 1, FX_MAX_WRITE_BITS)
    if function_code == FX_WRITE_MULTIPLE_REGISTERS:
        if n < 6 or pdu[5] != n - 6 or pdu[5] != 2 * load_u16(pdu + 3):
            return FX_ILLEGAL_DATA_VALUE
        return _check_span(pdu + 1, FX_MAX_WRITE_REGISTERS)
    if function_code == FX_READ_WRITE_MULTIPLE_REGISTERS:
        if n < 10 or pdu[9] != n - 10 or pdu[9] != 2 * load_u16(pdu + 7):
            return FX_ILLEGAL_DATA_VALUE
        wrong = _check_span(pdu + 1, FX_MAX_READ_WRITE_READ_REGISTERS)
        if wrong == FX_ILLEGAL_DATA_VALUE:
            return wrong
        return _check_span(pdu + 5, FX_MAX_READ_WRITE_WRITE_REGISTERS) or wrong

    if function_code == FX_ENCAPSULATED_INTERFACE_TRANSPORT:
        if n >= 2 and pdu[1] != FX_MEI_READ_DEVICE_IDENTIFICATION:
            return FX_ILLEGAL_FUNCTION
        if n != 4 or pdu[2] < 1 or pdu[2] > 4:
            return FX_ILLEGAL_DATA_VALUE
        return 0
    return FX_ILLEGAL_FUNCTION
