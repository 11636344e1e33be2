"""What the devices of one site have in common: its load, its sun, its frequency. One row per site.

Everything here is a function of the seed and the wall clock, without memory: same seed and same moment,
same values, however often or late they are asked for. Noise is a sum of sines of unrelated periods.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NOISE_PERIODS_S: Final = (61.0, 13.0, 1.7)
NOISE_WEIGHTS: Final = (1.0, 0.5, 0.25)
KW_PER_METER: Final = 100.0  # the size of a site that has meters but no battery


class Noise:
    """Smooth seeded noise between about -1 and 1, one value a row."""

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        """Draw the phases."""
        self._phases = rng.uniform(0, 2 * np.pi, (len(NOISE_PERIODS_S), count))

    def at(self, now_s: float) -> Floats:
        """Return the noise of every row at a moment."""
        total = np.zeros(self._phases.shape[1])
        for period_s, weight, phases in zip(NOISE_PERIODS_S, NOISE_WEIGHTS, self._phases, strict=True):
            total += weight * np.sin(2 * np.pi * (now_s % (period_s * 1e6)) / period_s + phases)
        return total / sum(NOISE_WEIGHTS)


class Sites:
    """The sites' load curves, and what their batteries do at this moment, in kW."""

    def __init__(self, rng: np.random.Generator, size_kw: Floats) -> None:
        """Draw each site's habits; ``size_kw`` is the power of its batteries, or what stands for it."""
        count = len(size_kw)
        self.size_kw = size_kw
        self.battery_kw = np.zeros(count)  # discharging is positive; Battery adds to it
        self.load_kw = np.zeros(count)
        self.sun_kw = np.zeros(count)
        self.frequency_hz = np.full(count, 50.0)
        self._factor = rng.uniform(0.8, 1.3, count)
        self._shift_h = rng.uniform(-1, 1, count)
        self._noise = Noise(rng, count)
        self._grid_noise = Noise(rng, 1)  # all sites hang on one grid

    def step(self, now_s: float) -> None:
        """Bring load, sun and frequency to a moment, and empty ``battery_kw`` for the batteries to fill."""
        hour = (now_s / 3600 + self._shift_h) % 24  # UTC, moved by each site's habit
        curve = 0.45 + 0.35 * _bump(hour, 12.5, 4.0) + 0.30 * _bump(hour, 19.0, 1.8)
        self.load_kw = self.size_kw * self._factor * (curve + 0.03 * self._noise.at(now_s))
        self.sun_kw = 0.5 * self.size_kw * np.clip(np.sin(np.pi * (hour - 6) / 12), 0, None)
        self.frequency_hz[:] = 50 + 0.02 * self._grid_noise.at(now_s)
        self.battery_kw[:] = 0


def _bump(hour: Floats, middle: float, width: float) -> Floats:
    away = (hour - middle + 12) % 24 - 12
    return np.asarray(np.exp(-((away / width) ** 2)))
