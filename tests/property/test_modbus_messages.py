"""Every message survives the wire, and the compiled codec agrees with the readable one on any bytes."""

from typing import Any

import modbus_messages as messages
import pytest
from hypothesis import strategies as st

from fluxfast import modbus
from fluxfast.errors import ExceptionResponseError, MalformedPduError, RemoteProtocolError
from fluxfast.modbus import reference

codecs = pytest.mark.parametrize("codec", [pytest.param(reference, id="ref"), pytest.param(modbus, id="cy")])


@codecs
@messages.given(messages.exchanges())
def test_what_is_built_is_parsed(codec: Any, exchange: tuple[messages.Fields, list[Any]]) -> None:
    (name, fields), response = exchange
    request = messages.make(codec, (name, fields))
    parsed = codec.parse_request(request.pdu)
    assert parsed == request
    assert {field: getattr(parsed, field) for field in fields} == fields
    assert len(request.pdu) <= 253
    pdu = request.build_response(*response)
    assert len(pdu) <= 253
    assert request.parse_response(pdu) == (response[0] if response else None)


@messages.given(messages.exchanges())
def test_both_codecs_build_the_same_bytes(exchange: tuple[messages.Fields, list[Any]]) -> None:
    message, response = exchange
    ours, theirs = (messages.make(codec, message) for codec in (modbus, reference))
    assert ours.pdu == theirs.pdu
    assert repr(ours) == repr(theirs)
    assert ours.build_response(*response) == theirs.build_response(*response)


@messages.given(messages.nearly_requests)
def test_both_codecs_read_any_request_alike(pdu: bytes) -> None:
    ours = messages.outcome(modbus.parse_request, messages.heap(pdu))
    assert ours == messages.outcome(reference.parse_request, pdu)
    assert ours[0] == "returned" or ours[1] in (ExceptionResponseError, MalformedPduError)


@messages.given(messages.exchanges(), st.data())
def test_both_codecs_judge_any_response_alike(
    exchange: tuple[messages.Fields, list[Any]], data: st.DataObject
) -> None:
    message, response = exchange
    ours, theirs = (messages.make(codec, message) for codec in (modbus, reference))
    good = ours.build_response(*response)
    pdu = data.draw(messages.damaged(good) | st.binary(max_size=12) | messages.nearly_requests)
    judged = messages.outcome(ours.parse_response, messages.heap(pdu))
    assert judged == messages.outcome(theirs.parse_response, pdu)
    if judged[0] == "raised":
        assert issubclass(judged[1], (RemoteProtocolError, ExceptionResponseError))
    elif message[0].startswith(("Write", "Mask")):
        assert pdu == good


@messages.given(st.lists(st.integers(-2, 70000) | st.integers(), min_size=2, max_size=2))
def test_both_codecs_refuse_the_same_fields(values: list[int]) -> None:
    for name in ("ReadCoils", "ReadInputRegisters", "WriteSingleRegister", "WriteSingleCoil"):
        ours, theirs = (messages.outcome(getattr(codec, name), *values) for codec in (modbus, reference))
        assert ours[:2] == theirs[:2]
