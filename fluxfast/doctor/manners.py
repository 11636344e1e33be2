"""What a link stands: how fast it answers, which pauses it needs, another connection, many requests at once.

Tried once its units have been read, when our own loop is calm: what is timed is to be the device.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from fluxfast import modbus
from fluxfast.doctor.depth import find_depth
from fluxfast.doctor.line import Answer, Kind, Line, Session
from fluxfast.doctor.link import LinkExam
from fluxfast.doctor.observed import BOTH, Read
from fluxfast.doctor.pauses import find_pauses
from fluxfast.doctor.unit import read_request
from fluxfast.values import block_of

QUICK_S: Final = 0.05  # links that answer within that time are timed a few at once
LEAST_S: Final = 0.3  # what an answer is waited for at the least
SECOND_S: Final = 1.0  # and that of a second connection
LIMIT_S: Final = 120.0
PREFIXES: Final = 8  # reads of different lengths, to tell answers apart
WORTH: Final = 0.1  # of a tick: reads that take longer are timed once more


@dataclass(frozen=True, slots=True)
class Manners:
    """What may be tried beside timing."""

    second: bool
    depth: bool
    every_s: float  # of the poll


class MannersExam:
    """The rest of a link's examination, after ``LinkExam``."""

    def __init__(self, link: LinkExam, manners: Manners) -> None:
        """Take a link at whose units something was read."""
        assert link.session is not None
        self.seen = link.seen
        self._session: Session = link.session
        self._exams = link.exams
        self._well = next(exam for exam in link.exams if exam.seen.reads)
        self._manners = manners
        self._unit_id = self._well.device.modbus.unit
        shortest = min((read.block for read in self._well.seen.reads), key=lambda block: block.quantity)
        self._request = read_request(shortest.function_code, shortest.address, shortest.quantity)
        self._within_s = LEAST_S

    @property
    def is_quick(self) -> bool:
        """Whether it answers fast enough for our own pace to matter."""
        fastest_s = min(read.seconds for read in self._well.seen.reads)
        return fastest_s < QUICK_S and not any(exam.seen.mishaps for exam in self._exams)

    async def run(self) -> None:
        """Try it; never raises, never takes longer than LIMIT_S."""
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._try_all()
        except TimeoutError:
            self.seen.gave_up_s = LIMIT_S
        finally:
            self._session.close()
            for exam in self._exams:
                exam.seen.codes = self._session.codes[exam.device.modbus.unit]

    async def _try_all(self) -> None:
        longest_s = max(read.seconds for read in self._well.seen.reads)
        self._within_s = max(4 * longest_s, LEAST_S)
        for exam in self._exams:
            await exam.time(again=exam.seen.tick_s > WORTH * self._manners.every_s)
        if self._session.ends or any(exam.seen.mishaps for exam in self._exams):
            await self._find_pauses()
        if self.seen.station is not None:
            return
        if self._manners.second and not self.seen.closes and not self.seen.lost:
            self.seen.second = await self._try_second()
            if self.seen.second != BOTH:  # once more: it may have been chance
                self._session.renew()
                await asyncio.sleep(SECOND_S / 2)
                self.seen.second = await self._try_second()
        one_by_one = self.seen.gap_s or self.seen.closes or self.seen.lost or self._session.zero_ids
        if self._manners.depth and not one_by_one and not self.seen.busy:
            reads = await self._prefixes(self._well.seen.reads)
            if reads:
                self.seen.depth = await find_depth(self._session, reads, self._unit_id, self._within_s)
                if self.seen.depth.trouble:  # or does it lose answers one by one, too?
                    await self._find_pauses()
                    if self.seen.lost:  # then neither says anything
                        self.seen.depth, self.seen.second = None, ""

    async def _find_pauses(self) -> None:
        pauses = await find_pauses(self._session, self._request, self._unit_id, self._within_s)
        if pauses is not None:
            self.seen.closes, self.seen.busy, self.seen.lost = pauses.closes, pauses.busy, pauses.lost
            self.seen.gap_s, self.seen.delay_s = pauses.gap_s, pauses.delay_s

    async def _try_second(self) -> str:
        """Return BOTH, or what becomes of two connections at once; nothing if even one does not work."""
        session, within_s = self._session, max(self._within_s, SECOND_S)
        if not (await session.ask(self._request, self._unit_id, within_s)).came:
            return ""
        try:
            second = await Line.open(self.seen.address, self.seen.port, SECOND_S)
        except OSError:
            return "a second one is refused"
        try:
            await second.listen(session.delay_s)
            ends = session.ends
            answer = await self._ask_on(second, within_s)
            first = await session.ask(self._request, self._unit_id, within_s)
            if first.kind == Kind.SILENT:
                first = await session.ask(self._request, self._unit_id, within_s)
            if session.ends > ends or not first.came:
                return "a second one ends the first" if answer.came else "a second one ends both"
            if answer.came:
                return BOTH
            return "a second one is closed" if answer.kind == Kind.CLOSED else "a second one gets no answers"
        finally:
            second.close()

    async def _ask_on(self, line: Line, within_s: float) -> Answer:
        (answer,) = await line.ask([self._request], self._unit_id, within_s)
        if answer.kind == Kind.SILENT:  # it may be by chance
            (answer,) = await line.ask([self._request], self._unit_id, within_s)
        return answer

    async def _prefixes(self, reads: list[Read]) -> list[modbus.Request]:
        """Return reads of different lengths that are answered alone, each ending with a point."""
        longest = max((read.block for read in reads), key=lambda block: len(block.points))
        points = sorted(longest.points, key=lambda point: point.address)
        blocks = [block_of(points[: count + 1]) for count in range(len(points))]
        lengths = {block.quantity: read_request(block.function_code, block.address, block.quantity)
                   for block in blocks}  # fmt: skip
        return [
            request
            for request in list(lengths.values())[:PREFIXES]
            if (await self._session.ask(request, self._unit_id, self._within_s)).kind == Kind.DATA
        ]
