"""The figures of one site's page, from what was kept of a day."""

import math
import warnings
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from fluxfast.report.control import CURVES, ControlTally
from fluxfast.report.day import Day
from fluxfast.report.kinds import Kind
from fluxfast.report.rows import NONE, Array
from fluxfast.report.tally import NO_ROWS, Tally, latency_percentile
from fluxfast.report.words import clock

CELLS: Final = 144  # columns of the heat map, at most
NEAR_US: Final = 60_000_000  # a device that is there so soon has been there from the beginning
PEAK_US: Final = 900_000_000
SOE_PERCENTS: Final = (0, 25, 50, 75, 100)
SOE_PERCENTS_OF_MANY: Final = (5, 25, 50, 75, 95)
MANY: Final = 10
# Levels of a cell of the heat map.
NOT_EXPECTED, COMPLETE, MOST, HALF, SOME, NOTHING, ABSENT = range(7)
NO_ROWS_TEXT: Final = "no rows"


@dataclass(frozen=True)
class DeviceFigures:
    """One device's day. kWh: ``out`` of positive power, ``in`` of negative; ``coverage`` of both, 0 to 1."""

    name: str
    dataset: str
    kind: Kind
    expected: float
    rows: int
    good: int
    uncertain: int
    gaps: int
    longest_gap_us: int
    reason: str
    latency_ms: tuple[float, float]  # p50, p99
    out_kwh: float
    in_kwh: float
    coverage: float
    levels: Array
    is_grid: bool = False
    has_power: bool = False

    @property
    def complete(self) -> float:
        """Good rows of those that were expected, 0 to 1."""
        return min(self.good / self.expected, 1.0) if self.expected else 0.0


@dataclass(frozen=True)
class Gap:
    """A time without good rows, of some devices at once."""

    from_us: int
    to_us: int
    devices: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Latency:
    """Of a dataset: percentiles by name, and p50 and p99 in each slot of the day."""

    dataset: str
    devices: int
    percentiles: dict[str, float]
    p50: Array
    p99: Array


@dataclass(frozen=True)
class Control:
    """What control did. ``met``: of the decisions with a target, 0 to 1; shares as ControlTally has them."""

    curves: dict[str, Array]
    units: int
    met: float
    unserved_kwh: float
    shares: dict[str, list[tuple[str | None, float]]]
    confirm_ms: tuple[float, float]


@dataclass(frozen=True)
class Figures:
    """All that a page shows of a site. Curves have a value for each bin, nan where there is none."""

    site: str
    day: Day
    devices: list[DeviceFigures]  # worst first
    gaps: list[Gap]  # longest first, of each device the longest ones only
    grid_kw: Array | None
    battery_kw: Array | None
    battery_is_setpoint: bool
    soe: dict[int, Array]  # by percent
    latencies: list[Latency]
    control: Control | None
    cell_us: int
    absent: Array  # by bin: whether no device has a row
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def complete(self) -> float:
        """Good rows of those that were expected, 0 to 1."""
        expected = sum(device.expected for device in self.devices)
        good = sum(min(device.good, device.expected) for device in self.devices)
        return good / expected if expected else 0.0

    @property
    def grid_kwh(self) -> tuple[float, float] | None:
        """Imported and exported."""
        meters = [one for one in self.devices if one.is_grid and one.has_power]
        return (sum(one.out_kwh for one in meters), sum(one.in_kwh for one in meters)) if meters else None

    @property
    def battery_kwh(self) -> tuple[float, float] | None:
        """Charged and discharged."""
        units = [one for one in self.of_kind("battery") if one.has_power]
        return (sum(one.in_kwh for one in units), sum(one.out_kwh for one in units)) if units else None

    def powers(self) -> list[tuple[str, Array, str]]:
        """Return the curves of power that are known, kW: label, values, and what kind of curve it is."""
        known = []
        if self.load_kw is not None:
            known.append(("load", self.load_kw, "load"))
        if self.grid_kw is not None:
            meters = sum(one.is_grid for one in self.devices)
            known.append((f"{'grid' if meters < 2 else f'{meters} meters'} (+ import)", self.grid_kw, "grid"))
        if self.battery_kw is not None:
            told = ", as told" if self.battery_is_setpoint else ""
            known.append((f"batteries{told} (+ discharge)", self.battery_kw, "battery"))
        if self.control is not None and not np.isnan(self.control.curves["target_kw"]).all():
            known.append(("target", self.control.curves["target_kw"], "dash"))
        return known

    def clock(self, us: int, fine: bool | None = None) -> str:
        """Return a time of this day, with seconds if ``fine``, otherwise where there are any."""
        if fine is None:
            fine = us % 60_000_000 != 0 or self.day.grid.bin_us < 60_000_000
        if us == self.day.end_us:
            return "24:00:00" if fine else "24:00"
        return clock(us, self.day.zone, fine)

    def of_kind(self, kind: Kind) -> list[DeviceFigures]:
        """Return the batteries, or the meters."""
        return [device for device in self.devices if device.kind == kind]

    @property
    def load_kw(self) -> Array | None:
        """What the site uses: as control has estimated it, otherwise grid and batteries together."""
        if self.control is not None and not np.isnan(self.control.curves["load_kw"]).all():
            return self.control.curves["load_kw"]
        if self.grid_kw is None or self.battery_kw is None:
            return None
        return self.grid_kw + self.battery_kw

    def peak(self) -> tuple[float, int, int] | None:
        """Return the highest import: kW, when, and over how many µs it is a mean."""
        if self.grid_kw is None or np.isnan(self.grid_kw).all():
            return None
        grid = self.day.grid
        k = (
            PEAK_US // grid.bin_us
            if PEAK_US % grid.bin_us == 0 and grid.n * grid.bin_us >= 2 * PEAK_US
            else 1
        )
        skip = (self.day.start_us - grid.start_us) // grid.bin_us % k  # whole quarters of an hour
        means = _means(np.concatenate([np.full((k - skip) % k, np.nan), self.grid_kw]), k)
        best = int(np.nanargmax(means))
        begins = grid.start_us + (best * k - (k - skip) % k) * grid.bin_us
        return float(means[best]), begins, k * grid.bin_us


def figures_of(day: Day, site: str) -> Figures:
    """Return a site's figures; ``day`` has been read."""
    made = [_devices(day, name, tally, site) for name, tally in day.tallies.items()]
    devices = [device for found, _ in made for device in found]
    devices.sort(key=lambda device: (device.complete, device.name))
    roles = {device.name: day.roles.get((site, device.name)) for device in devices if device.kind == "meter"}
    known = [name for name, role in roles.items() if role == "grid"]
    grid = known or ([] if any(roles.values()) else [*roles])
    devices = [_as_grid(device, device.name in grid) for device in devices]
    ticks = next(_ticks(tally) for tally in day.tallies.values())
    control = _control(day.control, site, ticks) if day.control is not None else None
    grid_kw = _site_power(day, site, "meter", set(grid))
    if control is not None and not known and len(grid) != 1:
        logged = control.curves["grid_kw"]
        grid_kw = grid_kw if np.isnan(logged).all() else logged
    cell = -(-day.grid.n // CELLS)
    return Figures(
        site,
        day,
        devices,
        _together([gap for _, found in made for gap in found], len(devices)),
        grid_kw,
        _site_power(day, site, "battery", None),
        any(tally.columns.is_setpoint and site in tally.sites.names for tally in day.tallies.values()),
        _soe(day, site),
        _latencies(day, site),
        control,
        cell * day.grid.bin_us,
        ~np.any(
            [tally["rows"][k] > 0 for tally in day.tallies.values() for k in _of_site(tally, site)], axis=0
        ),
        [event for name in (site, "") for event in day.events.get(name, [])],
    )


def _as_grid(device: DeviceFigures, is_grid: bool) -> DeviceFigures:
    return DeviceFigures(**{**vars(device), "is_grid": is_grid})


def _of_site(tally: Tally, site: str) -> Array:
    return np.array([k for k, (name, _) in enumerate(tally.devices.names) if name == site], np.int64)


def _ticks(tally: Tally) -> Array:
    """Return the length of a tick in each bin; where there were none as in the last one that had some."""
    known = np.flatnonzero(tally.tick_us)
    if not len(known):
        return np.full(tally.grid.n, tally.grid.bin_us)
    last = np.maximum(np.searchsorted(known, np.arange(tally.grid.n), "right") - 1, 0)
    return np.asarray(tally.tick_us[known[last]])


def _devices(day: Day, name: str, tally: Tally, site: str) -> tuple[list[DeviceFigures], list[Gap]]:
    grid, tick_us = tally.grid, _ticks(tally)
    edges = grid.start_us + np.arange(grid.n + 1) * grid.bin_us
    log_first = min(int(one["first_us"].min()) for one in day.tallies.values())
    log_last = max(int(one["last_us"].max()) for one in day.tallies.values())
    found_gaps = tally.gaps()
    longest = np.zeros(len(tally.devices), np.int64)
    devices, gaps = [], []
    for k in _of_site(tally, site).tolist():
        id_ = tally.devices.names[k][1]
        first, last = int(tally["first_us"][k]), int(tally["last_us"][k])
        tick = int(tick_us[min((last - grid.start_us) // grid.bin_us, grid.n - 1)])
        start = day.life_us[0] if first - log_first <= NEAR_US else first
        end = day.life_us[1] if log_last - last <= NEAR_US else last + tick
        of_device = [_gap(row, id_, tally) for row in found_gaps[found_gaps[:, 0] == k].tolist()]
        edge_gaps = _edge_gaps(tally, k, id_, start, end, tick)
        gaps += of_device + edge_gaps
        longest[k] = max((gap.to_us - gap.from_us for gap in of_device + edge_gaps), default=0)
        inside = np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0, None)
        expected = inside / tick_us
        devices.append(
            DeviceFigures(
                id_,
                name,
                tally.columns.kind,
                float(np.floor(expected.sum() + 1e-6)),
                int(tally["rows"][k].sum()),
                int(tally["good"][k].sum()),
                int(tally["uncertain"][k]),
                int(tally["gap_n"][k]) + len(edge_gaps),
                int(longest[k]),
                _main_reason(tally, k),
                (
                    latency_percentile(tally["latency_n"][k], 50),
                    latency_percentile(tally["latency_n"][k], 99),
                ),
                float(tally["out_kwh"][k]),
                float(tally["in_kwh"][k]),
                min(float(tally["covered_us"][k]) / max(end - start - tick, 1), 1.0),
                _levels(expected, tally["rows"][k], tally["good"][k]),
                has_power=bool(tally["power_n"][k].any()),
            )
        )
    return devices, gaps


def _main_reason(tally: Tally, k: int) -> str:
    times = tally["reason_n"][k]
    return tally.reasons.names[int(times.argmax())] if times.any() else ""


def _reason(code: int, tally: Tally) -> str:
    if code == NO_ROWS:
        return NO_ROWS_TEXT
    return "" if code == NONE else str(tally.reasons.names[code])


def _gap(row: list[int], id_: str, tally: Tally) -> Gap:
    return Gap(row[1], row[2], (id_,), _reason(row[3], tally))


def _edge_gaps(tally: Tally, k: int, id_: str, start: int, end: int, tick: int) -> list[Gap]:
    """Return what is missing before a device's first good row, and after its last one."""
    first_good, last_good = int(tally["first_good_us"][k]), int(tally["last_good_us"][k])
    if not first_good:
        return [Gap(start, end, (id_,), _main_reason(tally, k) or NO_ROWS_TEXT)]
    gaps = []
    if first_good - start >= tick:
        had_rows = int(tally["first_us"][k]) < first_good
        gaps.append(Gap(start, first_good, (id_,), _main_reason(tally, k) if had_rows else NO_ROWS_TEXT))
    if end - last_good > 1.5 * tick:
        code = int(tally["waiting_for"][k]) if tally["waiting"][k] else NO_ROWS
        gaps.append(Gap(last_good + tick, end, (id_,), _reason(code, tally)))
    return gaps


def _together(gaps: list[Gap], devices: int) -> list[Gap]:
    """Return gaps of the same time as one, the longest first."""
    same: dict[tuple[int, int, str], list[str]] = {}
    for gap in gaps:
        same.setdefault((gap.from_us, gap.to_us, gap.reason), []).extend(gap.devices)
    found = [Gap(start, end, tuple(sorted(ids)), why) for (start, end, why), ids in same.items()]
    return sorted(found, key=lambda gap: (gap.from_us - gap.to_us, -len(gap.devices), gap.from_us))


def _levels(expected: Array, rows: Array, good: Array) -> Array:
    """Return the level of each cell of the heat map."""
    k = -(-len(expected) // CELLS)
    starts = np.arange(0, len(expected), k)
    wanted, had, was_good = (np.add.reduceat(one.astype(float), starts) for one in (expected, rows, good))
    share = np.divide(was_good, wanted, out=np.zeros(len(starts)), where=wanted > 0)
    levels = np.select(
        [share >= 0.99, share >= 0.9, share >= 0.5, was_good > 0, had > 0],
        [COMPLETE, MOST, HALF, SOME, NOTHING],
        ABSENT,
    )
    return np.where(wanted < 0.5, NOT_EXPECTED, levels)


def _site_power(day: Day, site: str, kind: Kind, names: set[str] | None) -> Array | None:
    """Return the sum over the devices that answered, each by its mean in a bin."""
    found = [
        sums / n
        for tally in day.tallies.values()
        if tally.columns.kind == kind and tally.columns.power is not None
        for k in _of_site(tally, site).tolist()
        if names is None or tally.devices.names[k][1] in names
        for sums, n in [
            (tally["power_sum"][k], np.where(tally["power_n"][k] > 0, tally["power_n"][k], np.nan))
        ]
    ]
    if not found:
        return None
    cells = np.array(found, float)
    return np.where(np.isnan(cells).all(axis=0), np.nan, np.nansum(cells, axis=0))


def _soe(day: Day, site: str) -> dict[int, Array]:
    cells = [
        tally["soe_sum"][k] / np.where(tally["soe_n"][k] > 0, tally["soe_n"][k], np.nan)
        for tally in day.tallies.values()
        if tally.columns.soe is not None
        for k in _of_site(tally, site).tolist()
    ]
    if not cells or np.isnan(cells).all():
        return {}
    percents = SOE_PERCENTS_OF_MANY if len(cells) >= MANY else SOE_PERCENTS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of bins without any
        bands = np.nanpercentile(np.array(cells, float), percents, axis=0)
    return dict(zip(percents, bands, strict=True))


def _latencies(day: Day, site: str) -> list[Latency]:
    found = []
    for name, tally in day.tallies.items():
        devices = _of_site(tally, site)
        total = tally["latency_n"][devices].sum(axis=0) if len(devices) else np.zeros(1)
        if not total.any():
            continue
        slots = tally.latency_slots[:, tally.sites.number(site)]
        p50, p99 = (np.array([latency_percentile(slot, percent) for slot in slots]) for percent in (50, 99))
        percentiles = {f"p{percent:g}": latency_percentile(total, percent) for percent in (50, 90, 99, 99.9)}
        percentiles["max"] = latency_percentile(total, 100)
        found.append(Latency(name, len(devices), percentiles, p50, p99))
    return found


def _control(tally: ControlTally, site: str, tick_us: Array) -> Control | None:
    if site not in tally.sites.names:
        return None
    k = tally.sites.number(site)
    units = sum(name == site for name, _ in tally.devices.names)
    curves = {name: tally.curve(k, name) for name in CURVES}
    hours = tick_us / 3.6e9
    decided = int(tally.with_target[k])
    return Control(
        curves,
        units,
        int(tally.met[k]) / decided if decided else math.nan,
        float((tally.curves["unserved_kw"][k] * hours).sum() / max(units, 1)),
        {name: tally.shares(k, name) for name in tally.times},
        (latency_percentile(tally.latency_n[k], 50), latency_percentile(tally.latency_n[k], 99)),
    )


def _means(values: Array, k: int) -> Array:
    """Return means of k neighbours each, without the nans."""
    there = ~np.isnan(values)
    starts = np.arange(0, len(values), k)
    n = np.add.reduceat(there.astype(float), starts)
    sums = np.add.reduceat(np.where(there, values, 0.0), starts)
    return np.asarray(np.divide(sums, n, out=np.full(len(starts), np.nan), where=n > 0))
