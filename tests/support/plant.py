"""Sites as a control loop sees them, in simulated time: units that answer late, meters that refresh slowly.

A row per site, each with its own parameters, so that one run covers a whole grid of cases.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STEP_S = 0.02  # of the integration


@dataclass
class Plant:
    """The batteries, the meter and the load of each site; arrays [sites], powers in kW.

    A setpoint reaches the batteries after ``dead_s``; they follow it with the time constant ``response_s``,
    no faster than ``slew_kw_per_s``. The meter shows a new value every ``refresh_s``: the mean since the last
    one, with ``noise_kw`` (standard deviation), rounded to ``resolution_kw``. A frozen one stays as it is.
    """

    response_s: Floats
    dead_s: Floats
    refresh_s: Floats
    load_kw: Callable[[float], Floats]
    slew_kw_per_s: float = np.inf
    noise_kw: float = 0.0
    resolution_kw: float = 0.01
    seed: int = 1
    now_s: float = 0.0
    frozen: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.sites = len(self.response_s)
        self._random = np.random.default_rng(self.seed)
        self._steps = 0
        self._site = np.arange(self.sites)
        self._answer = -np.expm1(-STEP_S / self.response_s)  # what of a difference is gone after a step
        self._delay = np.rint(self.dead_s / STEP_S).astype(int)
        self._setpoint_kw = np.zeros((self._delay.max() + 1, self.sites))  # a ring: what is on its way
        self._every = np.maximum(1, np.rint(self.refresh_s / STEP_S)).astype(int)
        self._phase = self._random.integers(0, self._every)
        self._sum_kw = np.zeros(self.sites)
        self._count = np.zeros(self.sites)
        self.frozen = np.zeros(self.sites, bool)
        self.battery_kw = np.zeros(self.sites)
        self.grid_kw = self.load_kw(0.0)
        self.meter_kw = self._shown(self.grid_kw)

    def _shown(self, grid_kw: Floats) -> Floats:
        if self.noise_kw:
            grid_kw = grid_kw + self.noise_kw * self._random.standard_normal(self.sites)
        return np.rint(grid_kw / self.resolution_kw) * self.resolution_kw

    def run(self, setpoint_kw: Floats, duration_s: float) -> Floats:
        """Let time pass under these setpoints; return the grid's power at every step, [steps, sites]."""
        return np.array([self._step(setpoint_kw) for _ in range(round(duration_s / STEP_S))])

    def _step(self, setpoint_kw: Floats) -> Floats:
        ring = len(self._setpoint_kw)
        self._setpoint_kw[self._steps % ring] = setpoint_kw
        arrived = self._setpoint_kw[(self._steps - self._delay) % ring, self._site]
        change = (arrived - self.battery_kw) * self._answer
        if self.slew_kw_per_s < np.inf:
            most = self.slew_kw_per_s * STEP_S
            change = np.clip(change, -most, most)
        self.battery_kw = self.battery_kw + change
        self._steps += 1
        self.now_s = self._steps * STEP_S
        self.grid_kw = self.load_kw(self.now_s) - self.battery_kw
        self._sum_kw += self.grid_kw
        self._count += 1
        due = ((self._steps + self._phase) % self._every == 0) & ~self.frozen
        if due.any():
            self.meter_kw = np.where(due, self._shown(self._sum_kw / self._count), self.meter_kw)
            self._sum_kw[due] = 0.0
            self._count[due] = 0.0
        return self.grid_kw
