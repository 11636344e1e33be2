"""The picture of a replay: load and grid, batteries, state of energy, as it was and as it would have been."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from fluxfast.errors import FluxfastError
from fluxfast.replay import Curves, Result
from fluxfast.replay.result import import_limit_kw

BEFORE, AFTER, LOAD, LIMIT = "#9ca3af", "#2563eb", "#0d9488", "#dc2626"
INK, FAINT, GRID = "#1f2937", "#6b7280", "#e5e7eb"
MEGA_KW: Final = 10_000


def draw(result: Result, out: Path) -> None:
    """Draw the sums over all sites as the PNG ``out``."""
    from matplotlib import dates
    from matplotlib.figure import Figure

    curves = result.curves
    figure = Figure(figsize=(12, 9), dpi=150, facecolor="white")
    power, battery, soe = figure.subplots(3, 1, sharex=True, height_ratios=(1.6, 1, 1))
    figure.subplots_adjust(left=0.06, right=0.982, top=0.855, bottom=0.07, hspace=0.45)
    time = curves["time_us"].astype("datetime64[us]")
    if len(time) == 1:
        for axes in (power, battery, soe):
            axes.set_prop_cycle(marker=["o"])  # a line through one point would not be seen
    names = [site.name for site in result.sites]
    title = names[0] if len(names) == 1 else f"{len(names):,} sites together"
    figure.text(0.06, 0.955, f"Replay: {title}", fontsize=17, fontweight="bold", color=INK)
    figure.text(0.06, 0.925, _subtitle(result, time), fontsize=10.5, color=FAINT)
    _draw_power(power, time, curves, result)
    factor, unit = _scale(curves, "battery_before_kw", "battery_after_kw")
    _pair(battery, time, curves, "battery", "kw", factor)
    _label(battery, f"Batteries, {unit}", "+ discharge")
    _pair(soe, time, curves, "soe", "pct", 1.0)
    soe.set_ylim(0, 100)
    _label(soe, "State of energy, %", "by capacity")
    places = dates.AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    soe.xaxis.set_major_locator(places)
    soe.xaxis.set_major_formatter(dates.ConciseDateFormatter(places))  # type: ignore[no-untyped-call]
    try:
        figure.savefig(out)
    except (OSError, ValueError) as error:  # ValueError: a name that ends like no picture
        raise FluxfastError(f"cannot write {out}: {getattr(error, 'strerror', None) or error}") from None


def _subtitle(result: Result, time: Any) -> str:
    first, last = (str(moment)[:19].replace("T", " ") for moment in (time[0], time[-1]))
    text = f"{first} to {last} UTC, {result.ticks:,} ticks"
    if result.curves.ticks_per_point > 1:
        text += f", each point the mean of {result.curves.ticks_per_point:,}"
    return text


def _scale(curves: Curves, *names: str) -> tuple[float, str]:
    largest = max(float(np.nanmax(np.abs(curves[name]), initial=0)) for name in names)
    return (1e-3, "MW") if largest >= MEGA_KW else (1.0, "kW")


def _draw_power(axes: Any, time: Any, curves: Curves, result: Result) -> None:
    factor, unit = _scale(curves, "load_kw", "grid_before_kw", "grid_after_kw")
    axes.plot(time, curves["load_kw"] * factor, color=LOAD, linewidth=1.2, label="load")
    _pair(axes, time, curves, "grid", "kw", factor)
    limit = sum(import_limit_kw(site.control) for site in result.sites)
    if np.isfinite(limit):
        axes.axhline(limit * factor, color=LIMIT, linewidth=1.2, linestyle=(0, (4, 3)), label="import limit")
    _label(axes, f"Load and grid, {unit}", "+ import")


def _pair(axes: Any, time: Any, curves: Curves, what: str, unit: str, factor: float) -> None:
    name = {"grid": "grid", "battery": "batteries", "soe": "state of energy"}[what]
    for when, colour, width in (("before", BEFORE, 1.6), ("after", AFTER, 1.8)):
        label = f"{name} {'as logged' if when == 'before' else 'replayed'}"
        axes.plot(time, curves[f"{what}_{when}_{unit}"] * factor, color=colour, linewidth=width, label=label)


def _label(axes: Any, title: str, note: str) -> None:
    corner = {"xycoords": "axes fraction", "textcoords": "offset points"}
    heading = axes.annotate(title, (0, 1), (0, 29), **corner, fontsize=13, fontweight="bold", color=INK)
    axes.annotate(note, (1, 0), (9, 3), heading, "offset points", fontsize=10, color=FAINT)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.008, 1.0), borderaxespad=0.2, ncols=4, frameon=False,
        fontsize=10, labelcolor=INK, handlelength=1.2, columnspacing=1.2,
    )  # fmt: skip
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(colors=FAINT, labelsize=9.5, length=0, pad=5)
    axes.yaxis.set_major_formatter("{x:,.6g}")
