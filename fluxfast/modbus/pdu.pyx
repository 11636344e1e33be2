"""The server's way into a PDU: which request is this, and how to refuse it.

::

     request            | function_code        | ...
     exception response | function_code | 0x80 | exception_code |      (MAP 7)

Invariant: only PDUs that ``check_request`` finds legal become requests.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t

from fluxfast.modbus.constants cimport (
    FX_ENCAPSULATED_INTERFACE_TRANSPORT,
    FX_MASK_WRITE_REGISTER,
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
from fluxfast.modbus.request cimport Request, pack_number, to_bytes
from fluxfast.modbus.server cimport check_request
from fluxfast.native.endian cimport load_u16

from fluxfast.constants import ExceptionCode, exception_name
from fluxfast.errors import ExceptionResponseError, LocalProtocolError, MalformedPduError
from fluxfast.modbus.identification import ReadDeviceIdentification
from fluxfast.modbus.read import (
    ReadCoils,
    ReadDiscreteInputs,
    ReadHoldingRegisters,
    ReadInputRegisters,
    ReadWriteMultipleRegisters,
)
from fluxfast.modbus.write import (
    MaskWriteRegister,
    WriteMultipleCoils,
    WriteMultipleRegisters,
    WriteSingleCoil,
    WriteSingleRegister,
)


cdef object _class_of(uint8_t function_code):
    if function_code == FX_READ_HOLDING_REGISTERS:
        return ReadHoldingRegisters
    if function_code == FX_READ_INPUT_REGISTERS:
        return ReadInputRegisters
    if function_code == FX_WRITE_SINGLE_REGISTER:
        return WriteSingleRegister
    if function_code == FX_WRITE_MULTIPLE_REGISTERS:
        return WriteMultipleRegisters
    if function_code == FX_READ_COILS:
        return ReadCoils
    if function_code == FX_READ_DISCRETE_INPUTS:
        return ReadDiscreteInputs
    if function_code == FX_WRITE_SINGLE_COIL:
        return WriteSingleCoil
    if function_code == FX_WRITE_MULTIPLE_COILS:
        return WriteMultipleCoils
    if function_code == FX_MASK_WRITE_REGISTER:
        return MaskWriteRegister
    if function_code == FX_READ_WRITE_MULTIPLE_REGISTERS:
        return ReadWriteMultipleRegisters
    if function_code == FX_ENCAPSULATED_INTERFACE_TRANSPORT:
        return ReadDeviceIdentification
    raise SystemError(f"function code {function_code} passed check_request but has no class")


cdef bytes _without_padding(const uint8_t *pdu, Py_ssize_t size):
    # MAP 6.11 asks for zeros after the last coil, but a client that sends others means the same request.
    cdef bytes copy = to_bytes(pdu, size)
    cdef int used = load_u16(pdu + 3) % 8
    cdef int last = pdu[size - 1]
    if used == 0 or last >> used == 0:
        return copy
    return copy[:size - 1] + bytes([last & ((1 << used) - 1)])


def parse_request(pdu):
    """Return the request in a PDU.

    Raise ExceptionResponseError with the codes to answer with (see ``build_exception_response``), or
    MalformedPduError if there is no function code to answer to.
    """
    cdef Py_buffer view
    cdef const uint8_t *p
    cdef uint8_t exception_code
    cdef Request request
    PyObject_GetBuffer(pdu, &view, PyBUF_SIMPLE)
    try:
        p = <const uint8_t *>view.buf
        if view.len < 1:
            raise MalformedPduError("a request PDU of 0 bytes")
        if p[0] >= 0x80:
            raise MalformedPduError(f"function code 0x{p[0]:02X} is for exception responses")
        exception_code = check_request(p, p + view.len)
        if exception_code != 0:
            raise ExceptionResponseError(p[0], exception_code, exception_name(exception_code))
        kind = _class_of(p[0])
        request = <Request?>kind.__new__(kind)
        if p[0] == FX_WRITE_MULTIPLE_COILS:
            request._pdu = _without_padding(p, view.len)
        else:
            request._pdu = to_bytes(p, view.len)
        return request
    finally:
        PyBuffer_Release(&view)


def build_exception_response(function_code, exception_code):
    """Return the 2-byte PDU that refuses a request; LocalProtocolError for codes that MAP 7 does not know."""
    cdef int refused = pack_number(function_code, "function code", 0, 0x7F)
    try:
        return bytes([refused | 0x80, ExceptionCode(exception_code)])
    except ValueError as error:
        raise LocalProtocolError(f"exception code {exception_code}: MAP 7 does not know it") from error
