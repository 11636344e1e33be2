"""PDUs against the golden files, in both codecs."""

import pickle
from array import array
from types import ModuleType
from typing import Any

import pytest
from modbus_golden import golden, heap, unhex

from fluxfast import errors, modbus
from fluxfast.constants import ExceptionCode, FunctionCode


def outcome(row: dict[str, Any]) -> Any:
    if "bits" in row:
        return tuple(bit == "1" for bit in row["bits"])
    if "values" in row:
        return tuple(row["values"])
    if "objects" in row:
        objects = {int(k): v.encode() for k, v in row["objects"].items()}
        return modbus.DeviceIdentification(row["conformity_level"], objects, row.get("next_object_id"))
    return None


@pytest.mark.parametrize("row", golden("modbus_requests.toml", "request"))
def test_request(codec: ModuleType, row: dict[str, Any]) -> None:
    pdu = unhex(row["pdu"])
    request = getattr(codec, row["class"])(**row["fields"])
    assert request.pdu == pdu
    assert request.function_code == pdu[0]
    parsed = codec.parse_request(pdu)
    assert parsed == request
    assert type(parsed) is type(request)
    for name, value in row["fields"].items():
        assert getattr(parsed, name) == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize("row", golden("modbus_requests.toml", "illegal"))
def test_illegal_request_is_not_built(codec: ModuleType, row: dict[str, Any]) -> None:
    fields = {k: [v["value"]] * v["times"] if isinstance(v, dict) else v for k, v in row["fields"].items()}
    with pytest.raises(errors.LocalProtocolError):
        getattr(codec, row["class"])(**fields)


@pytest.mark.parametrize("row", golden("modbus_requests.toml", "refused"))
def test_refused_request(codec: ModuleType, row: dict[str, Any]) -> None:
    pdu = unhex(row["pdu"])
    if row["exception_code"] == 0:
        with pytest.raises(errors.MalformedPduError):
            codec.parse_request(pdu)
        return
    with pytest.raises(errors.ExceptionResponseError) as caught:
        codec.parse_request(pdu)
    assert (caught.value.function_code, caught.value.exception_code) == (pdu[0], row["exception_code"])
    answer = codec.build_exception_response(caught.value.function_code, caught.value.exception_code)
    assert answer == bytes([pdu[0] | 0x80, row["exception_code"]])


@pytest.mark.parametrize("row", golden("modbus_responses.toml", "response"))
def test_response(codec: ModuleType, row: dict[str, Any]) -> None:
    request = codec.parse_request(unhex(row["request"]))
    pdu = unhex(row["pdu"])
    if "exception" in row:
        with pytest.raises(errors.ExceptionResponseError, match=row["exception"]) as caught:
            request.parse_response(pdu)
        assert (caught.value.function_code, caught.value.exception_code) == (request.function_code, pdu[1])
        return
    if "error" in row:
        with pytest.raises(getattr(errors, row["error"])):
            request.parse_response(pdu)
        return
    brought = request.parse_response(pdu)
    assert brought == outcome(row)
    assert request.build_response(*([] if brought is None else [brought])) == pdu


@pytest.mark.parametrize("row", golden("modbus_responses.toml", "response", without="error"))
def test_every_cut_of_a_response_is_judged_from_exact_buffers(row: dict[str, Any]) -> None:
    request = modbus.parse_request(heap(unhex(row["request"])))
    pdu = unhex(row["pdu"])
    for size in range(len(pdu)):
        with pytest.raises((errors.RemoteProtocolError, errors.ExceptionResponseError)):
            request.parse_response(heap(pdu[:size]))


@pytest.mark.parametrize("row", golden("modbus_requests.toml", "request"))
def test_every_cut_of_a_request_is_refused_from_exact_buffers(row: dict[str, Any]) -> None:
    pdu = unhex(row["pdu"])
    for size in range(1, len(pdu)):
        with pytest.raises(errors.ExceptionResponseError) as caught:
            modbus.parse_request(heap(pdu[:size]))
        assert caught.value.exception_code == ExceptionCode.ILLEGAL_DATA_VALUE


@pytest.mark.parametrize("function_code", list(FunctionCode))
@pytest.mark.parametrize("exception_code", list(ExceptionCode))
def test_every_exception_response(codec: ModuleType, function_code: int, exception_code: int) -> None:
    pdu = codec.build_exception_response(function_code, exception_code)
    assert pdu == bytes([function_code + 0x80, exception_code])


@pytest.mark.parametrize("codes", [(3, 0), (3, 7), (3, 255), (0x80, 1), (-1, 1)])
def test_illegal_exception_response_is_not_built(codec: ModuleType, codes: tuple[int, int]) -> None:
    with pytest.raises(errors.LocalProtocolError):
        codec.build_exception_response(*codes)


@pytest.mark.parametrize("values", [[], [1], [1, 2, 3], [1, 65536], [-1, 0]])
def test_illegal_response_is_not_built(codec: ModuleType, values: list[int]) -> None:
    with pytest.raises(errors.LocalProtocolError):
        codec.ReadHoldingRegisters(0, 2).build_response(values)


@pytest.mark.parametrize(
    "identification",
    [
        modbus.DeviceIdentification(0, {}),
        modbus.DeviceIdentification(1, {0: b"x" * 245}),
        modbus.DeviceIdentification(1, {0: b"x"}, next_object_id=0),
    ],
)
def test_illegal_identification_is_not_built(
    codec: ModuleType, identification: modbus.DeviceIdentification
) -> None:
    with pytest.raises(errors.LocalProtocolError):
        codec.ReadDeviceIdentification(1).build_response(identification)


def test_identification_fills_a_pdu(codec: ModuleType) -> None:
    request = codec.ReadDeviceIdentification(modbus.ReadDeviceIdCode.BASIC)
    whole = modbus.DeviceIdentification(1, {0: b"x" * 244})
    assert len(request.build_response(whole)) == 253
    assert request.parse_response(request.build_response(whole)) == whole


@pytest.mark.parametrize("value", [1.0, "1", None, b"\x01"])
def test_only_integers_reach_a_device(codec: ModuleType, value: Any) -> None:
    with pytest.raises(TypeError):
        codec.WriteSingleRegister(0, value)
    with pytest.raises(TypeError):
        codec.WriteMultipleRegisters(0, [value])
    with pytest.raises(TypeError):
        codec.WriteSingleCoil(0, value)


def test_padding_of_coils_means_nothing(codec: ModuleType) -> None:
    assert codec.parse_request(b"\x0f\x00\x00\x00\x03\x01\xfd") == codec.WriteMultipleCoils(0, [1, 0, 1])
    assert codec.ReadCoils(0, 3).parse_response(b"\x01\x01\xfd") == (True, False, True)


def test_registers_come_from_any_integers() -> None:
    assert modbus.WriteMultipleRegisters(0, array("H", [1, 2])).values == (1, 2)
    assert modbus.WriteMultipleRegisters(0, range(3)).quantity == 3
    assert modbus.ReadHoldingRegisters(0, 2).build_response(v for v in (1, 2)) == b"\x03\x04\x00\x01\x00\x02"


def test_requests_are_values() -> None:
    request = modbus.ReadHoldingRegisters(2000, 10)
    assert request == modbus.ReadHoldingRegisters(2000, 10)
    assert request != modbus.ReadInputRegisters(2000, 10)
    assert request != request.pdu
    assert len({request, modbus.ReadHoldingRegisters(2000, 10)}) == 1
    assert pickle.loads(pickle.dumps(request)) == request
    assert repr(request) == "ReadHoldingRegisters(starting_address=2000, quantity=10)"
    with pytest.raises(AttributeError):
        request.quantity = 11  # type: ignore[misc]
    with pytest.raises(TypeError, match="subclasses"):
        modbus.Request()


def test_a_request_without_a_pdu_is_refused_not_read() -> None:
    hollow = modbus.ReadCoils.__new__(modbus.ReadCoils)
    for use in (
        lambda: hollow.quantity,
        lambda: hollow.parse_response(b"\x01\x01\x00"),
        lambda: repr(hollow),
    ):
        with pytest.raises(TypeError):
            use()


def test_errors_say_what_and_how_much() -> None:
    with pytest.raises(errors.LocalProtocolError, match=r"quantity 126: must be 1 to 125"):
        modbus.ReadHoldingRegisters(0, 126)
    with pytest.raises(
        errors.ResponseMismatchError, match=r"function 0x03: byte count 18 with 18 bytes of data"
    ):
        modbus.ReadHoldingRegisters(0, 10).parse_response(b"\x03\x12" + bytes(18))
    with pytest.raises(errors.ExceptionResponseError, match=r"function 0x03: exception 255 \(unknown 255\)"):
        modbus.ReadHoldingRegisters(0, 10).parse_response(b"\x83\xff")
