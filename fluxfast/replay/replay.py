"""Decides a log anew, tick by tick, with the controller that runs live."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluxfast.config import Action, Fleet, Site
from fluxfast.config.controllable import check_site, check_unit
from fluxfast.config.modes import Mode
from fluxfast.controller import Controller
from fluxfast.decisions import ACTIONS, NAME, Decisions
from fluxfast.errors import FluxfastError
from fluxfast.log import LogWriter
from fluxfast.plan import compile_plan, structs
from fluxfast.plan.control import ControlPlan, plan_control
from fluxfast.profiles.findings import nearest
from fluxfast.replay.history import ALWAYS_US, Run, batches, find_runs
from fluxfast.replay.reading import read_chunk
from fluxfast.replay.result import Batch, Result
from fluxfast.replay.world import GAP_TICKS, World, logged_actions, logged_decisions, table_inputs
from fluxfast.table import quality


class Replay:
    """A fleet, as its site file has it, and the log that it is decided on."""

    def __init__(
        self,
        fleet: Fleet,
        log: Path,
        *,
        modes: Sequence[str | Mode] = (),
        from_us: int = 0,
        to_us: int = ALWAYS_US,
        out: Path | None = None,
    ) -> None:
        """Take a site file's fleet. Sites that only observe are decided for as if in shadow.

        ``modes``: names or types of configured modes, which then are the only ones, or modes of one's own,
        which go before them; ``from_us``, ``to_us``: UTC; ``out``: where the new decisions are logged.
        Raises FluxfastError if there is nothing to decide by, or the log has nothing of these sites.
        """
        sites = tuple(_prepare(site, modes) for site in fleet.sites)
        sites = tuple(site for site in sites if site.units and site.control.modes)
        _check(fleet, sites, modes)
        self._fleet = replace(fleet, sites=sites)
        self._compiled = compile_plan(fleet)
        self._plan = self._plan_for("shadow")
        self._inputs = table_inputs(self._plan, self._compiled.tables)
        self._wanted = [*(one.wanted for one in self._inputs), logged_decisions(self._plan)]
        units = {group.table for group in self._plan.groups}
        if out is not None and out.resolve() == log.resolve():
            raise FluxfastError(f"{out}: the log that is read cannot be written to")
        self._own_modes = bool(modes)
        self._log, self._from_us, self._to_us, self._out = log, from_us, to_us, out
        find_runs(log, sorted(units))
        self._runs = find_runs(log, [one.dataset for one in self._wanted])
        self._offset_pct = np.zeros(len(self._plan.devices))
        self.result = Result(sites)

    def run(self) -> Result:
        """Decide all of it; return what it comes to. Raises FluxfastError for a file that cannot be read."""
        writer: LogWriter | None = None
        try:
            for run in self._runs:
                writer = self._run(run, writer)
        finally:
            if writer is not None:
                writer.close()
        if not self.result.ticks:
            raise FluxfastError(
                f"{self._log}: has no ticks of {_some([s.name for s in self._plan.sites])} in that time"
            )
        return self.result

    def _run(self, run: Run, writer: LogWriter | None) -> LogWriter | None:
        actions = self._logged_actions(run)
        plan = self._plan_for(*(actions or ["shadow"]))
        stage: _Stage | None = None
        for times_us, chunks in batches(
            run, self._wanted if actions else self._wanted[:-1], self._from_us, self._to_us
        ):
            if stage is None:
                steps = np.diff(times_us)
                tick_us = int(np.median(steps)) if len(steps) else self._fleet.poll.every_ns // 1000
                world = World(
                    plan, self._inputs, tick_us, self._offset_pct, has_decisions=actions is not None
                )
                stage = _Stage(plan, world, tick_us, follows=not self._own_modes)
                if self._out is not None and writer is None:
                    writer = LogWriter(
                        self._out, [stage.decisions.dataset], tick_seconds=tick_us / 1e6,
                        quality_names=quality.QUALITY_NAMES, reasons=quality.REASONS,
                    )  # fmt: skip
            if stage.world.open(chunks):
                self.result.add(stage.decide(writer))
        return writer

    def _logged_actions(self, run: Run) -> list[Action] | None:
        """Return what each site might do in a run; None if no decision of them is logged."""
        wanted = logged_actions(self._plan)
        for slice_ in run.slices.get(NAME, ()):
            codes = read_chunk(slice_, wanted).values["action"]
            known = np.isfinite(codes)
            if known.any():
                at = known.argmax(axis=0)
                of_unit = codes[at, np.arange(codes.shape[1])][self.result.first]
                return [ACTIONS[int(np.nan_to_num(code))] for code in of_unit]
        return None

    def _plan_for(self, *actions: Action) -> ControlPlan:
        """Return the control plan with these actions of the sites; one: of all."""
        sites = self._fleet.sites
        placed = [
            replace(site, control=replace(site.control, action=action))
            for site, action in zip(
                sites, actions * len(sites) if len(actions) == 1 else actions, strict=True
            )
        ]
        plan = plan_control(replace(self._fleet, sites=tuple(placed)), self._compiled)
        assert plan is not None
        return plan


class _Stage:
    """The controller of one run in its world."""

    def __init__(self, plan: ControlPlan, world: World, tick_us: int, *, follows: bool) -> None:
        self.world, self._tick_us = world, tick_us
        self._follows = follows  # who switched modes then
        self._enabled = np.full(len(plan.sites), -1, np.int64)
        self._controller = Controller(plan, world.tables, tick_us * 1000)
        self.decisions = Decisions(self._controller, None, np.zeros(0, structs.WRITE_STATE))
        self._last_us: int | None = None

    def decide(self, writer: LogWriter | None) -> Batch:
        """Decide the batch that is open in the world."""
        world, controller = self.world, self._controller
        units, sites = controller.columns.units, controller.columns.sites
        n = len(world.times_us)
        setpoint, delta, offset = np.empty((3, n, units.rows))
        target, unserved = np.empty((2, n, sites.rows))
        logged = np.empty((n, units.rows))
        for t in range(n):
            world.step(t)
            controller.gather(world.now_ns)
            np.copyto(units.usable, world.usable, where=world.usable >= 0, casting="unsafe")
            controller.loop.stopped[:] = world.stopped
            if self._follows:
                self._switch(world.enabled)
            controller.decide(world.now_ns, world.time_us)
            world.decided(units.setpoint_kw)
            setpoint[t], delta[t], offset[t] = units.setpoint_kw, world.delta_kw, world.offset_pct
            target[t], unserved[t], logged[t] = sites.target_kw, sites.unserved_kw, world.logged_kw
            if writer is not None:
                self.decisions.note(world.time_us, world.now_ns, 0.0)
                self.decisions.append(writer, 0)
                writer.end_tick()
                _wait_for(writer)
        return Batch(
            world.times_us, self._hours(world.times_us), setpoint, logged, target, unserved,
            world.base_kw, delta, world.soe_pct, offset, world.grid_kw,
        )  # fmt: skip

    def _switch(self, enabled: NDArray[np.int64]) -> None:
        """Switch modes on and off as somebody did then; what the site file says at the start stays."""
        before = self._enabled
        if np.array_equal(enabled, before):
            return
        known = (enabled >= 0) & (before >= 0)
        changed = np.flatnonzero(known & (enabled != before)).tolist()
        self._enabled = np.where(enabled >= 0, enabled, before)
        modes = self._controller.modes
        for site in changed:
            for position, name in enumerate(modes.names[site]):
                if (before[site] ^ enabled[site]) >> position & 1:
                    modes.set_enabled(site, name, bool(enabled[site] >> position & 1))

    def _hours(self, times_us: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the time since the tick before; 0 over a gap, of which nothing is known."""
        passed_us = np.diff(times_us, prepend=times_us[0] if self._last_us is None else self._last_us)
        self._last_us = int(times_us[-1])
        return np.where((passed_us > 0) & (passed_us <= GAP_TICKS * self._tick_us), passed_us, 0) / 3.6e9


def _wait_for(writer: LogWriter) -> None:
    """A log never waits, and drops what comes too fast: whoever can wait has to."""
    while writer.busy:
        time.sleep(0.01)


def _prepare(site: Site, modes: Sequence[str | Mode]) -> Site:
    """Return a site with the modes that were asked for; without a wish, with those of its file."""
    control = site.control
    if modes:
        own = [mode.placed(Path.cwd(), control.time_zone) for mode in modes if isinstance(mode, Mode)]
        listed = [
            mode.model_copy(update={"enabled": True})
            for mode in control.modes
            if mode.name in modes or mode.type in modes
        ]
        control = replace(control, modes=(*own, *listed))
    return replace(site, control=control)


def _check(fleet: Fleet, sites: Sequence[Site], modes: Sequence[str | Mode]) -> None:
    known = {word for site in fleet.sites for mode in site.control.modes for word in (mode.name, mode.type)}
    for mode in modes:
        if isinstance(mode, str) and mode not in known:
            raise FluxfastError(f"no site has a mode '{mode}' ({nearest(mode, known)})")
    if not sites:
        raise FluxfastError(
            "the site file has no modes to decide by: write control: {modes: …}, or give --mode"
        )
    for site in sites:
        found = [*check_site(site), *(one for unit in site.units for one in check_unit(unit, site.control))]
        if found:
            raise FluxfastError(
                f"site {site.name} cannot be controlled: {found[0].message} ({found[0].cure})"
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} sites more" if len(names) > 3 else "")
