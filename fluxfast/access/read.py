"""Reading selected points of units: one way for a host and for a site file, once or again and again.

What goes wrong stays where it is: a read that fails leaves the others alone, and one that a unit refuses is
cut in two until only what it refuses is missing, as a station does it.
"""

import asyncio
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fluxfast import modbus
from fluxfast.access.selection import Selection
from fluxfast.access.target import Unit
from fluxfast.client import Client
from fluxfast.constants import ExceptionCode
from fluxfast.errors import (
    ExceptionResponseError,
    FluxfastError,
    FramingError,
    MalformedPduError,
    NoAnswerError,
    ResponseMismatchError,
    TransportError,
)
from fluxfast.plan.blocks import BlockLayout
from fluxfast.table import quality
from fluxfast.values import Decoder, Reading, block_of

AT_ONCE: Final = 64  # connections
MAX_CUTS: Final = 64  # of one unit: so many more requests, no more, to a unit that refuses everything
SILENT: Final = 2  # reads in a row without an answer: the unit is not there, the rest is not asked for
_REFUSED: Final = (ExceptionCode.ILLEGAL_DATA_ADDRESS, ExceptionCode.ILLEGAL_DATA_VALUE)
_NOT_THERE: Final = (
    ExceptionCode.GATEWAY_PATH_UNAVAILABLE,
    ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND,
)
_REQUESTS: Final = {
    1: modbus.ReadCoils,
    2: modbus.ReadDiscreteInputs,
    3: modbus.ReadHoldingRegisters,
    4: modbus.ReadInputRegisters,
}
_CODES: Final[tuple[tuple[type[FluxfastError], int], ...]] = (
    (NoAnswerError, quality.TIMEOUT),
    (MalformedPduError, quality.MALFORMED),
    (ResponseMismatchError, quality.MISMATCH),
    (FramingError, quality.FRAMING),
)
_NO_LINK: Final = {
    quality.reason(code): code for code in (quality.REFUSED, quality.UNREACHABLE, quality.NO_HOST)
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One point of one unit as it was found."""

    unit: Unit
    reading: Reading  # without raw bytes if it could not be read
    reason: str | None  # why it is not good, in words
    took_ms: float | None  # from asking to the answer; the first one of a connection waits for that too
    time_us: int  # UTC, microseconds since 1970

    @property
    def was_read(self) -> bool:
        """Whether the unit sent it, good or not."""
        return bool(self.reading.raw)


@dataclass(frozen=True, slots=True)
class _Part:
    """A read and its decoder."""

    block: BlockLayout
    decoder: Decoder

    @classmethod
    def of(cls, block: BlockLayout) -> "_Part":
        return cls(block, Decoder(block))

    def halves(self) -> list["_Part"]:
        """Return two reads for its points, none if neither would be shorter."""
        points = sorted(self.block.points, key=lambda point: (point.address, point.size))
        middle = len(points) // 2
        if not middle:
            return []
        blocks = [block_of(points[:middle]), block_of(points[middle:])]
        shorter = any(block.quantity < self.block.quantity for block in blocks)
        return [_Part.of(block) for block in blocks] if shorter else []


class UnitReader:
    """Reads some points of one unit; remembers how its reads had to be cut."""

    def __init__(self, unit: Unit, selection: Selection) -> None:
        """Ask nothing yet."""
        self.unit = unit
        self.points = selection.points
        self._parts = [_Part.of(block) for block in selection.blocks]
        self._cuts = 0

    async def read(self, client: Client) -> list[Answer]:
        """Return an answer for each point, in the order of the selection; never raises."""
        answers: dict[int, Answer] = {}
        parts: list[_Part] = []
        waiting = self._parts[::-1]
        silent = 0
        gone: FluxfastError | None = None
        again: _Part | None = None
        while waiting:
            part = waiting.pop()
            if gone is not None:
                parts.append(part)
                self._keep(answers, self._failed(part, gone, None))
                continue
            was_up = client.is_connected
            began = time.perf_counter()
            try:
                data = await _fetch(client, part.block, self.unit.unit_id)
            except FluxfastError as error:
                took_ms = 1e3 * (time.perf_counter() - began)
                halves = part.halves() if self._may_cut(error) else []
                if halves:
                    self._cuts += 1
                    waiting += halves[::-1]
                    continue
                if was_up and isinstance(error, TransportError) and again is not part:
                    again = part  # some close after each answer, or when nothing was asked for a while
                    waiting.append(part)
                    continue
                silent = silent + 1 if _is_silence(error) else 0
                if not client.is_connected or silent == SILENT:
                    gone = error
                self._keep(answers, self._failed(part, error, took_ms))
            else:
                silent = 0
                self._keep(answers, self._decoded(part, data, 1e3 * (time.perf_counter() - began)))
            parts.append(part)
        self._parts = parts
        return [answers[id(point)] for point in self.points]

    def _may_cut(self, error: FluxfastError) -> bool:
        refused = isinstance(error, ExceptionResponseError) and error.exception_code in _REFUSED
        return refused and self._cuts < MAX_CUTS

    def _decoded(self, part: _Part, data: bytes, took_ms: float) -> Iterable[Answer]:
        now_us = time.time_ns() // 1000
        for reading in part.decoder.decode(data):
            yield Answer(self.unit, reading, quality.reason(reading.code), took_ms, now_us)

    def _failed(self, part: _Part, error: FluxfastError, took_ms: float | None) -> Iterable[Answer]:
        now_us = time.time_ns() // 1000
        code, reason = _why(error, self.unit)
        for point in part.block.points:
            yield Answer(self.unit, Reading(point, None, code, b""), reason, took_ms, now_us)

    @staticmethod
    def _keep(answers: dict[int, Answer], found: Iterable[Answer]) -> None:
        answers.update((id(answer.reading.point), answer) for answer in found)


class Links:
    """The connections that some units are asked on, one for each host and port; an async context manager.

    ``keep`` them open between reads, or close each one when its units have been asked.
    """

    def __init__(
        self,
        readers: Sequence[UnitReader],
        *,
        timeout_s: float | None = None,
        retry_count: int | None = None,
        keep: bool = False,
    ) -> None:
        """Connect to nothing yet. Seconds and retries of None are the site file's."""
        self._readers = readers
        self._options = (timeout_s, retry_count)
        self._keep = keep
        self._members: dict[tuple[object, ...], list[UnitReader]] = {}
        for reader in readers:
            self._members.setdefault(reader.unit.link, []).append(reader)
        self._clients: dict[tuple[object, ...], Client] = {}

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._members)

    async def __aenter__(self) -> "Links":
        """Begin; the first read connects."""
        self._turn = asyncio.Semaphore(AT_ONCE)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        for client in self._clients.values():
            client.close()

    async def read(self, tell: Callable[[int], None] = lambda _: None) -> list[Answer]:
        """Ask all units, those of a link one after another; tells how many more have been asked."""
        found: dict[int, list[Answer]] = {}

        async def ask(link: tuple[object, ...], members: list[UnitReader]) -> None:
            async with self._turn:
                for reader in members:
                    client = await self._client(link, members[0].unit)
                    found[id(reader)] = await reader.read(client)
                    tell(1)
                    if not client.is_connected:  # a new one connects at once, this one when it sees fit
                        self._clients.pop(link).close()
                if not self._keep and link in self._clients:
                    self._clients.pop(link).close()

        await asyncio.gather(*(ask(link, members) for link, members in self._members.items()))
        return [answer for reader in self._readers for answer in found[id(reader)]]

    async def _client(self, link: tuple[object, ...], unit: Unit) -> Client:
        if link not in self._clients:
            client = unit.client(*self._options)
            self._clients[link] = await client.__aenter__()
        return self._clients[link]


async def _fetch(client: Client, block: BlockLayout, unit_id: int) -> bytes:
    """Return the data of a read, without its byte count."""
    request = _REQUESTS[block.function_code](block.address, block.quantity)
    values = await client.request(request, unit_id=unit_id)
    if block.function_code <= 2:
        bits = sum(1 << number for number, is_set in enumerate(values) if is_set)
        return bits.to_bytes(block.data_size, "little")
    return struct.pack(f">{block.quantity}H", *values)


def _is_silence(error: FluxfastError) -> bool:
    """Whether the unit itself said nothing; what a gateway says for it counts as nothing."""
    return not isinstance(error, ExceptionResponseError) or error.exception_code in _NOT_THERE


def _why(error: FluxfastError, unit: Unit) -> tuple[int, str]:
    """Return the quality code of an error, and its reason in words, without the place."""
    if (
        isinstance(error, ExceptionResponseError)
        and error.exception_code < quality.PARTIAL - quality.EXCEPTION
    ):
        code = quality.EXCEPTION + error.exception_code
        return code, quality.reason(code) or ""
    reason = str(error).removeprefix(f"{unit.host}:{unit.port} unit {unit.unit_id}: ")
    no_link = _NO_LINK.get(reason, quality.LOST)
    return next((code for kind, code in _CODES if isinstance(error, kind)), no_link), reason
