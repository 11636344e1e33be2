"""The process image of a tick: as the log has it, or as it would have been had the units been told otherwise.

What the units did then is what they measured; without that, what they were told (by a station that acted) or
show as their setpoint. Where the replay tells them something else, the difference is carried on:

    grid power = as logged - difference        state of energy = as logged - difference over time / capacity

A site begins to differ with the first setpoint that is not the logged one. So a log that is decided anew by
what decided it then sees exactly what was seen then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.control import reasons
from fluxfast.control.columns import places
from fluxfast.decisions import ACTIONS, NAME
from fluxfast.plan import TableLayout
from fluxfast.plan.control import ControlPlan
from fluxfast.replay.reading import Chunk, Wanted
from fluxfast.table import Table, quality

Floats = NDArray[np.float64]

GAP_TICKS: Final = 10  # over a longer gap nobody knows what would have been
LONG_AGO_NS: Final = 1
_REASON_CODES: Final = {text: code for code, text in enumerate(reasons.TEXTS) if text is not None}


@dataclass(frozen=True)
class Inputs:
    """What control reads of one table: its columns, and the limits of each cell, [columns, rows]."""

    layout: TableLayout
    wanted: Wanted
    least: Floats
    most: Floats

    def table(self) -> Table:
        """Return a table of these columns, all of them float64."""
        names = [column.point.name for column in self.layout.columns]
        absent = self.layout.absent[[names.index(name) for name in self.wanted.columns]]
        columns = [(name, 0, 8) for name in self.wanted.columns]
        rows = len(self.layout.devices)
        return Table(self.layout.name, columns, rows, absent, self.layout.slots, self.layout.variant)


def table_inputs(plan: ControlPlan, layouts: Sequence[TableLayout]) -> list[Inputs]:
    """Return what control reads of each table."""
    names: dict[str, dict[str, None]] = {}
    for group in plan.groups:
        points = group.soe, group.status, group.setpoint, group.source, group.blocks, group.power
        names.setdefault(group.table, {}).update(dict.fromkeys(point for point in points if point))
    for meters in (*plan.meters, *plan.frequencies):
        names.setdefault(meters.table, {})[meters.point] = None
    return [_inputs(layout, list(names[layout.name])) for layout in layouts if layout.name in names]


def _inputs(layout: TableLayout, names: list[str]) -> Inputs:
    labels = {column.point.name: column.labels for column in layout.columns}
    codes = {}
    for name in names:
        if labels[name]:
            # Of two codes with one label the log does not say which it was: the first.
            codes[name] = [
                {text: code for code, text in reversed(list(of_variant.items()))}
                for of_variant in labels[name]
            ]
    points = [[device.profile.points.get(name) for device in layout.devices] for name in names]
    limits = np.array(
        [[point.limits if point and point.limits else (-np.inf, np.inf) for point in row] for row in points],
        np.float64,
    )
    rows = {device.id: row for row, device in enumerate(layout.devices)}
    return Inputs(
        layout, Wanted(layout.name, rows, names, codes, layout.variant), *np.moveaxis(limits, -1, 0)
    )


def logged_decisions(plan: ControlPlan) -> Wanted:
    """Return what is read of the decisions, a row per unit."""
    return Wanted(
        NAME,
        {device.id: row for row, device in enumerate(plan.devices)},
        ["setpoint_kw", "reason", "site_reason", "enabled", "clock_ns", "meter_ns"],
        {"reason": [_REASON_CODES], "site_reason": [_REASON_CODES]},
        np.zeros(len(plan.devices), np.int32),
        frozenset({"enabled", "clock_ns", "meter_ns"}),
        must_be_there=False,
    )


def logged_actions(plan: ControlPlan) -> Wanted:
    """Return what tells whether units were commanded."""
    codes: dict[str, int] = {text: code for code, text in ACTIONS.items()}
    decisions = logged_decisions(plan)
    return replace(decisions, columns=["action"], codes={"action": [codes]}, integers=frozenset())


class World:
    """All tables of one run, tick by tick. ``tables`` are what the controller reads.

    Of the present tick: ``now_ns``, ``time_us``; of the units ``logged_kw`` (nan: no logged decision),
    ``usable`` (int16, -1 where it is not logged), and of the sites ``stopped`` and ``enabled`` (int64, a bit
    for each mode that was switched on; -1 where it is not logged). Of the batch, [ticks, units]:
    ``base_kw``, what the units did then, ``soe_pct``; ``grid_kw`` [ticks, sites].
    """

    def __init__(
        self,
        plan: ControlPlan,
        inputs: Sequence[Inputs],
        tick_us: int,
        offset_pct: Floats,
        *,
        has_decisions: bool,
    ) -> None:
        """``offset_pct``: by how much each unit's state of energy differs from the log; kept up to date."""
        self.plan, self._inputs, self._tick_us = plan, inputs, tick_us
        self.tables = {one.layout.name: one.table() for one in inputs}
        n, sites = len(plan.devices), len(plan.sites)
        self._first = np.concatenate([[0], np.cumsum(np.bincount(plan.site_of, minlength=sites))])[:-1]
        self._acts = np.array([site.control.action == "act" for site in plan.sites])[plan.site_of]
        self._capacity_kwh = np.array([device.capacity_kwh or np.inf for device in plan.devices])
        self._efficiency = np.ones(n)
        for group in plan.groups:
            self._efficiency[group.units] = float(group.control.efficiency)
        self.offset_pct = offset_pct
        self.delta_kw = np.zeros(n)
        # Has decided otherwise than the log, or that has no decisions.
        self.free = np.full(sites, not has_decisions)
        self._has_decisions = has_decisions
        self._moved = bool(offset_pct.any())
        self._last_kw = np.full(n, np.nan)  # what the replay told each unit
        self._last_logged_kw = np.full(n, np.nan)
        self._last_us: int | None = None
        self._clock_ns = 0  # the station's clock minus UTC
        self._places = [(group, places(group.units), places(group.rows)) for group in plan.groups]
        self._meter_places = [(meters, places(meters.sites), places(meters.rows)) for meters in plan.meters]
        self._held = {name: np.zeros((len(table.names), table.rows)) for name, table in self.tables.items()}
        self._asked_ns = {name: np.zeros(table.rows, np.int64) for name, table in self.tables.items()}
        self._asked: dict[str, NDArray[np.int64]] = {}  # the same, [ticks, rows]

    def sums(self, units: NDArray[Any]) -> NDArray[Any]:
        """Return the sums over each site's units, along the last axis."""
        return np.add.reduceat(units, self._first, axis=-1)

    # ---- a batch ----

    def open(self, chunks: Mapping[str, Chunk]) -> int:
        """Take a batch: of its ticks those that were decided, or without decisions all that have data.

        Returns how many they are.
        """
        chunks = _to_decide(chunks, self._has_decisions)
        self.times_us = next(iter(chunks.values())).time_us
        n, units = len(self.times_us), len(self.plan.devices)
        if not n:
            return 0
        decisions = chunks.get(NAME) if self._has_decisions else None
        self._logged = np.full((n, units), np.nan) if decisions is None else decisions.values["setpoint_kw"]
        self._usable = np.full((n, units), -1, np.int16)
        self._stopped = np.zeros((n, len(self.plan.sites)), np.bool_)
        self._enabled = np.full((n, len(self.plan.sites)), -1, np.int64)
        meter_ns = np.zeros((n, len(self.plan.sites)), np.int64)
        clock_ns = np.zeros(n, np.int64)
        if decisions is not None:
            known = np.isfinite(self._logged)
            codes = np.nan_to_num(decisions.values["reason"]).astype(np.int16)
            # Units that are stopped are so by their site, see ``stopped``.
            unusable = (codes >= reasons.UNUSABLE) & (codes < reasons.IMPORT) & (codes != reasons.STOPPED)
            self._usable[known] = np.where(unusable, codes, reasons.NONE)[known]
            self._stopped = decisions.values["site_reason"][:, self._first] == reasons.EMERGENCY
            known_sites = known[:, self._first]
            self._enabled[known_sites] = decisions.values["enabled"][:, self._first][known_sites]
            meter_ns = decisions.values["meter_ns"][:, self._first]
            clock_ns = decisions.values["clock_ns"].max(axis=1)
        self._now_ns = self._clock(clock_ns)
        self._values: dict[str, Floats] = {}  # of each table [ticks, columns, rows]
        self._quality: dict[str, NDArray[np.uint8]] = {}
        for one in self._inputs:
            self._open_table(one, chunks[one.layout.name])
        if decisions is not None:
            self._ask_as_logged(meter_ns)
        self._measure()
        return n

    def _clock(self, logged_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the clock of each tick: the logged one, or UTC moved to where that was."""
        offset_ns = np.where(logged_ns > 0, logged_ns - self.times_us * 1000, 0)
        at = np.maximum.accumulate(np.where(logged_ns > 0, np.arange(len(logged_ns)), -1))
        offsets = np.where(at >= 0, offset_ns[at], self._clock_ns)
        self._clock_ns = int(offsets[-1])
        return self.times_us * 1000 + offsets

    def _open_table(self, one: Inputs, chunk: Chunk) -> None:
        name = one.layout.name
        values = np.stack([chunk.values[point] for point in one.wanted.columns], axis=1)
        known = np.isfinite(values)
        codes = np.where(known, np.uint8(quality.GOOD), np.uint8(quality.NEVER))
        codes[(values < one.least) | (values > one.most)] = quality.RANGE
        values = _hold(values, known, self._held[name])
        self._held[name] = values[-1].copy()
        self._values[name], self._quality[name] = values, codes
        answered = known.any(axis=1)
        asked = np.where(answered, self._now_ns[:, None], 0)
        asked = np.maximum.accumulate(np.vstack([self._asked_ns[name], asked]), axis=0)[1:]
        self._asked_ns[name] = asked[-1].copy()
        self._asked[name] = asked

    def _ask_as_logged(self, meter_ns: NDArray[np.int64]) -> None:
        """Where a decision is logged, so is how old its readings were."""
        for group in self.plan.groups:
            usable = self._usable[:, group.units]
            asked = self._asked[group.table]
            ages = np.where(usable == reasons.STALE, LONG_AGO_NS, self._now_ns[:, None])
            asked[:, group.rows] = np.where(usable >= 0, ages, asked[:, group.rows])
        for meters in self.plan.meters:
            logged = meter_ns[:, meters.sites]
            asked = self._asked[meters.table]
            asked[:, meters.rows] = np.where(logged > 0, logged, asked[:, meters.rows])

    def _measure(self) -> None:
        """Work out what units and sites did then."""
        n, units = len(self.times_us), len(self.plan.devices)
        done, self.soe_pct = np.zeros((n, units)), np.zeros((n, units))
        for group, at, rows in self._places:
            self.soe_pct[:, at] = self._column(group.table, group.soe)[:, rows]
            shown, factor = (
                (group.power, group.power_kw) if group.power else (group.setpoint, group.setpoint_kw)
            )
            if shown:
                done[:, at] = self._column(group.table, shown)[:, rows] * factor
        told = np.vstack([self._last_logged_kw, self._logged[:-1]])
        # After a restart nobody has told it anything yet.
        self.base_kw = np.where(self._acts, np.where(np.isfinite(told), told, done), done)
        self._base_store_kw = self._from_store(self.base_kw)
        self._last_logged_kw = self._logged[-1].copy()
        self.grid_kw = np.full((n, len(self.plan.sites)), np.nan)
        for meters, sites, rows in self._meter_places:
            self.grid_kw[:, sites] = self._column(meters.table, meters.point)[:, rows] * meters.factor

    def _column(self, table: str, point: str) -> Floats:
        """Return a column of the batch, [ticks, rows]."""
        return self._values[table][:, self.tables[table].names.index(point)]

    # ---- a tick ----

    def step(self, t: int) -> None:
        """Bring tick ``t`` of the batch into the tables, with all that the replay has changed by then."""
        self.time_us, self.now_ns = int(self.times_us[t]), int(self._now_ns[t])
        self.logged_kw, self.usable = self._logged[t], self._usable[t]
        self.stopped, self.enabled = self._stopped[t], self._enabled[t]
        for name, table in self.tables.items():
            for column, values in zip(table.values, self._values[name][t], strict=True):
                column[:] = values
            table.quality[:] = self._quality[name][t]
            table.requested_ns[:] = self._asked[name][t]
        self._drift(t)
        if self._moved and self.free.any():
            self._change(t)
        self._last_us = self.time_us

    def _drift(self, t: int) -> None:
        """Work out how the units' power and energy differ from the log's by now."""
        np.subtract(self._last_kw, self.base_kw[t], out=self.delta_kw)
        np.copyto(self.delta_kw, 0.0, where=np.isnan(self.delta_kw))
        self._moved = self._moved or bool(self.delta_kw.any())
        if not self._moved:
            return
        passed_us = 0 if self._last_us is None else self.time_us - self._last_us
        if 0 < passed_us <= GAP_TICKS * self._tick_us:
            gone_kw = self._from_store(self.base_kw[t] + self.delta_kw) - self._base_store_kw[t]
            self.offset_pct -= gone_kw * (passed_us / 3.6e9 * 100) / self._capacity_kwh
        was = self.soe_pct[t]
        inside = np.minimum(np.maximum(was + self.offset_pct, 0), 100) - was
        np.copyto(self.offset_pct, inside, where=self.offset_pct != 0)

    def _from_store(self, power_kw: Floats) -> Floats:
        return np.where(power_kw > 0, power_kw / self._efficiency, power_kw * self._efficiency)

    def _change(self, t: int) -> None:
        free = self.free[self.plan.site_of]
        delta, offset = np.where(free, self.delta_kw, 0.0), np.where(free, self.offset_pct, 0.0)
        for group, at, rows in self._places:
            table = self.tables[group.table]
            table[group.soe][rows] += offset[at]
            if group.power:
                table[group.power][rows] += delta[at] / group.power_kw
            if group.setpoint:
                table[group.setpoint][rows] += delta[at] / group.setpoint_kw
        of_site = self.sums(delta)
        for meters, sites, rows in self._meter_places:
            self.tables[meters.table][meters.point][rows] -= of_site[sites] / meters.factor

    def decided(self, setpoint_kw: Floats) -> None:
        """Take what the units are told now."""
        self._last_kw = setpoint_kw.copy()
        if not self.free.all():
            # A unit that has no logged decision is free of it; its site is, if it has none at all.
            known = np.isfinite(self.logged_kw)
            differs = known & (setpoint_kw != self.logged_kw)
            self.free |= (self.sums(differs.astype(np.int32)) > 0) | (self.sums(known.astype(np.int32)) == 0)


def _to_decide(chunks: Mapping[str, Chunk], has_decisions: bool) -> Mapping[str, Chunk]:
    if has_decisions:
        wanted = (chunks[NAME].values["clock_ns"] > 0).any(axis=1)
    else:
        wanted = np.any(
            [np.isfinite(v).any(axis=1) for chunk in chunks.values() for v in chunk.values.values()], axis=0
        )
    if wanted.all():
        return chunks
    return {
        name: Chunk(chunk.time_us[wanted], {column: v[wanted] for column, v in chunk.values.items()})
        for name, chunk in chunks.items()
    }


def _hold(values: Floats, known: NDArray[np.bool_], before: Floats) -> Floats:
    """Return values with the last known one in the place of each that is not, at first ``before``."""
    if known.all():
        return values
    row = np.arange(1, len(values) + 1).reshape(-1, 1, 1)
    at = np.maximum.accumulate(np.where(known, row, 0), axis=0)
    return np.take_along_axis(np.concatenate([before[None], values]), at, axis=0)
