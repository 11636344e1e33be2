"""Points to ops: the decode program of a block, and the kind of column a point needs.

Scale and offset are decimals, so value = (raw * mul + add) / div with three whole numbers gives the double
nearest to the exact decimal: 2301 at scale 0.1 is 230.1.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, lcm

import numpy as np
from numpy.typing import NDArray

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


def decode_program(
    blocks: Iterable[tuple[BlockLayout, Sequence[int]]], kinds: Sequence[int]
) -> tuple[NDArray[np.void], NDArray[np.uint64]]:
    """Return the ops (structs.OP) that decode replies to these blocks, and the sentinels that they look for.

    Each block comes with the columns of its points; ``kinds`` is the value_kind of every column. Ops stand
    in the order of blocks and points.
    """
    ops: list[tuple[object, ...]] = []
    sentinels: list[int] = []
    known: dict[tuple[int, ...], int] = {}
    for block, columns in blocks:
        for point, column in zip(block.points, columns, strict=True):
            none_of = tuple(_raw_sentinels(point))
            first = known.setdefault(none_of, len(sentinels))
            if first == len(sentinels):
                sentinels.extend(none_of)
            ops.append(_op(point, block, column, kinds[column], first))
    program = np.array(ops, structs.OP)
    find_runs(program, kinds)
    return program, np.array(sentinels, np.uint64)


def find_runs(ops: NDArray[np.void], kinds: Sequence[int]) -> None:
    """Fill in ``alike``: how many ops after each one continue it, in the reply and in the columns.

    What continues is the same but for its place, so that the kernel decodes all of it in one go, from
    whichever op it begins with: a block may be cut anywhere.
    """
    before, after = ops[:-1], ops[1:]
    kind = np.array(kinds, np.int32)[ops["column"]]
    goes_on = (
        (ops["raw"][1:] != structs.STRING)
        & (after["column"] == before["column"] + 1)
        & (after["source"] == before["source"] + before["size"])
        & (kind[1:] == kind[:-1])
    )
    for name in structs.OP.names or ():
        if name not in ("column", "source", "alike"):
            goes_on &= after[name] == before[name]
    alike = 0
    for i in range(len(goes_on) - 1, -1, -1):
        alike = alike + 1 if goes_on[i] else 0
        ops["alike"][i] = alike


def _op(point: Point, block: BlockLayout, column: int, kind: int, first_sentinel: int) -> tuple[object, ...]:
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
    held = kind == FLOAT32 and size == 4 if raw == structs.FLOAT else kind in (INT64, UINT64, BOOL)
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
        held and not (sentinels or _scaled(point) or point.limits),
        0,
        (1 << (bits[1] - bits[0] + 1)) - 1 if bits else 0,
        mul,
        add,
        div,
        low,
        high,
    )


def _raw_sentinels(point: Point) -> list[int]:
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
