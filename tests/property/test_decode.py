"""The decode kernel against struct: every type, byte order, scale, sentinel and bit field."""

import math
import struct
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxfast.plan.blocks import plan_blocks
from fluxfast.plan.program import FLOAT64, column_value, join_values, point_op, raw_sentinels
from fluxfast.plan.structs import OP
from fluxfast.profiles import Point, Profile
from fluxfast.table import Table, decode_replies, quality

NUMBERS = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float16": "e",
    "float32": "f",
    "float64": "d",
}
ORDERS = ["ABCD", "DCBA", "BADC", "CDAB"]
ADDRESS = 7


def order_of(point_type, order):
    """Return the order's name as the type's width spells it."""
    size = struct.calcsize(NUMBERS[point_type])
    return {2: {"ABCD": "AB", "DCBA": "BA"}.get(order), 4: order}.get(
        size, {"ABCD": "ABCDEFGH", "DCBA": "HGFEDCBA", "BADC": "BADCFEHG", "CDAB": "GHEFCDAB"}[order]
    )


def arrange(data, order):
    """Put big-endian bytes on the wire in one of the four orders."""
    words = [data[i : i + 2] for i in range(0, len(data), 2)]
    if order in ("DCBA", "CDAB"):
        words.reverse()
    if order in ("DCBA", "BADC"):
        words = [w[::-1] for w in words]
    return b"".join(words)


def decode(point, replies, value=None):
    """Decode one point out of replies (bytes each), into its own or another kind of column."""
    profile = Profile(name="t", title="t", version=1, points={point.name: point})
    (block,) = plan_blocks(profile)
    value = value or column_value(point)
    table = Table(
        "t", [(point.name, value.kind, value.width)], len(replies), np.zeros((1, len(replies)), bool)
    )
    ops = np.array([point_op(point, block, 0, 0)], OP).view(np.uint8)
    data = np.frombuffer(b"".join(replies), np.uint8).reshape(len(replies), block.data_size)
    rows = np.arange(len(replies), dtype=np.int32)
    sentinels = np.array(raw_sentinels(point), np.uint64)
    decode_replies(ops, sentinels, data, table.structs.view(np.uint8), rows)
    return table[point.name], table.quality[0]


def point(**fields):
    return Point(name="p", address=ADDRESS, **fields)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", NUMBERS)
@given(data=st.data())
def test_plain_values_equal_struct(kind, order, data):
    spelled = order_of(kind, order)
    if spelled is None:
        return  # one register has no word order
    size = struct.calcsize(NUMBERS[kind])
    raws = data.draw(st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=20))
    values, codes = decode(point(type=kind, byte_order=spelled), [arrange(r, order) for r in raws])
    for raw, value, code in zip(raws, values, codes, strict=True):
        (expected,) = struct.unpack(">" + NUMBERS[kind], raw)
        if isinstance(expected, float) and not math.isfinite(expected):
            assert code == quality.NAN
        else:
            assert code == quality.GOOD
            assert value == expected


@given(
    raw=st.integers(-(2**31), 2**31 - 1),
    scale=st.decimals("0.0001", "1000", places=4).filter(bool),
    offset=st.decimals("-1000", "1000", places=2),
)
def test_scaled_integers_are_the_nearest_double_to_the_exact_decimal(raw, scale, offset):
    values, codes = decode(point(type="int32", scale=scale, offset=offset), [struct.pack(">i", raw)])
    assert codes[0] == quality.GOOD
    if scale != 1 or offset != 0:
        assert values.dtype == np.float64
    assert values[0] == float(Fraction(scale) * raw + Fraction(offset))


def test_a_tenth_is_a_tenth():
    values, _ = decode(point(type="uint16", scale=Decimal("0.1")), [struct.pack(">H", 2301)])
    assert values[0] == 230.1


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_scaled_float32_stays_float32(raw):
    values, codes = decode(point(type="float32", scale=Decimal(1000)), [struct.pack(">f", raw)])
    assert values.dtype == np.float32
    with np.errstate(over="ignore"):
        expected = np.float32(raw * 1000.0)
    if np.isfinite(expected):
        assert values[0] == expected
    else:
        assert codes[0] == quality.NAN


@pytest.mark.parametrize("order", ["AB", "BA"])
@given(text=st.binary(min_size=6, max_size=6))
def test_strings(order, text):
    values, _ = decode(
        point(type="string", length=3, byte_order=order), [arrange(text, {"AB": "ABCD", "BA": "BADC"}[order])]
    )
    assert values[0] == text.split(b"\0")[0]


@given(raw=st.integers(0, 0xFFFF), bit=st.integers(0, 15))
def test_one_bit(raw, bit):
    values, _ = decode(point(type="bool", bit=bit), [struct.pack(">H", raw)])
    assert values[0] == bool(raw >> bit & 1)


@given(raw=st.integers(0, 2**32 - 1), low=st.integers(0, 31), width=st.integers(1, 32))
def test_a_field_of_bits(raw, low, width):
    high = min(low + width - 1, 31)
    values, _ = decode(point(type="uint32", bits=(low, high)), [struct.pack(">I", raw)])
    assert values[0] == raw >> low & ((1 << (high - low + 1)) - 1)


def test_sentinels_are_raw_and_signed():
    p = point(type="int16", scale=Decimal("0.1"), not_implemented=(-32768,))
    values, codes = decode(p, [b"\x80\x00", b"\x80\x01"])
    assert codes.tolist() == [quality.NOT_IMPLEMENTED, quality.GOOD]
    assert values[1] == -3276.7


def test_a_value_outside_its_limits_is_kept_and_uncertain():
    p = point(type="uint16", limits=(0, 100))
    values, codes = decode(p, [struct.pack(">H", n) for n in (0, 100, 101)])
    assert codes.tolist() == [quality.GOOD, quality.GOOD, quality.RANGE]
    assert values.tolist() == [0, 100, 101]


@given(st.integers(0, 255))
def test_a_coil(byte):
    p = Point(name="p", address=3, register="coil", type="bool")
    values, _ = decode(p, [bytes([byte])])
    assert values[0] == bool(byte & 1)


def test_a_coil_is_a_number_where_other_devices_have_one_under_its_name():
    coil = point(type="bool", register="coil")
    joined = join_values(column_value(coil), column_value(point(type="uint16")))
    assert joined.kind == FLOAT64
    values, codes = decode(coil, [b"\x01", b"\x00", b"\x01"], joined)
    assert values.tolist() == [1.0, 0.0, 1.0]
    assert not codes.any()
