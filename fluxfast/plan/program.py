"""Points to ops: the decode program of a block, and the kind of column a point needs.

Scale and offset are decimals, so value = (raw * mul + add) / div with three whole numbers gives the double
nearest to the exact decimal: 2301 at scale 0.1 is 230.1.
"""

import struct
from dataclasses import dataclass
from fractions import Fraction
from math import inf, lcm

from fluxfast.plan import structs
from fluxfast.plan.blocks import BlockLayout
from fluxfast.profiles import Point

FLOAT64, FLOAT32, INT64, UINT64, BOOL, STRING = range(6)  # value_kind of table/decode.pxd
DTYPES = ("float64", "float32", "int64", "uint64", "bool", "string")
WIDTHS = (8, 4, 8, 8, 1, 0)

_RAW = {
    "signed": structs.INT,
    "unsigned": structs.UINT,
    "float": structs.FLOAT,
    "bool": structs.UINT,
    "string": structs.STRING,
}


@dataclass(frozen=True)
class Value:
    """What a column holds: ``kind`` (value_kind) and bytes per value."""

    kind: int
    width: int

    @property
    def dtype(self) -> str:
        """The column's dtype by name, as the log takes it."""
        return DTYPES[self.kind]


def column_value(point: Point) -> Value:
    """Return the column that holds this point without loss.

    A device's own floats stay float32; scaled integers become float64 with exact decimals; plain integers
    stay integers.
    """
    if point.type == "string":
        return Value(STRING, 2 * point.size)
    if point.type == "bool":
        kind = BOOL
    elif point.type in ("float16", "float32"):
        kind = FLOAT32
    elif point.type == "float64" or _scaled(point):
        kind = FLOAT64
    else:
        plain = point.bits is None and not point.states
        kind = UINT64 if point.type == "uint64" and plain else INT64
    return Value(kind, WIDTHS[kind])


def join_values(a: Value, b: Value) -> Value | None:
    """Return the column that holds both, or None where there is none (text and numbers)."""
    if a == b:
        return a
    if STRING in (a.kind, b.kind):
        return Value(STRING, max(a.width, b.width)) if a.kind == b.kind else None
    return Value(FLOAT64, 8)


def point_op(point: Point, block: BlockLayout, column: int, first_sentinel: int) -> tuple[object, ...]:
    """Return the OP tuple that decodes ``point`` out of a reply to ``block`` into ``column``."""
    distance = point.address - block.address
    sentinels = point.not_implemented
    low, high = map(float, point.limits) if point.limits is not None else (-inf, inf)
    mul, add, div = affine(point)
    bits = (point.bit, point.bit) if point.bit is not None else point.bits
    if point.register in ("coil", "discrete"):
        source, size, raw = distance, 1, structs.BIT
    else:
        source, size = 2 * distance, 2 * point.size
        raw = raw_kind(point)
    return (
        column,
        source,
        size,
        raw,
        point.swap_bytes * structs.SWAP_BYTES + point.swap_words * structs.SWAP_WORDS,
        bits[0] if bits else 0,
        len(sentinels),
        first_sentinel,
        _scaled(point),
        not (sentinels or bits or _scaled(point) or point.limits),
        (1 << (bits[1] - bits[0] + 1)) - 1 if bits else 0,
        mul,
        add,
        div,
        low,
        high,
    )


def raw_sentinels(point: Point) -> list[int]:
    """Return the raw values that mean "no value" as bit patterns of the point's own width."""
    if point.kind == "float":
        code = {1: "e", 2: "f", 4: "d"}[point.size]
        return [int.from_bytes(struct.pack(">" + code, value)) for value in point.not_implemented]
    return [int(value) & ((1 << (16 * point.size)) - 1) for value in point.not_implemented]


def raw_kind(point: Point) -> int:
    """Return the raw_kind of table/decode.pxd of a point in registers."""
    return _RAW[point.kind]


def _scaled(point: Point) -> bool:
    return point.scale != 1 or point.offset != 0


def affine(point: Point) -> tuple[float, float, float]:
    """Return (mul, add, div), whole numbers: value = (raw * mul + add) / div."""
    scale, offset = Fraction(point.scale), Fraction(point.offset)
    div = lcm(scale.denominator, offset.denominator)
    return float(scale * div), float(offset * div), float(div)
