"""One Modbus TCP device, request by request, on the same engine that polls fleets.

::

    async with fluxfast.Client("192.168.1.100") as client:
        (soe,) = await client.read_holding_registers(2026)
        await client.write_register(2008, 50)

Requests of several tasks share the connection and never get one another's answers. It is opened by the first
request and again whenever it is lost. Nothing waits longer than its timeout, and a write is sent once.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, Self, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from fluxfast import modbus
from fluxfast.config import Device
from fluxfast.constants import MAX_IN_FLIGHT, MAX_PDU_SIZE, ExceptionCode
from fluxfast.errors import (
    ExceptionResponseError,
    FluxfastError,
    FramingError,
    LocalProtocolError,
    MalformedPduError,
    NoAnswerError,
    RemoteProtocolError,
    ResponseMismatchError,
    TransportError,
    UncertainWriteError,
)
from fluxfast.link import Connect, Driver, Reactor, outcomes
from fluxfast.link.counters import read_counters
from fluxfast.plan import structs
from fluxfast.table import quality

CALLS: Final = 256  # under way at once; more wait for their turn
BUSY_WAIT_S: Final = 0.1
MAX_TIMEOUT_S: Final = 3600.0
PROBE_INTERVAL_NS: Final = 30_000_000_000
_ERRORS: Final[dict[int, type[FluxfastError]]] = {
    quality.TIMEOUT: NoAnswerError,
    quality.MALFORMED: MalformedPduError,
    quality.MISMATCH: ResponseMismatchError,
    quality.FRAMING: FramingError,
}
_BUSY: Final = (ExceptionCode.ACKNOWLEDGE, ExceptionCode.SERVER_DEVICE_BUSY)
_READS: Final = (1, 2, 3, 4, 7, 11, 12, 17, 20, 24, 43)  # they change nothing: READS of link/calls.pyx
_UNCERTAIN: Final = "the write may have been carried out: read it back before writing again"

Outcome = tuple[int, int, bytes]


class Options(TypedDict, total=False):
    """What may be given for a single request, in place of the client's own: a unit (0 to 255), seconds."""

    unit_id: int | None
    timeout_s: float | None


class Client:
    """A connection to one host and port, with any number of units behind it; an async context manager.

    Each request may raise

    - ExceptionResponseError: the unit answered with an exception response
    - NoAnswerError (a TimeoutError): nothing came in time
    - TransportError (an OSError): no connection
    - RemoteProtocolError: what came is not an answer
    - UncertainWriteError: a write that may or may not have been carried out
    - LocalProtocolError (a ValueError): the specification forbids the request
    """

    def __init__(
        self,
        host: str,
        port: int = 502,
        *,
        unit_id: int = 1,
        timeout_s: float = 1.0,
        retry_count: int = 0,
        max_in_flight: int = 1,
        request_gap_s: float = 0.0,
        connect_delay_s: float = 0.0,
        zero_ids: bool = False,
        unit_aliases: Sequence[int] = (),
        connect: Connect | None = None,
    ) -> None:
        """Open nothing yet.

        ``unit_id`` and ``timeout_s`` may be given for a single request too. A timeout holds for all of a
        request: waiting for its turn, connecting, the answer. A read that fails in any way but by an
        exception response other than 5 and 6 (busy) is sent again ``retry_count`` times, at once, then after
        1 s, 2 s, … and with a timeout of its own. ``max_in_flight`` requests (1 to 16) may wait for answers;
        some devices get confused by more than one. ``request_gap_s`` passes between an answer and the next
        request, ``connect_delay_s`` between connecting and the first one. Answers may bear the transaction
        identifier 0 where ``zero_ids`` says so, and those of the client's own unit up to two other units,
        ``unit_aliases``. ``connect`` opens an asyncio stream (as ``asyncio.open_connection`` does) that is
        used instead of a socket to host and port.
        """
        if not 1 <= port <= 65535:
            raise LocalProtocolError(f"a port is 1 to 65535, not {port}")
        if not 1 <= max_in_flight <= MAX_IN_FLIGHT:
            raise LocalProtocolError(f"max_in_flight must be 1 to {MAX_IN_FLIGHT}, not {max_in_flight}")
        for pause_s in (request_gap_s, connect_delay_s):
            if not 0 <= pause_s <= MAX_TIMEOUT_S:
                raise LocalProtocolError(f"a pause is 0 to {MAX_TIMEOUT_S:g} s, not {pause_s}")
        self._place = f"{host}:{port}"
        self._unit_id = unit_id
        self._timeout_s = _checked(timeout_s)
        self._retry_count = retry_count
        gap_ns, delay_ns = round(1e9 * request_gap_s), round(1e9 * connect_delay_s)
        blocks = _aliases(unit_id, unit_aliases)
        in_flight = 1 if zero_ids else max_in_flight
        link = (gap_ns, delay_ns, round(1e9 * timeout_s), 0, len(blocks), 1, in_flight, zero_ids, 0)
        none, words = np.empty(0, np.uint8), np.empty(0, np.uint64)
        self._reactor = Reactor(
            np.array([link], structs.LINK).view(np.uint8),
            np.array([(0, 0, len(blocks), 0)], structs.UNIT).view(np.uint8), blocks.view(np.uint8),
            none, words, none, words, None, 0.0, PROBE_INTERVAL_NS, secrets.randbits(64), CALLS,
        )  # fmt: skip
        streams = {} if connect is None else {0: connect}
        self._driver = Driver(self._reactor, [(host, port)], streams, self._ended)
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._free = deque(range(CALLS))
        self._turn = asyncio.Semaphore(CALLS)
        self._closed = asyncio.Event()
        self._entered = self._open = False

    @classmethod
    def of(cls, device: Device, *, timeout_s: float | None = None, retry_count: int | None = None) -> Self:
        """Return a client of a site file's device, with its quirks; seconds and retries are the device's too.

        Raises FluxfastError for a device on a serial line.
        """
        if device.modbus.host is None:
            raise FluxfastError(f"{device.id} is on a serial line, which is not spoken here: name a gateway")
        quirks = device.profile.quirks
        return cls(
            device.modbus.host,
            device.modbus.port,
            unit_id=device.modbus.unit,
            timeout_s=device.modbus.timeout_ns / 1e9 if timeout_s is None else timeout_s,
            retry_count=device.modbus.retry_count if retry_count is None else retry_count,
            max_in_flight=quirks.max_in_flight,
            request_gap_s=quirks.request_gap_ns / 1e9,
            connect_delay_s=quirks.connect_delay_ns / 1e9,
            zero_ids=quirks.transaction_id == "zero",
            unit_aliases=quirks.unit_aliases,
        )

    async def __aenter__(self) -> Self:
        """Begin to connect; requests wait for it."""
        if self._entered:
            raise FluxfastError("a client is opened once; make another one")
        self._entered = True
        self._loop = asyncio.get_running_loop()
        await self._driver.open()
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection; requests that still wait fail."""
        self.close()

    def close(self) -> None:
        """Close the connection; requests that still wait fail."""
        self._open = False
        self._closed.set()
        self._reactor.stream_down(0)  # ends what is in flight, by stream or socket …
        for slot in self._waiting:
            self._reactor.cancel_call(slot)  # … and this what was not sent, or was to be read back
        for slot, outcome, _, answer in self._reactor.take_calls():
            self._ended(slot, outcome, quality.LOST, answer)
        self._driver.close()

    @property
    def is_connected(self) -> bool:
        """Whether the connection is up."""
        return self._open and self._reactor.up == 1

    def counters(self) -> dict[str, int]:
        """Return requests sent, connects tried, late answers (their request had ended) and foreign ones."""
        (link,) = read_counters(self._reactor, 0)[1]
        return {"requests": self._reactor.requests, **{name: int(link[name]) for name in link.dtype.names}}

    # ---- reading ----

    async def read_coils(
        self, address: int, quantity: int = 1, **options: Unpack[Options]
    ) -> tuple[bool, ...]:
        """Read coils (function 1). ``address`` is the PDU's, which counts from 0."""
        bits: tuple[bool, ...] = await self.request(modbus.ReadCoils(address, quantity), **options)
        return bits

    async def read_discrete_inputs(
        self, address: int, quantity: int = 1, **options: Unpack[Options]
    ) -> tuple[bool, ...]:
        """Read discrete inputs (function 2)."""
        bits: tuple[bool, ...] = await self.request(modbus.ReadDiscreteInputs(address, quantity), **options)
        return bits

    async def read_holding_registers(
        self, address: int, quantity: int = 1, **options: Unpack[Options]
    ) -> tuple[int, ...]:
        """Read holding registers (function 3), each 0 to 65535."""
        words: tuple[int, ...] = await self.request(modbus.ReadHoldingRegisters(address, quantity), **options)
        return words

    async def read_input_registers(
        self, address: int, quantity: int = 1, **options: Unpack[Options]
    ) -> tuple[int, ...]:
        """Read input registers (function 4), each 0 to 65535."""
        words: tuple[int, ...] = await self.request(modbus.ReadInputRegisters(address, quantity), **options)
        return words

    async def read_device_identification(self, code: int = 1, **options: Unpack[Options]) -> dict[int, bytes]:
        """Read what the device says it is (function 43/14), {object id: value}: 1 basic, 2 regular, 3 all."""
        objects: dict[int, bytes] = {}
        object_id: int | None = 0
        while object_id is not None:
            part = await self.request(modbus.ReadDeviceIdentification(code, object_id), **options)
            objects.update(part.objects)
            object_id = part.next_object_id
        return objects

    # ---- writing ----

    async def write_coil(self, address: int, value: bool, **options: Unpack[Options]) -> None:
        """Write one coil (function 5)."""
        await self.request(modbus.WriteSingleCoil(address, value), **options)

    async def write_register(self, address: int, value: int, **options: Unpack[Options]) -> None:
        """Write one register (function 6), 0 to 65535."""
        await self.request(modbus.WriteSingleRegister(address, value), **options)

    async def write_coils(self, address: int, values: Iterable[bool], **options: Unpack[Options]) -> None:
        """Write coils (function 15)."""
        await self.request(modbus.WriteMultipleCoils(address, values), **options)

    async def write_registers(self, address: int, values: Iterable[int], **options: Unpack[Options]) -> None:
        """Write registers (function 16), each 0 to 65535."""
        await self.request(modbus.WriteMultipleRegisters(address, values), **options)

    async def mask_write_register(
        self, address: int, and_mask: int, or_mask: int, **options: Unpack[Options]
    ) -> None:
        """Change bits of a register (function 22): (old AND and_mask) OR (or_mask AND NOT and_mask)."""
        await self.request(modbus.MaskWriteRegister(address, and_mask, or_mask), **options)

    async def read_write_registers(
        self,
        read_address: int,
        read_quantity: int,
        write_address: int,
        values: Iterable[int],
        **options: Unpack[Options],
    ) -> tuple[int, ...]:
        """Write registers, then read registers, in one request (function 23)."""
        request = modbus.ReadWriteMultipleRegisters(read_address, read_quantity, write_address, values)
        words: tuple[int, ...] = await self.request(request, **options)
        return words

    # ---- any request ----

    async def request(
        self, request: modbus.Request, *, unit_id: int | None = None, timeout_s: float | None = None
    ) -> Any:
        """Send any of modbus's requests and return what its ``parse_response`` makes of the answer.

        A write without a clear answer (none, a wrong echo, a lost connection, exception 11 of a gateway) is
        never sent again. If time remains it is read back: when the unit holds what was written, it is done;
        otherwise UncertainWriteError.
        """
        unit_id = self._unit_id if unit_id is None else unit_id
        retries = self._retry_count if request.function_code in _READS else 0
        for attempt in range(retries):
            try:
                return await self._request_once(request, unit_id, timeout_s)
            except ExceptionResponseError as error:
                if error.exception_code not in _BUSY:
                    raise
                await self._pause(max(BUSY_WAIT_S, attempt))
            except (NoAnswerError, TransportError, RemoteProtocolError):
                await self._pause(attempt)
        return await self._request_once(request, unit_id, timeout_s)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()

    async def _request_once(self, request: modbus.Request, unit_id: int, timeout_s: float | None) -> Any:
        answer = await self._call(request.pdu, unit_id, timeout_s)
        if answer is None:
            return None  # a write, read back as written
        try:
            return request.parse_response(answer)
        except (ExceptionResponseError, RemoteProtocolError) as error:
            error.args = (f"{self._where(unit_id)}: {error}",)  # which modbus does not know
            if isinstance(error, ExceptionResponseError) or request.function_code in _READS:
                raise
            raise UncertainWriteError(f"{error}; {_UNCERTAIN}") from error

    async def request_pdu(
        self, pdu: bytes, *, unit_id: int | None = None, timeout_s: float | None = None
    ) -> bytes:
        """Send a request PDU of any function code (1 to 253 bytes) and return the response PDU as it came.

        An exception response is returned, not raised. For functions that ``modbus`` has no class for.
        """
        if not 1 <= len(pdu) <= MAX_PDU_SIZE:
            raise LocalProtocolError(f"a request PDU has 1 to {MAX_PDU_SIZE} bytes, not {len(pdu)}")
        answer = await self._call(bytes(pdu), self._unit_id if unit_id is None else unit_id, timeout_s)
        return pdu[:5] if answer is None else answer  # read back as written: what the echo would have been

    # ---- the engine ----

    async def _call(self, pdu: bytes, unit_id: int, timeout_s: float | None) -> bytes | None:
        """Return the response PDU, or None for a write that was read back as written."""
        if not self._open:
            raise FluxfastError("a client sends inside `async with client:`")
        if self._loop is not asyncio.get_running_loop():
            raise FluxfastError("a client sends on the loop that opened it; make another one for each loop")
        if not 0 <= unit_id <= 255:
            raise LocalProtocolError(f"a unit identifier is 0 to 255, not {unit_id}")
        if unit_id == 0 and pdu[0] not in _READS:
            raise LocalProtocolError(
                "unit 0 is every unit of a serial line and answers nothing; write to each one, or to 255"
            )
        timeout_s = self._timeout_s if timeout_s is None else _checked(timeout_s)
        expires_ns = self._reactor.now_ns() + round(1e9 * timeout_s)
        if self._turn.locked():
            try:
                async with asyncio.timeout(timeout_s):
                    await self._turn.acquire()
            except TimeoutError:
                raise NoAnswerError(f"{self._where(unit_id)}: no turn within {timeout_s:g} s") from None
        else:
            await self._turn.acquire()  # at once
        if not self._open:  # closed meanwhile; the next one that waits is to hear of it too
            self._turn.release()
            raise TransportError(f"{self._where(unit_id)}: the client was closed")
        slot = self._free.pop()
        ended = self._waiting[slot] = asyncio.get_running_loop().create_future()
        self._reactor.call(slot, 0, unit_id, pdu, expires_ns - self._reactor.now_ns(), expires_ns)
        self._driver.follow()
        try:
            outcome, code, answer = await ended
        except asyncio.CancelledError:
            if self._waiting.get(slot) is ended and self._open:  # what was not sent yet stays unsent
                self._reactor.cancel_call(slot)
                self._driver.follow()
            raise
        if outcome in (outcomes.ANSWERED, outcomes.CONFIRMED):
            return answer if outcome == outcomes.ANSWERED else None
        raise self._error(outcome, code, unit_id, timeout_s)

    def _ended(self, slot: int, outcome: int, code: int, answer: bytes) -> None:
        future = self._waiting.pop(slot)
        if not future.done():  # cancelled meanwhile
            future.set_result((outcome, code, answer))
        self._free.append(slot)
        self._turn.release()

    def _error(self, outcome: int, code: int, unit_id: int, timeout_s: float) -> FluxfastError:
        reason = quality.reason(code) or ""
        if code == quality.TIMEOUT:
            reason = f"no answer within {timeout_s:g} s"
        elif code == quality.FRAMING:
            reason = quality.framing_reason(self._reactor.evidence(0))
        elif code == quality.UNREACHABLE and 0 in self._driver.streams.failures:
            reason += f": {self._driver.streams.failures[0]}"
        if outcome == outcomes.FAILED:
            return _ERRORS.get(code, TransportError)(f"{self._where(unit_id)}: {reason}")
        if outcome == outcomes.DIFFERS:
            text = "the unit holds something else: it was not carried out, or has been written over"
        else:
            text = _UNCERTAIN
        return UncertainWriteError(f"{self._where(unit_id)}: {reason}; {text}")

    def _where(self, unit_id: int) -> str:
        return f"{self._place} unit {unit_id}"


def _aliases(unit_id: int, aliases: Sequence[int]) -> NDArray[np.void]:
    """Return the plan's way to say that a unit has aliases: a block of it, which no tick ever reads."""
    if not aliases:
        return np.empty(0, structs.BLOCK)
    blocks = np.zeros(1, structs.BLOCK)
    blocks["unit_id"], blocks["every"], blocks["quantity"] = unit_id, 1, 1
    blocks["aliases"] = (*aliases, unit_id)[:2]
    return blocks


def _checked(timeout_s: float) -> float:
    if not 0 < timeout_s <= MAX_TIMEOUT_S:  # nor NaN
        raise LocalProtocolError(f"a timeout is more than 0 and at most {MAX_TIMEOUT_S:g} s, not {timeout_s}")
    return timeout_s
