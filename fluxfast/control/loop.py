"""From what is measured at each site to its target and bounds: the inputs of the kernel.

    grid meter ─▶ estimate (the load) ─▶ modes (what is wanted) ─▶ limits (what is allowed) ─▶ target

The target follows from the load alone, without an integral or a gain; what the units could not do of the last
one is left out of the next, so nothing winds up. The limits by rank, the first wins where two contradict:

1. emergency stop: 0, at once;
2. a stale meter where the mode or a limit needs one: the target is held, then brought to 0;
3. the most that all units together may charge and discharge;
4. import; 5. export;
6. how fast the grid's power may change; 7. how fast the target may.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.config.fleet import MAX_AGE_TICKS, Control
from fluxfast.control import reasons
from fluxfast.control.columns import Columns
from fluxfast.control.estimate import Estimate
from fluxfast.control.hold import Hold
from fluxfast.control.limits import Bounds
from fluxfast.control.modes import Modes, View
from fluxfast.control.totals import Totals

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

FROZEN_SHARE = 0.05  # of a site's power: a move that a meter must show

# By rank, kW or kW a second; None: not limited.
_LIMITS: Final[dict[int, Callable[[Control], float | None]]] = {
    reasons.CHARGE: lambda control: control.limits.charge_kw,
    reasons.DISCHARGE: lambda control: control.limits.discharge_kw,
    reasons.IMPORT: lambda control: control.limits.import_kw,
    reasons.EXPORT: lambda control: control.limits.export_kw,
    reasons.GRID_RAMP: lambda control: control.limits.grid_ramp_kw_per_s,
    reasons.TARGET_RAMP: lambda control: control.ramp_kw_per_s,
}
_OF_METER: Final = reasons.IMPORT, reasons.EXPORT, reasons.GRID_RAMP


@dataclass(frozen=True, slots=True)
class Measured:
    """What the last tick brought, float64 [sites]; nan where it is not known or not to be trusted."""

    grid_kw: Floats  # positive imports
    grid_sample_s: Floats  # when the grid meter was asked for it, monotonic seconds
    battery_kw: Floats  # sum over the units, positive discharges; nan: not measured
    frequency_hz: Floats

    @classmethod
    def make(cls, sites: int) -> "Measured":
        """Allocate the columns, with nothing known."""
        return cls(*np.full((4, sites), np.nan))


class Loop:
    """Decides the target and the bounds of every site, once a tick.

    Beside ``columns.sites`` it fills, all [sites]: ``mode`` (int16, position in the site's list; -1: none),
    ``reason`` (uint8, a code of ``reasons``: what keeps the target from what the mode wants), ``stopped``
    (bool), and in ``estimate`` what it knows of grid and load, and whose meter is stale; ``metered``
    (bool) are the sites that have one.
    """

    def __init__(
        self,
        columns: Columns,
        controls: Sequence[Control],
        modes: Modes,
        tick_s: float,
        metered: Flags | None = None,
    ) -> None:
        """Take the ``Control`` of each site and the ``Modes`` of all; the units' parameters are there.

        ``metered``: which sites have a grid meter; all unless given.
        """
        sites = columns.sites.rows
        self.metered = np.ones(sites, bool) if metered is None else metered
        self._columns, self._modes, self._totals = columns, modes, Totals(columns)
        self._site = np.arange(sites)
        self._unit_site = np.repeat(self._site, np.diff(columns.first))
        rated_kw = np.bincount(self._unit_site, columns.units.discharge_kw, sites).astype(np.float64)
        settle_s = np.array([control.settle_s for control in controls])
        max_age_s = _column((control.max_age_s for control in controls), MAX_AGE_TICKS * tick_s)
        self.estimate = Estimate(settle_s, max_age_s, FROZEN_SHARE * rated_kw, tick_s)

        self._acts = np.array([control.action == "act" for control in controls])
        limits = {reason: _column(map(of, controls)) for reason, of in _LIMITS.items()}
        limited = np.isfinite([limits[reason] for reason in _OF_METER]).any(axis=0)
        # By rank; those that no site has are left out.
        self._limits = {reason: kw for reason, kw in limits.items() if not np.isnan(kw).all()}
        # [position of the mode, site]; the last row stands for -1, no mode.
        self._needs_meter = np.vstack([modes.uses_load | limited, limited]) & self.metered
        self._balance_kw_per_pct = np.zeros(self._needs_meter.shape)
        for site, control in enumerate(controls):
            for position, mode in enumerate(control.modes):
                if mode.type == "balance":
                    self._balance_kw_per_pct[position, site] = control.balance_kw_per_pct

        self._bounds = Bounds(columns.sites.lower_kw, columns.sites.upper_kw)
        hold_s = np.array([control.hold_s for control in controls])
        self._hold = Hold(hold_s, np.array([control.ramp_down_s for control in controls]))
        self.mode = np.full(sites, -1, np.int16)
        self.reason = np.zeros(sites, np.uint8)
        self.stopped = np.zeros(sites, bool)

    def stop(self, site_index: int) -> None:
        """Emergency stop: from the next decision on the site is at 0, until it is acknowledged."""
        self.stopped[site_index] = True

    def acknowledge(self, site_index: int) -> None:
        """Let a stopped site go on, from 0."""
        self.stopped[site_index] = False

    def decide(self, now_s: float, time_s: float, dt_s: float, measured: Measured) -> None:
        """Fill the inputs of ``columns.sites``, and ``usable`` of the units of stopped sites.

        ``now_s`` is monotonic, ``time_s`` UTC, ``dt_s`` since the last decision. The units' inputs must be
        this tick's; their state and outputs are what the kernel made of the last one.
        """
        sites, estimate = self._columns.sites, self.estimate
        # As far as the units could follow: ramps go on from there.
        previous = np.minimum(np.maximum(sites.target_kw, sites.units_lower_kw), sites.units_upper_kw)
        load_before = estimate.load_kw.copy()
        # What units do that we do not command is known only if it is measured.
        told = np.where(self._acts, sites.setpoint_kw, 0.0)
        battery = np.where(np.isfinite(measured.battery_kw), measured.battery_kw, told)
        estimate.update(now_s, battery, measured.grid_kw, measured.grid_sample_s, sites.target_kw)

        wanted = self._ask_modes(time_s, dt_s, previous, measured.frequency_hz)
        self._narrow(previous, load_before, dt_s)
        sites.target_kw[:], self.reason[:] = self._bounds.clip(_or_zero(wanted))
        np.copyto(self.reason, reasons.NO_MODE, where=(self.mode < 0) & (self.reason == reasons.NONE))
        cell = self.mode.astype(np.intp) * len(self._site) + self._site
        sites.balance_kw_per_pct[:] = self._balance_kw_per_pct.take(cell)

        blind = estimate.stale & self._needs_meter.take(cell)
        if blind.any():
            held = previous * self._hold.step(blind, dt_s)
            self._fix(blind, held, np.where(self._hold.left < 1, reasons.RAMP_DOWN, reasons.HOLDING))
        else:
            self._hold.clear()
        if self.stopped.any():
            self._fix(self.stopped, 0.0, reasons.EMERGENCY)
            usable = self._columns.units.usable
            usable[self.stopped[self._unit_site] & (usable == reasons.NONE)] = reasons.STOPPED

    def _fix(self, which: Flags, target_kw: Floats | float, reason: NDArray[np.int_] | int) -> None:
        """Leave these sites no other target."""
        sites = self._columns.sites
        for column in (sites.target_kw, sites.lower_kw, sites.upper_kw):
            np.copyto(column, target_kw, where=which)
        np.copyto(self.reason, reason, where=which, casting="unsafe")
        np.copyto(sites.balance_kw_per_pct, 0.0, where=which)

    def _ask_modes(self, time_s: float, dt_s: float, previous: Floats, frequency_hz: Floats) -> Floats:
        """Return the powers that the modes want, nan where none applies; ``mode`` says which."""
        estimate, totals = self.estimate, self._totals
        totals.update()
        # A mode whose meter was never read shall be blind; with nan it would not apply, and another would.
        load = np.where(self.metered, _or_zero(estimate.load_kw), np.nan)
        view = View(
            time_s=time_s,
            dt_s=dt_s,
            grid_kw=estimate.grid_kw,
            load_kw=load,
            battery_kw=self._columns.sites.setpoint_kw,
            target_kw=previous,
            soe_pct=totals.soe_pct,
            energy_kwh=totals.energy_kwh,
            capacity_kwh=totals.capacity_kwh,
            charge_kw=totals.charge_kw,
            discharge_kw=totals.discharge_kw,
            frequency_hz=frequency_hz,
        )
        wanted, self.mode[:] = self._modes.decide(view)
        return wanted

    def _narrow(self, previous: Floats, load_before: Floats, dt_s: float) -> None:
        """Make the bounds of the limits, by rank; ``load_before``: at the last decision."""
        bounds, load = self._bounds, self.estimate.load_kw
        bounds.clear()
        for reason, kw in self._limits.items():
            match reason:
                case reasons.CHARGE:
                    bounds.at_least(-kw, reason)
                case reasons.DISCHARGE:
                    bounds.at_most(kw, reason)
                case reasons.IMPORT:
                    bounds.at_least(load - kw, reason)
                case reasons.EXPORT:
                    bounds.at_most(load + kw, reason)
                case reasons.GRID_RAMP:
                    # The grid's power changes by what the load does and the batteries do not. What it did
                    # while nobody looked is not made up for.
                    unseen = (self._hold.blind_s > 0) | np.isnan(load_before)
                    moved = np.where(unseen, 0.0, load - load_before)
                    bounds.at_least(previous + moved - kw * dt_s, reason)
                    bounds.at_most(previous + moved + kw * dt_s, reason)
                case reasons.TARGET_RAMP:
                    bounds.at_least(previous - kw * dt_s, reason)
                    bounds.at_most(previous + kw * dt_s, reason)


def _column(values: Iterable[float | None], default: float = np.nan) -> Floats:
    return np.array([default if value is None else value for value in values], np.float64)


def _or_zero(values: Floats) -> Floats:
    """Return 0 where a value is not known; a tenth of what nan_to_num costs."""
    return np.where(np.isnan(values), 0.0, values)
