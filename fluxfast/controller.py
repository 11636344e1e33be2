"""The controller: from the tables of a tick to a setpoint for every unit. Decides; writes nothing.

    gather ─▶ (whoever commands adds who must not be) ─▶ decide

The same code runs live (``commander.py`` sends what it decides) and in replay over a log.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.config.fleet import MAX_AGE_TICKS
from fluxfast.control import reasons
from fluxfast.control.columns import SPLITS, Columns
from fluxfast.control.kernel import Kernel
from fluxfast.control.loop import Loop, Measured
from fluxfast.control.modes import Modes
from fluxfast.plan.control import ControlPlan, MeterGroup, UnitGroup
from fluxfast.table import Table, quality

LONGEST_DT_TICKS: Final = 4  # of ramps and tapers, between two decisions
NOT_KNOWN: Final = -1  # a command source that could not be read

Rows = slice | NDArray[np.int32]


class Controller:
    """Decides for all sites of a plan. ``columns`` hold everything about units and sites, see there.
    ``tables`` are what it decides on.

    Of the newest ``gather``, a row per unit: ``oldest_ns`` int64, the request of the oldest input;
    ``expires_ns`` int64, when that is too old to act on; ``source`` int64, the raw command source, and
    ``shown_kw`` float64, the setpoint that the unit itself shows (nan: not known), with
    ``readable`` bool, whether both can be trusted.
    """

    def __init__(self, plan: ControlPlan, tables: Mapping[str, Table], every_ns: int) -> None:
        """Fill in what does not change: ratings, bounds and how each site wants it."""
        self.plan, self.tables, self.every_ns = plan, tables, every_ns
        self._places = [(_places(group.rows), _places(group.units)) for group in plan.groups]
        n = len(plan.devices)
        self.columns = Columns.make(np.bincount(plan.site_of, minlength=len(plan.sites)).tolist())
        self.oldest_ns = np.zeros(n, np.int64)
        self.expires_ns = np.zeros(n, np.int64)
        self.source = np.zeros(n, np.int64)
        self.shown_kw = np.full(n, np.nan)
        self.readable = np.zeros(n, np.bool_)
        self._blocks = np.array([device.blocks or 0 for device in plan.devices], float)
        self._shadow = np.array([site.control.action != "act" for site in plan.sites])
        self._given_kw = np.zeros(n)
        ages_s = [site.control.max_age_s or MAX_AGE_TICKS * every_ns / 1e9 for site in plan.sites]
        self._max_age_ns = (np.array(ages_s)[plan.site_of] * 1e9).astype(np.int64)
        self._set_parameters()
        controls = [site.control for site in plan.sites]
        self.modes = Modes([control.modes for control in controls])
        metered = np.array([site.grid_meter is not None for site in plan.sites], np.bool_)
        self.loop = Loop(self.columns, controls, self.modes, every_ns / 1e9, metered)
        self._kernel = Kernel(self.columns)
        self.measured = Measured.make(len(plan.sites))
        self._longest_dt_s = LONGEST_DT_TICKS * every_ns / 1e9
        self._last_ns = 0

    def _set_parameters(self) -> None:
        units, sites = self.columns.units, self.columns.sites
        devices = self.plan.devices
        units.capacity_kwh[:] = [device.capacity_kwh or 0 for device in devices]
        units.charge_kw[:] = units.discharge_kw[:] = [device.rated_power_kw or 0 for device in devices]
        for group in self.plan.groups:
            point = self.plan.devices[group.units[0]].profile.points[group.control.setpoint]
            at, control = group.units, group.control
            units.quantum_kw[at] = 0 if point.kind == "float" else abs(float(point.scale)) * group.setpoint_kw
            if point.limits is not None:
                low, high = (float(limit) * group.setpoint_kw for limit in point.limits)
                units.charge_kw[at] = np.minimum(units.charge_kw[at], max(-low, 0))
                units.discharge_kw[at] = np.minimum(units.discharge_kw[at], max(high, 0))
            if point.kind == "unsigned":  # it charges only as far as its offset reaches
                least = -float(point.offset) * group.setpoint_kw
                units.charge_kw[at] = np.minimum(units.charge_kw[at], max(least, 0))
            units.efficiency[at] = float(control.efficiency)
            units.rise_kw_per_s[at] = units.discharge_kw[at] * float(control.rise_pct_per_s) / 100
            if control.ramp_kw_per_s is not None:
                units.ramp_kw_per_s[at] = float(control.ramp_kw_per_s)
        for s, site in enumerate(self.plan.sites):
            wish, limits = site.control, site.control.limits
            rows = slice(self.columns.first[s], self.columns.first[s + 1])
            units.soe_min_pct[rows], units.soe_max_pct[rows] = limits.soe_min_pct, limits.soe_max_pct
            units.reserve_pct[rows] = limits.reserve_pct or 0
            if limits.unit_ramp_kw_per_s is not None:
                np.minimum(
                    units.ramp_kw_per_s[rows], limits.unit_ramp_kw_per_s, out=units.ramp_kw_per_s[rows]
                )
            sites.split[s] = SPLITS[wish.split]
            sites.horizon_s[s], sites.hold_off_s[s] = wish.horizon_s, wish.hold_off_s
            sites.deadband_kw[s], sites.efficient_kw[s] = wish.deadband_kw, wish.efficient_kw
            sites.rotate_s[s] = wish.rotate_s

    def gather(self, now_ns: int) -> None:
        """Take a tick's readings out of the tables; ``now_ns`` is the clock of their times."""
        for group, (rows, at) in zip(self.plan.groups, self._places, strict=True):
            self._gather_units(group, rows, at, now_ns)
        self.measured.grid_kw[:] = self.measured.frequency_hz[:] = np.nan
        for meters in self.plan.meters:
            self.measured.grid_kw[meters.sites] = self._meter(meters)
            times_ns = self.tables[meters.table].requested_ns[meters.slot][meters.rows]
            self.measured.grid_sample_s[meters.sites] = np.where(times_ns, times_ns / 1e9, np.nan)
        for meters in self.plan.frequencies:
            self.measured.frequency_hz[meters.sites] = self._meter(meters)
        # A sum over no units is 0; one of which a unit is not known is not known.
        self.measured.battery_kw[:] = np.bincount(
            self.plan.site_of, weights=self._given_kw, minlength=len(self.plan.sites)
        )

    def _gather_units(self, group: UnitGroup, rows: Rows, at: Rows, now_ns: int) -> None:
        table, units = self.tables[group.table], self.columns.units

        def column(name: str, worst: int = quality.LATE) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
            c = table.names.index(name)
            values = table.values[c][rows].astype(np.float64)
            return values, (table.quality[c][rows] <= worst) & np.isfinite(values)

        oldest_ns = table.requested_ns[group.slots[0]][rows]
        for slot in group.slots[1:]:
            oldest_ns = np.minimum(oldest_ns, table.requested_ns[slot][rows])
        self.oldest_ns[at] = oldest_ns
        self.expires_ns[at] = oldest_ns + self._max_age_ns[at]
        stale = now_ns >= self.expires_ns[at]

        soe, good = column(group.soe)
        status, known = column(group.status)
        good &= known & (soe >= 0) & (soe <= 100)
        available = np.ones(len(group.units))
        if group.blocks is not None:
            blocks, known = column(group.blocks)
            good &= known
            # Without the site file's word, all of it is the most that it has ever shown.
            self._blocks[at] = np.maximum(self._blocks[at], np.where(known, blocks, 0))
            np.divide(blocks, self._blocks[at], out=available, where=self._blocks[at] > 0)
            available = np.where(self._blocks[at] > 0, np.clip(available, 0, 1), 0)
        readable = ~stale
        if group.source is not None:
            source, known = column(group.source)
            good &= known
            readable &= known
            self.source[at] = np.where(known, source, NOT_KNOWN)
        if group.setpoint is not None:
            shown, known = column(group.setpoint, quality.RANGE)  # another may set what we must not
            self.shown_kw[at] = np.where(known, shown * group.setpoint_kw, np.nan)
        if group.power is not None:
            power, known = column(group.power)
            self._given_kw[at] = np.where(known & ~stale, power * group.power_kw, np.nan)
        else:
            # It has no measured power. In shadow, where others command it, it does what it shows.
            shadow = self._shadow[self.plan.site_of[at]]
            self._given_kw[at] = np.where(shadow & ~stale, self.shown_kw[at], np.nan)
        self.readable[at] = readable
        ready = np.zeros(len(group.units), np.bool_)
        for code in group.ready:
            ready |= status == code
        units.soe_pct[at] = soe
        units.available[at] = available
        units.usable[at] = np.where(
            stale,
            reasons.STALE,
            np.where(~good, reasons.BAD, np.where(ready, reasons.NONE, reasons.NOT_READY)),
        )

    def _meter(self, group: MeterGroup) -> NDArray[np.float64]:
        table = self.tables[group.table]
        c = table.names.index(group.point)
        values = table.values[c][group.rows].astype(np.float64) * group.factor
        good = table.quality[c][group.rows] <= quality.LATE
        return np.where(good & np.isfinite(values), values, np.nan)

    def newest_meter_ns(self) -> int:
        """Return when the newest answer of a grid meter came in, on the tables' clock; 0: none ever."""
        newest = (self.tables[m.table].received_ns[m.slot][m.rows].max() for m in self.plan.meters)
        return int(max(newest, default=0))

    def decide(self, now_ns: int, time_us: int, clock: Callable[[], int] | None = None) -> None:
        """Decide on what was gathered; the new setpoints are in ``columns.units.setpoint_kw``.

        ``now_ns``: the clock of the tables' times; ``time_us``: UTC, for schedules and times of day. With
        ``clock``, which returns that clock's time, readings that get too old while modes decide are stale.
        """
        # A process that has slept has not ramped meanwhile.
        dt_s = min((now_ns - self._last_ns) / 1e9, self._longest_dt_s) if self._last_ns else 0.0
        self._last_ns = now_ns
        self.loop.decide(now_ns / 1e9, time_us / 1e6, dt_s, self.measured)
        if clock is not None:
            # A mode of a user's takes its time. What can no longer be sent must not leave the last setpoint.
            usable = self.columns.units.usable
            usable[(usable == reasons.NONE) & (clock() >= self.expires_ns)] = reasons.STALE
        self._kernel.decide(dt_s)


def _places(rows: NDArray[np.int32]) -> Rows:
    """Return rows that follow each other as a slice, which NumPy takes without a copy."""
    first, n = int(rows[0]), len(rows)
    is_run = rows[-1] - first == n - 1 and (np.diff(rows) == 1).all()
    return slice(first, first + n) if is_run else rows
