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
from fluxfast.control.columns import SPLITS, Columns, Rows, places
from fluxfast.control.kernel import Kernel
from fluxfast.control.loop import Loop, Measured
from fluxfast.control.modes import Modes
from fluxfast.plan.control import ControlPlan, MeterGroup, UnitGroup
from fluxfast.table import Table, quality

LONGEST_DT_TICKS: Final = 4  # of ramps and tapers, between two decisions
NOT_KNOWN: Final = -1  # a command source that could not be read

Floats = NDArray[np.float64]


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
        self._groups = [
            (group, places(group.units), _UnitInputs(group, tables[group.table])) for group in plan.groups
        ]
        self._meters = [(places(meters.sites), _MeterInput(meters, tables)) for meters in plan.meters]
        self._frequencies = [
            (places(meters.sites), _MeterInput(meters, tables)) for meters in plan.frequencies
        ]
        n = len(plan.devices)
        self.columns = Columns.make(np.bincount(plan.site_of, minlength=len(plan.sites)).tolist())
        self.oldest_ns = np.zeros(n, np.int64)
        self.expires_ns = np.zeros(n, np.int64)
        self.source = np.zeros(n, np.int64)
        self.shown_kw = np.full(n, np.nan)
        self.readable = np.zeros(n, np.bool_)
        self._blocks = np.array([device.blocks or 0 for device in plan.devices], float)
        self._shadow = np.array([site.control.action != "act" for site in plan.sites])[plan.site_of]
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
        measured = self.measured
        for group, at, inputs in self._groups:
            self._gather_units(group, at, inputs, now_ns)
        measured.grid_kw.fill(np.nan)
        measured.frequency_hz.fill(np.nan)
        for sites, meter in self._meters:
            measured.grid_kw[sites] = meter.read()
            times_ns = meter.requested_ns()
            measured.grid_sample_s[sites] = np.where(times_ns != 0, times_ns / 1e9, np.nan)
        for sites, meter in self._frequencies:
            measured.frequency_hz[sites] = meter.read()
        # A sum over no units is 0; one of which a unit is not known is not known.
        measured.battery_kw[:] = np.bincount(
            self.plan.site_of, weights=self._given_kw, minlength=len(self.plan.sites)
        )

    def _gather_units(self, group: UnitGroup, at: Rows, inputs: "_UnitInputs", now_ns: int) -> None:
        units, good = self.columns.units, inputs.read()
        oldest_ns = inputs.oldest_ns()
        expires_ns = oldest_ns + self._max_age_ns[at]
        self.oldest_ns[at], self.expires_ns[at] = oldest_ns, expires_ns
        in_time = expires_ns > now_ns

        soe, _ = inputs["soe"]
        good &= (soe >= 0) & (soe <= 100)
        units.soe_pct[at] = soe
        if group.blocks is not None:
            blocks, known = inputs["blocks"]
            # Without the site file's word, all of it is the most that it has ever shown.
            most = np.maximum(self._blocks[at], np.where(known, blocks, 0))
            self._blocks[at] = most
            share = np.divide(blocks, most, out=np.zeros(len(most)), where=most > 0)
            units.available[at] = np.minimum(np.maximum(share, 0), 1)
        if group.source is not None:
            source, known = inputs["source"]
            self.readable[at] = in_time & known
            self.source[at] = np.where(known, source, NOT_KNOWN)
        else:
            self.readable[at] = in_time
        if group.setpoint is not None:
            shown, known = inputs["setpoint"]
            self.shown_kw[at] = np.where(known, shown * group.setpoint_kw, np.nan)
        if group.power is not None:
            power, known = inputs["power"]
            self._given_kw[at] = np.where(known & in_time, power * group.power_kw, np.nan)
        else:
            # It has no measured power. In shadow, where others command it, it does what it shows.
            self._given_kw[at] = np.where(self._shadow[at] & in_time, self.shown_kw[at], np.nan)
        status, _ = inputs["status"]
        ready = status == group.ready[0]
        for code in group.ready[1:]:
            ready |= status == code
        units.usable[at] = _USABLE[in_time * _IN_TIME + good * _GOOD + ready]

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


class _UnitInputs:
    """The points of a group's units that are decided on, by what they are to control.

    As of the newest ``read``: float64 values, and whether each is known, [points, units] each.
    """

    def __init__(self, group: UnitGroup, table: Table) -> None:
        self._table, self._rows, self._slots = table, places(group.rows), group.slots
        needed = {"soe": group.soe, "status": group.status, "blocks": group.blocks, "source": group.source}
        others = {"setpoint": group.setpoint, "power": group.power}
        points = {role: point for role, point in (needed | others).items() if point is not None}
        self._columns = [table.names.index(point) for point in points.values()]
        # Another may set what we must not.
        worst = [quality.RANGE if role == "setpoint" else quality.LATE for role in points]
        self._worst = np.array(worst, np.uint8)[:, None]
        self._values = np.empty((len(points), len(group.units)))
        self._known = np.empty(self._values.shape, np.bool_)
        self._needed = self._known[: sum(role in needed for role in points)]
        self._of = {role: (self._values[k], self._known[k]) for k, role in enumerate(points)}

    def read(self) -> NDArray[np.bool_]:
        """Take them out of the table; return which units have all that they need, [units]."""
        for values, column in zip(self._values, self._columns, strict=True):
            values[:] = self._table.values[column][self._rows]
        np.isfinite(self._values, out=self._known)
        self._known &= self._table.quality.take(self._columns, axis=0)[:, self._rows] <= self._worst
        good: NDArray[np.bool_] = np.logical_and.reduce(self._needed, axis=0)
        return good

    def __getitem__(self, role: str) -> tuple[Floats, NDArray[np.bool_]]:
        """Return values and whether they are known, [units] each."""
        return self._of[role]

    def oldest_ns(self) -> NDArray[np.int64]:
        """Return when the oldest of them was asked for, [units]."""
        requested_ns = self._table.requested_ns
        oldest_ns: NDArray[np.int64] = requested_ns[self._slots[0]][self._rows]
        for slot in self._slots[1:]:
            oldest_ns = np.minimum(oldest_ns, requested_ns[slot][self._rows])
        return oldest_ns


class _MeterInput:
    """The point of a group's meters that is decided on."""

    def __init__(self, group: MeterGroup, tables: Mapping[str, Table]) -> None:
        self._table, self._rows = tables[group.table], places(group.rows)
        self._column, self._slot = self._table.names.index(group.point), group.slot
        self._factor = group.factor

    def read(self) -> Floats:
        """Return their values, nan where one is not known."""
        values = self._table.values[self._column][self._rows].astype(np.float64) * self._factor
        good = self._table.quality[self._column][self._rows] <= quality.LATE
        return np.where(good & np.isfinite(values), values, np.nan)

    def requested_ns(self) -> NDArray[np.int64]:
        """Return when each was asked for them; 0: never answered."""
        return np.asarray(self._table.requested_ns[self._slot][self._rows])


# By whether its inputs are young enough, known and in their range, and whether it says that it is ready.
_IN_TIME, _GOOD = 4, 2
_USABLE: Final = np.array(
    [reasons.STALE] * 4 + [reasons.BAD] * 2 + [reasons.NOT_READY, reasons.NONE], np.uint8
)
