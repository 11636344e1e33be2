"""The whole control of some sites, run against simulated ones: meter, loop, kernel, units, meter again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluxfast.config.fleet import Control
from fluxfast.control.columns import Columns
from fluxfast.control.loop import Loop, Measured
from fluxfast.control.modes import Modes
from tests.support.plant import STEP_S, Floats, Plant


@dataclass
class Trace:
    """What happened: ``target_kw`` and ``setpoint_kw`` [ticks, sites], ``grid_kw`` [steps, sites]."""

    tick_s: float
    target_kw: Floats
    setpoint_kw: Floats
    reason: NDArray[np.uint8]
    grid_kw: Floats

    def since(self, time_s: float) -> "Trace":
        """Return what happened from then on."""
        tick, step = round(time_s / self.tick_s), round(time_s / STEP_S)
        return Trace(
            self.tick_s,
            self.target_kw[tick:],
            self.setpoint_kw[tick:],
            self.reason[tick:],
            self.grid_kw[step:],
        )

    def turns(self, least_kw: float = 0.5) -> NDArray[np.int_]:
        """Return how often each site's setpoint has turned by more than this; [sites]."""
        return np.array([_turns(column, least_kw) for column in self.setpoint_kw.T])

    def beyond_kws(self, low_kw: float, high_kw: float) -> Floats:
        """Return by how much and how long each site's grid was outside, kW · s [sites]."""
        outside = np.maximum(self.grid_kw - high_kw, 0) + np.maximum(low_kw - self.grid_kw, 0)
        return outside.sum(axis=0) * STEP_S

    def settled_s(self, low_kw: float, high_kw: float) -> Floats:
        """Return after how long each site's grid has come to stay inside; [sites]."""
        outside = (self.grid_kw < low_kw) | (self.grid_kw > high_kw)
        last = len(outside) - np.argmax(outside[::-1], axis=0)
        return np.where(outside.any(axis=0), last, 0) * STEP_S


def _turns(power_kw: Floats, least_kw: float) -> int:
    """Count the turning points between which a curve moves by more than ``least_kw``."""
    turns, direction, extreme = 0, 0, power_kw[0]
    for power in power_kw:
        if direction * (power - extreme) >= 0 and direction:
            extreme = power
        elif abs(power - extreme) > least_kw:
            turns += direction != 0
            direction, extreme = np.sign(power - extreme), power
    return turns


class ClosedLoop:
    """Sites of two equal units each, before a plant; ``seen``: what of it is measured, to be tampered with."""

    def __init__(
        self, plant: Plant, controls: Sequence[Control], tick_s: float, rated_kw: float = 100.0
    ) -> None:
        self.plant, self.tick_s = plant, tick_s
        self.columns = Columns.make([2] * plant.sites)
        units = self.columns.units
        units.capacity_kwh[:] = 10 * rated_kw
        units.charge_kw[:] = units.discharge_kw[:] = rated_kw
        units.soe_pct[:] = 50
        self.columns.sites.deadband_kw[:] = [control.deadband_kw for control in controls]
        self.columns.sites.hold_off_s[:] = [control.hold_off_s for control in controls]
        ramps = [control.limits.unit_ramp_kw_per_s or np.inf for control in controls]
        units.ramp_kw_per_s[:] = np.repeat(ramps, 2)
        self.loop = Loop(self.columns, controls, Modes([control.modes for control in controls]), tick_s)
        self.measured = Measured.make(plant.sites)
        self.meter_answers = np.ones(plant.sites, bool)
        self.measures_batteries = False

    def run(self, duration_s: float) -> Trace:
        """Let time pass."""
        sites, plant = self.columns.sites, self.plant
        targets, setpoints, why, grid = [], [], [], []
        for _ in range(round(duration_s / self.tick_s)):
            self.measured.grid_kw[:] = np.where(self.meter_answers, plant.meter_kw, np.nan)
            self.measured.grid_sample_s[self.meter_answers] = plant.now_s
            if self.measures_batteries:
                self.measured.battery_kw[:] = plant.battery_kw
            self.columns.units.usable[:] = 0
            self.loop.decide(plant.now_s, 1.7e9 + plant.now_s, self.tick_s, self.measured)
            decide(self.columns, self.tick_s)
            targets.append(sites.target_kw.copy())
            setpoints.append(sites.setpoint_kw.copy())
            why.append(self.loop.reason.copy())
            grid.append(plant.run(sites.setpoint_kw, self.tick_s))
        return Trace(self.tick_s, np.array(targets), np.array(setpoints), np.array(why), np.concatenate(grid))


def decide(columns: Columns, dt_s: float) -> None:
    units, sites = columns.units, columns.sites
    usable = units.usable == 0
    units.lower_kw[:] = np.maximum(-units.charge_kw, units.setpoint_kw - units.ramp_kw_per_s * dt_s) * usable
    units.upper_kw[:] = (
        np.minimum(units.discharge_kw, units.setpoint_kw + units.ramp_kw_per_s * dt_s) * usable
    )
    low = units.lower_kw.reshape(-1, 2).sum(axis=1)
    high = units.upper_kw.reshape(-1, 2).sum(axis=1)
    sites.units_lower_kw[:], sites.units_upper_kw[:] = low, high
    total = np.clip(sites.target_kw, np.maximum(low, sites.lower_kw), np.minimum(high, sites.upper_kw))
    total = np.rint(np.clip(total, low, high))
    stay = (
        (abs(sites.target_kw - sites.split_target_kw) < sites.deadband_kw)
        & (sites.setpoint_kw >= low)
        & (sites.setpoint_kw <= high)
    )
    total = np.where(stay, sites.setpoint_kw, total)
    sites.split_target_kw[:] = np.where(stay, sites.split_target_kw, sites.target_kw)
    units.setpoint_kw[:] = np.repeat(total / 2, 2)
    sites.setpoint_kw[:] = total
