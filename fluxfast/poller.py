"""The poller: plan, tables and links, and the scan cycle on an asyncio (uvloop) loop.

::

    async with Poller("site.yaml") as poller:
        async for tick in poller.ticks(duration_s=30):
            soe = poller["powerpack"]["soe"]           # NumPy, a row per device, no copy
            batch = poller.arrow("powerpack")          # the same as Arrow

A tick begins on the wall-clock grid (every 500 ms means at .000 and .500) and ends when all have answered or
at its deadline. Ticks never queue: one that comes too late is skipped and counted.
"""

import asyncio
import resource
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fluxfast.config import Device, Fleet, load
from fluxfast.errors import FluxfastError
from fluxfast.grid import Grid
from fluxfast.link import Driver, Reactor
from fluxfast.link.counters import read_counters
from fluxfast.link.driver import ONE_AT_A_TIME
from fluxfast.link.round_trips import quantile_ms, read_round_trips
from fluxfast.moments import CLOSE, READ, Moments
from fluxfast.plan import Plan, compile_plan, structs
from fluxfast.status import StageStatus, Status, TableStatus
from fluxfast.table import Table, quality
from fluxfast.trace import Tap, Trace

if TYPE_CHECKING:
    import pyarrow as pa

SETTLE_S: Final = 5.0  # how long the first tick waits for links beyond the time that pacing takes
DESCRIPTORS_BESIDE_LINKS: Final = 64
MESSAGES_KEPT: Final = 8
RATES_S: Final = 0.25  # no rate is of a shorter time


@dataclass(frozen=True)
class Tick:
    """One finished tick: its number, its grid time (UTC microseconds), how long it took, unanswered reads."""

    number: int
    time_us: int
    took_ms: float
    unanswered: int


class Poller:
    """Polls a fleet, tick by tick. Use as an async context manager, then iterate ``ticks``.

    ``fleet`` is what it polls. ``tables`` (by profile name) are filled in place, in the order of ``devices``
    (their ids, by profile name): what is to outlive the tick must be copied. ``messages`` are the latest news
    of links and clock; ``moments`` say where the time of the newest ticks went.
    """

    last_tick_s = 1.0

    def __init__(self, fleet: Fleet | str | Path) -> None:
        """Take a fleet or a site file, compile the plan and allocate everything; nothing is sent yet.

        Raises ConfigError for a fleet that cannot be planned, FluxfastError if it has no Modbus TCP device.
        """
        self.fleet = fleet = fleet if isinstance(fleet, Fleet) else load(fleet)
        self.plan: Plan = compile_plan(fleet)
        if not self.plan.tables:
            raise FluxfastError("no Modbus TCP device to poll")
        if not len(self.plan.blocks):
            raise FluxfastError("nothing to poll: every point is write-only")
        self._every_ns = fleet.poll.every_ns
        self._deadline_s = fleet.poll.every_ns / 1e9 * fleet.poll.deadline
        self.tables = {
            layout.name: Table(
                layout.name,
                [(c.point.name, c.value.kind, c.value.width) for c in layout.columns],
                len(layout.devices),
                layout.absent,
                layout.slots,
                layout.variant,
            )
            for layout in self.plan.tables
        }
        self.devices = {layout.name: [d.id for d in layout.devices] for layout in self.plan.tables}
        self._arrow_devices: dict[str, pa.Array] = {}
        self.messages: deque[str] = deque(maxlen=MESSAGES_KEPT)
        self.overruns = 0
        self.ticks_done = 0
        self._unanswered = 0
        self.moments = Moments()
        self._descriptors = DESCRIPTORS_BESIDE_LINKS
        self._entered = False
        self._stopping = False
        self._nap: asyncio.Future[None] | None = None  # until the next tick
        self._began = self._before = self._last = (time.monotonic(), time.process_time(), 0, 0)
        writes, self._write_states = self._allow(fleet)
        columns = np.concatenate([t.structs for t in self.tables.values()])
        times = np.concatenate([t.times for t in self.tables.values()])
        self.reactor = Reactor(
            _bytes(self.plan.links),
            _bytes(self.plan.units),
            _bytes(self.plan.blocks),
            _bytes(self.plan.ops),
            self.plan.sentinels,
            _bytes(columns),
            times,
            (columns, times, self.tables),
            fleet.poll.connects_per_s,
            fleet.poll.probe_interval_ns,
            secrets.randbits(64),
            0,
            _bytes(writes),
            _bytes(self._write_states),
        )
        self._tap = Tap(self.reactor)
        self._driver = Driver(self.reactor, self.plan.endpoints)
        pacing = fleet.poll.connects_per_s
        self._settle_s = SETTLE_S + (self.reactor.n_links / pacing if pacing else 0)

    def __getitem__(self, table: str) -> Table:
        """Return a table by its profile's name."""
        return self.tables[table]

    def arrow(self, table: str) -> "pa.RecordBatch":
        """Return a table as Arrow: device, quality, reason, latency_ms, and a column per point.

        Values are not copied (but for booleans, which Arrow keeps as bits): the batch shows the newest tick
        until it is copied. Readings that are bad, or that a device does not have, are null as of the last
        tick's end.
        """
        from fluxfast.table.arrow import device_array, record_batch

        if table not in self._arrow_devices:
            self._arrow_devices[table] = device_array(self.devices[table])
        return record_batch(self.tables[table], self._arrow_devices[table])

    async def __aenter__(self) -> Self:
        """Connect; returns once every link has come up or failed once.

        Raises FluxfastError if the machine has too few descriptors.
        """
        if self._entered:
            raise FluxfastError("a poller is opened once; make another one")
        self._entered = True
        _need_descriptors(self.reactor.n_links + self._descriptors)
        try:
            self._begin()
            await self._driver.open()
            await self._driver.settle(self._settle_s)
        except BaseException:
            self.close()
            raise
        self._tell_link_events()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._stopping = True
        self._end_nap()
        self._driver.close()

    def stop(self) -> None:
        """End ``ticks``; a tick that is running has ``last_tick_s`` left. Signal handlers may call it."""
        self._stopping = True
        self._end_nap()
        self._driver.stop(self.last_tick_s)

    async def ticks(self, duration_s: float | None = None) -> AsyncGenerator[Tick, None]:
        """Run the scan cycle, yielding after each tick, for ``duration_s`` or until ``stop`` or ``close``."""
        if not self._entered:
            raise FluxfastError("a poller polls inside `async with`")
        grid = Grid(self._every_ns)
        slot = first = grid.next_slot()
        last = None if duration_s is None else first + max(1, round(duration_s * 1e9 / grid.every_ns))
        self._began = self._before = self._last = (
            time.monotonic(),
            time.process_time(),
            self.reactor.requests,
            self.reactor.values,
        )
        while last is None or slot < last:
            if await self._stopped_within(grid.seconds_until(slot)):
                return
            tick = await self._tick(slot - first, grid.time_us(slot), grid.seconds_until(slot))
            if tick is None:
                return
            yield tick
            self._tell_link_events()
            if step_s := grid.check_clock():
                self._tell("clock", f"the clock was set by {step_s:+.1f} s; ticks follow it")
                moved = grid.next_slot() - slot - 1
                slot, first, last = slot + moved, first + moved, None if last is None else last + moved
            following = max(slot + 1, grid.next_slot())
            if last is not None:
                following = min(following, last)
            if following > slot + 1:
                self.overruns += following - slot - 1
                self._tell("tick", f"{following - slot - 1} ticks skipped: the one before took too long")
                self._skipped([grid.time_us(missed) for missed in range(slot + 1, following)])
            slot = following

    async def _tick(self, number: int, time_us: int, until_due_s: float) -> Tick | None:
        began_ns = self.reactor.now_ns()
        unanswered = await self._driver.scan(number, self._deadline_s + until_due_s)
        if unanswered and self._driver.cut_short:
            return None  # stopped before its deadline: nobody knows what would have come
        read_ns = self.reactor.now_ns()
        for table in self.tables.values():
            table.close(began_ns)
        self.moments.begin(began_ns + int(until_due_s * 1e9), began_ns)
        self.moments.end(READ, read_ns)
        self.moments.end(CLOSE, self.reactor.now_ns())
        took_ms = (read_ns - began_ns) / 1e6
        self._unanswered += unanswered
        self.ticks_done += 1
        tick = Tick(number, time_us, took_ms, unanswered)
        self._done(tick)
        return tick

    # For those who do more than poll.

    def _allow(self, fleet: Fleet) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Return what may be written (structs.WRITE), and where its outcome goes; here nothing."""
        return np.empty(0, structs.WRITE), np.empty(0, structs.WRITE_STATE)

    def _begin(self) -> None:
        """Before the first connection."""

    def _done(self, tick: Tick) -> None:
        """A tick has ended."""

    def _skipped(self, times_us: Sequence[int]) -> None:
        """These slots of the grid have passed without a tick."""

    def _tell(self, kind: str, text: str, device: Device | None = None) -> None:
        """Something has happened, to one device or to all."""
        self.messages.append(text)

    async def _stopped_within(self, seconds: float) -> bool:
        """Sleep, or wake early because of ``stop``."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return self._stopping
        # (An asyncio.timeout around an Event's wait would cost three times as much, every tick.)
        if self._nap is not None and not self._nap.done():
            raise FluxfastError(ONE_AT_A_TIME)  # whose nap would never end
        self._nap = asyncio.get_running_loop().create_future()
        timer = asyncio.get_running_loop().call_later(seconds, self._end_nap)
        try:
            await self._nap
        finally:
            timer.cancel()
        return self._stopping

    def _end_nap(self) -> None:
        if self._nap is not None and not self._nap.done():
            self._nap.set_result(None)

    def _tell_link_events(self) -> None:
        # Links that come up at the start are no news. Of a thousand that fail together the last few are told.
        news = [event for event in self.reactor.take_events() if event[1] or self.ticks_done]
        for link, code in news[-MESSAGES_KEPT:]:
            host, port = self.plan.endpoints[link]
            first_block = self.plan.blocks[int(self.plan.links[link]["first_block"])]
            device = self.plan.unit_devices[int(first_block["unit"])]
            text = quality.reason(code) or "connected"
            if code == quality.FRAMING:
                text = quality.framing_reason(self.reactor.evidence(link))
            self._tell("link", f"{device.id} at {host}:{port}: {text}", device)

    def trace(self, devices: Sequence[str]) -> Trace:
        """Copy the frames of these devices (ids) until it is closed; ``take`` them now and then.

        Raises FluxfastError for an id that is not polled here.
        """
        return Trace(self.plan, self._tap, devices, time.time_ns() - self.reactor.now_ns())

    def endpoints(self) -> list[tuple[str, int, str | None]]:
        """Return each link's host as written, port, and IP address; None while its name is not resolved."""
        return [(*end, self._driver.address(link)) for link, end in enumerate(self.plan.endpoints)]

    def status(self) -> Status:
        """Return a snapshot; cheap enough to be called twice a second."""
        now = (time.monotonic(), time.process_time(), self.reactor.requests, self.reactor.values)
        if now[0] - self._last[0] >= RATES_S:  # several may look on, one right after the other
            self._before, self._last = self._last, now
        before = self._before
        seconds = max(now[0] - before[0], 1e-9)
        stages = tuple(StageStatus.of(*stage) for stage in self.moments.durations_ms().items())
        read = stages[READ] if stages else None
        units, links = read_counters(self.reactor, len(self.plan.units))
        buckets = read_round_trips(self.reactor, len(self.plan.units))[0].sum(axis=0, dtype=np.uint64)
        trips_ms = [float(quantile_ms(buckets, part)) if buckets.any() else None for part in (0.5, 0.99)]
        return Status(
            elapsed_s=now[0] - self._began[0],
            ticks=self.ticks_done,
            overruns=self.overruns,
            tables=tuple(_table_status(table) for table in self.tables.values()),
            links_up=self.reactor.up,
            links_total=self.reactor.n_links,
            requests_per_s=(now[2] - before[2]) / seconds,
            readings_per_s=(now[3] - before[3]) / seconds,
            tick_p50_ms=read.p50_ms if read is not None else None,
            tick_p99_ms=read.p99_ms if read is not None else None,
            unanswered=self._unanswered,
            cpu_percent=100 * (now[1] - before[1]) / seconds,
            rows_logged=0,
            rows_dropped=0,
            log_bytes=0,
            messages=tuple(self.messages),
            round_trip_p50_ms=trips_ms[0],
            round_trip_p99_ms=trips_ms[1],
            retries=int(units["retries"].sum()),
            reconnects=int(links["connects"].sum()) - int(np.count_nonzero(links["connects"])),
            late=int(links["late"].sum()),
            foreign=int(links["foreign"].sum()),
            stages=stages,
        )


def _table_status(table: Table) -> TableStatus:
    codes = table.row_quality
    good = int(np.count_nonzero(codes == quality.GOOD))
    bad = int(np.count_nonzero((codes >= quality.BAD) & (codes < quality.PARTIAL)))
    return TableStatus(table.name, good, table.rows - good - bad, bad)


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return array.view(np.uint8)


def _need_descriptors(needed: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise FluxfastError(
            f"this fleet needs {needed} open files, the machine allows {hard} (raise it: ulimit -n {needed})"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
