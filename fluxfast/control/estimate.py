"""What each site's load is: what its meter shows, plus what its batteries did when the meter looked.

When that was is not known: a unit answers a setpoint late, a meter averages and refreshes at its own pace.
So the batteries' power then lies between the least and the most of a window that reaches far enough back,
and the load between two ends. The estimate moves into that interval only as far as it must:

    load = clip(load, grid + least, grid + most)

While a change of the batteries is on its way to the meter, the old load stays inside, so nothing reacts to
its own action; a step of the load itself is outside, and is followed at once. As long as the truth is inside,
no step can take the estimate farther from it: this loop has nothing to tune, and cannot hunt.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

REFRESH_S = 10.0  # a value that stands longer says nothing about how often the meter refreshes


class Estimate:
    """The load of every site, float64 [sites]; all times are monotonic seconds, all powers kW.

    ``settle_s``: until the meter shows a new setpoint, apart from its refresh. ``notable_kw``: a meter
    that shows nothing of a move of the batteries by more than that is frozen. ``tick_s``: between updates.
    """

    def __init__(self, settle_s: Floats, notable_kw: Floats, tick_s: float) -> None:
        """Know nothing yet."""
        sites = len(settle_s)
        rows = math.ceil((3 * REFRESH_S + float(settle_s.max(initial=0))) / tick_s) + 2
        self._settle_s, self._notable_kw = settle_s, notable_kw
        self.load_kw, self.low_kw, self.high_kw = np.full((3, sites), np.nan)
        self.grid_kw = np.full(sites, np.nan)  # the last that was known
        self.sample_s = np.full(sites, -np.inf)  # when it was asked for
        self.frozen: Flags = np.zeros(sites, bool)
        # When the value before the present one was last seen, and the one before that: what the present one
        # shows happened after the latter, even if the meter averages over its whole refresh period.
        self._since_s, self._before_s = np.full((2, sites), -np.inf)
        # How long the value before the present one stood, at most. The present one is taken to be no older
        # than twice that: so it may also be one that the meter has refreshed without changing it.
        self._stood_s = np.full(sites, REFRESH_S / 3)
        self._least_kw, self._most_kw = np.zeros((2, sites))  # of the batteries under the present value
        self._moved_s = np.full(sites, np.inf)  # since when the two are notably apart
        # What the batteries did up to each of the last ticks: a ring.
        self._until_s = np.full(rows, -np.inf)
        self._battery_kw = np.zeros((rows, sites))
        self._row = -1

    def update(self, now_s: float, battery_kw: Floats, grid_kw: Floats, grid_sample_s: Floats) -> None:
        """Take in what the batteries have done since the last update, and the samples that are new."""
        before_s = self._until_s[self._row]
        self._row = (self._row + 1) % len(self._until_s)
        self._until_s[self._row] = now_s
        self._battery_kw[self._row] = battery_kw
        fresh = np.isfinite(grid_kw) & (grid_sample_s > self.sample_s)
        changed = fresh & (grid_kw != self.grid_kw)
        stood_s = grid_sample_s - self._since_s
        np.copyto(self._stood_s, stood_s, where=changed & (stood_s <= REFRESH_S))
        self._watch(before_s, now_s, battery_kw, changed)
        np.copyto(self._before_s, self._since_s, where=changed)
        np.copyto(self._since_s, self.sample_s, where=changed)
        np.copyto(self.grid_kw, grid_kw, where=changed)
        np.copyto(self.sample_s, grid_sample_s, where=fresh)
        if not fresh.any():
            return
        start_s = np.maximum(self._before_s, self.sample_s - 3 * self._stood_s) - self._settle_s
        outside = self._until_s[:, None] <= start_s
        outside[self._row] = False
        least = np.where(outside, np.inf, self._battery_kw).min(axis=0)
        most = np.where(outside, -np.inf, self._battery_kw).max(axis=0)
        np.add(self.grid_kw, least, out=self.low_kw, where=fresh)
        np.add(self.grid_kw, most, out=self.high_kw, where=fresh)
        first = fresh & np.isnan(self.load_kw)
        np.copyto(self.load_kw, (self.low_kw + self.high_kw) / 2, where=first)
        np.clip(self.load_kw, self.low_kw, self.high_kw, out=self.load_kw)

    def _watch(self, before_s: float, now_s: float, battery_kw: Floats, changed: Flags) -> None:
        """Find the meters that should have shown by now what the batteries did."""
        self._least_kw = np.where(changed, battery_kw, np.minimum(self._least_kw, battery_kw))
        self._most_kw = np.where(changed, battery_kw, np.maximum(self._most_kw, battery_kw))
        moved = self._most_kw - self._least_kw > self._notable_kw
        self._moved_s = np.where(moved, np.minimum(self._moved_s, before_s), np.inf)
        self.frozen = now_s - self._moved_s >= 3 * self._stood_s + self._settle_s
