"""Byte order and addresses: does what was read make more sense arranged in another way?

Each arrangement of a unit's registers (as configured, another order of the bytes, all addresses one more or
less) is decoded by the kernel and judged point by point. Another one is claimed only where the configured one
has values that make no sense, and the other has none of these and several that do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from fluxfast.doctor.observed import Read
from fluxfast.doctor.plausible import judge
from fluxfast.plan.blocks import BlockLayout
from fluxfast.profiles import Point
from fluxfast.profiles.types import BYTE_ORDERS, TYPES, ByteOrder
from fluxfast.sim.meter import quantity_of
from fluxfast.values import Decoder, Reading

# What measurements of the same instant come to, by quantity; exact in the right arrangement only.
SUMS: Final = {
    "power_total": ("power_l1", "power_l2", "power_l3"),
    "reactive_power_total": ("reactive_power_l1", "reactive_power_l2", "reactive_power_l3"),
    "apparent_power_total": ("apparent_power_l1", "apparent_power_l2", "apparent_power_l3"),
}
MEANS: Final = {
    "voltage_ln_average": ("voltage_l1_n", "voltage_l2_n", "voltage_l3_n"),
    "voltage_ll_average": ("voltage_l1_l2", "voltage_l2_l3", "voltage_l3_l1"),
    "current_average": ("current_l1", "current_l2", "current_l3"),
}
USUAL: Final = ("CDAB", "GHEFCDAB")
MUCH_SMALLER: Final = 100.0  # integers of 32 bits, by which another order must make all of them smaller


@dataclass(frozen=True, slots=True)
class Arrangement:
    """One way to read the registers: ``order`` for all points of ``width`` bits, or all addresses moved."""

    shift: int = 0
    width: int = 0  # 0: orders as configured
    order: ByteOrder = "AB"


@dataclass(frozen=True, slots=True)
class Score:
    """What an arrangement comes to."""

    readings: tuple[Reading, ...]
    good: int
    bad: int

    @property
    def error(self) -> float | None:
        """How far sums and means are from their parts, relative; None where there are none."""
        return _disagreement(self.readings)


AS_CONFIGURED: Final = Arrangement()


def score(reads: Sequence[Read], arrangement: Arrangement = AS_CONFIGURED, width: int = 0) -> Score:
    """Return readings and judgements; of points with ``width`` bits only, if that is not 0."""
    readings = tuple(
        reading
        for read in reads
        for reading in decoded(read, arrangement)
        if not width or TYPES[reading.point.type].width == width
    )
    judgements = [judge(reading) for reading in readings]
    return Score(readings, judgements.count(1), judgements.count(-1))


def decoded(read: Read, arrangement: Arrangement = AS_CONFIGURED) -> list[Reading]:
    """Return a read's points, arranged in another way; those that would leave it are left out."""
    return _decoder(_Key(read.block, arrangement)).decode(read.data)


def better(reads: Sequence[Read], refused: Sequence[Point] = ()) -> list[tuple[Arrangement, Score, Score]]:
    """Return the arrangements that make clearly more sense, the likeliest first, each with its score and
    that of the configured one.

    ``refused``: points that the unit has no address for; they speak for addresses that are one off.
    """
    found: list[tuple[Arrangement, Score, Score]] = []
    for other in _others(reads):
        before, after = score(reads, width=other.width), score(reads, other, other.width)
        if _is_clear(other, before, after, len(refused)):
            found.append((other, after, before))
    most = max((after.good for _, after, _ in found), default=0)
    # Where two explain it alike the sums tell; otherwise swapped words are what is met most often.
    return sorted(
        (one for one in found if one[1].good >= most - 1),
        key=lambda one: (_rank(one[1].error), abs(one[0].shift), -one[1].good, one[0].order not in USUAL),
    )


def _is_clear(other: Arrangement, before: Score, after: Score, refused: int) -> bool:
    if after.bad or after.good <= before.good:
        return False
    if other.shift:
        wrong = before.bad + refused
        all_zero = not before.bad and not any(any(reading.raw) for reading in before.readings)
        return after.good >= 3 and (wrong >= max(before.good, 1) or all_zero)
    enough = after.good >= 2 or (after.good == 1 == len(after.readings) and other.width > 16)
    return enough and before.bad >= max(before.good, 1)


def _rank(error: float | None) -> int:
    return 1 if error is None else 0 if error < 1e-5 else 2


def swapped_integers(reads: Sequence[Read], width: int = 32) -> tuple[ByteOrder, list[Reading]] | None:
    """Return the order that makes all plain integers of a width much smaller, and them in that order."""
    plain = _integers(reads, AS_CONFIGURED, width)
    if len(plain) < 2:
        return None
    for order in BYTE_ORDERS[width]:
        other = _integers(reads, Arrangement(0, width, order), width)
        pairs = [
            (abs(float(a.value or 0)), abs(float(b.value or 0))) for a, b in zip(plain, other, strict=True)
        ]
        if all(0 < b * MUCH_SMALLER <= a for a, b in pairs):
            return order, other
    return None


def _integers(reads: Sequence[Read], arrangement: Arrangement, width: int) -> list[Reading]:
    return [
        reading
        for reading in score(reads, arrangement, width).readings
        if TYPES[reading.point.type].is_integer
        and reading.point.bits is None
        and not reading.point.states
        and any(reading.raw)
    ]


def _others(reads: Sequence[Read]) -> Iterator[Arrangement]:
    widths = {TYPES[point.type].width for read in reads for point in read.block.points if _has_order(point)}
    for width in sorted(widths, reverse=True):
        orders = {point.byte_order for read in reads for point in read.block.points
                  if _has_order(point) and TYPES[point.type].width == width}  # fmt: skip
        for order in BYTE_ORDERS[width]:
            if orders != {order}:
                yield Arrangement(0, width, order)
    yield Arrangement(1)
    yield Arrangement(-1)


def _has_order(point: Point) -> bool:
    return TYPES[point.type].is_number and not point.in_bit_table and point.bits is None


class _Key:
    """A block in another arrangement, for the cache: blocks are shared, and known by what they are."""

    def __init__(self, block: BlockLayout, arrangement: Arrangement) -> None:
        self.block, self.arrangement = block, arrangement

    def __hash__(self) -> int:
        return hash((id(self.block.points), self.arrangement))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Key)
            and self.block.points is other.block.points
            and self.arrangement == other.arrangement
        )


@lru_cache(maxsize=4096)
def _decoder(key: _Key) -> Decoder:
    block, way = key.block, key.arrangement
    points = []
    for point in block.points:
        address = point.address + way.shift
        if not block.address <= address <= block.address + block.quantity - point.size:
            continue
        changes: dict[str, object] = {"address": address}
        if way.width and _has_order(point) and TYPES[point.type].width == way.width:
            changes["byte_order"] = way.order
        points.append(point if way == AS_CONFIGURED else point.model_copy(update=changes))
    return Decoder(replace(block, points=tuple(points)))


def _disagreement(readings: Sequence[Reading]) -> float | None:
    values = {
        quantity_of(reading.point.name): float(reading.value)
        for reading in readings
        if isinstance(reading.value, int | float) and not isinstance(reading.value, bool)
    }
    errors = []
    for parts_of, divisor in ((SUMS, 1), (MEANS, 3)):
        for whole, parts in parts_of.items():
            if whole in values and all(part in values for part in parts):
                total = sum(values[part] for part in parts) / divisor
                size = sum(abs(values[part]) for part in parts) / divisor
                if size:
                    errors.append(abs(values[whole] - total) / size)
    return max(errors) if errors else None
