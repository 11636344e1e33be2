"""One link is examined: its name, its connection, the units behind it one after the other."""

import asyncio
import ipaddress
import socket
import time
from typing import Final

from fluxfast import modbus
from fluxfast.doctor.line import Answer, Kind, Line, Session
from fluxfast.doctor.observed import LinkSeen, UnitSeen
from fluxfast.doctor.unit import UnitExam, read_request, smallest
from fluxfast.link.names import look_up
from fluxfast.table.quality import framing_reason

NAME_S: Final = 10.0
ELSEWHERE_S: Final = 1.0  # for another port, or another protocol
AT_ONCE_S: Final = 0.1
LIMIT_S: Final = 120.0  # for one link, and
LIMIT_UNIT_S: Final = 15.0  # for each of its units; what has not been seen by then stays unseen
HTTP: Final = b"HEAD / HTTP/1.0\r\n\r\n"
USUAL_PORT: Final = 502


class LinkExam:
    """The examination of one link; ``seen`` is filled as it goes."""

    def __init__(self, units: list[UnitSeen], strange: bool, station: int | None = None) -> None:
        """Take the units behind one host and port, and the process of the station that polls them now.

        ``strange``: whether a silent port may be asked if it speaks HTTP.
        """
        where = units[0].device.modbus
        assert where.host is not None
        self.seen = LinkSeen(where.host, where.port, units)
        self.seen.station = station
        self._strange = strange
        self._quirks = [unit.device.profile.quirks for unit in units]
        self.session: Session | None = None  # once there was a connection
        self.exams: list[UnitExam] = []

    async def run(self) -> None:
        """Examine it; never raises, and ends within its limit."""
        seen = self.seen
        limit_s = LIMIT_S + LIMIT_UNIT_S * len(seen.units)
        if seen.station is not None and any(quirks.max_connections == 1 for quirks in self._quirks):
            seen.left_alone = True  # it might close the station's connection in favour of ours
            return
        try:
            async with asyncio.timeout(limit_s):
                line = await self._connect() if await self._resolve() else None
                if line is not None:
                    await self._examine(line)
        except TimeoutError:
            seen.gave_up_s = limit_s

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
            line = await Line.open(address, USUAL_PORT, ELSEWHERE_S)
        except OSError:
            return
        (answer,) = await line.ask([request], self.seen.units[0].device.modbus.unit, ELSEWHERE_S)
        line.close()
        if answer.came:
            self.seen.modbus_at = USUAL_PORT

    # ---- the units ----

    async def _examine(self, line: Line) -> None:
        seen = self.seen
        gap_s = max(quirks.request_gap_ns for quirks in self._quirks) / 1e9
        delay_s = max(quirks.connect_delay_ns for quirks in self._quirks) / 1e9
        session = Session(seen.address, seen.port, line, gap_s, delay_s)
        taken = [unit.device.modbus.unit for unit in seen.units]
        self.session, heard = session, dict[int, bool]()
        self.exams = exams = [UnitExam(session, unit, taken, heard) for unit in seen.units]
        try:
            for exam in exams:
                await exam.run()
                answer = exam.seen.answer
                if answer is not None and answer.kind in (Kind.FOREIGN, Kind.CLOSED):
                    await self._explain(answer)
                    return
            for exam in exams:
                await exam.look_around()
            if all(e.seen.answer is not None and e.seen.answer.kind == Kind.SILENT for e in exams):
                await self._ask_in_other_tongues()
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
            if data == HTTP and not self._strange:
                return
            try:
                line = await Line.open(self.seen.address, self.seen.port)
            except OSError:
                return
            came = await line.send_raw(data, ELSEWHERE_S)
            line.close()
            if hint and _is_rtu(came, unit_id):
                self.seen.foreign = hint
                return
            if not hint and came.startswith(b"HTTP"):
                self.seen.foreign = framing_reason(came)


def _is_rtu(data: bytes, unit_id: int) -> bool:
    try:
        (adu, *_) = modbus.RtuSplitter("client").feed(data) or [b""]
        return bool(adu) and modbus.parse_rtu(adu)[0] == unit_id
    except modbus.FramingError:
        return False
