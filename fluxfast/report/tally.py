"""What a report keeps of the rows of one dataset: sums for each device and bin of time, never the rows.

Rows come batch by batch. Whatever reaches from one row of a device to its next (gaps, energy) is carried over
from batch to batch.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fluxfast.report.kinds import Columns
from fluxfast.report.rows import NONE, Array, Names, Rows

LATENCY_STEPS: Final = 480  # each 3 % more than the one before
LATENCY_FROM_MS: Final = 0.1
_STEPS_PER_E: Final = LATENCY_STEPS / np.log(1e6)  # to 100 s
MAX_REASONS: Final = 64
BRIDGED_TICKS: Final = 3.0  # energy is integrated over so much between two readings
SLOTS: Final = 48
KEPT_GAPS: Final = 50  # of each device, the longest
_PRUNE_AT: Final = 400_000
NO_ROWS: Final = -2  # a gap's reason
OUT_OF_RANGE: Final = "out of range"


@dataclass(frozen=True)
class Grid:
    """The bins of a day: ``n`` of ``bin_us`` from ``start_us`` on, the last one perhaps cut off."""

    start_us: int
    bin_us: int
    n: int

    def of(self, time_us: Array) -> Array:
        """Return the bin of each time."""
        return (time_us - self.start_us) // self.bin_us


class Tally:
    """Takes the rows of one dataset; ``devices`` and ``reasons`` number what is in them.

    By device and bin: ``rows, good, power_sum, power_n, soe_sum, soe_n``. By device: ``out_kwh``, ``in_kwh``
    (of positive and of negative power), ``covered_us`` (of the energy), ``first_us``, ``last_us``,
    ``uncertain``, ``reason_n``, ``gap_n``, ``latency_n`` (a histogram). ``tick_us`` by bin, 0: no rows.
    ``latency_slots[slot, site]``: the histograms of ``sites`` in SLOTS parts of the day (fewer if few bins).
    """

    def __init__(self, columns: Columns, grid: Grid, texts: dict[str, Names]) -> None:
        """``texts``: the names of qualities and reasons."""
        self.columns, self.grid = columns, grid
        self.devices, self.sites = Names(), Names()
        self.latency_slots = np.zeros((min(SLOTS, grid.n), 0, LATENCY_STEPS), np.uint32)
        self.qualities, self.reasons = texts["quality"], texts["reason"]
        self.tick_us = np.zeros(grid.n, np.int64)
        self._size = self._n_known = 0
        self._gaps: list[Array] = []
        self._n_gaps = 0
        bins, float32 = (grid.n,), np.float32
        shapes = {
            "rows": (bins, np.uint32), "good": (bins, np.uint32),
            "power_sum": (bins, float32), "power_n": (bins, float32),
            "soe_sum": (bins, float32), "soe_n": (bins, float32),
            "out_kwh": ((), float), "in_kwh": ((), float), "covered_us": ((), np.int64),
            "site": ((), np.int64), "first_us": ((), np.int64), "last_us": ((), np.int64),
            "first_good_us": ((), np.int64), "last_good_us": ((), np.int64),
            "power_us": ((), np.int64), "power_kw": ((), float),
            "uncertain": ((), np.int64), "gap_n": ((), np.int64),
            "waiting": ((), np.int64), "waiting_for": ((), np.int64),
            "reason_n": ((MAX_REASONS,), np.int64), "latency_n": ((LATENCY_STEPS,), np.uint32),
        }  # fmt: skip
        self._arrays = {name: np.zeros((0, *shape), dtype) for name, (shape, dtype) in shapes.items()}

    def __getitem__(self, name: str) -> Array:
        """Return an array, a row for each device."""
        return self._arrays[name][: len(self.devices)]

    def gaps(self) -> Array:
        """Return the longest gaps of each device: rows of (device, from_us, to_us, reason)."""
        self._prune()
        return self._gaps[0] if self._gaps else np.zeros((0, 4), np.int64)

    def add(self, rows: Rows) -> None:
        """Take a batch."""
        self._grow()
        device, time_us = rows.device, rows.time_us
        good = rows.texts["quality"] == self.qualities.number("good")
        bad = rows.texts["quality"] == self.qualities.number("bad")
        tick_us = self._see_times(device, time_us)
        key = device.astype(np.int64) * self.grid.n + self.grid.of(time_us)
        starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        cells = key[starts]
        bins = cells % self.grid.n
        self.tick_us[bins] = tick_us
        self._flat("rows")[cells] += np.diff(starts, append=len(key)).astype(np.uint32)
        self._flat("good")[cells] += np.add.reduceat(good, starts, dtype=np.uint32)
        usable = ~bad & (rows.texts["reason"] != self.reasons.number(OUT_OF_RANGE))
        if self.columns.power is not None:
            kw = rows.numbers[self.columns.power] * self.columns.power_kw
            self._mean("power", kw, usable, starts, cells)
            self._integrate(device, time_us, kw, usable, tick_us)
        if self.columns.soe is not None:
            self._mean("soe", rows.numbers[self.columns.soe], usable, starts, cells)
        self._find_gaps(device, time_us, good, rows.texts["reason"], tick_us)
        if not good.all():
            count(self._arrays["uncertain"], device[~good & ~bad])
            why = rows.texts["reason"]
            at = np.flatnonzero(~good & (why != NONE))
            count(self._flat("reason_n"), device[at].astype(np.int64) * MAX_REASONS + why[at])
        steps = latency_steps(rows.numbers["latency_ms"])
        at = np.flatnonzero(steps >= 0)
        of_device = device[at].astype(np.int64)
        count(self._flat("latency_n"), of_device * LATENCY_STEPS + steps[at])
        slot = self.grid.of(time_us[at]) * len(self.latency_slots) // self.grid.n
        row = slot * self.latency_slots.shape[1] + self._arrays["site"][of_device]
        count(self.latency_slots.reshape(-1), row * LATENCY_STEPS + steps[at])

    def _flat(self, name: str) -> Array:
        return self._arrays[name].reshape(-1)

    def _grow(self) -> None:
        if len(self.devices) > self._size:
            self._size = max(len(self.devices), 2 * self._size)
            for name, array in self._arrays.items():
                self._arrays[name] = grown(array, self._size)
        for k in range(self._n_known, len(self.devices)):
            self._arrays["site"][k] = self.sites.number(self.devices.names[k][0])
        self._n_known = len(self.devices)
        if len(self.sites) > self.latency_slots.shape[1]:
            slots = self.latency_slots.swapaxes(0, 1)
            self.latency_slots = grown(slots, 2 * len(self.sites)).swapaxes(0, 1).copy()

    def _see_times(self, device: Array, time_us: Array) -> int:
        """Note each device's first and last row; return the length of the ticks."""
        before = self._before("last_us", device, time_us)
        _, first, _ = _ends(device)
        new = self._arrays["first_us"][device[first]] == 0
        self._arrays["first_us"][device[first[new]]] = time_us[first[new]]
        steps = (time_us - before)[before > 0][:20_000]
        steps, times = np.unique(steps[steps > 0], return_counts=True)
        if len(steps):
            return int(steps[times.argmax()])
        return int(self.tick_us.max())  # a device's first row: none is before it

    def _before(self, name: str, device: Array, values: Array) -> Array:
        """Return each row's value of the device's row before, and keep the last ones for the next batch."""
        if not len(device):
            return values
        carried = self._arrays[name]
        _, first, last = _ends(device)
        before = np.empty_like(values)
        before[1:] = values[:-1]
        before[first] = carried[device[first]]
        carried[device[last]] = values[last]
        return before

    def _mean(self, name: str, values: Array, usable: Array, starts: Array, cells: Array) -> None:
        there = usable & ~np.isnan(values)
        self._flat(f"{name}_sum")[cells] += np.add.reduceat(np.where(there, values, 0.0), starts)
        self._flat(f"{name}_n")[cells] += np.add.reduceat(there, starts, dtype=np.float32)

    def _integrate(self, device: Array, time_us: Array, kw: Array, usable: Array, tick_us: int) -> None:
        at = np.flatnonzero(usable & ~np.isnan(kw))
        if not len(at):
            return
        device, time_us, kw = device[at], time_us[at], kw[at]
        before_us = self._before("power_us", device, time_us)
        before_kw = self._before("power_kw", device, kw)
        took_us = time_us - before_us
        took_us[(before_us == 0) | (took_us < 0) | (took_us > BRIDGED_TICKS * tick_us)] = 0
        hours = took_us / 3.6e9
        area = (kw + before_kw) / 2 * hours
        turns = kw * before_kw < 0
        # A line that crosses 0 has a triangle on each side.
        height, span = np.maximum(kw, before_kw), np.abs(kw - before_kw)
        triangle = np.divide(height * height, 2 * span, out=np.zeros_like(kw), where=turns) * hours
        out = np.where(turns, triangle, np.maximum(area, 0))
        _, first, _ = _ends(device)
        which = device[first]
        self._arrays["out_kwh"][which] += np.add.reduceat(out, first)
        self._arrays["in_kwh"][which] += np.add.reduceat(out - area, first)
        self._arrays["covered_us"][which] += np.add.reduceat(took_us, first)

    def _find_gaps(self, device: Array, time_us: Array, good: Array, why: Array, tick_us: int) -> None:
        at = np.flatnonzero(good)
        which, when = device[at], time_us[at]
        before = self._before("last_good_us", which, when)
        _, first, _ = _ends(which)
        new = first[before[first] == 0]
        self._arrays["first_good_us"][which[new]] = when[new]
        is_gap = np.flatnonzero((before > 0) & (when - before > 1.5 * tick_us))
        found = np.empty((len(is_gap), 4), np.int64)
        found[:, 0], found[:, 1], found[:, 2] = which[is_gap], before[is_gap] + tick_us, when[is_gap]
        found[:, 3] = self._reasons(device, at[is_gap], good, why)
        if len(found):
            count(self._arrays["gap_n"], which[is_gap])
            self._gaps.append(found)
            self._n_gaps += len(found)
            if self._n_gaps > _PRUNE_AT:
                self._prune()
        # For the next batch: how the rows after each device's last good one begin.
        _, first, last = _ends(device)
        last_good = np.full(self._size, NONE, np.int64)
        last_good[which] = at  # of equal indices the last one stays
        begin = np.where(last_good[device[first]] == NONE, first, last_good[device[first]] + 1)
        rest = begin <= last
        seen = last_good[device[first]] != NONE
        self._arrays["waiting"][device[first[seen]]] = 0
        fresh = rest & (self._arrays["waiting"][device[first]] == 0)
        self._arrays["waiting_for"][device[first[fresh]]] = why[begin[fresh]]
        self._arrays["waiting"][device[first[rest]]] = 1

    def _reasons(self, device: Array, at: Array, good: Array, why: Array) -> Array:
        """Return why each gap that ends at these rows began: the reason of its first row, or NO_ROWS."""
        index = np.arange(len(good))
        good_before = np.maximum.accumulate(np.where(good, index, NONE))
        good_before = np.concatenate([[NONE], good_before[:-1]])[at]
        here = (good_before != NONE) & (device[good_before] == device[at])
        first = good_before[here] + 1
        reasons = np.empty(len(at), np.int64)
        reasons[here] = np.where(first < at[here], why[np.minimum(first, len(why) - 1)], NO_ROWS)
        which = device[at[~here]]
        carried = np.where(self._arrays["waiting"][which] > 0, self._arrays["waiting_for"][which], NO_ROWS)
        # Nothing was left from the batch before, but this one may begin with bad rows.
        _, begin, _ = _ends(device)
        start = np.zeros(self._size, np.int64)
        start[device[begin]] = begin
        opens = start[which]
        has_rows = (carried == NO_ROWS) & (opens < at[~here])
        reasons[~here] = np.where(has_rows, why[opens], carried)
        return reasons

    def _prune(self) -> None:
        if len(self._gaps) == 0:
            return
        gaps = np.concatenate(self._gaps)
        gaps = gaps[np.lexsort((gaps[:, 1] - gaps[:, 2], gaps[:, 0]))]
        _, first, _ = _ends(gaps[:, 0])
        rank = np.arange(len(gaps)) - np.repeat(first, np.diff(first, append=len(gaps)))
        self._gaps = [gaps[rank < KEPT_GAPS]]
        self._n_gaps = len(self._gaps[0])


def _ends(device: Array) -> tuple[Array, Array, Array]:
    """Return whether each row is its device's first, and the indices of the first and last ones."""
    is_first = np.ones(len(device), bool)
    is_first[1:] = device[1:] != device[:-1]
    first = np.flatnonzero(is_first)
    return is_first, first, np.append(first[1:], len(device))[: len(first)] - 1


def count(counts: Array, index: Array) -> None:
    """Add 1 to ``counts`` at each index, which may come several times."""
    if len(index):
        lowest = int(index.min())
        found = np.bincount(index - lowest)
        counts[lowest : lowest + len(found)] += found.astype(counts.dtype)


def grown(array: Array, size: int) -> Array:
    """Return a longer copy with zeros at the end."""
    longer = np.zeros((size, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


def latency_steps(latency_ms: Array) -> Array:
    """Return each latency's step of the histogram, -1 for none."""
    there = ~np.isnan(latency_ms)
    steps = np.full(len(latency_ms), -1, np.int64)
    above = np.log(np.maximum(latency_ms[there], LATENCY_FROM_MS) / LATENCY_FROM_MS) * _STEPS_PER_E
    steps[there] = np.minimum(np.rint(above), LATENCY_STEPS - 1).astype(np.int64)
    return steps


def latency_percentile(histogram: Array, percent: float) -> float:
    """Return a percentile in ms, within 2 %; nan of nothing."""
    upto = np.cumsum(histogram, dtype=np.int64)
    if not len(upto) or not upto[-1]:
        return float("nan")
    rank = max(float(upto[-1]) * percent / 100, 0.5)
    step = int(np.searchsorted(upto, rank))
    inside = (rank - float(upto[step] - histogram[step])) / float(histogram[step])
    return float(LATENCY_FROM_MS * np.exp((step + inside - 0.5) / _STEPS_PER_E))
