"""The Modbus protocol, sans-IO: bytes in, messages out, and back. No sockets, no clocks.

Requests are frozen objects, one class for each function code. A client sends ``request.pdu`` in an ADU, and
the same request judges what comes back; a server gets it from ``parse_request`` and answers with its
``build_response`` or with ``build_exception_response``::

    splitter = modbus.MbapSplitter()
    request = modbus.ReadHoldingRegisters(starting_address=2000, quantity=10)
    socket.sendall(modbus.build_mbap(transaction_id=1, unit_id=1, pdu=request.pdu))
    for adu in splitter.feed(socket.recv(4096)):
        transaction_id, unit_id, pdu = modbus.parse_mbap(adu)
        values = request.parse_response(pdu)  # ten integers or an exception, never wrong data

Here: ``request read write identification pdu adu`` (compiled), ``frame server rtu`` (inline C for the reactor
and the simulator), ``reference`` (the same in plain Python: the tests' oracle). Rooms above may import this
one; it imports ``errors``, ``constants`` and ``native`` only.
"""

from fluxfast.constants import ExceptionCode, FunctionCode
from fluxfast.errors import (
    ExceptionResponseError,
    FramingError,
    LocalProtocolError,
    MalformedPduError,
    RemoteProtocolError,
    ResponseMismatchError,
)
from fluxfast.modbus.adu import (
    MbapSplitter,
    RtuSplitter,
    build_mbap,
    build_rtu,
    crc16,
    framing_hint,
    parse_mbap,
    parse_rtu,
)
from fluxfast.modbus.identification import DeviceIdentification, ReadDeviceIdCode, ReadDeviceIdentification
from fluxfast.modbus.pdu import build_exception_response, parse_request
from fluxfast.modbus.read import (
    ReadCoils,
    ReadDiscreteInputs,
    ReadHoldingRegisters,
    ReadInputRegisters,
    ReadWriteMultipleRegisters,
)
from fluxfast.modbus.request import Request
from fluxfast.modbus.write import (
    MaskWriteRegister,
    WriteMultipleCoils,
    WriteMultipleRegisters,
    WriteSingleCoil,
    WriteSingleRegister,
)

__all__ = [
    "DeviceIdentification",
    "ExceptionCode",
    "ExceptionResponseError",
    "FramingError",
    "FunctionCode",
    "LocalProtocolError",
    "MalformedPduError",
    "MaskWriteRegister",
    "MbapSplitter",
    "ReadCoils",
    "ReadDeviceIdCode",
    "ReadDeviceIdentification",
    "ReadDiscreteInputs",
    "ReadHoldingRegisters",
    "ReadInputRegisters",
    "ReadWriteMultipleRegisters",
    "RemoteProtocolError",
    "Request",
    "ResponseMismatchError",
    "RtuSplitter",
    "WriteMultipleCoils",
    "WriteMultipleRegisters",
    "WriteSingleCoil",
    "WriteSingleRegister",
    "build_exception_response",
    "build_mbap",
    "build_rtu",
    "crc16",
    "framing_hint",
    "parse_mbap",
    "parse_request",
    "parse_rtu",
]
