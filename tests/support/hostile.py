"""Devices that are honest but for one request, and what a station makes of many of them at once.

::

    turn   the victim's request, as the device sees it      steps   what it does: bytes, pauses, FIN, RST …
    case   its number in the table, what the device does, and the outcome that must follow

Every true value depends on the address and on how many requests the device has seen, and each device notes
which it told last: a value from another request, another register or a forged frame cannot pass.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fluxfast.link.counters import read_counters
from fluxfast.station import Station
from fluxfast.table import quality
from tests.support.fleets import device, fleet, registers
from tests.support.scripted import Peer, Request, ScriptedServer, Servers

FIRST, SIZE = 2000, 10  # registers of a read
FORGED = [0xBAD] * SIZE
# How many reads a tick makes, all in flight at once, and which of them meets the hostile act.
MODES = {"plain": (1, 0), "pipelined": (4, 1)}

FIN, RST, STALL = "fin", "rst", "stall"  # steps; STALL: never another byte on this connection


@dataclass(frozen=True)
class Later:
    """A step: send these bytes after a while, and go on answering meanwhile."""

    after_s: float
    data: bytes


@dataclass(frozen=True)
class Urgent:
    """A step: one byte out of band."""

    data: bytes


Step = bytes | float | str | Later | Urgent  # a float is a pause in seconds


@dataclass
class Turn:
    """The victim's request, seen from the device."""

    device: "Device"
    request: Request
    nth: int  # how often it was asked for before
    held: list[bytes]  # the device's own, for as long as the connection lasts
    unissued: int  # a transaction identifier that this connection has not seen yet

    @property
    def id(self) -> int:
        return self.request.transaction_id

    def reply(self, values: Sequence[int] | None = None, **other: Any) -> bytes:
        """Return the true reply, or one with other ``values``, ``transaction_id``, ``unit_id`` or ``pdu``."""
        if values is None and not other:
            return self.device.truth(self.request)
        return self.request.reply(FORGED if values is None else list(values), **other)


Act = Callable[[Turn], "list[Step] | None"]  # None: an honest answer


def once(make: Callable[[Turn], bytes | list[Step]]) -> Act:
    """Do it to the victim's first request."""
    return lambda turn: always(make)(turn) if turn.nth == 0 else None


def always(make: Callable[[Turn], bytes | list[Step]]) -> Act:
    """Do it to every request of the victim."""

    def act(turn: Turn) -> list[Step]:
        made = make(turn)
        return [made] if isinstance(made, bytes) else made

    return act


@dataclass(frozen=True)
class Outcome:
    """What must follow: 'good' or a reason for the victim and for the reads behind it, and what is counted.

    ``after`` is the victim's in all later ticks.
    """

    victim: str
    behind: str = "good"
    after: str = "good"
    connects: int = 1
    counted: dict[str, int] = field(default_factory=dict)

    def reasons(self, mode: str, ticks: int) -> list[list[str]]:
        """Return the reason of each read in each tick."""
        if mode == "plain":
            return [[self.victim]] + [[self.after]] * (ticks - 1)
        first = ["good", self.victim, self.behind, self.behind]
        return [first] + [["good", self.after, "good", "good"]] * (ticks - 1)


def good(**counted: int) -> Outcome:
    return Outcome("good", counted=counted)


def fails(reason: str, **counted: int) -> Outcome:
    """Only this request fails; the connection is kept, and the next tick is good."""
    return Outcome(reason, counted=counted or {"malformed": 1})


def closes(reason: str, **counted: int) -> Outcome:
    """Everything in flight fails; the next tick is good, on another connection."""
    return Outcome(reason, reason, connects=2, counted=counted)


@dataclass(frozen=True, eq=False)
class Case:
    """A row of the table."""

    number: int
    does: str
    act: Act
    outcome: Outcome
    pipelined: Outcome | None = None  # where it differs

    def __str__(self) -> str:
        return f"{self.number} {self.does}"

    def expected(self, mode: str) -> Outcome:
        return self.pipelined or self.outcome if mode == "pipelined" else self.outcome


class Device:
    """One device of a case: listens on an address of its own."""

    def __init__(self, case: Case, mode: str, host: str) -> None:
        self.case, self.mode = case, mode
        self.server = ScriptedServer(self._serve, host)
        self.told: dict[int, int] = {}  # register: what it was last truly said to be
        self._requests = self._turns = 0
        self.reads, victim = MODES[mode]
        self._behind = self.reads - victim  # identifiers that the tick issues from the victim's on
        self._victim = range(FIRST + victim * SIZE, FIRST + victim * SIZE + SIZE)

    def truth(self, request: Request) -> bytes:
        """Return the true reply, and note what it says."""
        asked = range(request.address, request.address + request.quantity)
        values = [(257 * address + 4099 * self._requests + 1) & 0xFFFF for address in asked]
        self.told.update(zip(asked, values, strict=True))
        return request.reply(values)

    async def _serve(self, peer: Peer) -> None:
        held: list[bytes] = []
        while True:
            request = await peer.request()
            self._requests += 1
            steps = None
            if request.address in self._victim:
                unissued = request.transaction_id + self._behind
                steps = self.case.act(Turn(self, request, self._turns, held, unissued))
                self._turns += 1
            for step in [self.truth(request)] if steps is None else steps:
                await play(peer, step)
                if step in (FIN, RST):
                    return


async def play(peer: Peer, step: Step) -> None:
    if isinstance(step, bytes):
        await peer.send(step)
        await asyncio.sleep(0.001)  # a segment of its own
    elif isinstance(step, float):
        await asyncio.sleep(step)
    elif isinstance(step, Later):
        asyncio.get_running_loop().call_later(step.after_s, peer.writer.write, step.data)
    elif isinstance(step, Urgent):
        with socket.socket(fileno=peer.duplicate()) as same:
            same.send(step.data, socket.MSG_OOB)
    elif step == STALL:
        await peer.reader.read()
    elif step == RST:
        peer.reset()


@dataclass
class Seen:
    """What a station made of one device."""

    reasons: list[list[str]] = field(default_factory=list)  # of each read in each tick
    wrong: list[str] = field(default_factory=list)  # values credited that the device did not tell
    counted: dict[str, int] = field(default_factory=dict)


@dataclass
class Run:
    """What a station made of all cases, and of its ticks."""

    seen: dict[tuple[Case, str], Seen]
    took_ms: list[float]
    unanswered: list[int]


@contextlib.contextmanager
def serving_cases(cases: Sequence[Case], net: int) -> Iterator[list[Device]]:
    """Run a device of each case and mode, at 127.``net``.x.y."""
    devices = [
        Device(case, mode, f"127.{net}.{n // 250}.{n % 250 + 1}")
        for n, (case, mode) in enumerate((case, mode) for case in cases for mode in MODES)
    ]
    with Servers([device.server for device in devices]):
        yield devices


def poll(
    cases: Sequence[Case], *, ticks: int, every_ms: int, timeout_ms: int, net: int, retry_count: int = 0
) -> Run:
    """Poll a device of each case and mode, all in one station; without retries a read ends once a tick."""
    with serving_cases(cases, net) as devices:
        return asyncio.run(_poll(devices, ticks, every_ms, timeout_ms, retry_count))


async def _poll(
    devices: Sequence[Device], ticks: int, every_ms: int, timeout_ms: int, retry_count: int
) -> Run:
    profiles = {
        mode: registers(FIRST, reads * SIZE, name=mode, max_registers=SIZE, max_in_flight=reads)
        for mode, (reads, _) in MODES.items()
    }
    members = {str(n): one for n, one in enumerate(devices)}
    station = Station(
        fleet(
            *(
                device(
                    id_,
                    profiles[one.mode],
                    one.server.port,
                    host=one.server.host,
                    timeout_ms=timeout_ms,
                    retry_count=retry_count,
                )
                for id_, one in members.items()
            ),
            every_ms=every_ms,
            deadline=0.9,
        )
    )
    run = Run({(one.case, one.mode): Seen() for one in devices}, [], [])
    async with station:
        async for tick in station.ticks(ticks * every_ms / 1000):
            run.took_ms.append(tick.took_ms)
            run.unanswered.append(tick.unanswered)
            for layout in station.plan.tables:
                for row, placed in enumerate(layout.devices):
                    one = members[placed.id]
                    look(run.seen[one.case, one.mode], one, station[layout.name], row)
        units, links = read_counters(station.reactor, len(station.plan.units))
    for unit, placed in enumerate(station.plan.unit_devices):
        one = members[placed.id]
        link = int(station.plan.units[unit]["link"])
        seen = run.seen[one.case, one.mode]
        seen.counted = {name: int(units[unit][name]) for name in units.dtype.names}
        seen.counted |= {name: int(links[link][name]) for name in links.dtype.names}
    return run


def look(seen: Seen, one: Device, table: Any, row: int) -> None:
    """Note what one row of a table says after a tick."""
    reasons = []
    for read in range(one.reads):
        columns = range(read * SIZE, read * SIZE + SIZE)
        codes = {int(table.quality[column, row]) for column in columns}
        reasons.append(" and ".join(sorted(quality.reason(code) or "good" for code in codes)))
        for column in columns:
            value = int(table.values[column][row])
            if table.valid[column, row] and value != one.told.get(FIRST + column):
                seen.wrong.append(f"tick {len(seen.reasons)}, register {FIRST + column}: {value}")
    seen.reasons.append(reasons)


def slowest_ms(first: Run, again: Callable[[], Run], limit_ms: float) -> float:
    """Return what the slowest request of a run took; a busy machine is late, but not ten times in a row."""
    slowest = first.took_ms[0]  # in the first tick all are sent together, as it begins
    for _ in range(9):
        if slowest <= limit_ms:
            break
        slowest = again().took_ms[0]
    return slowest
