"""The station: a poller that logs every tick, decides what each battery unit shall do, and sees that it does.

::

    async with Station(fleet, log_dir="log") as station:
        async for tick in station.ticks(duration_s=30):
            soe = station["powerpack"]["soe"]          # NumPy, a row per device, no copy

What a site may do is in its ``control:``; without that a station only reads. Units are commanded while
``ticks`` is iterated: when that ends, however it does, they are told 0 and given back; when the process dies
or hangs, its watchdog does it. A slot of the grid in which there was no tick is logged too: the gap is data.
"""

import asyncio
import resource
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fluxfast.commander import Commander
from fluxfast.config import Device, Fleet
from fluxfast.control_socket import MAX_PEERS, ControlSockets
from fluxfast.controller import Controller
from fluxfast.decisions import Decisions
from fluxfast.errors import FluxfastError
from fluxfast.inventory import about_fleet, dataset, device_rows
from fluxfast.log import LogWriter
from fluxfast.moments import DECIDE, LOG, WRITE
from fluxfast.news import DeviceNews, SiteNews
from fluxfast.operate import Operator
from fluxfast.plan import structs
from fluxfast.plan.control import ControlPlan, plan_control
from fluxfast.poller import Poller, Tick
from fluxfast.status import Status
from fluxfast.stopping import open_watchdog
from fluxfast.table import quality
from fluxfast.watchdog import SiteLocks, Watchdog

MAX_SKIPPED_ROWS: Final = 120  # ticks; a longer gap (the machine slept) is left as a gap
HANG_TICKS: Final = 3  # the watchdog waits at least so long
DESCRIPTORS_PER_SITE: Final = 2 + MAX_PEERS  # its lock, its control socket and who has connected to that
IDS_SHOWN: Final = 10  # in a status
WATCHDOG_REPORT: Final = "watchdog.jsonl"


class Station(Poller):
    """Polls a fleet, tick by tick, logs and controls it. Use as an async context manager, then ``ticks``.

    ``controller`` (None if no site decides) has the decisions of the newest tick, ``commander`` (None if
    none acts) what is being done about them.
    """

    def __init__(self, fleet: Fleet | str | Path, *, log_dir: str | Path | None = None) -> None:
        """Take a fleet or a site file; nothing is sent and nothing written yet.

        Raises what Poller raises; entering it, FluxfastError if the log cannot be opened, if another process
        controls one of its sites, or if the watchdog does not start.
        """
        self._control: ControlPlan | None = None
        super().__init__(fleet)
        self._log_dir = None if log_dir is None else Path(log_dir)
        self._log: LogWriter | None = None
        self._device_news: list[DeviceNews] = []
        self._locks: SiteLocks | None = None
        self._watchdog: Watchdog | None = None
        self.controller: Controller | None = None
        self.commander: Commander | None = None
        self._gave_back = False
        self._operator: Operator | None = None
        self._sockets: ControlSockets | None = None
        self._ending: asyncio.Task[None] | None = None  # of control, when the watchdog has died
        self._decisions: Decisions | None = None
        self._site_news: SiteNews | None = None
        if self._control is not None:
            self.controller = Controller(self._control, self.tables, self._every_ns)
            self._operator = Operator(self.controller, partial(self._site_event, "operator"))
            self._site_news = SiteNews(self.controller)
            self._descriptors += DESCRIPTORS_PER_SITE * len(self._control.sites)

    def _allow(self, fleet: Fleet) -> tuple[NDArray[np.void], NDArray[np.void]]:
        self._control = plan_control(fleet, self.plan)
        if self._control is None:
            return super()._allow(fleet)
        states = np.zeros(len(self._control.writes), structs.WRITE_STATE)
        states["held"] = np.nan
        return self._control.writes, states

    def _begin(self) -> None:
        if self._control is not None and self._control.acts:
            self._take_charge(self._control)
        if self._log_dir is not None:
            datasets = [dataset(layout) for layout in self.plan.tables]
            if self.controller is not None:
                self._decisions = Decisions(self.controller, self.commander, self._write_states)
                datasets.append(self._decisions.dataset)
            self._log = LogWriter(
                self._log_dir,
                datasets,
                tick_seconds=self._every_ns / 1e9,
                quality_names=quality.QUALITY_NAMES,
                reasons=quality.REASONS,
                sync=self.fleet.log.sync,
                keep_s=self.fleet.log.keep_s,
                max_bytes=self.fleet.log.max_bytes,
                remote=self.fleet.log.remote,
                devices=device_rows(self.fleet),
                on_event=lambda text: self._tell("log", text),
            )
            self._note("station", f"started: {about_fleet(self.fleet)}")
            self._device_news = [DeviceNews(self.tables[name], ids) for name, ids in self.devices.items()]

    def _take_charge(self, control: ControlPlan) -> None:
        acting = [site for site in control.sites if site.control.action == "act"]
        assert self.controller is not None
        self.last_tick_s = 0.1  # the units wait for their zeros
        # A dump would hold the units' connections until it is written.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        assert self._operator is not None
        self._locks = SiteLocks([site.name for site in acting], acting[0].devices[0].file)
        hang_s = max(min(site.control.hang_s for site in acting), HANG_TICKS * self._every_ns / 1e9)
        report = None if self._log_dir is None else self._log_dir / WATCHDOG_REPORT
        self._watchdog = open_watchdog(control, self.plan, hang_s, report, self._locks)
        self.commander = Commander(
            self.controller,
            self.reactor,
            self._write_states,
            self._watchdog,
            self._driver.follow,
            self._unit_event,
        )
        self._operator.acts(self.commander, self._locks.folder)
        self._sockets = ControlSockets(self._operator, self._locks.folder, [site.name for site in acting])

    async def __aenter__(self) -> Self:
        """Connect, as Poller does, and listen for who operates the sites that act."""
        await super().__aenter__()
        try:
            if self._sockets is not None:
                await self._sockets.open()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give every unit back, close every connection, write out the log."""
        try:
            await self._give_back()
        finally:  # whoever cancels that leaves the units to the watchdog
            self.close()

    def close(self) -> None:
        """Close every connection and write out the log; what was read is on the disk when this returns.

        Units that are still commanded are stopped by the watchdog.
        """
        super().close()
        if self._sockets is not None:
            self._sockets.close()
        if self._watchdog is not None:
            clean = self.commander is None or not self.commander.in_charge
            self._watchdog.close(clean=clean)
            self._watchdog = None
        if self._locks is not None:
            self._locks.close()
            self._locks = None
        if self._log is not None:
            self._log_decision()
            self._note("station", f"ended after {self.ticks_done:,} ticks")
            self._log.close()

    async def ticks(self, duration_s: float | None = None) -> AsyncGenerator[Tick, None]:
        """Run the scan cycle as Poller does, deciding and writing at the end of each tick."""
        self._gave_back = False
        try:
            async with aclosing(super().ticks(duration_s)) as ticks:
                async for tick in ticks:
                    yield tick
        finally:
            await self._give_back()

    async def _give_back(self) -> None:
        self._log_decision()
        if self._ending is not None:
            await self._ending
        if self.commander is None or self._watchdog is None or self._gave_back:
            return
        self._gave_back = True  # once: what did not confirm is left to the watchdog, without further delay
        if self.commander.in_charge:
            await self.commander.stop()

    def status(self) -> Status:
        """Return a snapshot; cheap enough to be called twice a second."""
        status, log, commander = super().status(), self._log, self.commander
        if self._operator is not None:
            status = replace(status, control=self._operator.sites())
        if commander is not None and self._control is not None:
            times_ms, commanded = commander.reactions_ms, commander.commanded
            status = replace(
                status,
                reaction_p50_ms=float(np.median(times_ms)) if times_ms else None,
                given_back=commander.given_back,
                commanded=len(commanded),
                commanded_ids=tuple(self._control.devices[unit].id for unit in commanded[:IDS_SHOWN]),
                control_ended=commander.ended,
            )
        if log is None:
            return status
        return replace(
            status,
            rows_logged=log.rows_logged + log.rows_waiting,
            rows_dropped=log.rows_dropped,
            log_bytes=log.bytes_written,
        )

    def _done(self, tick: Tick) -> None:
        if self.controller is not None:
            self._decide(self.controller, tick)
        if self._log is not None:
            for index, t in enumerate(self.tables.values()):
                self._log.append(index, tick.time_us, t.latency_ms, t.row_quality, t.logged, t.logged_valid)
            self._log.end_tick()
            now_ns = self.reactor.now_ns()
            self.moments.end(LOG, now_ns)
            self._note_device_news(now_ns)

    def _note_device_news(self, now_ns: int) -> None:
        for news, layout in zip(self._device_news, self.plan.tables, strict=True):
            for row, text in news.take(now_ns):
                self._note("quality", text, None if row is None else layout.devices[row])

    def _decide(self, controller: Controller, tick: Tick) -> None:
        now_ns = self.reactor.now_ns()
        controller.gather(now_ns)
        if self.commander is None or self._watchdog is None:
            controller.decide(now_ns, tick.time_us, self.reactor.now_ns)
            self.moments.end(DECIDE, self.reactor.now_ns())
            self._note_decision(tick, now_ns)
            return
        if not self.commander.ended and not self._watchdog.alive:
            self._tell("watchdog", "the watchdog has died: control ends, the units are told 0 and given back")
            self.commander.ended = True
            self._ending = asyncio.get_running_loop().create_task(self._end_control(self.commander))
        self.commander.observe(now_ns)
        controller.decide(now_ns, tick.time_us, self.reactor.now_ns)
        self.moments.end(DECIDE, self.reactor.now_ns())
        self.commander.command(now_ns)
        self.moments.end(WRITE, self.commander.handed_ns)
        self._watchdog.beat()
        self._note_decision(tick, now_ns)

    def _note_decision(self, tick: Tick, now_ns: int) -> None:
        if self._decisions is not None and self._log is not None:
            # The tick before: now it is known what became of its writes.
            states = None if self.commander is None else self.commander.states
            self._decisions.append(self._log, len(self.tables), states)
            self._decisions.note(tick.time_us, now_ns, tick.took_ms)
        assert self._site_news is not None
        for kind, site, text in self._site_news.take(now_ns):
            if kind == "limit":  # the status shows it all the time
                self._note(kind, f"{site}: {text}", site=site)
            else:
                self._site_event(kind, site, text)

    def _log_decision(self) -> None:
        if self._decisions is not None and self._log is not None:
            self.reactor.take_calls()
            self._decisions.append(self._log, len(self.tables))

    async def _end_control(self, commander: Commander) -> None:
        if not await commander.stop():
            self._tell(
                "watchdog",
                f"{len(commander.commanded)} units have not confirmed that, and no watchdog stops them",
            )

    # ---- for those who operate it, from the loop that it runs on ----

    def emergency_stop(self, site: str) -> None:
        """Tell a site's units 0 at once, and keep them there until ``acknowledge``, even after a restart.

        It is no safety function: it needs this process, the network and the units' obedience. Whatever must
        hold when these fail belongs into hardware. Raises FluxfastError for an unknown site.
        """
        self._operated.stop(site)

    def acknowledge(self, site: str) -> None:
        """Let a stopped site go on, from 0, and take again its units that were left to another.

        Raises FluxfastError for an unknown site.
        """
        self._operated.acknowledge(site)

    def set_mode(self, site: str, mode: str, enabled: bool) -> None:
        """Switch a mode of a site on or off, until the end; raises FluxfastError for an unknown name."""
        self._operated.set_mode(site, mode, enabled)

    @property
    def _operated(self) -> Operator:
        if self._operator is None:
            raise FluxfastError("no site is controlled here: all only observe (control: action)")
        return self._operator

    def _site_event(self, kind: str, site: str, text: str) -> None:
        self._tell(kind, f"{site}: {text}", site=site)

    def _unit_event(self, unit: int, text: str) -> None:
        assert self._control is not None
        device = self._control.devices[unit]
        self._tell("unit", f"{device.id}: {text}", device)

    def _tell(self, kind: str, text: str, device: Device | None = None, site: str | None = None) -> None:
        super()._tell(kind, text, device)
        self._note(kind, text, device, site)

    def _note(self, kind: str, text: str, device: Device | None = None, site: str | None = None) -> None:
        """Log an event without showing it to who watches."""
        if self._log is not None:
            id_, site = (None, site) if device is None else (device.id, device.site)
            self._log.add_event(time.time_ns() // 1000, kind, text, site, id_)

    def _skipped(self, times_us: Sequence[int]) -> None:
        if self._log is None or len(times_us) > MAX_SKIPPED_ROWS:
            return
        for index, table in enumerate(self.tables.values()):
            nothing = np.zeros_like(table.logged_valid)
            code = np.full(table.rows, quality.SKIPPED, np.uint8)
            latency = np.full(table.rows, np.nan, np.float32)
            for time_us in times_us:
                self._log.append(index, time_us, latency, code, table.logged, nothing)
        self._log.end_tick()
