"""Strategies for every legal message, and for bytes that nearly are one."""

from array import array
from collections.abc import Callable
from types import ModuleType
from typing import Any

import hypothesis
from hypothesis import strategies as st

from fluxfast import modbus
from fluxfast.errors import ExceptionResponseError, FluxfastError

U8 = st.integers(0, 0xFF)
U16 = st.integers(0, 0xFFFF)
Fields = tuple[str, dict[str, Any]]


def given(*strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hypothesis' given with 400 examples; without a deadline, because the machine may be busy."""
    thorough = hypothesis.settings(max_examples=400, deadline=None)
    return lambda test: thorough(hypothesis.given(*strategies)(test))


@st.composite
def spans(draw: st.DrawFn, limit: int) -> tuple[int, int]:
    quantity = draw(st.integers(1, limit))
    return draw(st.integers(0, 65536 - quantity)), quantity


def read(name: str, limit: int) -> st.SearchStrategy[Fields]:
    return spans(limit).map(lambda s: (name, {"starting_address": s[0], "quantity": s[1]}))


@st.composite
def write(draw: st.DrawFn, name: str, limit: int, value: st.SearchStrategy[Any]) -> Fields:
    values = tuple(draw(st.lists(value, min_size=1, max_size=limit)))
    return name, {"starting_address": draw(st.integers(0, 65536 - len(values))), "values": values}


@st.composite
def read_write(draw: st.DrawFn) -> Fields:
    address, quantity = draw(spans(125))
    _, written = draw(write("", 121, U16))
    return "ReadWriteMultipleRegisters", {
        "read_starting_address": address,
        "read_quantity": quantity,
        "write_starting_address": written["starting_address"],
        "write_values": written["values"],
    }


def fixed(name: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Fields]:
    return st.fixed_dictionaries(fields).map(lambda values: (name, values))


requests: st.SearchStrategy[Fields] = st.one_of(
    read("ReadCoils", 2000),
    read("ReadDiscreteInputs", 2000),
    read("ReadHoldingRegisters", 125),
    read("ReadInputRegisters", 125),
    fixed("WriteSingleCoil", address=U16, value=st.booleans()),
    fixed("WriteSingleRegister", address=U16, value=U16),
    write("WriteMultipleCoils", 1968, st.booleans()),
    write("WriteMultipleRegisters", 123, U16),
    fixed("MaskWriteRegister", address=U16, and_mask=U16, or_mask=U16),
    read_write(),
    fixed("ReadDeviceIdentification", read_device_id_code=st.integers(1, 4), object_id=U8),
)


@st.composite
def identifications(draw: st.DrawFn, code: int, object_id: int) -> modbus.DeviceIdentification:
    level = draw(st.sampled_from([1, 2, 3, 0x81, 0x82, 0x83]))
    if code == modbus.ReadDeviceIdCode.SPECIFIC:
        return modbus.DeviceIdentification(level, {object_id: draw(st.binary(max_size=244))})
    objects = draw(st.dictionaries(U8, st.binary(max_size=38), max_size=6))
    last = max([object_id, *objects])
    following = st.none() if last == 0xFF else st.none() | st.integers(last + 1, 0xFF)
    return modbus.DeviceIdentification(level, objects, draw(following))


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Fields, list[Any]]:
    """A request, and the arguments of its build_response."""
    name, fields = draw(requests)
    if name.startswith(("Write", "Mask")):
        return (name, fields), []
    if name == "ReadDeviceIdentification":
        return (name, fields), [draw(identifications(fields["read_device_id_code"], fields["object_id"]))]
    quantity = fields.get("quantity") or fields["read_quantity"]
    # One draw for all values: 2000 single draws make hypothesis slow.
    seed = draw(st.binary(min_size=8, max_size=8))
    if name in ("ReadCoils", "ReadDiscreteInputs"):
        return (name, fields), [tuple(bool(seed[i % 8] >> i % 7 & 1) for i in range(quantity))]
    head = draw(st.lists(U16, max_size=min(quantity, 4)))
    rest = [int.from_bytes(seed[i % 7 : i % 7 + 2], "big") for i in range(quantity - len(head))]
    return (name, fields), [(*head, *rest)]


def make(codec: ModuleType, message: Fields) -> Any:
    name, fields = message
    return getattr(codec, name)(**fields)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Those bytes with some changed, cut or added."""
    out = bytearray(data)
    for at, value in draw(st.lists(st.tuples(st.integers(0, 20), U8), max_size=2)):
        if out:
            out[at % len(out)] = value
    end = draw(st.integers(-3, 3))
    return bytes(out[:end] if end < 0 else out + bytes(end))


nearly_requests = st.binary(max_size=20) | requests.flatmap(lambda m: damaged(make(modbus, m).pdu))


def heap(data: bytes) -> Any:
    """A buffer of exactly that size: a sanitizer sees a read past its end.

    Bytes have a hidden zero, and an array made from bytes has spare room; one made from a list has none.
    """
    return array("B", list(data))


def outcome(call: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
    """What a call comes to, so that two codecs can be compared: a result, or the kind of error."""
    try:
        return ("returned", repr(call(*args)))
    except ExceptionResponseError as error:
        return ("raised", type(error), error.function_code, error.exception_code, str(error))
    except FluxfastError as error:
        return ("raised", type(error))
