"""The whole control of some sites, run against simulated ones: meter, loop, kernel, units, meter again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluxfast.config.entries import ControlEntry
from fluxfast.config.fleet import Control, Limits
from fluxfast.control.columns import Columns
from fluxfast.control.kernel import Kernel
from fluxfast.control.loop import Loop, Measured
from fluxfast.control.modes import Modes
from fluxfast.profiles.document import parse_document
from fluxfast.profiles.findings import validate
from tests.support.plant import STEP_S, Floats, Plant

UNITS = 2  # of each site
START_S = 1_750_000_000.0  # UTC


def control(modes: str, limits: dict[str, float] | None = None, **keys: Any) -> Control:
    """Return a site's control that acts; its modes are YAML."""
    entry, findings = validate(ControlEntry, parse_document(f"modes: {modes}", "test").data)
    assert entry is not None, findings
    return Control(**{"action": "act", "modes": entry.modes, "limits": Limits(**limits or {}), **keys})


@dataclass(frozen=True)
class Trace:
    """What happened: a row per tick, of the grid's true power one per step of the plant; [rows, sites].

    ``unit_kw`` are the setpoints of the units, [ticks, units].
    """

    tick_s: float
    target_kw: Floats
    setpoint_kw: Floats
    unit_kw: Floats
    reason: NDArray[np.uint8]
    grid_kw: Floats

    def since(self, time_s: float) -> "Trace":
        """Return what happened from then on."""
        tick, step = round(time_s / self.tick_s), round(time_s / STEP_S)
        ticks = (self.target_kw, self.setpoint_kw, self.unit_kw, self.reason)
        return Trace(self.tick_s, *(column[tick:] for column in ticks), self.grid_kw[step:])

    def turns(self, least_kw: float) -> NDArray[np.int_]:
        """Return how often each site's setpoint turned, by more than this each time; [sites]."""
        return np.array([_turns(column, least_kw) for column in self.setpoint_kw.T])

    def outside_kws(self, low_kw: float, high_kw: float) -> Floats:
        """Return how far and how long each site's grid was outside, kW · s, [sites]."""
        outside = np.maximum(self.grid_kw - high_kw, 0) + np.maximum(low_kw - self.grid_kw, 0)
        return outside.sum(axis=0) * STEP_S

    def settled_s(self, low_kw: float, high_kw: float) -> Floats:
        """Return after how long each site's grid stayed inside; [sites]."""
        outside = (self.grid_kw < low_kw) | (self.grid_kw > high_kw)
        last = len(outside) - np.argmax(outside[::-1], axis=0)
        return np.where(outside.any(axis=0), last, 0) * STEP_S


def _turns(power_kw: Floats, least_kw: float) -> int:
    turns, direction, extreme = 0, 0.0, power_kw[0]
    for power in power_kw:
        if direction and direction * (power - extreme) >= 0:
            extreme = power
        elif abs(power - extreme) > least_kw:
            turns += direction != 0
            direction, extreme = np.sign(power - extreme), power
    return turns


class ClosedLoop:
    """Sites of two equal units each before a plant. Meters and units can be made to fail while it runs."""

    def __init__(
        self, plant: Plant, controls: Sequence[Control], tick_s: float, rated_kw: float = 100.0
    ) -> None:
        self.plant, self.tick_s = plant, tick_s
        self.columns = Columns.make([UNITS] * plant.sites)
        units, sites = self.columns.units, self.columns.sites
        units.capacity_kwh[:] = 100 * rated_kw
        units.charge_kw[:] = units.discharge_kw[:] = rated_kw
        units.soe_pct[:] = 50
        ramps = [control.limits.unit_ramp_kw_per_s or np.inf for control in controls]
        units.ramp_kw_per_s[:] = np.repeat(ramps, UNITS)
        sites.deadband_kw[:] = [control.deadband_kw for control in controls]
        sites.hold_off_s[:] = [control.hold_off_s for control in controls]
        self.modes = Modes([control.modes for control in controls])
        self.loop = Loop(self.columns, controls, self.modes, tick_s)
        self.kernel = Kernel(self.columns)
        self.measured = Measured.make(plant.sites)
        self.meter_answers = np.ones(plant.sites, bool)
        self.measures_batteries = False
        self.obeys = np.ones(plant.sites, bool)  # false: setpoints are not written

    def run(self, duration_s: float) -> Trace:
        """Let time pass."""
        units, sites, plant, measured = self.columns.units, self.columns.sites, self.plant, self.measured
        rows: list[tuple[NDArray[Any], ...]] = []
        grid = []
        for _ in range(round(duration_s / self.tick_s)):
            measured.grid_kw[:] = np.where(self.meter_answers, plant.meter_kw, np.nan)
            measured.grid_sample_s[self.meter_answers] = plant.now_s
            if self.measures_batteries:
                measured.battery_kw[:] = plant.battery_kw
            units.usable[:] = 0
            self.loop.decide(plant.now_s, START_S + plant.now_s, self.tick_s, measured)
            self.kernel.decide(self.tick_s)
            now = (sites.target_kw, sites.setpoint_kw, units.setpoint_kw, self.loop.reason)
            rows.append(tuple(column.copy() for column in now))
            grid.append(plant.run(np.where(self.obeys, sites.setpoint_kw, 0.0), self.tick_s))
        return Trace(self.tick_s, *map(np.array, zip(*rows, strict=True)), np.concatenate(grid))
