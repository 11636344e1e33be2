"""Battery units that write down every write they get, and behave badly where a test says so."""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fluxfast.watchdog import StopUnit
from tests.support.scripted import Peer, Request, ScriptedServer

POWER, SOURCE = 2008, 2010
STOP = bytes.fromhex("0000 0000 0006 01 06 07d8 0000")
RELEASE = bytes.fromhex("0000 0000 0006 01 06 07da ffff")


@dataclass(frozen=True)
class Write:
    """A write as it came in; the time is the monotonic clock's, the same in all processes."""

    time_s: float
    unit: int
    address: int
    value: int


def echo(request: Request) -> bytes:
    """Return the right answer to a write of one register."""
    return request.reply(pdu=struct.pack(">BHH", 6, request.address, request.quantity))


def exception(request: Request, code: int) -> bytes:
    return request.reply(pdu=bytes([0x86, code]))


Misbehaviour = Callable[[Peer, Request, int], Awaitable[bool]]


@dataclass
class Battery:
    """One endpoint. ``bad(peer, request, number)`` may answer a request in another way, and returns if so."""

    host: str
    bad: Misbehaviour | None = None
    slots: int = 1000  # connections that are served at a time; others wait
    writes: list[Write] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = ScriptedServer(self._serve, self.host)
        self._free: asyncio.Semaphore | None = None
        self._requests = 0

    async def _serve(self, peer: Peer) -> None:
        self._free = self._free or asyncio.Semaphore(self.slots)
        async with self._free:
            while True:
                request = await peer.request()
                self._requests += 1
                if self.bad is not None and await self.bad(peer, request, self._requests):
                    continue
                self.writes.append(
                    Write(time.monotonic(), request.unit_id, request.address, request.quantity)
                )
                await peer.send(echo(request))

    def unit(self, number: int = 1, **times: float) -> StopUnit:
        """Return how one of its units is stopped."""
        frames = [frame[:6] + bytes([number]) + frame[7:] for frame in (STOP, RELEASE)]
        return StopUnit(f"{self.host}/{number}", self.host, self.server.port, *frames, **times)

    def values(self, address: int, unit: int = 1) -> list[int]:
        """Return what was written to a register, in order."""
        return [w.value for w in self.writes if (w.unit, w.address) == (unit, address)]

    def stopped_at(self, unit: int = 1) -> float:
        """Return when the last 0 kW arrived; the last write of power must have been that."""
        writes = [w for w in self.writes if (w.unit, w.address) == (unit, POWER)]
        assert writes, f"nothing was written to unit {unit} of {self.host}"
        assert writes[-1].value == 0
        return writes[-1].time_s
