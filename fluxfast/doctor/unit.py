"""One unit is examined: each planned read once, a small one some more times, and what hinders them.

What hinders is looked into at once, on the connection that there is, because the next question depends on it:
a refused read is cut up, a silent unit is asked with patience and then others in its place.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fluxfast import modbus
from fluxfast.config import Device
from fluxfast.doctor.arrangement import is_doubtful
from fluxfast.doctor.line import BUSY, GATEWAY, Answer, Kind, Session
from fluxfast.doctor.observed import Read, Refusals, UnitSeen
from fluxfast.doctor.pauses import is_busy
from fluxfast.doctor.refused import Cutter, replanned
from fluxfast.plan.blocks import BlockLayout

PATIENT_S: Final = 3.0  # for one more answer of a unit that was silent for its own timeout
LONGEST_S: Final = 10.0  # no configured timeout keeps us waiting for longer
QUICK_S: Final = (0.3, 0.5)  # for units that may not be there: at least, and when nothing is known
ROUND_TRIPS: Final = 10
SLOW_S: Final = 1.0  # such answers are timed twice only
OTHERS: Final = (1, 255, 0, *range(2, 11))  # whom a silent unit's request is tried with
ALL: Final = (*OTHERS, *range(11, 248))  # where a gateway says at once that one is missing
AT_ONCE_S: Final = 0.03
SETTLE_TRIES: Final = 3
ONCE_MORE_S: Final = 1.0
ROUNDS: Final = 4
BUSY_TRIES: Final = 3
CUT_TRIES: Final = 3  # of a read that finds out what hinders: chance must not be taken for a rule

ADDRESSING: Final = (0, 1, 2, 3)  # exceptions, and none, that tell of addresses and lengths

_READS: Final = {
    1: modbus.ReadCoils,
    2: modbus.ReadDiscreteInputs,
    3: modbus.ReadHoldingRegisters,
    4: modbus.ReadInputRegisters,
}


def read_request(function_code: int, address: int, quantity: int) -> modbus.Request:
    """Return the request of a read."""
    return _READS[function_code](address, quantity)


def smallest(blocks: Sequence[BlockLayout]) -> BlockLayout:
    """Return the shortest read that makes sense: one point, of the first block."""
    block = blocks[0]
    point = min(block.points, key=lambda p: (p.size, p.address))
    return BlockLayout(block.function_code, point.address, point.size, 1, (point,))


class UnitExam:
    """The examination of one unit; ``seen`` is filled as it goes."""

    def __init__(
        self, session: Session, seen: UnitSeen, taken: Sequence[int], heard: dict[int, bool]
    ) -> None:
        """Take the link's session and the units of the site file behind it.

        ``heard`` is shared by all of them: which units have been asked, and whether they have answered.
        """
        self.seen = seen
        self._session = session
        self._taken = taken
        self._heard = heard
        self._unit_id = seen.device.modbus.unit
        self._timeout_s = min(seen.device.modbus.timeout_ns / 1e9, LONGEST_S)
        self._probe = smallest(seen.blocks)

    @property
    def device(self) -> Device:
        """Whose unit it is."""
        return self.seen.device

    async def run(self) -> None:
        """Examine it."""
        try:
            is_there = self._heard[self._unit_id] = await self._is_there()
            if is_there:
                await self._read_all()
        finally:
            self.seen.late_s = min(self._session.late_s, default=self.seen.late_s)  # the others had to queue
            self._session.late_s.clear()

    async def look_around(self) -> None:
        """Once all units of the link have been tried: is it still missing, and who stands in its place?"""
        answer = self.seen.answer or self._refused_alike()
        if answer is None or answer.kind not in (Kind.SILENT, Kind.EXCEPTION):
            return
        if answer.kind == Kind.SILENT:
            await self._settle()
            again = await self.ask(self._probe, min(self._timeout_s, ONCE_MORE_S))
            if again.is_heard:  # so many requests were lost, or a gateway was busy
                self.seen.mishaps += 1
                await self.run()
                return
        await self._ask_others(answer)
        self.seen.answer = answer if self.seen.heard_units else self.seen.answer

    def _refused_alike(self) -> Answer | None:
        """Return the exception by which all was refused: some servers say 4 where there is no such unit."""
        if self.seen.reads or not self.seen.failed:
            return None
        answer = self.seen.failed[0][1]
        return None if answer.code in ADDRESSING or is_busy(answer) else answer

    async def ask(self, block: BlockLayout, within_s: float | None = None) -> Answer:
        """Ask for a block, as often as busy units need; note what is odd about the answer."""
        request = read_request(block.function_code, block.address, block.quantity)
        answer = await self._ask(request, self._timeout_s if within_s is None else within_s)
        if answer.kind == Kind.EXCEPTION and answer.code not in (*ADDRESSING, *GATEWAY, *BUSY):
            answer = await self._ask(request, self._timeout_s)  # it may be for a moment only
        for _ in range(BUSY_TRIES):
            if not is_busy(answer):
                break
            self.seen.mishaps += 1
            await self._session.listen_quietly(0.1)
            answer = await self._ask(request, self._timeout_s)
        return answer

    async def _ask(self, request: modbus.Request, within_s: float) -> Answer:
        answer = await self._session.ask(request, self._unit_id, within_s)
        if answer.unit_id is not None and answer.unit_id not in self.seen.answers_as:
            self.seen.answers_as += (answer.unit_id,)
        self.seen.zero_ids |= answer.zero_id
        return answer

    async def _ask_again(self, block: BlockLayout, times: int = 2, within_s: float | None = None) -> Answer:
        """Ask until there is an answer, so many times at the most."""
        answer = await self.ask(block, within_s)
        for _ in range(times - 1):
            if answer.kind not in (Kind.SILENT, Kind.CLOSED):
                break
            answer = await self.ask(block, within_s)
            self.seen.mishaps += answer.is_heard
        return answer

    # ---- is it there? ----

    async def _is_there(self) -> bool:
        began_s = time.perf_counter()
        answer = await self.ask(self._probe)
        if answer.kind == Kind.SILENT and any(self._heard.values()):
            await self._settle()
            waited_s = time.perf_counter() - began_s  # a gateway may say so only after its own timeout
            answer = await self.ask(self._probe, max(self._timeout_s, min(1.5 * waited_s, PATIENT_S)))
            self.seen.mishaps += answer.is_heard
            if answer.kind == Kind.SILENT:
                await self._settle()
        elif answer.kind == Kind.CLOSED or (answer.kind == Kind.SILENT and self._timeout_s < PATIENT_S):
            answer = await self.ask(self._probe)
            self.seen.mishaps += answer.is_heard
        if answer.kind == Kind.SILENT and not any(self._heard.values()):
            answer = await self._ask_patiently(answer)
        is_there = answer.is_heard or answer.kind == Kind.MALFORMED
        self.seen.answer = None if is_there else answer
        return is_there

    async def _settle(self) -> None:
        """Wait until a gateway is done with a unit that is missing: one that is there has to answer again."""
        there = next((unit_id for unit_id, is_heard in self._heard.items() if is_heard), None)
        request = read_request(self._probe.function_code, self._probe.address, self._probe.quantity)
        for _ in range(SETTLE_TRIES):
            if there is None or (await self._session.ask(request, there, PATIENT_S)).kind != Kind.SILENT:
                return

    async def _ask_patiently(self, answer: Answer) -> Answer:
        # It may be slower than its timeout, or still be busy with the connection.
        patient = await self.ask(self._probe, max(PATIENT_S, self._timeout_s))
        late = self._session.late_s
        if patient.kind == Kind.SILENT and late:  # it is at the requests before
            patient = await self.ask(self._probe, min(3 * min(late), LONGEST_S))
        if not patient.is_heard:
            return answer if patient.kind == Kind.SILENT else patient
        late_s = min(late, default=patient.seconds)
        if late_s > self._timeout_s:
            self.seen.late_s = late_s
            self._timeout_s = min(3 * late_s, LONGEST_S)  # what else it has is worth to be seen
        else:
            self.seen.mishaps += 1
        return patient

    async def _ask_others(self, answer: Answer) -> None:
        """Ask the units in whose place it might stand; a gateway takes its time for each that is missing."""
        known_s = 4 * answer.seconds if answer.kind == Kind.EXCEPTION else QUICK_S[1]
        within_s = min(max(known_s, QUICK_S[0]), PATIENT_S)
        request = read_request(self._probe.function_code, self._probe.address, self._probe.quantity)
        says_so = answer.kind == Kind.EXCEPTION and answer.seconds < AT_ONCE_S
        for unit_id in ALL if says_so else OTHERS:
            if unit_id in self._taken:
                continue
            if unit_id not in self._heard:
                other = await self._session.ask(request, unit_id, within_s)
                is_one = other.kind == Kind.DATA or (
                    other.kind == Kind.EXCEPTION and other.code in ADDRESSING
                )
                self._heard[unit_id] = is_one and other.unit_id is None
                if other.kind == Kind.SILENT:
                    await self._settle()
            self.seen.asked_units += (unit_id,)
            if self._heard[unit_id]:
                self.seen.heard_units += (unit_id,)

    # ---- what does it say? ----

    async def _read_all(self) -> None:
        cutter: Cutter | None = None
        blocks = self.seen.blocks
        for _ in range(ROUNDS):
            refused = await self._read_blocks(blocks)
            if not refused:
                break
            cutter = cutter or Cutter(self._read)
            for block, answer in refused:
                await cutter.explain(block, answer)
            planned = replanned(self.device.profile, cutter.found)
            if not planned:
                break
            blocks = planned
        self.seen.tick_s = sum(read.seconds / read.block.every for read in self.seen.reads)
        if cutter is not None and not self._says_nothing(cutter.found):
            self.seen.refusals = cutter.found
            cutter.found.works = bool(self.seen.reads) and not self.seen.failed
        if (cutter is not None and cutter.found.points) or is_doubtful(self.seen.reads):
            await self._read_beside()

    def _says_nothing(self, found: Refusals) -> bool:
        """Whether every point fails alone, and with an exception that is not about addresses."""
        return found.code not in ADDRESSING and len(found.points) == len(self.device.profile.points)

    async def _read_beside(self) -> None:
        """Read everything one address higher and lower: many manuals count from 1."""
        found = self.seen.refusals
        blocks = self.seen.blocks if found is None else replanned(self.device.profile, found, strictly=True)
        for shift in (1, -1):
            reads = []
            for block in blocks:
                address = block.address + shift
                if not 0 <= address <= 0x10000 - block.quantity:
                    break
                answer = await self._read(block.function_code, address, block.quantity)
                if answer.kind != Kind.DATA:
                    break
                points = tuple(p.model_copy(update={"address": p.address + shift}) for p in block.points)
                reads.append(Read(replace(block, address=address, points=points), answer.data, 0.0))
            else:
                self.seen.moved[shift] = reads

    async def _read_blocks(self, blocks: Sequence[BlockLayout]) -> list[tuple[BlockLayout, Answer]]:
        """Read what was not read yet; return what was refused."""
        refused: list[tuple[BlockLayout, Answer]] = []
        done = {(one.block.function_code, one.block.address, one.block.quantity) for one in self.seen.reads}
        self.seen.failed = []
        for block in blocks:
            if (block.function_code, block.address, block.quantity) in done:
                continue
            answer = await self._ask_again(block)
            if answer.kind == Kind.DATA:
                self.seen.reads.append(Read(block, answer.data, answer.seconds))
                continue
            self.seen.failed.append((block, answer))
            if answer.kind in (Kind.EXCEPTION, Kind.MALFORMED, Kind.SILENT) and not is_busy(answer):
                refused.append((block, answer))
            elif answer.kind in (Kind.CLOSED, Kind.FOREIGN):
                break
        return refused

    async def _read(self, function_code: int, address: int, quantity: int) -> Answer:
        block = BlockLayout(function_code, address, quantity, 1, ())
        return await self._ask_again(block, CUT_TRIES, self._quick_s())

    def _quick_s(self) -> float:
        """Return how long to wait for what it may not answer."""
        known_s = max((read.seconds for read in self.seen.reads), default=QUICK_S[1])
        late_s = max(self._session.late_s, default=0.0)
        return max(min(max(4 * known_s, QUICK_S[0]), self._timeout_s), 1.5 * late_s)

    # ---- how fast? ----

    async def time(self, again: bool) -> None:
        """Time a small read some times; ``again``: each read once more, as one long answer may be chance."""
        if not self.seen.reads:
            return
        shortest = min(self.seen.reads, key=lambda read: read.block.quantity)
        for _ in range(2 if shortest.seconds > SLOW_S else ROUND_TRIPS):
            answer = await self._ask_again(shortest.block)
            if answer.kind == Kind.DATA:
                self.seen.round_trips_s.append(answer.seconds)
        if again:
            self.seen.tick_s = 0.0
            for read in self.seen.reads:
                answer = await self.ask(read.block)
                self.seen.tick_s += min(read.seconds, answer.seconds) / read.block.every
