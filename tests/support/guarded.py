"""A site of real sockets, controlled by a real station; its devices write down every request that they get.

::

    with Guarded(tmp_path, "127.72.1", units=3) as site:
        run = site.run(script)                 # async script(run), between ticks

A script sees and changes registers while the station runs, and waits for what shall happen.
"""

import asyncio
import struct
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fluxfast.config import load
from fluxfast.poller import Tick
from fluxfast.station import Station
from tests.support.command import PATIENCE_S
from tests.support.scripted import Peer, ScriptedServer, Servers

STATUS, POWER, SOURCE, SOE, BLOCKS = 2000, 2008, 2010, 2026, 2028
READY, REMOTE, BEFORE = 1, 1, 7
METER_POWER = 0x40
READS = (1, 2, 3, 4)
LOST = b""  # no answer to this request


@dataclass(frozen=True)
class Seen:
    """A request as it came in; ``values``: the registers of a write, the quantity of a read."""

    time_s: float  # monotonic
    unit: int
    code: int
    address: int
    values: tuple[int, ...]

    @property
    def value(self) -> int:
        """The first register as a signed number."""
        return (self.values[0] + 0x8000) % 0x10000 - 0x8000


class Device:
    """Holding registers behind one address; all that it does may be changed while it serves.

    ``answer(code, address, values)`` may return another PDU, or LOST; every answer waits for ``delay_s``.
    """

    def __init__(self, host: str, registers: dict[int, int]) -> None:
        self.host, self.registers = host, registers
        self.seen: list[Seen] = []
        self.answer: Callable[[int, int, tuple[int, ...]], bytes | None] = lambda *_: None
        self.delay_s = 0.0
        self.server = ScriptedServer(self._serve, host)

    async def _serve(self, peer: Peer) -> None:
        while True:
            header = await peer.reader.readexactly(7)
            pdu = await peer.reader.readexactly(int.from_bytes(header[4:6], "big") - 1)
            code, address, third = struct.unpack(">BHH", pdu[:5])
            values = struct.unpack(f">{third}H", pdu[6:]) if code == 16 else (third,)
            self.seen.append(Seen(time.monotonic(), header[6], code, address, values))
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            answer = self.answer(code, address, values)
            if answer is None:
                answer = self._do(code, address, values, pdu)
            if answer != LOST:
                await peer.send(header[:4] + struct.pack(">HB", len(answer) + 1, header[6]) + answer)

    def _do(self, code: int, address: int, values: tuple[int, ...], pdu: bytes) -> bytes:
        if code in READS:
            held = [self.registers.get(address + n, 0) for n in range(values[0])]
            return bytes([code, 2 * len(held)]) + struct.pack(f">{len(held)}H", *held)
        for n, value in enumerate(values):
            self.registers[address + n] = value
        return pdu[:5]

    @property
    def writes(self) -> list[Seen]:
        """Every request that is no read, in order."""
        return [one for one in self.seen.copy() if one.code not in READS]

    def written(self, address: int) -> list[int]:
        """What was written to a register, signed, in order."""
        return [one.value for one in self.writes if one.address == address]

    def set_float(self, address: int, value: float) -> None:
        """Let two registers hold a float32."""
        self.registers[address], self.registers[address + 1] = struct.unpack(">2H", struct.pack(">f", value))


def unit(host: str) -> Device:
    """Return a PowerPack that is ready, half full and commanded by somebody else until now."""
    return Device(host, {STATUS: READY, SOURCE: BEFORE, SOE: 50, BLOCKS: 10})


class Run:
    """A station that runs, to a script; ``messages`` are all that it has told."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self._ticks: AsyncGenerator[Tick, None] = station.ticks()
        self.messages: list[str] = []

    async def ticks(self, count: int) -> None:
        """Let some ticks pass."""
        for _ in range(count):
            await anext(self._ticks)
            self.take_messages()

    async def again(self) -> None:
        """End ``ticks`` as a ``break`` does, and begin anew."""
        await self.end()
        self._ticks = self.station.ticks()

    async def end(self) -> None:
        """End ``ticks``."""
        await self._ticks.aclose()
        self.take_messages()

    async def until(self, condition: Callable[[], object], ticks: int = 150) -> None:
        """Let ticks pass until something is so; fail when it does not come."""
        for _ in range(ticks):
            if condition():
                return
            await self.ticks(1)
        raise AssertionError(f"it does not come; told: {self.messages}")

    def take_messages(self) -> None:
        """Keep what the station has to tell."""
        self.messages += self.station.messages
        self.station.messages.clear()

    def told(self, *words: str) -> bool:
        """Whether one message has all these words."""
        return any(all(word in message for word in words) for message in self.messages)


Script = Callable[[Run], Awaitable[None]]


class Guarded:
    """A site's devices on addresses of their own, and its file."""

    def __init__(
        self,
        folder: Path,
        network: str,
        *,
        units: int = 1,
        power_kw: float | str = 30,
        control: str = "",
        unit_control: str = "",
        poll: str = "every: 200ms",
        action: str = "act",
        profile: str = "powerpack",
        modes: str = "",
        timeout: str = "1s",
        site: str = "",
    ) -> None:
        self.folder = folder
        self.name = site or f"guard-{network.replace('.', '-')}"
        self.units = [unit(f"{network}.{n}") for n in range(1, units + 1)]
        self.meter = Device(f"{network}.100", {})
        self.meter.set_float(METER_POWER, 100.0)
        self._timeout = timeout
        self._modes = modes or f"[{{type: fixed_power, power_kw: {power_kw}}}]"
        self._poll, self._action, self._control = poll, action, control
        self._profile, self._unit_control = profile, unit_control
        self.extra: list[str] = []  # more lines of the bess list

    def __enter__(self) -> Self:
        self._servers = Servers([device.server for device in (*self.units, self.meter)])
        self._servers.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.__exit__()

    def file(self, name: str = "site.yaml", action: str | None = None) -> Path:
        """Write the site file."""
        lines = [
            f"site: {self.name}",
            f"poll: {{{self._poll}}}",
            f"control: {{action: {action or self._action}, modes: {self._modes}{self._control}}}",
            "devices:",
            "  bess:",
        ]
        for n, one in enumerate(self.units, 1):
            where = f"{{host: {one.host}, port: {one.server.port}, timeout: {self._timeout}}}"
            lines.append(
                f"    - {{id: u{n}, type: {self._profile}, capacity_kwh: 400, rated_power_kw: 200,"
                f" control: {{rise_pct_per_s: 1000{self._unit_control}}}, modbus: {where}}}"
            )
        lines += self.extra
        where = f"{{host: {self.meter.host}, port: {self.meter.server.port}, timeout: 1s}}"
        lines += ["  meters:", f"    - {{id: m1, type: acuvim2, role: grid, modbus: {where}}}"]
        file = self.folder / name
        file.write_text("\n".join(lines) + "\n")
        return file

    def run(self, script: Script) -> Run:
        """Run a station in this process for as long as the script takes, and let it end as it should."""

        async def main() -> Run:
            async with Station(load(self.file())) as station:
                run, watchdog = Run(station), station._watchdog
                try:
                    await script(run)
                finally:
                    await run.end()
            if watchdog is not None:  # it may have something left to do
                assert watchdog.wait(PATIENCE_S) is not None
            return run

        return asyncio.run(main())

    @staticmethod
    def power_kw(unit: Device) -> float:
        """The setpoint of a unit that holds a float32."""
        held: float = struct.unpack(
            ">f", struct.pack(">2H", unit.registers[POWER], unit.registers[POWER + 1])
        )[0]
        return held

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait for what no station of this process does."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, "it does not come"
            time.sleep(0.02)

    def all_given_back(self, units: Iterable[Device] | None = None) -> bool:
        """Whether these units were told 0 last, and then got their command source back."""
        return all(
            one.written(POWER)[-1:] == [0]
            and one.registers[POWER] == 0
            and one.registers[SOURCE] == BEFORE
            and one.writes[-1].address == SOURCE
            for one in (self.units if units is None else units)
        )
