"""What a report keeps of the decisions: sums for each site and bin of time, and how often what was so.

What concerns a site is the same in the rows of all its units, so a mean over rows is one over ticks.
"""

from typing import Final

import numpy as np

from fluxfast.report.rows import NONE, Array, Names, Rows
from fluxfast.report.tally import LATENCY_STEPS, Grid, count, grown, latency_steps

CURVES: Final = ("target_kw", "served_kw", "unserved_kw", "grid_kw", "load_kw")
TEXTS: Final = ("quality", "reason", "mode", "action", "site_reason", "write", "phase")
NUMBERS: Final = (*CURVES, "latency_ms")
SERVED_KW: Final = 1e-3  # what is left unserved by rounding; the log has float32
MAX_TEXTS: Final = 64


class ControlTally:
    """Takes the rows of ``decisions``; its arrays have a row for each site.

    ``curves[name]`` and ``n[name]`` by bin, of ``unserved_kw`` the amounts; ``times[text]`` by number of the
    text, NONE last; ``with_target`` and, of those, ``met``; ``latency_n``.
    """

    def __init__(self, grid: Grid, texts: dict[str, Names]) -> None:
        """Begin without a site."""
        self.grid, self.texts = grid, texts
        self.sites, self.devices = Names(), Names()
        self._site_of = np.zeros(0, np.int64)
        self.curves = {name: np.zeros((0, grid.n)) for name in CURVES}
        self.n = {name: np.zeros((0, grid.n)) for name in CURVES}
        self.times = {name: np.zeros((0, MAX_TEXTS + 1), np.int64) for name in TEXTS}
        self.latency_n = np.zeros((0, LATENCY_STEPS), np.int64)
        self.with_target, self.met = np.zeros((2, 0), np.int64)

    def add(self, rows: Rows) -> None:
        """Take a batch."""
        self._grow()
        site = self._site_of[rows.device]
        key = rows.device.astype(np.int64) * self.grid.n + self.grid.of(rows.time_us)
        starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        cells = self._site_of[key[starts] // self.grid.n], key[starts] % self.grid.n
        for name in CURVES:
            values = np.abs(rows.numbers[name]) if name == "unserved_kw" else rows.numbers[name]
            there = ~np.isnan(values)
            np.add.at(self.curves[name], cells, np.add.reduceat(np.where(there, values, 0.0), starts))
            np.add.at(self.n[name], cells, np.add.reduceat(there, starts, dtype=np.float64))
        for name, times in self.times.items():
            codes = rows.texts[name]
            count(times.reshape(-1), site * (MAX_TEXTS + 1) + np.where(codes == NONE, MAX_TEXTS, codes))
        unserved = np.abs(rows.numbers["unserved_kw"])
        decided = ~np.isnan(rows.numbers["target_kw"]) & ~np.isnan(unserved)
        count(self.with_target, site[decided])
        count(self.met, site[decided & (unserved <= SERVED_KW)])
        steps = latency_steps(rows.numbers["latency_ms"])
        at = np.flatnonzero(steps >= 0)
        count(self.latency_n.reshape(-1), site[at] * LATENCY_STEPS + steps[at])

    def curve(self, site: int, name: str) -> Array:
        """Return a site's mean in each bin, nan where nothing is known."""
        n = self.n[name][site]
        means = np.divide(self.curves[name][site], n, out=np.full(self.grid.n, np.nan), where=n > 0)
        return np.asarray(means)

    def shares(self, site: int, name: str) -> list[tuple[str | None, float]]:
        """Return which texts the rows of a site have and how often, from 0 to 1, the most frequent first."""
        times = self.times[name][site]
        names: list[str | None] = [*self.texts[name].names]
        found = [(text, int(n)) for text, n in zip(names, times, strict=False) if n]
        if times[MAX_TEXTS]:
            found.append((None, int(times[MAX_TEXTS])))
        total = sum(n for _, n in found)
        return [(text, n / total) for text, n in sorted(found, key=lambda one: -one[1])]

    def _grow(self) -> None:
        for site, _ in self.devices.names[len(self._site_of) :]:
            self._site_of = np.append(self._site_of, self.sites.number(site))
        size = len(self.sites)
        if size > len(self.met):
            for arrays in (self.curves, self.n, self.times):
                for name, array in arrays.items():
                    arrays[name] = grown(array, size)
            self.latency_n = grown(self.latency_n, size)
            self.with_target, self.met = grown(self.with_target, size), grown(self.met, size)
