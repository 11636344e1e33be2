"""Raw conversations: every frame that comes, whoever it is for, and when.

A ``Client`` gives the right answer or an error, and mends its connection by itself. A doctor wants to see
what a Client hides: under which unit and transaction identifier an answer came, how late, when the peer
closed. ``Line`` is one connection; ``Session`` opens one whenever there is none and keeps the pauses that a
device wants. Every wait ends by its deadline, whatever a peer sends.
"""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from fluxfast import modbus
from fluxfast.errors import ExceptionResponseError, FramingError, MalformedPduError, ResponseMismatchError
from fluxfast.table.quality import framing_reason

CONNECT_S: Final = 3.0  # no device that is there takes longer
MAX_STRAY: Final = 64  # frames nobody asked for, until a connection counts as broken
EVIDENCE: Final = 64  # bytes of a stream that are kept to tell what it is
REOPENS: Final = 3  # some devices free the place of a closed connection only after a moment
REOPEN_S: Final = 0.5


class Kind(StrEnum):
    """What became of a request."""

    DATA = "data"
    EXCEPTION = "exception"
    SILENT = "no answer"
    CLOSED = "closed"  # by the peer, before it answered; or no new connection could be had
    FOREIGN = "not Modbus"
    MALFORMED = "malformed"  # a frame for this request, but no legal answer to it


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request, and how it looked."""

    kind: Kind
    seconds: float  # from sending to this
    data: bytes = b""  # registers or bits as they came, without the byte count
    code: int = 0  # of an exception
    unit_id: int | None = None  # under which it came, if that was not the one that was asked
    zero_id: bool = False  # it bore the transaction identifier 0 instead of the request's
    text: str = ""  # what is wrong with it

    @property
    def came(self) -> bool:
        """Whether there is a legal answer: data, or an exception, a gateway's among them."""
        return self.kind in (Kind.DATA, Kind.EXCEPTION)

    @property
    def is_heard(self) -> bool:
        """Whether the unit itself said something: data, or an exception that is not a gateway's."""
        return self.kind == Kind.DATA or (self.kind == Kind.EXCEPTION and self.code not in GATEWAY)


GATEWAY: Final = (
    modbus.ExceptionCode.GATEWAY_PATH_UNAVAILABLE,
    modbus.ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND,
)
BUSY: Final = (modbus.ExceptionCode.ACKNOWLEDGE, modbus.ExceptionCode.SERVER_DEVICE_BUSY)


class Line:
    """One connection. ``ended`` is empty while it can be used, then says why it cannot."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a stream that has just been opened."""
        self.ended = ""
        self.is_foreign = False  # it ended because what came is not Modbus TCP
        self.late_s: list[float] = []  # of answers to requests that had been given up, from their sending
        self._reader, self._writer = reader, writer
        self._splitter = modbus.MbapSplitter()
        self._next_id = random.randrange(1, 0x8000)
        self._given_up: dict[int, float] = {}
        self._head = b""
        self._stray = 0
        self._frames: list[bytes] = []

    @classmethod
    async def open(cls, host: str, port: int, timeout_s: float = CONNECT_S) -> Self:
        """Connect to an IP address; raises OSError, TimeoutError among them."""
        async with asyncio.timeout(timeout_s):
            return cls(*await asyncio.open_connection(host, port))

    @property
    def is_over(self) -> bool:
        """Whether the peer has closed it, as far as is known without waiting."""
        return bool(self.ended) or self._reader.at_eof()

    def close(self) -> None:
        """Close it with FIN."""
        self.ended = self.ended or "closed here"
        self._writer.close()

    async def ask(self, requests: Sequence[modbus.Request], unit_id: int, within_s: float) -> list[Answer]:
        """Send requests in one segment and return what became of each, in their order."""
        sent_s = time.perf_counter()
        answers: dict[int, Answer] = {}
        waiting: dict[int, modbus.Request] = {}
        for request in requests:
            waiting[self._next_id] = request
            self._next_id = self._next_id % 0xFFFF + 1  # never 0
        order = list(waiting)
        self._writer.write(b"".join(modbus.build_mbap(id_, unit_id, r.pdu) for id_, r in waiting.items()))
        while waiting and await self._receive(sent_s + within_s):
            now_s = time.perf_counter()
            for frame in self._frames:
                id_, unit, pdu = modbus.parse_mbap(frame)
                zero = id_ == 0 and len(requests) == 1 and order[0] in waiting
                id_ = order[0] if zero else id_
                if id_ in waiting:
                    other = None if unit == unit_id else unit
                    answers[id_] = _judge(waiting.pop(id_), pdu, now_s - sent_s, other, zero)
                elif id_ in self._given_up:
                    self.late_s.append(now_s - self._given_up.pop(id_))
                else:
                    self._stray += 1
        took_s = time.perf_counter() - sent_s
        if waiting and not self.ended and self._splitter.pending:
            kind, self.ended = Kind.SILENT, "half an answer"  # what comes next cannot be told from its rest
        else:
            kind = self._failure()
        for id_ in waiting:
            answers[id_] = Answer(kind, took_s, text=self.ended)
            self._given_up[id_] = sent_s
        return [answers[id_] for id_ in order]

    def _failure(self) -> Kind:
        if self.is_foreign:
            return Kind.FOREIGN
        return Kind.CLOSED if self.ended else Kind.SILENT

    async def listen(self, seconds: float) -> None:
        """Wait, and notice if the peer says something unasked, answers late, or closes."""
        until_s = time.perf_counter() + seconds
        while not self.ended and await self._receive(until_s):
            for frame in self._frames:
                id_ = modbus.parse_mbap(frame)[0]
                if id_ in self._given_up:
                    self.late_s.append(time.perf_counter() - self._given_up.pop(id_))

    async def send_raw(self, data: bytes, within_s: float) -> bytes:
        """Send any bytes and return the first that come; for peers that do not speak Modbus TCP."""
        self._writer.write(data)
        try:
            async with asyncio.timeout(within_s):
                return await self._reader.read(EVIDENCE * 4)
        except OSError:
            return b""

    async def _receive(self, until_s: float) -> bool:
        """Wait for more and cut it into ``_frames``; False when the time is up or nothing more will come."""
        self._frames = []
        left_s = until_s - time.perf_counter()
        if self.ended or left_s <= 0:
            return False
        try:
            async with asyncio.timeout(left_s):
                data = await self._reader.read(4096)
        except TimeoutError:
            return False
        except OSError as error:
            self.ended = error.strerror or "connection lost"
            return False
        if not data:
            self.ended = "closed by the peer"
            return False
        self._head = (self._head + data)[:EVIDENCE] if len(self._head) < EVIDENCE else self._head
        with suppress(FramingError):  # the splitter remembers it
            self._frames = self._splitter.feed(data)
        if self._splitter.error is not None:
            self.ended, self.is_foreign = framing_reason(self._head), True
        elif self._stray > MAX_STRAY:
            self.ended, self.is_foreign = "more frames than were asked for", True
            return False
        return bool(self._frames) or not self.ended


def _judge(request: modbus.Request, pdu: bytes, seconds: float, unit_id: int | None, zero_id: bool) -> Answer:
    try:
        request.parse_response(pdu)
    except ExceptionResponseError as error:
        return Answer(Kind.EXCEPTION, seconds, b"", error.exception_code, unit_id, zero_id)
    except (MalformedPduError, ResponseMismatchError) as error:
        return Answer(Kind.MALFORMED, seconds, b"", 0, unit_id, zero_id, str(error))
    return Answer(Kind.DATA, seconds, pdu[2:], 0, unit_id, zero_id)


class Session:
    """All conversations with one link, one at a time."""

    def __init__(self, host: str, port: int, line: Line, gap_s: float = 0.0, delay_s: float = 0.0) -> None:
        """Take the first connection. ``gap_s`` passes after an answer, ``delay_s`` after connecting."""
        self.host, self.port = host, port
        self.gap_s, self.delay_s = gap_s, delay_s
        self.ends = 0  # connections that the peer has ended
        self.late_s: list[float] = []
        self.zero_ids = False  # answers have borne the transaction identifier 0
        self.codes: defaultdict[int, Counter[int]] = defaultdict(Counter)  # by unit; of one answer; 0: data
        self._line: Line | None = line
        self._free_s = time.perf_counter() + delay_s  # when the next request may be sent

    async def ask(self, request: modbus.Request, unit_id: int, within_s: float) -> Answer:
        """Send one request, on a new connection if there is none."""
        (answer,) = await self.ask_at_once([request], unit_id, within_s)
        if answer.came:
            self.codes[unit_id][answer.code] += 1
        return answer

    async def ask_at_once(
        self, requests: Sequence[modbus.Request], unit_id: int, within_s: float
    ) -> list[Answer]:
        """Send several requests in one segment; their answers in their order."""
        try:
            line = await self._ready()
        except OSError as error:
            text = f"no new connection: {error.strerror or 'no answer'}"
            return [Answer(Kind.CLOSED, 0.0, text=text) for _ in requests]
        answers = await line.ask(requests, unit_id, within_s)
        self._free_s = time.perf_counter() + self.gap_s
        for answer in answers:
            self.zero_ids |= answer.zero_id
        self._note_end(line)
        return answers

    async def open(self) -> Line:
        """Return the connection, a new one if there is none; raises OSError."""
        if self._line is None:
            self._line = await Line.open(self.host, self.port)
            self._free_s = time.perf_counter() + self.delay_s
        return self._line

    async def listen(self, seconds: float) -> bool:
        """Wait; return whether the peer has ended the connection meanwhile."""
        line = await self.open()
        await line.listen(seconds)
        self._note_end(line)
        return bool(line.ended)

    async def listen_quietly(self, seconds: float) -> None:
        """Wait, whatever becomes of the connection."""
        if self._line is None:
            await asyncio.sleep(seconds)
        else:
            await self.listen(seconds)

    def renew(self) -> None:
        """Let the next request have a new connection."""
        if self._line is not None:
            self.late_s += self._line.late_s
            self._line.close()
            self._line = None

    close = renew

    def _note_end(self, line: Line) -> None:
        self.late_s += line.late_s
        line.late_s = []
        if line.ended:
            self.ends += 1
            self.renew()

    async def _ready(self) -> Line:
        await asyncio.sleep(0)
        if self._line is not None and self._line.is_over:  # closed since the last answer
            self.ends += 1
            self.renew()
        for attempt in range(REOPENS):
            try:
                line = await self.open()
                break
            except OSError:
                if attempt == REOPENS - 1:
                    raise
                await asyncio.sleep(REOPEN_S)
        wait_s = self._free_s - time.perf_counter()
        if wait_s > 0:
            await line.listen(wait_s)
        return line
