"""A site's day as one PNG, for mails and chats: the curves, and the completeness of the worst devices."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from fluxfast.errors import FluxfastError, MissingExtraError
from fluxfast.report.figures import Figures
from fluxfast.report.heat import COLOURS
from fluxfast.report.rows import Array
from fluxfast.report.source import local
from fluxfast.report.svg import EDGE, time_ticks
from fluxfast.report.words import duration, number, percent, zone_name

GRID_COLOUR, BATTERY, LOAD = "#c2410c", "#2563eb", "#7b8794"
INK, FAINT, RULE = "#1b2430", "#5f6b7a", "#e3e7ec"
STYLES: Final[dict[str, dict[str, Any]]] = {
    "load": {"color": LOAD, "linewidth": 1.0},
    "grid": {"color": GRID_COLOUR, "linewidth": 1.6},
    "battery": {"color": BATTERY, "linewidth": 1.6},
    "dash": {"color": LOAD, "linewidth": 1.2, "linestyle": (0, (4, 3))},
}
DEVICES: Final = 25
NAME: Final = 18  # characters of a device's that have room


def need_matplotlib() -> None:
    """Raise MissingExtraError if there is none, before the work begins."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as e:
        raise MissingExtraError("pictures need matplotlib: pip install 'fluxfast[charts]'") from e


def draw(figures: Figures, out: Path) -> None:
    """Draw a page as the PNG ``out``."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"text.parse_math": False, "text.usetex": False}):  # a name with $ is a name
        devices = figures.devices[:DEVICES]
        heat_in = max(0.17 * len(devices), 0.5)
        height = 8.35 + heat_in
        figure = Figure(figsize=(11, height), dpi=120, facecolor="white")
        _title(figure, figures, height)
        inch = 1 / height
        wide = (0.065, 0.92)
        power = figure.add_axes((wide[0], 4.35 * inch + heat_in * inch, wide[1], 2.2 * inch))
        soe = figure.add_axes((wide[0], (1.35 + heat_in) * inch, 0.43, 1.9 * inch))
        answers = figure.add_axes((0.555, (1.35 + heat_in) * inch, 0.43, 1.9 * inch))
        heat = figure.add_axes((0.15, 0.4 * inch, 0.765, heat_in * inch))
        _power(power, figures)
        _soe(soe, figures)
        _answers(answers, figures)
        _heat(heat, figures)
        try:
            figure.savefig(out)
        except OSError as error:
            raise FluxfastError(f"cannot write {out}: {error.strerror}") from None


def _title(figure: Any, figures: Figures, height: float) -> None:
    day = figures.day
    about = [f"{day.day}", zone_name(day.start_us, day.end_us, day.zone)]
    about.append(f"{percent(figures.complete)} good readings of {len(figures.devices):,} devices")
    if figures.control is not None:
        about.append(f"target met {percent(figures.control.met)}")
    energies = []
    for names, both in (
        (("import", "export"), figures.grid_kwh),
        (("charged", "discharged"), figures.battery_kwh),
    ):
        if both is not None:
            energies += [f"{name} {number(kwh, 'kWh')}" for name, kwh in zip(names, both, strict=True)]
    left = 0.018
    figure.text(left, 1 - 0.42 / height, figures.site[:60], fontsize=18, fontweight="bold", color=INK)
    for line, y in ((about, 0.7), (energies, 0.93)):
        figure.text(left, 1 - y / height, "   ·   ".join(line), fontsize=10, color=FAINT)


def _prepare(axes: Any, figures: Figures, title: str, note: str, lift: int = 26) -> None:
    day = figures.day
    width = day.grid.n * day.grid.bin_us
    ticks = [us for us in time_ticks(day) if EDGE < (us - day.grid.start_us) / width < 1 - EDGE]
    places = [(us - day.grid.start_us) / width for us in ticks]
    fine = len(ticks) > 1 and (ticks[1] - ticks[0]) % 60_000_000
    form = "%H:%M:%S" if fine else "%H:%M"
    axes.set_xlim(0, 1)
    axes.set_xticks(places, [f"{local(us, day.zone):{form}}" for us in ticks])
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.tick_params(colors=FAINT, labelsize=8.5, length=0, pad=4)
    corner = {"xycoords": "axes fraction", "textcoords": "offset points"}
    heading = axes.annotate(title, (0, 1), (0, lift), **corner, fontsize=12, fontweight="bold", color=INK)
    axes.annotate(note, (1, 0), (8, 2), heading, "offset points", fontsize=9, color=FAINT)


def _legend(axes: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.01, 1.0), borderaxespad=0.3, ncols=4, frameon=False,
            fontsize=9, labelcolor=INK, handlelength=1.2, columnspacing=1.2,
        )  # fmt: skip
    else:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "nothing in this log", transform=axes.transAxes, ha="center", color=FAINT)


def _plot(axes: Any, values: Array, **how: Any) -> None:
    x = (np.arange(len(values)) + 0.5) / len(values)
    if (~np.isnan(values)).sum() == 1:
        how["marker"] = "o"  # a line through one point would not be seen
    axes.plot(x, values, **how)


def _power(axes: Any, figures: Figures) -> None:
    _prepare(axes, figures, "Power, kW", f"means of {duration(figures.day.grid.bin_us)}")
    for label, values, kind in figures.powers():
        _plot(axes, values, label=label, **STYLES[kind])
    axes.yaxis.set_major_formatter("{x:,.6g}")
    axes.axhline(0, color=FAINT, linewidth=0.8)
    _legend(axes)


def _soe(axes: Any, figures: Figures) -> None:
    _prepare(axes, figures, "State of energy, %", f"{len(figures.of_kind('battery')):,} batteries")
    if figures.soe:
        low, quarter, median, three, high = figures.soe.values()
        x = (np.arange(len(median)) + 0.5) / len(median)
        names = ("p5 to p95", "p25 to p75") if 5 in figures.soe else ("lowest to highest", "middle half")
        axes.fill_between(x, low, high, color=BATTERY, alpha=0.15, linewidth=0, label=names[0])
        axes.fill_between(x, quarter, three, color=BATTERY, alpha=0.3, linewidth=0, label=names[1])
        _plot(axes, median, color=BATTERY, linewidth=1.6, label="median")
    axes.set_ylim(0, 100)
    _legend(axes)


def _answers(axes: Any, figures: Figures) -> None:
    _prepare(axes, figures, "Answer time, ms", "p50 and (thin) p99")
    batteries = {one.dataset for one in figures.of_kind("battery")}
    for one in figures.latencies:
        colour = BATTERY if one.dataset in batteries else GRID_COLOUR
        _plot(axes, one.p50, color=colour, linewidth=1.6, label=one.dataset[:30])
        _plot(axes, one.p99, color=colour, linewidth=0.8)
    axes.set_ylim(bottom=0)
    _legend(axes)


def _heat(axes: Any, figures: Figures) -> None:
    devices = figures.devices[:DEVICES]
    of = f" of {len(figures.devices):,} devices" if len(figures.devices) > DEVICES else ""
    note = f"good readings in each {duration(figures.cell_us)}, worst first{of}; pale: all, dark: none"
    _prepare(axes, figures, "Completeness", note, lift=8)
    colours = np.array([COLOURS[level] for level in sorted(COLOURS)], float) / 255
    cells = colours[np.array([one.levels for one in devices])]
    axes.imshow(cells, aspect="auto", interpolation="nearest", extent=(0, 1, len(devices), 0))
    axes.set_yticks(np.arange(len(devices)) + 0.5, [one.name[:NAME] for one in devices], color=INK)
    for k in range(len(devices) + 1):
        axes.axhline(k, color="white", linewidth=1.5)
    axes.grid(False)
    for k, one in enumerate(devices):
        axes.text(1.01, k + 0.5, percent(one.complete), va="center", fontsize=8.5, color=INK)
