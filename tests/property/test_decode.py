"""The decode kernel against struct: every type, byte order, scale, sentinel and bit field."""

import math
import struct
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxfast.plan.blocks import plan_blocks
from fluxfast.plan.program import FLOAT64, Value, column_value, decode_program, join_values
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
    table, _ = decode_together([point], replies, value and [value])
    return table[point.name], table.quality[0]


def decode_together(points, replies, kinds=None):
    """Decode replies (bytes each) to one read of points, which follow each other; return (table, ops)."""
    (block,) = plan_blocks(Profile(name="t", points={p.name: p for p in points}))
    values = kinds or [column_value(p) for p in block.points]
    columns = [(p.name, v.kind, v.width) for p, v in zip(block.points, values, strict=True)]
    table = Table("t", columns, len(replies), np.zeros((len(points), len(replies)), bool))
    ops, sentinels = decode_program([(block, range(len(points)))], [v.kind for v in values])
    data = np.frombuffer(b"".join(replies), np.uint8).reshape(len(replies), block.data_size)
    decode_replies(
        ops.view(np.uint8), sentinels, data, table.structs.view(np.uint8),
        np.arange(len(replies), dtype=np.int32),
    )  # fmt: skip
    return table, ops


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


LOOKS = [
    {"type": "float32"},
    {"type": "float32", "byte_order": "CDAB"},
    {"type": "float32", "not_implemented": (0,), "limits": (-1, 1)},
    {"type": "float32", "scale": Decimal(1000)},
    {"type": "float64", "byte_order": "GHEFCDAB"},
    {"type": "float16"},
    {"type": "int16", "scale": Decimal("0.1"), "not_implemented": (-32768, -1)},
    {"type": "int16"},
    {"type": "uint16", "limits": (0, 1000)},
    {"type": "uint32", "byte_order": "BADC"},
    {"type": "uint64", "scale": Decimal("0.5")},
    {"type": "int64"},
    {"type": "uint16", "bits": (3, 9)},
    {"type": "bool", "bit": 2},
    {"type": "string", "length": 2},
]
# Registers that a random byte seldom makes: sentinels, zeros, infinite and not a number.
ODD = st.sampled_from(
    [bytes.fromhex(h) for h in ("0000", "ffff", "8000", "7f80", "ff80", "7fc0", "7fff", "7c00", "7f7f")]
)


@settings(deadline=None)
@given(st.data())
def test_points_decode_together_as_each_does_alone(data):
    looks = data.draw(st.lists(st.tuples(st.sampled_from(LOOKS), st.integers(1, 40)), min_size=1, max_size=4))
    points, address = [], 0
    for look, count in looks:
        for _ in range(count):
            new = Point(name=f"p{len(points)}", address=address, **look)
            if address + new.size > 125:
                break
            points.append(new)
            address += new.size
    replies = []
    for _ in range(data.draw(st.integers(1, 3))):
        reply = bytearray(data.draw(st.binary(min_size=2 * address, max_size=2 * address)))
        for register, odd in data.draw(st.lists(st.tuples(st.integers(0, address - 1), ODD), max_size=20)):
            reply[2 * register : 2 * register + 2] = odd
        replies.append(bytes(reply))
    joined = Value(FLOAT64, 8) if data.draw(st.booleans()) else None
    kinds = [(joined and join_values(value, joined)) or value for value in map(column_value, points)]
    together, _ = decode_together(points, replies, kinds)
    for c, one in enumerate(points):
        own = slice(2 * one.address, 2 * (one.address + one.size))
        alone, _ = decode_together(
            [one.model_copy(update={"address": 0})], [reply[own] for reply in replies], [kinds[c]]
        )
        assert together.quality[c].tolist() == alone.quality[0].tolist()
        good = alone.quality[0] < quality.BAD
        assert together.values[c][good].tolist() == alone.values[0][good].tolist()


def test_what_goes_on_is_a_run():
    floats = [point(type="float32").model_copy(update={"name": f"f{i}", "address": 2 * i}) for i in range(5)]
    tenths = [Point(name=f"t{i}", address=10 + i, type="int16", scale=Decimal("0.1")) for i in range(3)]
    other = [Point(name="o", address=14, type="int16", scale=Decimal("0.1"))]  # after a hole
    _, ops = decode_together([*floats, *tenths, *other], [bytes(30)])
    assert ops["alike"].tolist() == [4, 3, 2, 1, 0, 2, 1, 0, 0]
