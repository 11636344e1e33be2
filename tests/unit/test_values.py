"""Values to registers and back: what is written is what is read, and what does not fit is refused."""

import struct
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxfast.errors import LocalProtocolError
from fluxfast.profiles import Point
from fluxfast.profiles.types import BYTE_ORDERS, TYPES
from fluxfast.values import Decoder, block_of, encode


def point(type_: str = "uint16", **keys) -> Point:
    return Point(name="p", address=100, type=type_, **keys)


def back(one: Point, registers: tuple[int, ...]):
    data = struct.pack(f">{len(registers)}H", *registers)
    (reading,) = Decoder(block_of([one])).decode(data)
    assert reading.raw == data
    return reading


NUMBERS = {
    "int16": st.integers(-(2**15), 2**15 - 1), "uint16": st.integers(0, 2**16 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1), "uint32": st.integers(0, 2**32 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1), "uint64": st.integers(0, 2**64 - 1),
    "float16": st.floats(width=16, allow_nan=False, allow_infinity=False),
    "float32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "float64": st.floats(allow_nan=False, allow_infinity=False),
}  # fmt: skip


@pytest.mark.parametrize("type_", NUMBERS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_value_comes_back_in_every_order(type_, data) -> None:
    value = data.draw(NUMBERS[type_])
    for order in BYTE_ORDERS[TYPES[type_].width]:
        one = point(type_, byte_order=order)
        registers = encode(one, repr(value))
        assert encode(one, repr(back(one, registers).value)) == registers  # shown as short as can be
        if type_ not in ("float16", "float32"):
            assert back(one, registers).value == value


@given(st.integers(-32768, 32767))
@settings(max_examples=40, deadline=None)
def test_scale_and_offset_are_exact(raw: int) -> None:
    one = point("int16", scale=0.1, offset=-40)
    assert encode(one, str(Decimal(raw) / 10 - 40)) == (raw & 0xFFFF,)


@pytest.mark.parametrize(
    ("one", "text", "registers"),
    [
        (point("int16"), "-50", (0xFFCE,)),
        (point("uint16"), "0x32", (50,)),
        (point("float32"), "1", (0x3F80, 0)),
        (point("float32", byte_order="CDAB"), "1", (0, 0x3F80)),
        (point("float32", byte_order="BADC"), "1", (0x803F, 0)),
        (point("float32", byte_order="DCBA"), "1", (0, 0x803F)),
        (point("uint16", states={1: "READY", 2: "off"}), "READY", (1,)),
        (point("uint16", states={1: "READY"}), "7", (7,)),
        (point("string", length=2), "abc", (0x6162, 0x6300)),
        (point("bool", register="coil"), "on", (1,)),
        (point("bool", register="coil"), "0", (0,)),
        (point("uint16", scale=0.5), "2.5", (5,)),
    ],
)
def test_known_values(one: Point, text: str, registers: tuple[int, ...]) -> None:
    assert encode(one, text) == registers


@pytest.mark.parametrize(
    ("one", "text", "message"),
    [
        (point("uint16"), "70000", "uint16 holds 0 to 65,535"),
        (point("uint16"), "-1", "uint16 holds 0 to 65,535"),
        (point("uint16"), "1.5", "steps of 1 (write 1 or 2)"),
        (point("uint16", scale=0.1), "0.15", "steps of 0.1 (write 0.1 or 0.2)"),
        (point("uint16"), "nan", "no finite number"),
        (point("float32"), "inf", "no finite number"),
        (point("float32"), "1e39", "a float32 cannot hold it"),
        (point("float64"), "1e999", "no finite number"),
        (point("float64"), "1e-99999999", "no finite number"),
        (point("float64"), "0e-99999999", "no finite number"),
        (point("uint16"), "fifty", "no number"),
        (point("int16", limits=[-250, 250]), "251", "it may be -250 to 250"),
        (point("int16", limits=[-250, 250]), "0x7FFF", "it may be -250 to 250"),
        (point("uint16", states={1: "READY"}), "READI", "did you mean 'READY'?"),
        (point("uint16", bits=[0, 3]), "1", "part of a register"),
        (point("bool", bit=3), "on", "part of a register"),
        (point("string", length=1), "abc", "up to 2 ASCII characters"),
        (point("bool", register="coil"), "2", "it is on or off"),
    ],
)
def test_what_does_not_fit_is_refused(one: Point, text: str, message: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode(one, text)
    assert message in str(caught.value)


def test_a_reading_says_why_it_has_no_value() -> None:
    one = point("int16", not_implemented=0x8000)
    reading = back(one, (0x8000,))
    assert (reading.value, reading.shown) == (None, "not implemented")
    state = back(point("uint16", states={1: "READY"}), (1,))
    assert (state.value, state.label, state.shown) == (1, "READY", "READY")
