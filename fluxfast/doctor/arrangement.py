"""Byte order and addresses: does what was read make more sense arranged in another way?

Each arrangement of a unit's registers (as configured, another order of the bytes, all addresses one higher
or lower) is decoded by the kernel and judged point by point. Another one is claimed only where the configured
one has values that make no sense, and the other has none of these and several that do.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import geometric_mean
from typing import Final

from fluxfast.doctor.observed import Read, UnitSeen
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
# Integers, by which another order must make one of them smaller, and all of them in the geometric mean.
MUCH_SMALLER: Final = 100.0
SMALLER: Final = 30.0


@dataclass(frozen=True, slots=True)
class Arrangement:
    """One way to read the registers: ``order`` for all numbers of ``width`` bits, or all addresses moved."""

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

    @property
    def fine(self) -> int:
        """How many floats use their last bytes; a word of another value, or of none, often is 0 there."""
        return sum(_is_fine(reading) for reading in self.readings)


def score(reads: Sequence[Read], width: int = 0, order: ByteOrder | None = None) -> Score:
    """Return readings and judgements: of numbers with ``width`` bits only if that is not 0, in an order."""
    readings = tuple(
        reading
        for read in reads
        for reading in _decoder(_Key(read.block, width, order)).decode(read.data)
        if not width or (_has_order(reading.point) and TYPES[reading.point.type].width == width)
    )
    judgements = [judge(reading) for reading in readings]
    return Score(readings, judgements.count(1), judgements.count(-1))


def is_doubtful(reads: Sequence[Read]) -> bool:
    """Whether another arrangement is worth a look: something makes no sense, or nothing does."""
    now = score(reads)
    return now.bad > 0 or now.good == 0


def better(seen: UnitSeen) -> list[tuple[Arrangement, Score, Score]]:
    """Return the arrangements that make clearly more sense, the likeliest first, each with its score and
    that of the configured one."""
    refused = len(seen.refusals.points) if seen.refusals is not None else 0
    found: list[tuple[Arrangement, Score, Score]] = []
    for width, order in _orders(seen.reads):
        before, after = score(seen.reads, width), score(seen.reads, width, order)
        if _is_clearly_so(before, after, width):
            found.append((Arrangement(0, width, order), after, before))
    for shift, reads in seen.moved.items():
        before, after = score(seen.reads), score(reads)
        if _is_clearly_there(before, after, refused):
            found.append((Arrangement(shift), after, before))
    most = max((after.good for _, after, _ in found), default=0)
    # Where two explain it alike the sums tell; otherwise swapped words are what is met most often.
    return sorted(
        (one for one in found if one[1].good >= most - 1),
        key=lambda one: (
            _rank(one[1].error),
            -one[1].fine,
            abs(one[0].shift),
            -one[1].good,
            one[0].order not in USUAL,
        ),
    )


def _is_clearly_so(before: Score, after: Score, width: int) -> bool:
    """Whether another order is right: most numbers make no sense now, or all of them do then."""
    if after.bad or not before.bad or after.good <= before.good:
        return False
    not_zero = sum(any(reading.raw) for reading in after.readings)
    if after.good == 1:
        return not_zero == 1 and width > 16
    all_good = after.good >= 3 and after.good == not_zero
    return before.bad >= before.good or all_good


def _is_clearly_there(before: Score, after: Score, refused: int) -> bool:
    """Whether points make sense one address away; ``refused`` ones speak for it, and so do zeros only."""
    wrong = before.bad + refused
    all_zero = not before.bad and not any(any(reading.raw) for reading in before.readings)
    enough = after.good >= 3 and after.good > before.good and not after.bad
    return enough and (wrong >= max(before.good, 1) or all_zero)


def _is_fine(reading: Reading) -> bool:
    point = reading.point
    last = [byte for letter, byte in zip(point.byte_order, reading.raw, strict=False) if letter not in "AB"]
    return point.kind == "float" and any(last)


def _rank(error: float | None) -> int:
    return 1 if error is None else 0 if error < 1e-5 else 2


def swapped_integers(reads: Sequence[Read], width: int) -> tuple[ByteOrder, list[Reading]] | None:
    """Return the order that makes plain integers of a width much smaller, none larger, and them in it."""
    plain = _integers(score(reads, width))
    if len(plain) < 2:
        return None
    for order in BYTE_ORDERS[width]:
        other = _integers(score(reads, width, order))
        sizes = [(_size(a), _size(b)) for a, b in zip(plain, other, strict=True)]
        if any(now > was for was, now in sizes):
            continue
        times = [was / now for was, now in sizes if now]
        if max(times, default=0) > MUCH_SMALLER and geometric_mean(times) > SMALLER:
            return order, other
    return None


def _integers(of: Score) -> list[Reading]:
    return [
        reading
        for reading in of.readings
        if TYPES[reading.point.type].is_integer and not reading.point.states and any(reading.raw)
    ]


def _size(reading: Reading) -> float:
    return abs(float(reading.value)) if isinstance(reading.value, int | float) else 0.0


def _orders(reads: Sequence[Read]) -> Iterator[tuple[int, ByteOrder]]:
    """Yield (width, order) for each order that not all numbers of that width have already."""
    configured: defaultdict[int, set[str]] = defaultdict(set)
    for read in reads:
        for point in filter(_has_order, read.block.points):
            configured[TYPES[point.type].width].add(point.byte_order)
    for width, orders in sorted(configured.items(), reverse=True):
        for order in BYTE_ORDERS[width]:
            if orders != {order}:
                yield width, order


def _has_order(point: Point) -> bool:
    return TYPES[point.type].is_number and not point.in_bit_table and point.bits is None


class _Key:
    """A block in another order, for the cache. Devices share blocks, which are known by their points."""

    def __init__(self, block: BlockLayout, width: int, order: ByteOrder | None) -> None:
        self.block, self.width, self.order = block, width, order

    def __hash__(self) -> int:
        return hash((id(self.block.points), self.width, self.order))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and (
            self.block.points is other.block.points and (self.width, self.order) == (other.width, other.order)
        )


@lru_cache(maxsize=4096)
def _decoder(key: _Key) -> Decoder:
    if key.order is None:
        return Decoder(key.block)
    changed = {"byte_order": key.order}
    points = tuple(
        point.model_copy(update=changed)
        if _has_order(point) and TYPES[point.type].width == key.width
        else point
        for point in key.block.points
    )
    return Decoder(replace(key.block, points=points))


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
