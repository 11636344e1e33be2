"""Points to blocks: the fewest reads that the profile allows.

Sorted by address, a block starts at the first point not read yet and takes every further one that fits:
within the length limit, over gaps no longer than ``max_gap``, inside one readable range. A point is never
split. Windows that start as late as they can are as few as there can be, so nothing cleverer is needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fluxfast.constants import FunctionCode
from fluxfast.profiles import Point, Profile, Quirks

READ_FUNCTION = {
    "coil": FunctionCode.READ_COILS,
    "discrete": FunctionCode.READ_DISCRETE_INPUTS,
    "holding": FunctionCode.READ_HOLDING_REGISTERS,
    "input": FunctionCode.READ_INPUT_REGISTERS,
}


@dataclass(frozen=True)
class BlockLayout:
    """One planned read of a profile: ``quantity`` registers (or bits) from ``address``."""

    function_code: int
    address: int
    quantity: int
    every: int
    points: tuple[Point, ...]

    @property
    def data_size(self) -> int:
        """Bytes of data in the reply."""
        return (self.quantity + 7) // 8 if self.function_code <= 2 else 2 * self.quantity


def plan_blocks(profile: Profile) -> tuple[BlockLayout, ...]:
    """Return the reads that fetch every readable point of a profile, fast groups first."""
    lanes: dict[tuple[int, str], list[Point]] = {}
    for point in profile.points.values():
        if point.access != "wo":
            every = profile.groups.get(point.group, 1)
            lanes.setdefault((every, point.register), []).append(point)
    return tuple(
        block
        for (every, register), points in sorted(lanes.items(), key=lambda lane: lane[0])
        for block in _pack(points, register, every, profile.quirks)
    )


def _pack(points: list[Point], register: str, every: int, quirks: Quirks) -> Iterator[BlockLayout]:
    longest = quirks.max_bits if register in ("coil", "discrete") else quirks.max_registers
    taken: list[Point] = []
    start = end = limit = 0
    for point in sorted(points, key=lambda p: (p.address, p.size)):
        stop = point.address + point.size
        if taken and point.address - end <= quirks.max_gap and stop <= limit:
            taken.append(point)
            end = max(end, stop)
            continue
        if taken:
            yield BlockLayout(READ_FUNCTION[register], start, end - start, every, tuple(taken))
        start, end, taken = point.address, stop, [point]
        limit = min(start + longest, _range_end(point.address, quirks))
    if taken:
        yield BlockLayout(READ_FUNCTION[register], start, end - start, every, tuple(taken))


def _range_end(address: int, quirks: Quirks) -> int:
    """Return the address after the readable range that holds ``address``."""
    if not quirks.readable:
        return 0x10000
    return next(last + 1 for first, last in quirks.readable if first <= address <= last)
