"""What a replay comes to: numbers per site, and curves of all sites together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.config import Control, Site
from fluxfast.config.modes import PeakShaving

Floats = NDArray[np.float64]

MAX_POINTS: Final = 20_000  # of a curve; beyond that, neighbours become one
SERVED_KW: Final = 1e-6  # what is left unserved by rounding of numbers
CURVES: Final = (
    "load_kw", "grid_before_kw", "grid_after_kw", "battery_before_kw", "battery_after_kw",
    "soe_before_pct", "soe_after_pct",
)  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """Decided ticks: arrays [ticks, units] and [ticks, sites]; ``hours`` [ticks] since the one before."""

    times_us: NDArray[np.int64]
    hours: Floats
    setpoint_kw: Floats
    logged_kw: Floats  # nan: none logged
    target_kw: Floats
    unserved_kw: Floats
    base_kw: Floats  # what the units did then
    delta_kw: Floats  # by how much they do more now
    soe_pct: Floats  # then
    offset_pct: Floats
    grid_kw: Floats  # then; nan: unknown


class Curves:
    """Means over the ticks of all sites' sums; never more than ``MAX_POINTS``."""

    def __init__(self) -> None:
        """No points yet."""
        self.ticks_per_point = 1
        self._points: dict[str, list[Floats]] = {name: [] for name in ("time_us", *CURVES)}
        self._rest: dict[str, Floats] = {name: np.empty(0) for name in self._points}

    def add(self, columns: Mapping[str, Floats]) -> None:
        """Add ticks, an array per curve."""
        for name, points in self._points.items():
            ticks = np.concatenate([self._rest[name], columns[name]])
            whole = len(ticks) // self.ticks_per_point * self.ticks_per_point
            points.append(ticks[:whole].reshape(-1, self.ticks_per_point).mean(axis=1))
            self._rest[name] = ticks[whole:]
        while sum(map(len, self._points["time_us"])) > MAX_POINTS:
            self._halve()

    def _halve(self) -> None:
        self.ticks_per_point *= 2
        for name, points in self._points.items():
            all_ = np.concatenate(points)
            # An odd one out goes: one point of twenty thousand.
            self._points[name] = [all_[: len(all_) // 2 * 2].reshape(-1, 2).mean(axis=1)]

    def __getitem__(self, name: str) -> Floats:
        """Return a curve."""
        return np.concatenate(self._points[name]) if self._points[name] else np.empty(0)


@dataclass
class Result:
    """Numbers per site, arrays [sites] as in ``sites``. ``compared``: ticks with a logged decision."""

    sites: Sequence[Site]
    first: NDArray[np.intp] = field(init=False)  # row of each site's first unit
    curves: Curves = field(default_factory=Curves)
    ticks: int = 0
    first_us: int = 0
    last_us: int = 0
    numbers: dict[str, NDArray[Any]] = field(init=False)

    def __post_init__(self) -> None:
        """All numbers start at 0."""
        n, units_of_site = len(self.sites), [len(site.units) for site in self.sites]
        self.first = np.cumsum([0, *units_of_site[:-1]])
        self.numbers = {name: np.zeros(n) for name in NUMBERS}
        self.numbers["peak_before_kw"][:] = self.numbers["peak_after_kw"][:] = np.nan
        self._direction = np.zeros(sum(units_of_site), np.int8)
        self._import_kw = np.array([import_limit_kw(site.control) for site in self.sites])
        self._export_kw = np.array(
            [
                np.inf if site.control.limits.export_kw is None else site.control.limits.export_kw
                for site in self.sites
            ]
        )
        self._capacity_kwh = np.array(
            [unit.capacity_kwh or 0.0 for site in self.sites for unit in site.units]
        )

    def _sums(self, units: NDArray[Any]) -> NDArray[Any]:
        return np.add.reduceat(units, self.first, axis=-1)

    def add(self, batch: Batch) -> None:
        """Take in a batch."""
        self.first_us = self.first_us or int(batch.times_us[0])
        self.last_us = int(batch.times_us[-1])
        self.ticks += len(batch.times_us)
        hours, numbers = batch.hours[:, None], self.numbers
        base, delta = self._sums(batch.base_kw), self._sums(batch.delta_kw)
        after_kw = batch.base_kw + batch.delta_kw
        numbers["met"] += (np.abs(batch.unserved_kw) <= SERVED_KW).sum(axis=0)
        numbers["unserved_kwh"] += (np.abs(batch.unserved_kw) * hours).sum(axis=0)
        numbers["charged_kwh"] += self._sums((np.maximum(-after_kw, 0) * hours).sum(axis=0))
        numbers["discharged_kwh"] += self._sums((np.maximum(after_kw, 0) * hours).sum(axis=0))
        for when, grid in (("before", batch.grid_kw), ("after", batch.grid_kw - delta)):
            numbers[f"peak_{when}_kw"] = np.fmax(numbers[f"peak_{when}_kw"], np.fmax.reduce(grid, axis=0))
            over = np.maximum(grid - self._import_kw, 0) + np.maximum(-self._export_kw - grid, 0)
            numbers[f"over_{when}_kwh"] += np.nansum(over * hours, axis=0)
        numbers["turns"] += self._sums(self._turns(batch.setpoint_kw))
        differs = np.abs(batch.setpoint_kw - batch.logged_kw)
        known = np.isfinite(differs)
        differs[~known] = 0.0
        numbers["compared"] += (self._sums(known.astype(np.int64)) > 0).sum(axis=0)
        numbers["differs"] += (self._sums(differs) > 0).sum(axis=0)
        worst = np.maximum.reduceat(differs.max(axis=0), self.first)
        numbers["differs_most_kw"] = np.maximum(numbers["differs_most_kw"], worst)
        self._draw(batch, base, delta)

    def _draw(self, batch: Batch, base: Floats, delta: Floats) -> None:
        grid, battery, moved = np.nansum(batch.grid_kw, axis=1), base.sum(axis=1), delta.sum(axis=1)
        total_kwh = self._capacity_kwh.sum() or np.nan
        soe = batch.soe_pct @ self._capacity_kwh / total_kwh
        self.curves.add(
            {
                "time_us": batch.times_us.astype(float),
                "load_kw": grid + battery,
                "grid_before_kw": grid,
                "grid_after_kw": grid - moved,
                "battery_before_kw": battery,
                "battery_after_kw": battery + moved,
                "soe_before_pct": soe,
                "soe_after_pct": soe + batch.offset_pct @ self._capacity_kwh / total_kwh,
            }
        )

    def _turns(self, setpoint_kw: Floats) -> NDArray[np.int64]:
        """Return how often each unit has turned from charging to discharging or back."""
        signs = np.vstack([self._direction, np.sign(setpoint_kw).astype(np.int8)])
        at = np.maximum.accumulate(np.where(signs != 0, np.arange(len(signs))[:, None], 0), axis=0)
        signs = np.take_along_axis(signs, at, axis=0)
        self._direction = signs[-1]
        return np.asarray((signs[1:] * signs[:-1] < 0).sum(axis=0))

    def rows(self) -> list[dict[str, Any]]:
        """Return a record per site, what needs a look first."""
        n = self.numbers
        order = np.lexsort((-n["unserved_kwh"], -n["over_after_kwh"], -n["differs"]))
        return [self._row(np.array([s]), self.sites[s].name) for s in order]

    def total(self) -> dict[str, Any]:
        """Return one record of all sites; its peaks are sums of peaks that need not be simultaneous."""
        return self._row(np.arange(len(self.sites)), "total")

    def _row(self, sites: NDArray[np.intp], name: str) -> dict[str, Any]:
        picked = {key: column[sites] for key, column in self.numbers.items()}
        row: dict[str, Any] = {"site": name, "ticks": self.ticks}
        row["met_pct"] = (
            float(100 * picked.pop("met").sum() / (len(sites) * self.ticks)) if self.ticks else None
        )
        for key, column in picked.items():
            value = float(column.max() if key == "differs_most_kw" else column.sum())
            row[key] = None if np.isnan(value) else int(value) if key in COUNTS else value
        return row


COUNTS: Final = ("turns", "compared", "differs")
NUMBERS: Final = (
    "met", "unserved_kwh", "charged_kwh", "discharged_kwh", "peak_before_kw", "peak_after_kw",
    "over_before_kwh", "over_after_kwh", "differs_most_kw", *COUNTS,
)  # fmt: skip


def import_limit_kw(control: Control) -> float:
    """Return the import that a site is to stay below, by its limits and modes."""
    limits = [
        float(mode.import_limit_kw)
        for mode in control.modes
        if isinstance(mode, PeakShaving) and mode.enabled
    ]
    if control.limits.import_kw is not None:
        limits.append(control.limits.import_kw)
    return min(limits, default=np.inf)
