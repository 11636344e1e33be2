"""pymodbus as a second opinion: the same bytes for the same message, and each reads the other's."""

from typing import Any

import modbus_messages as messages
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU
from pymodbus.pdu import DecodePDU, ExceptionResponse
from pymodbus.pdu import bit_message as bit
from pymodbus.pdu import mei_message as mei
from pymodbus.pdu import register_message as reg

from fluxfast import modbus
from fluxfast.constants import ExceptionCode, FunctionCode

SERVER, CLIENT = DecodePDU(is_server=True), DecodePDU(is_server=False)


def encode(pdu: Any) -> bytes:
    return bytes([pdu.function_code]) + pdu.encode()


def their_request(name: str, f: dict[str, Any]) -> Any:
    """pymodbus' object for our class and fields."""
    if name in ("ReadCoils", "ReadDiscreteInputs"):
        return getattr(bit, f"{name}Request")(address=f["starting_address"], count=f["quantity"])
    if name in ("ReadHoldingRegisters", "ReadInputRegisters"):
        return getattr(reg, f"{name}Request")(address=f["starting_address"], count=f["quantity"])
    if name == "WriteSingleCoil":
        return bit.WriteSingleCoilRequest(address=f["address"], bits=[f["value"]])
    if name == "WriteSingleRegister":
        return reg.WriteSingleRegisterRequest(address=f["address"], registers=[f["value"]])
    if name == "WriteMultipleCoils":
        return bit.WriteMultipleCoilsRequest(address=f["starting_address"], bits=list(f["values"]))
    if name == "WriteMultipleRegisters":
        return reg.WriteMultipleRegistersRequest(address=f["starting_address"], registers=list(f["values"]))
    if name == "MaskWriteRegister":
        return reg.MaskWriteRegisterRequest(**f)
    if name == "ReadWriteMultipleRegisters":
        return reg.ReadWriteMultipleRegistersRequest(
            read_address=f["read_starting_address"],
            read_count=f["read_quantity"],
            write_address=f["write_starting_address"],
            write_registers=list(f["write_values"]),
        )
    return mei.ReadDeviceInformationRequest(read_code=f["read_device_id_code"], object_id=f["object_id"])


def their_response(name: str, f: dict[str, Any], response: list[Any]) -> Any:
    if name in ("ReadCoils", "ReadDiscreteInputs"):
        return getattr(bit, f"{name}Response")(bits=list(response[0]))
    if name in ("ReadHoldingRegisters", "ReadInputRegisters", "ReadWriteMultipleRegisters"):
        return getattr(reg, f"{name}Response")(registers=list(response[0]))
    if name == "WriteSingleCoil":
        return bit.WriteSingleCoilResponse(address=f["address"], bits=[f["value"]])
    if name == "WriteSingleRegister":
        return reg.WriteSingleRegisterResponse(address=f["address"], registers=[f["value"]])
    if name == "WriteMultipleCoils":
        return bit.WriteMultipleCoilsResponse(address=f["starting_address"], count=len(f["values"]))
    if name == "WriteMultipleRegisters":
        return reg.WriteMultipleRegistersResponse(address=f["starting_address"], count=len(f["values"]))
    return reg.MaskWriteRegisterResponse(**f)


@messages.given(messages.requests)
def test_requests(message: messages.Fields) -> None:
    theirs = their_request(*message)
    ours = messages.make(modbus, message)
    assert encode(theirs) == ours.pdu
    assert modbus.parse_request(encode(theirs)) == ours
    decoded = SERVER.decode(ours.pdu)
    assert type(decoded) is type(theirs)
    assert encode(decoded) == ours.pdu


@messages.given(messages.exchanges().filter(lambda e: e[0][0] != "ReadDeviceIdentification"))
def test_responses(exchange: tuple[messages.Fields, list[Any]]) -> None:
    (name, fields), response = exchange
    theirs = encode(their_response(name, fields, response))
    request = messages.make(modbus, (name, fields))
    assert request.build_response(*response) == theirs
    assert request.parse_response(theirs) == (response[0] if response else None)
    decoded = CLIENT.decode(theirs)
    assert decoded is not None
    if response:
        values = decoded.bits or decoded.registers
        assert tuple(values)[: len(response[0])] == response[0]


@messages.given(
    st.integers(1, 3), st.dictionaries(messages.U8, st.binary(max_size=60), min_size=1, max_size=9)
)
def test_identification(code: int, objects: dict[int, bytes]) -> None:
    # pymodbus cuts after what fits and names the next object, always with conformity level 0x83.
    objects = dict(sorted(objects.items()))
    theirs = encode(mei.ReadDeviceInformationResponse(read_code=code, information=objects))
    request = modbus.ReadDeviceIdentification(code)
    ours = request.parse_response(theirs)
    assert list(ours.objects.items()) == list(objects.items())[: len(ours.objects)]
    assert ours.next_object_id == (
        None if len(ours.objects) == len(objects) else list(objects)[len(ours.objects)]
    )
    assert request.build_response(ours) == theirs
    decoded: Any = CLIENT.decode(request.build_response(ours))
    assert decoded.information == ours.objects


@messages.given(st.sampled_from(FunctionCode), st.sampled_from(ExceptionCode))
def test_exception_responses(function_code: int, exception_code: int) -> None:
    theirs = ExceptionResponse(function_code, exception_code)
    assert modbus.build_exception_response(function_code, exception_code) == encode(theirs)


@messages.given(st.binary(max_size=256))
def test_crc16(data: bytes) -> None:
    # pymodbus keeps it with the byte that is sent first on top.
    assert modbus.crc16(data).to_bytes(2, "little") == FramerRTU.compute_CRC(data).to_bytes(2, "big")
