"""One picture of a log of PowerPacks and meters: power, state of energy, answer times, completeness.

The log is read part by part, and each part is reduced to a few numbers per tick at once, so a long log needs
little memory. Beyond ``MAX_POINTS`` ticks neighbours share a point, and the picture says so.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fluxfast.errors import FluxfastError, MissingExtraError

Array = npt.NDArray[Any]
Ticks = dict[str, Array]  # what read() returns: arrays of one length, one entry per tick

MAX_POINTS: Final = 1000
BATTERIES, METERS = "powerpack", "acuvim2"
NAMES: Final = {BATTERIES: "PowerPacks", METERS: "meters"}
COLOURS: Final = {BATTERIES: "#2563eb", METERS: "#0d9488"}
GOOD_COLOUR: Final = "#15803d"
QUALITY_COLOURS: Final = {"uncertain": "#f59e0b", "bad": "#dc2626"}
INK, FAINT, GRID = "#1f2937", "#6b7280", "#e5e7eb"
POWER: Final = {BATTERIES: "target_power", METERS: "power_total"}
KILO: Final = {"W": 1e-3, "kW": 1.0, "MW": 1e3}
LATENCY_PERCENTS: Final = (50, 99)
SOE_PERCENTS: Final = (5, 25, 50, 75, 95)


def draw(log_dir: Path, out: Path, since_us: int = 0) -> None:
    """Draw the ticks from ``since_us`` (UTC) on as the PNG ``out``; FluxfastError when there are none."""
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingExtraError("charts need matplotlib: pip install 'fluxfast[charts]'") from e
    logs = {name: ticks for name in (BATTERIES, METERS) if (ticks := read(log_dir, name, since_us))}
    if not logs:
        raise FluxfastError(f"{log_dir}: no log of {BATTERIES} or {METERS} to draw")
    figure = Figure(figsize=(12, 7.4), dpi=150, facecolor="white")
    axes = figure.subplots(2, 2)
    figure.subplots_adjust(left=0.05, right=0.982, top=0.79, bottom=0.07, hspace=0.5, wspace=0.13)
    _draw_title(figure, logs)
    for panel, axis in zip((_draw_power, _draw_soe, _draw_latency, _draw_quality), axes.flat, strict=True):
        _prepare(axis, logs)
        panel(axis, logs)
    try:
        figure.savefig(out)
    except OSError as error:
        raise FluxfastError(f"cannot write {out}: {error.strerror}") from None


def read(log_dir: Path, dataset: str, since_us: int = 0) -> Ticks:
    """Read and reduce one dataset from ``since_us`` on, in time order; empty when it has no such ticks.

    ``time`` (datetime64[us], UTC), ``rows``, ``uncertain``, ``bad``, ``latency_p50``, ``latency_p99`` (ms),
    ``power`` (kW, the sum over the devices that answered), ``soe_p5`` … ``soe_p95`` (%). NaN where no device
    had a value; what the log lacks is left out.
    """
    files = sorted(log_dir.glob(f"{dataset}/date=*/*.parquet"))
    parts = [part for file in files if (part := _reduce(file, dataset, since_us))]
    if not parts:
        return {}
    names = set.intersection(*(set(part) for part in parts))
    ticks = {name: np.concatenate([part[name] for part in parts]) for name in names}
    order = np.argsort(ticks["time"], kind="stable")
    return {name: array[order] for name, array in ticks.items()}


def _reduce(file: Path, dataset: str, since_us: int) -> Ticks:
    with pq.ParquetFile(file) as parquet:
        wanted = ["time", "quality", "latency_ms", POWER[dataset], "soe"]
        table = parquet.read(columns=[name for name in wanted if name in parquet.schema_arrow.names])
    table = table.filter(pc.greater_equal(table["time"].cast(pa.int64()), since_us))
    if not table.num_rows:
        return {}
    time, tick = np.unique(table["time"].cast(pa.int64()).to_numpy(), return_inverse=True)
    order = np.argsort(tick, kind="stable")
    rows = np.bincount(tick)
    column = np.arange(len(tick)) - np.repeat(np.cumsum(rows) - rows, rows)

    def by_tick(name: str) -> Array:  # [ticks, most rows of any tick]
        cells = np.full((len(time), rows.max()), np.nan)
        values = table[name].cast(pa.float64()).to_numpy()
        cells[tick[order], column] = values[order]
        return cells

    quality = table["quality"].cast(pa.string()).to_numpy(zero_copy_only=False)
    reduced = {"time": time.view("datetime64[us]"), "rows": rows}
    for name in QUALITY_COLOURS:
        reduced[name] = np.bincount(tick, quality == name, len(time))
    reduced |= _percentiles("latency", by_tick("latency_ms"), LATENCY_PERCENTS)
    if "soe" in table.column_names:
        reduced |= _percentiles("soe", by_tick("soe"), SOE_PERCENTS)
    if POWER[dataset] in table.column_names:
        cells = by_tick(POWER[dataset])
        unit = (table.schema.field(POWER[dataset]).metadata or {}).get(b"unit", b"kW").decode()
        answered = np.any(~np.isnan(cells), axis=1)
        reduced["power"] = np.where(answered, np.nansum(cells, axis=1) * KILO.get(unit, 1.0), np.nan)
    return reduced


def _percentiles(name: str, cells: Array, percents: tuple[int, ...]) -> Ticks:
    """Return the nearest-rank percentiles of each row; NaNs are left out, a row of NaNs gives NaN."""
    ranked = np.sort(cells, axis=1)  # NaNs go last
    count = np.count_nonzero(~np.isnan(cells), axis=1)
    rows = np.arange(len(cells))
    return {
        f"{name}_p{percent}": ranked[rows, np.maximum(np.ceil(count * percent / 100).astype(int) - 1, 0)]
        for percent in percents
    }


def _share(ticks: Ticks) -> int:
    """Return how many ticks one point stands for."""
    return -(-len(ticks["time"]) // MAX_POINTS)


def _points(ticks: Ticks) -> Ticks:
    """Return at most MAX_POINTS points: means, of p99 the greatest; a NaN wherever ticks are missing."""
    starts = np.arange(0, len(ticks["time"]), _share(ticks))
    points = {"time": ticks["time"][starts]}
    for name in ticks.keys() - {"time"}:
        values = ticks[name].astype(float)
        if name == "latency_p99":
            points[name] = np.fmax.reduceat(values, starts)
        else:
            there = ~np.isnan(values)
            count = np.add.reduceat(there.astype(float), starts)
            sums = np.add.reduceat(np.where(there, values, 0.0), starts)
            points[name] = np.divide(sums, count, out=np.full(len(starts), np.nan), where=count > 0)
    steps = np.diff(points["time"])
    if len(steps):
        gaps = np.flatnonzero(steps > 5 * np.median(steps)) + 1
        middles = points["time"][gaps - 1] + steps[gaps - 1] // 2
        for name in points:
            points[name] = np.insert(points[name], gaps, middles if name == "time" else np.nan)
    return points


def _draw_title(figure: Any, logs: dict[str, Ticks]) -> None:
    rows = sum(int(ticks["rows"].sum()) for ticks in logs.values())
    not_good = sum(ticks[name].sum() for ticks in logs.values() for name in QUALITY_COLOURS)
    times = np.unique(np.concatenate([ticks["time"] for ticks in logs.values()]))
    start, end = (np.datetime_as_string(t, "s").split("T") for t in (times[0], times[-1]))
    fleet = " and ".join(f"{int(ticks['rows'].max()):,} {NAMES[name]}" for name, ticks in logs.items())
    every = ""
    if len(times) > 1:
        seconds = np.median(np.diff(times)) / np.timedelta64(1, "s")
        every = (
            f", polled every {seconds * 1000:.0f} ms" if seconds < 1 else f", polled every {seconds:.4g} s"
        )
    about = [
        f"{' '.join(start)} to {end[1] if end[0] == start[0] else ' '.join(end)} UTC",
        f"{len(times):,} tick{'s' if len(times) > 1 else ''}",
        f"{rows:,} rows, {_percent(rows - not_good, rows)} of them good",
    ]
    share = max(_share(ticks) for ticks in logs.values())
    if share > 1:
        about.append(f"a point is the mean of {share} ticks (p99: the worst)")
    figure.text(0.0115, 0.948, f"{fleet}{every}", fontsize=19, fontweight="bold", color=INK)
    figure.text(0.012, 0.909, "   ·   ".join(about), fontsize=11, color=FAINT)


def _percent(part: float, whole: float) -> str:
    """Return a percentage that is 100 only when nothing is missing."""
    return "100 %" if part == whole else f"{min(100 * part / whole, 99.99):.2f} %"


def _prepare(axes: Any, logs: dict[str, Ticks]) -> None:
    """Lay the whole log's time below and a quiet grid behind."""
    from matplotlib import dates

    start = min(ticks["time"][0] for ticks in logs.values())
    end = max(ticks["time"][-1] for ticks in logs.values())
    margin = max((end - start) // 60, np.timedelta64(400, "ms"))
    axes.set_xlim(start - margin, end + margin)
    seconds = (end - start) / np.timedelta64(1, "s")
    form = "%H:%M:%S" if seconds < 600 else "%H:%M" if seconds < 86_400 else "%d %b %H:%M"
    axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=3, maxticks=6))  # type: ignore[no-untyped-call]
    if start == end:
        axes.set_prop_cycle(marker=["o"])  # a line through one point would not be seen
        axes.set_xticks([start])
    axes.xaxis.set_major_formatter(dates.DateFormatter(form))  # type: ignore[no-untyped-call]
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(colors=FAINT, labelsize=9.5, length=0, pad=5)
    axes.set_xlabel("UTC", color=FAINT, fontsize=9.5, loc="right", labelpad=0)


def _label(axes: Any, title: str, note: str) -> None:
    """Write the heading, and below it the legend of all that was drawn with a label."""
    heading = axes.text(0, 1.17, title, transform=axes.transAxes, fontsize=13, fontweight="bold", color=INK)
    axes.annotate(note, (1, 0), (9, 3), heading, "offset points", fontsize=10, color=FAINT)
    if axes.get_legend_handles_labels()[0]:
        where = {"loc": "lower left", "bbox_to_anchor": (-0.012, 1.035), "borderaxespad": 0}
        axes.legend(
            **where,
            ncols=4,
            columnspacing=1.0,
            handlelength=1.0,
            handletextpad=0.6,
            frameon=False,
            fontsize=10,
            labelcolor=INK,
        )
    else:
        _instead(axes, "nothing in this log", FAINT)


def _instead(axes: Any, text: str, colour: str) -> None:
    """Write in the middle of a panel that has nothing to draw."""
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=colour, fontsize=12)


def _draw_power(axes: Any, logs: dict[str, Ticks]) -> None:
    known = {name: _points(ticks) for name, ticks in logs.items() if "power" in ticks}
    largest = max((np.nanmax(np.abs(p["power"]), initial=0) for p in known.values()), default=0)
    unit, factor = ("MW", 1e-3) if largest >= 10_000 else ("kW", 1.0)
    busy = BATTERIES in known and bool(np.any(known[BATTERIES]["power"]))  # idle ones would flatten the curve
    if busy and METERS in known:
        time, meters, units = np.intersect1d(
            known[METERS]["time"], known[BATTERIES]["time"], return_indices=True
        )
        load = (known[METERS]["power"][meters] + known[BATTERIES]["power"][units]) * factor
        axes.plot(time, load, color=FAINT, linewidth=1.2, label="load")
    for name, what in (
        (METERS, "grid (+ import)" if busy else "meters (+ import)"),
        (BATTERIES, "batteries"),
    ):
        if name in known and (name == METERS or busy):
            power = known[name]["power"] * factor
            axes.plot(known[name]["time"], power, color=COLOURS[name], linewidth=2, label=what)
    axes.yaxis.set_major_formatter("{x:,.6g}")
    _label(axes, f"Power, {unit}", "sum over the devices that answered")


def _draw_soe(axes: Any, logs: dict[str, Ticks]) -> None:
    if "soe_p50" in logs.get(BATTERIES, {}):
        points, colour = _points(logs[BATTERIES]), COLOURS[BATTERIES]
        for low, high, alpha in ((5, 95, 0.15), (25, 75, 0.3)):
            edges = points[f"soe_p{low}"], points[f"soe_p{high}"]
            label = f"p{low} to p{high}"
            axes.fill_between(points["time"], *edges, color=colour, alpha=alpha, linewidth=0, label=label)
        axes.plot(points["time"], points["soe_p50"], color=colour, linewidth=2, label="median")
    axes.set_ylim(0, 100)
    _label(axes, "State of energy, %", "across the PowerPacks that answered")


def _draw_latency(axes: Any, logs: dict[str, Ticks]) -> None:
    for name, ticks in logs.items():
        points = _points(ticks)
        for percent, width in zip(LATENCY_PERCENTS, (2.0, 0.9), strict=True):
            label = f"{NAMES[name]} p{percent}"
            values = points[f"latency_p{percent}"]
            axes.plot(points["time"], values, color=COLOURS[name], linewidth=width, label=label)
    axes.set_ylim(bottom=0)
    _label(axes, "Answer time, ms", "from the start of the tick")


def _draw_quality(axes: Any, logs: dict[str, Ticks]) -> None:
    both = [_points(ticks) for ticks in logs.values()]
    time, place = np.unique(np.concatenate([points["time"] for points in both]), return_inverse=True)
    step = np.median(np.diff(time)) if len(time) > 1 else np.timedelta64(500, "ms")
    # Gaps between few bars help to count them; between many they would only make stripes.
    width, smooth = (step * 0.8, True) if len(time) <= 120 else (step, False)
    bottom = np.zeros(len(time))
    for name, colour in QUALITY_COLOURS.items():
        values = np.nan_to_num(np.concatenate([points[name] for points in both]))
        height = np.bincount(place, values, len(time))
        axes.bar(time, height, width, bottom, color=colour, label=name, linewidth=0, antialiased=smooth)
        bottom = bottom + height
    axes.yaxis.get_major_locator().set_params(integer=True)
    total = sum(int(ticks["rows"].max()) for ticks in logs.values())
    if not bottom.any():
        _instead(axes, f"none: all {total:,} are good in every tick", GOOD_COLOUR)
    _label(axes, "Devices not good", f"of {total:,}, in each tick")
