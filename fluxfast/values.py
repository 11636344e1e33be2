"""One device's values: what the registers of an answer mean, and which registers a value takes.

Reading goes by the kernel that polls fleets, so a tool shows what the log would hold. Writing is exact
arithmetic in Python: what is rounded, out of range or of the wrong kind is refused, never bent.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

import numpy as np

from fluxfast.errors import LocalProtocolError
from fluxfast.plan.blocks import READ_FUNCTION, BlockLayout
from fluxfast.plan.program import column_value, decode_program
from fluxfast.profiles import Point
from fluxfast.profiles.findings import nearest
from fluxfast.profiles.types import TYPES
from fluxfast.table import Table, quality
from fluxfast.table.decode import decode_replies

Value = float | int | bool | str
_FLOATS: Final = {1: "e", 2: "f", 4: "d"}
_BOOLS: Final = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Reading:
    """One point as an answer had it: ``value`` in engineering units, None where ``code`` is bad."""

    point: Point
    value: Value | None
    code: int  # table.quality
    raw: bytes  # its registers as they came; of a coil or discrete input one byte, 0 or 1

    @property
    def label(self) -> str | None:
        """The name of its state, if it has one."""
        return (
            self.point.states.get(int(self.value)) if self.point.states and self.value is not None else None
        )

    @property
    def shown(self) -> Value:
        """The value, its state, or why there is none."""
        if self.value is None:
            return quality.reason(self.code) or "bad"
        return self.label if self.label is not None else self.value


class Decoder:
    """Decodes the answers to one read, by the kernel that stations decode with."""

    def __init__(self, block: BlockLayout) -> None:
        """Take a read and its points, all of which lie inside it."""
        values = [column_value(point) for point in block.points]
        ops, self._sentinels = decode_program([(block, range(len(values)))], [value.kind for value in values])
        self._block = block
        self._ops = ops.view(np.uint8)
        self._table = Table(
            "answer",
            [(p.name, v.kind, v.width) for p, v in zip(block.points, values, strict=True)],
            1,
            np.zeros((len(block.points), 1), bool),
        )

    def decode(self, data: bytes) -> list[Reading]:
        """Return the reading of each point; ``data`` is the answer's, without its byte count."""
        if len(data) != self._block.data_size:
            raise ValueError(f"{len(data)} bytes are no answer to a read of {self._block.data_size}")
        if not self._block.points:
            return []
        table = self._table
        decode_replies(
            self._ops, self._sentinels, np.frombuffer(data, np.uint8)[None, :], table.structs.view(np.uint8),
            np.zeros(1, np.int32),
        )  # fmt: skip
        return [
            Reading(
                point,
                plain(table.values[c][0]) if table.quality[c, 0] < quality.BAD else None,
                int(table.quality[c, 0]),
                self._raw(point, data),
            )
            for c, point in enumerate(self._block.points)
        ]

    def _raw(self, point: Point, data: bytes) -> bytes:
        at = point.address - self._block.address
        if point.in_bit_table:
            return bytes([data[at // 8] >> at % 8 & 1])
        return data[2 * at : 2 * (at + point.size)]


def block_of(points: Sequence[Point]) -> BlockLayout:
    """Return the one read from the first to the last of some points of a table, however long it is."""
    first = min(point.address for point in points)
    last = max(point.address + point.size for point in points)
    return BlockLayout(READ_FUNCTION[points[0].register], first, last - first, 1, tuple(points))


def plain(cell: np.generic) -> Value:
    """Return a table's cell as Python has it: a float32 without digits that it does not have."""
    value = cell.item()
    if isinstance(value, bytes):
        return value.decode("ascii", "backslashreplace")
    if isinstance(cell, np.float32):
        return float(str(cell))  # 230.1, not 230.10000610351562
    assert isinstance(value, float | int | bool)
    return value


# ---- writing ----


def encode(point: Point, text: str) -> tuple[int, ...]:
    """Return the registers (of a coil: 0 or 1) that hold what a user wrote: a number, a state, on or off.

    The inverse of decoding: raw = (value − offset) / scale. Raises LocalProtocolError with the reason and a
    cure where a point does not take that value; a point that is only bits of a register takes none.
    """
    if point.bits is not None or (point.bit is not None and not point.in_bit_table):
        raise _refused(point, text, "it is part of a register", "write the whole register by its address")
    kind = TYPES[point.type].kind
    if kind == "bool":
        if text.strip().lower() not in _BOOLS:
            raise _refused(point, text, "it is on or off", "write on, off, 1 or 0")
        return (int(_BOOLS[text.strip().lower()]),)
    if kind == "string":
        return _registers(point, _text_bytes(point, text))
    if kind == "float":
        return _registers(point, _float_bytes(point, text))
    return _registers(point, _integer_bytes(point, text))


def _text_bytes(point: Point, text: str) -> bytes:
    size = 2 * point.size
    if not text.isascii() or len(text) > size:
        raise _refused(point, text, f"it holds up to {size} ASCII characters", "shorten it")
    return text.encode().ljust(size, b"\0")


def _float_bytes(point: Point, text: str) -> bytes:
    raw = (_number(point, text) - Fraction(point.offset)) / Fraction(point.scale)
    try:
        data = struct.pack(">" + _FLOATS[point.size], float(raw))
    except OverflowError:
        raise _refused(point, text, f"a {point.type} cannot hold it", "check the scale") from None
    return data


def _integer_bytes(point: Point, text: str) -> bytes:
    raw = _state(point, text)
    if raw is None:
        exact = (_number(point, text) - Fraction(point.offset)) / Fraction(point.scale)
        if exact.denominator != 1:
            below, above = (
                float(n * Fraction(point.scale) + Fraction(point.offset)) for n in _neighbours(exact)
            )
            cure = f"write {below:g} or {above:g}"
            raise _refused(point, text, f"its register counts in steps of {abs(point.scale)}", cure)
        raw = int(exact)
    width, signed = 16 * point.size, point.kind == "signed"
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
    if not low <= raw <= high:
        ends = sorted(float(n * Fraction(point.scale) + Fraction(point.offset)) for n in (low, high))
        raise _refused(
            point, text, f"{point.type} holds {ends[0]:,g} to {ends[1]:,g}", "check value and scale"
        )
    return raw.to_bytes(width // 8, signed=signed)


def _neighbours(exact: Fraction) -> tuple[int, int]:
    return exact.numerator // exact.denominator, exact.numerator // exact.denominator + 1


def _state(point: Point, text: str) -> int | None:
    """Return the raw value of a state's name; None where ``text`` is no name."""
    states = {label: raw for raw, label in (point.states or {}).items()}
    if text in states:
        return states[text]
    if states and re.search(r"[A-Za-z_]", text) and not re.fullmatch(r"0[xX][0-9A-Fa-f]+", text.strip()):
        raise _refused(point, text, "it has no such state", nearest(text, states))
    return None


def _number(point: Point, text: str) -> Fraction:
    text = text.strip().replace("−", "-")
    try:
        if re.fullmatch(r"[+-]?0[xX][0-9A-Fa-f]+", text):
            number = Decimal(int(text, 16))
        elif not text.isascii() or "_" in text:  # Decimal takes the digits of every script
            raise InvalidOperation
        else:
            number = Decimal(text)
    except InvalidOperation:
        raise _refused(point, text, "it is no number", "write one like 50, -12.5 or 0x32") from None
    if not number.is_finite() or abs(number.adjusted()) > 400:  # of 1e-99999999 a Fraction takes all memory
        raise _refused(point, text, "it is no finite number within reach", "write one like 50")
    value = Fraction(number)
    if point.limits is not None and not point.limits[0] <= number <= point.limits[1]:
        low, high = point.limits
        raise _refused(point, text, f"it may be {low} to {high}{_unit(point)}", "the profile's limits say so")
    return value


def _registers(point: Point, data: bytes) -> tuple[int, ...]:
    """Return the registers of a value's bytes, most significant first, in the order in which they travel."""
    words = [data[at : at + 2] for at in range(0, len(data), 2)]
    if point.swap_words:
        words.reverse()
    return tuple(int.from_bytes(word, "little" if point.swap_bytes else "big") for word in words)


def _unit(point: Point) -> str:
    return f" {point.unit}" if point.unit else ""


def _refused(point: Point, text: str, why: str, cure: str) -> LocalProtocolError:
    return LocalProtocolError(
        f"{point.name} cannot be {text!r}: {why} ({cure})"
        if cure
        else f"{point.name} cannot be {text!r}: {why}"
    )
