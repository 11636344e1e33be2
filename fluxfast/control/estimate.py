"""What each site's load is: what its meter shows, plus what its batteries did when the meter looked.

When that was is not known: a unit answers a setpoint late, a meter averages and refreshes at its own pace.
So the batteries' power then lies between the least and the most of a window that reaches far enough back,
and the load between two ends. The estimate moves into that interval only as far as it must:

    load = clip(load, grid + least, grid + most)

While a change of the batteries is on its way to the meter, the old load stays inside, so nothing reacts to
its own action; a step of the load itself is outside, and is followed at once. As long as the truth is inside,
no step can take the estimate farther from it: this loop has nothing to tune, and cannot hunt.

A target that moves while the meter is stale (it is held, then brought to 0) no longer follows from the load.
What returns is then compared with the load that it would follow from: ``load + target - target before``. So
the target also moves only as far as it must; whatever the truth inside the interval is, it is never passed,
and no limit of the grid is broken by more than it would be by staying where the batteries are.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

REFRESH_S = 10.0  # a value that stands longer says nothing about how often the meter refreshes


class Estimate:
    """The load of every site, float64 [sites]; all times are monotonic seconds, all powers kW.

    ``settle_s``: until the meter shows a new setpoint, apart from its refresh. ``max_age_s``: older samples
    are stale. ``notable_kw``: a meter that shows nothing of a move of the batteries by more than that is
    frozen, which is stale too: its load stays. ``tick_s``: between updates.
    """

    def __init__(self, settle_s: Floats, max_age_s: Floats, notable_kw: Floats, tick_s: float) -> None:
        """Know nothing yet."""
        sites = len(settle_s)
        self._settle_s, self._max_age_s, self._notable_kw = settle_s, max_age_s, notable_kw
        self.load_kw, self.low_kw, self.high_kw = np.full((3, sites), np.nan)
        self.grid_kw = np.full(sites, np.nan)  # the last that was known
        self._silent: Flags = np.ones(sites, bool)  # no sample is young enough
        self.stale: Flags = np.ones(sites, bool)
        # When the value before the present one was last seen, and the one before that: what the present one
        # shows happened after the latter, even if the meter averages over its whole refresh period. Last,
        # when the newest sample was asked for.
        self._seen_s = np.full((3, sites), -np.inf)
        self._before_s, self._since_s, self.sample_s = self._seen_s
        # How long the value before the present one stood, at most. The present one is taken to be no older
        # than twice that: so it may also be one that the meter has refreshed without changing it.
        self._stood_s = np.full(sites, REFRESH_S / 3)
        self._extremes_kw = np.zeros((2, sites))  # of the batteries under the present value
        self._moved_s = np.full(sites, np.inf)  # since when the two are notably apart
        self._target_kw = np.zeros(sites)  # the last that followed from the load
        # What the batteries did up to each of the last ticks, the newest at _end - 1. Twice the rows that the
        # longest window needs, so that they stand in one piece and are seldom moved.
        self._rows = math.ceil((3 * REFRESH_S + float(settle_s.max(initial=0))) / tick_s) + 2
        self._until_s = np.full(2 * self._rows, -np.inf)
        self._battery_kw = np.zeros((2 * self._rows, sites))
        self._end = self._rows

    def update(
        self, now_s: float, battery_kw: Floats, grid_kw: Floats, grid_sample_s: Floats, target_kw: Floats
    ) -> None:
        """Take in what the batteries have done since the last update, and the samples that are new.

        ``target_kw``: the targets that were decided after the last update.
        """
        before_s = self._until_s[self._end - 1]
        self._push(now_s, battery_kw)
        np.copyto(self._target_kw, target_kw, where=~self.stale)
        fresh = np.isfinite(grid_kw) & (grid_sample_s > self.sample_s)
        changed = fresh & (grid_kw != self.grid_kw)
        # While it was silent it may have changed at any time: that tells nothing of its pace.
        returned = fresh & self._silent
        if returned.any():
            np.copyto(self._seen_s, -np.inf, where=returned)
        stood_s = grid_sample_s - self._since_s
        np.copyto(self._stood_s, stood_s, where=changed & (stood_s <= REFRESH_S))
        np.copyto(self._seen_s[:2], self._seen_s[1:], where=changed)
        np.copyto(self.grid_kw, grid_kw, where=changed)
        np.copyto(self.sample_s, grid_sample_s, where=fresh)

        start_s = np.maximum(self._before_s, self.sample_s - 3 * self._stood_s) - self._settle_s
        self._watch(before_s, battery_kw, changed)
        # The window has closed over a move of the batteries that the meter has shown nothing of.
        frozen = self._moved_s <= start_s
        self._silent = now_s - self.sample_s > self._max_age_s
        self.stale = self._silent | frozen
        seen = fresh & ~frozen
        if seen.any():
            self._look(seen, start_s, target_kw)

    def _push(self, now_s: float, battery_kw: Floats) -> None:
        rows = self._rows
        if self._end == 2 * rows:
            self._until_s[:rows], self._battery_kw[:rows] = self._until_s[rows:], self._battery_kw[rows:]
            self._end = rows
        self._until_s[self._end], self._battery_kw[self._end] = now_s, battery_kw
        self._end += 1

    def _watch(self, before_s: float, battery_kw: Floats, changed: Flags) -> None:
        """Note since when the batteries have moved notably under the present value."""
        least, most = self._extremes_kw
        np.minimum(least, battery_kw, out=least)
        np.maximum(most, battery_kw, out=most)
        np.copyto(self._extremes_kw, battery_kw, where=changed)
        moved = most - least > self._notable_kw
        np.minimum(self._moved_s, before_s, out=self._moved_s)
        np.copyto(self._moved_s, np.inf, where=~moved)

    def _look(self, seen: Flags, start_s: Floats, target_kw: Floats) -> None:
        """Move the estimates into the intervals that follow from the batteries since ``start_s``."""
        end = self._end
        # Of each site the first row inside its window; the newest always is.
        begin = np.minimum(self._until_s[:end].searchsorted(start_s, "right"), end - 1)
        first, last = begin.min(where=seen, initial=end - 1), begin.max(where=seen, initial=0)
        inside = self._battery_kw[last:end]
        least, most = inside.min(axis=0), inside.max(axis=0)
        if first < last:  # what only some of them reach back to
            before = self._battery_kw[first:last]
            outside = np.arange(first, last)[:, None] < begin
            np.minimum(least, np.where(outside, np.inf, before).min(axis=0), out=least)
            np.maximum(most, np.where(outside, -np.inf, before).max(axis=0), out=most)
        np.add(self.grid_kw, least, out=self.low_kw, where=seen)
        np.add(self.grid_kw, most, out=self.high_kw, where=seen)
        load = self.load_kw + (target_kw - self._target_kw)
        np.copyto(load, (self.low_kw + self.high_kw) / 2, where=np.isnan(load))
        np.copyto(self.load_kw, np.minimum(np.maximum(load, self.low_kw), self.high_kw), where=seen)
        np.copyto(self._target_kw, target_kw, where=seen)
