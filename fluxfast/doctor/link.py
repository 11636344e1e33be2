"""One link is examined: name, connection, the units behind it one after the other, what it stands.

One connection at a time, but for the one moment that tries a second. Nothing is written.
"""

import asyncio
import ipaddress
import socket
import time
from dataclasses import dataclass
from typing import Final

from fluxfast import modbus
from fluxfast.doctor.depth import find_depth
from fluxfast.doctor.line import Answer, Kind, Line, Session
from fluxfast.doctor.observed import BOTH, LinkSeen, Read, UnitSeen
from fluxfast.doctor.pauses import find_pauses
from fluxfast.doctor.unit import UnitExam, read_request, smallest
from fluxfast.link.names import look_up
from fluxfast.plan.blocks import BlockLayout
from fluxfast.table.quality import framing_reason
from fluxfast.values import block_of

NAME_S: Final = 10.0
SECOND_S: Final = 1.0  # for what a second connection does
AT_ONCE_S: Final = 0.1
LIMIT_S: Final = 180.0  # for one link; what has not been seen by then stays unseen
PREFIXES: Final = 8  # reads of different lengths, to tell answers apart
HTTP: Final = b"HEAD / HTTP/1.0\r\n\r\n"
USUAL_PORT: Final = 502


@dataclass(frozen=True)
class Manners:
    """What an examination may do besides reading."""

    second: bool = True  # try a second connection
    depth: bool = True  # send several requests at once
    strange: bool = True  # ask a silent port whether it speaks HTTP
    every_s: float = 0.5  # of the poll, to see whether its reads fit


class LinkExam:
    """The examination of one link; ``seen`` is filled as it goes."""

    def __init__(self, units: list[UnitSeen], manners: Manners, station: int | None = None) -> None:
        """Take the units behind one host and port, and the process of the station that polls them now."""
        where = units[0].device.modbus
        assert where.host is not None
        self.seen = LinkSeen(where.host, where.port, units)
        self.seen.station = station
        self._manners = manners
        self._quirks = [unit.device.profile.quirks for unit in units]

    async def run(self) -> None:
        """Examine it; never raises, never takes longer than LIMIT_S."""
        seen = self.seen
        if seen.station is not None and any(quirks.max_connections == 1 for quirks in self._quirks):
            seen.left_alone = True  # it might close the station's connection in favour of ours
            return
        try:
            async with asyncio.timeout(LIMIT_S):
                line = await self._connect() if await self._resolve() else None
                if line is not None:
                    await self._examine(line)
        except TimeoutError:
            seen.gave_up_s = LIMIT_S

    # ---- to the connection ----

    async def _resolve(self) -> bool:
        seen = self.seen
        try:
            seen.addresses = (str(ipaddress.ip_address(seen.host)),)
        except ValueError:
            try:
                async with asyncio.timeout(NAME_S):
                    found = await look_up(seen.host, seen.port)
            except TimeoutError:
                seen.failure, seen.failure_text = "name", f"no name server answered within {NAME_S:g} s"
                return False
            found.sort(key=lambda one: one[0] != socket.AF_INET)  # as the poller tries them
            seen.addresses = tuple(dict.fromkeys(str(one[4][0]) for one in found))
        if not seen.addresses:
            seen.failure = "name"
        return bool(seen.addresses)

    async def _connect(self) -> Line | None:
        seen = self.seen
        for address in seen.addresses:
            began_s = time.perf_counter()
            try:
                line = await Line.open(address, seen.port)
            except TimeoutError:
                seen.failure = "silent"
            except ConnectionRefusedError:
                seen.failure = "refused"
            except OSError as error:
                seen.failure, seen.failure_text = "unreachable", error.strerror or ""
            else:
                seen.connect_s = time.perf_counter() - began_s
                seen.address, seen.failure = address, ""
                return line
        if seen.failure == "refused" and seen.port != USUAL_PORT:
            await self._try_usual_port(seen.addresses[0])
        return None

    async def _try_usual_port(self, address: str) -> None:
        block = smallest(self.seen.units[0].blocks)
        request = read_request(block.function_code, block.address, block.quantity)
        try:
            line = await Line.open(address, USUAL_PORT, SECOND_S)
        except OSError:
            return
        (answer,) = await line.ask([request], self.seen.units[0].device.modbus.unit, SECOND_S)
        line.close()
        if answer.kind in (Kind.DATA, Kind.EXCEPTION):
            self.seen.modbus_at = USUAL_PORT

    # ---- the units ----

    async def _examine(self, line: Line) -> None:
        seen = self.seen
        gap_s = max(quirks.request_gap_ns for quirks in self._quirks) / 1e9
        delay_s = max(quirks.connect_delay_ns for quirks in self._quirks) / 1e9
        session = Session(seen.address, seen.port, line, gap_s, delay_s)
        taken = [unit.device.modbus.unit for unit in seen.units]
        exams = [UnitExam(session, unit, taken) for unit in seen.units]
        try:
            for exam in exams:
                await exam.run()
                answer = exam.seen.answer
                if answer is not None and answer.kind in (Kind.FOREIGN, Kind.CLOSED):
                    await self._explain(answer)
                    return
            well = next((exam for exam in exams if exam.seen.reads), None)
            if well is None:
                if all(e.seen.answer is not None and e.seen.answer.kind == Kind.SILENT for e in exams):
                    await self._ask_in_other_tongues()
                return
            await self._examine_manners(session, exams, well)
        finally:
            session.close()

    async def _explain(self, answer: Answer) -> None:
        if answer.kind == Kind.FOREIGN:
            self.seen.foreign = answer.text
            return
        if answer.seconds > AT_ONCE_S:  # it waited for something that it would understand
            await self._ask_in_other_tongues()
        if not self.seen.foreign:
            self.seen.failure, self.seen.failure_text = "closed", answer.text

    async def _ask_in_other_tongues(self) -> None:
        """A port that takes connections and says nothing: RTU frames over TCP, or HTTP?"""
        block = smallest(self.seen.units[0].blocks)
        pdu = read_request(block.function_code, block.address, block.quantity).pdu
        unit_id = self.seen.units[0].device.modbus.unit
        for data, hint in ((modbus.build_rtu(unit_id, pdu), "RTU over TCP"), (HTTP, "")):
            if data == HTTP and not self._manners.strange:
                return
            try:
                line = await Line.open(self.seen.address, self.seen.port)
            except OSError:
                return
            came = await line.send_raw(data, SECOND_S)
            line.close()
            if hint and _is_rtu(came, unit_id):
                self.seen.foreign = hint
                return
            if not hint and came.startswith(b"HTTP"):
                self.seen.foreign = framing_reason(came)

    # ---- what it stands ----

    async def _examine_manners(self, session: Session, exams: list[UnitExam], well: UnitExam) -> None:
        block = well.seen.reads[0].block
        request = read_request(block.function_code, block.address, block.quantity)
        unit_id, typical_s = well.device.modbus.unit, well.typical_s()
        within_s = max(4 * typical_s, 0.3)
        if session.ends or any(exam.seen.mishaps for exam in exams):
            pauses = await find_pauses(session, request, unit_id, within_s)
            if pauses is not None:
                self.seen.closes, self.seen.busy, self.seen.lost = pauses.closes, pauses.busy, pauses.lost
                self.seen.gap_s, self.seen.delay_s = pauses.gap_s, pauses.delay_s
        if self._manners.second and self.seen.station is None and not self.seen.closes:
            self.seen.second = await self._try_second(session, request, unit_id, max(within_s, SECOND_S))
            if self.seen.second != BOTH:  # once more: it may have been chance
                session.renew()
                await asyncio.sleep(SECOND_S / 2)
                self.seen.second = await self._try_second(session, request, unit_id, max(within_s, SECOND_S))
        if sum(exam.seen.tick_s for exam in exams) > self._manners.every_s / 10:
            for exam in exams:
                await exam.time_again()
        paced = session.gap_s or self.seen.closes or self.seen.lost or well.seen.zero_ids
        if self._manners.depth and self.seen.station is None and not paced:
            reads = await self._prefixes(session, well.seen.reads, unit_id, within_s)
            if reads:
                self.seen.depth = await find_depth(session, reads, unit_id, within_s)

    async def _try_second(
        self, session: Session, request: modbus.Request, unit_id: int, within_s: float
    ) -> str:
        """Return BOTH, or what becomes of two connections at once."""
        if not (await session.ask(request, unit_id, within_s)).is_heard:
            return ""
        try:
            second = await Line.open(self.seen.address, self.seen.port, SECOND_S)
        except OSError:
            return "a second one is refused"
        try:
            await second.listen(session.delay_s)
            (answer,) = await second.ask([request], unit_id, within_s)
            ends = session.ends
            first = await session.ask(request, unit_id, within_s)
            if session.ends > ends or not first.is_heard:
                return "a second one ends the first" if answer.is_heard else "a second one ends both"
            if answer.is_heard:
                return BOTH
            return "a second one is closed" if answer.kind == Kind.CLOSED else "a second one gets no answers"
        finally:
            second.close()

    async def _prefixes(
        self, session: Session, reads: list[Read], unit_id: int, within_s: float
    ) -> list[modbus.Request]:
        """Return reads of different lengths that are answered alone, each ending with a point."""
        longest = max((read.block for read in reads), key=lambda block: len(block.points))
        points = sorted(longest.points, key=lambda point: point.address)
        found: list[modbus.Request] = []
        lengths = {}
        for count in range(1, len(points) + 1):
            block: BlockLayout = block_of(points[:count])
            lengths[block.quantity] = block
        for block in list(lengths.values())[:PREFIXES]:
            request = read_request(block.function_code, block.address, block.quantity)
            if (await session.ask(request, unit_id, within_s)).kind == Kind.DATA:
                found.append(request)
        return found


def _is_rtu(data: bytes, unit_id: int) -> bool:
    try:
        (adu, *_) = modbus.RtuSplitter("client").feed(data) or [b""]
        return bool(adu) and modbus.parse_rtu(adu)[0] == unit_id
    except modbus.FramingError:
        return False
