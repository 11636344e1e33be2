"""Why a planned read is refused: by ever shorter reads, to the register.

Points are taken from the left as long as the read over them is answered. What comes next is refused by
itself, or stands behind registers that may not be read over, or would make the read too long; a read of its
own tells which. At most ``MAX_READS`` requests for a unit.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from fluxfast.doctor.line import Answer, Kind
from fluxfast.doctor.observed import Refusals
from fluxfast.plan.blocks import BlockLayout, plan_blocks
from fluxfast.profiles import Point, Profile
from fluxfast.values import block_of

MAX_READS: Final = 120

ReadBlock = Callable[[int, int, int], Awaitable[Answer]]  # function code, address, quantity


class Cutter:
    """Explains the refused reads of one unit."""

    def __init__(self, read: ReadBlock) -> None:
        """Take how to read."""
        self.found = Refusals()
        self._read = read
        self._left = MAX_READS
        self._longest_ok = 0

    async def explain(self, block: BlockLayout, answer: Answer) -> None:
        """Find out why a block was refused, or not answered, and add it to ``found``."""
        if self.found.block is None:
            self.found.block, self.found.code = block, answer.code
        points = sorted(block.points, key=lambda point: point.address)
        alone = [await self._is_answered(block_of([point])) for point in (points[0], points[-1])]
        if not any(alone) and await self._is_elsewhere(points[0]):
            return
        longest = self.found.longest
        while points and self._left > 0 and self.found.longest == longest:  # else the next plan is another
            count = await self._prefix(points)
            if count == len(points):
                return
            if count == 0:
                self.found.points.append(points[0])
            else:
                await self._explain_end(points[:count], points[count])
            points = points[max(count, 1) :]
            if points and points[0] in self.found.points:
                points = points[1:]

    async def _prefix(self, points: list[Point]) -> int:
        """Return how many points from the left one read fetches."""
        low, high = 0, len(points)
        if await self._is_answered(block_of(points)):
            return high
        while high - low > 1:
            middle = (low + high) // 2
            if await self._is_answered(block_of(points[:middle])):
                low = middle
            else:
                high = middle
        return low

    async def _explain_end(self, before: list[Point], after: Point) -> None:
        if not await self._is_answered(block_of([after])):
            self.found.points.append(after)
            return
        last = before[-1]
        end = max(point.address + point.size for point in before)
        both = block_of([last, after])
        if await self._is_answered(both):
            await self._find_longest(before, after)
        elif both.quantity <= self._longest_ok:
            self._note_hole(end, after)
        elif end == after.address:  # short, and longer than any that was answered so far
            self.found.split = True
        elif await self._read_is_answered(both.function_code, end, 1):
            await self._find_longest(before, after)
        else:
            self._note_hole(end, after)

    def _note_hole(self, end: int, after: Point) -> None:
        if end >= after.address:
            self.found.split = True
        elif (end, after.address - 1) not in self.found.gaps:
            self.found.gaps.append((end, after.address - 1))

    async def _find_longest(self, before: list[Point], after: Point) -> None:
        block = block_of([*before, after])
        low, high = block_of(before).quantity, block.quantity
        while high - low > 1:
            middle = (low + high) // 2
            if await self._read_is_answered(block.function_code, block.address, middle):
                low = middle
            else:
                high = middle
        self.found.longest = low if self.found.longest is None else min(low, self.found.longest)

    async def _is_elsewhere(self, point: Point) -> bool:
        """Whether the other table of registers, or of bits, has this address."""
        other = {"holding": "input", "input": "holding", "coil": "discrete", "discrete": "coil"}[
            point.register
        ]
        block = block_of([point.model_copy(update={"table": other})])
        if await self._is_answered(block):
            self.found.other_table = other
        return bool(self.found.other_table)

    async def _is_answered(self, block: BlockLayout) -> bool:
        return await self._read_is_answered(block.function_code, block.address, block.quantity)

    async def _read_is_answered(self, function_code: int, address: int, quantity: int) -> bool:
        if self._left <= 0:
            return False
        self._left -= 1
        answer = await self._read(function_code, address, quantity)
        if answer.kind == Kind.DATA:
            self._longest_ok = max(self._longest_ok, quantity)
        return answer.kind == Kind.DATA


def cure_of(profile: Profile, found: Refusals) -> dict[str, object]:
    """Return the quirks, as a site file writes them, that keep a plan clear of what was refused."""
    quirks: dict[str, object] = {}
    if found.gaps:
        widths = sorted(last - first + 1 for first, last in found.gaps)
        tolerated = [gap for gap in _gaps(profile) if gap < widths[0]]
        quirks["max_gap"] = max(tolerated, default=0)
    if found.longest is not None and found.block is not None:
        quirks["max_bits" if found.block.function_code <= 2 else "max_registers"] = found.longest
    return quirks


def replanned(profile: Profile, found: Refusals, *, strictly: bool = False) -> tuple[BlockLayout, ...]:
    """Return the plan with that cure, and without the points that are refused by themselves.

    ``strictly``: of all points, over no hole; what stands one address away can be read so.
    """
    bad = {point.name for point in found.points} if not strictly else ()
    points = {name: point for name, point in profile.points.items() if name not in bad}
    cure = cure_of(profile, found) | ({"max_gap": 0} if strictly else {})
    quirks = profile.quirks.model_copy(update=cure)
    if not points:
        return ()
    return plan_blocks(profile.model_copy(update={"points": points, "quirks": quirks}))


def _gaps(profile: Profile) -> list[int]:
    """Return the widths of the holes that the planned reads run over."""
    gaps = []
    for block in plan_blocks(profile):
        end = block.address
        for point in sorted(block.points, key=lambda p: p.address):
            gaps.append(point.address - end)
            end = max(end, point.address + point.size)
    return gaps
