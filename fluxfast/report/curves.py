"""The pictures of a site's page: power, state of energy, answer times, completeness."""

from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np

from fluxfast.report.figures import COMPLETE, DeviceFigures, Figures
from fluxfast.report.heat import LEGEND, data_uri
from fluxfast.report.html import table
from fluxfast.report.svg import Band, Line, chart, time_axis
from fluxfast.report.words import duration, number, percent

LABELLED: Final = 60  # rows of the heat map; of more devices only the worst have names
WORST_LABELLED: Final = 25
REST_HEIGHT_PX: Final = 280
NAME: Final = 22  # characters of a device's that have room
MEGA_KW: Final = 10_000


def power(figures: Figures) -> str:
    """Grid, batteries, load and target, as far as they are known."""
    known = figures.powers()
    if not known:
        return ""
    largest = max(float(np.nanmax(np.abs(values), initial=0)) for _, values, _ in known)
    factor, unit = (1e-3, "MW") if largest >= MEGA_KW else (1.0, "kW")
    note = f"{unit}, means of {duration(figures.day.grid.bin_us)}, over the devices that answered"
    lines = [Line(label, values * factor, style) for label, values, style in known]
    return chart("Power", note, figures.day, lines, absent=figures.absent)


def state_of_energy(figures: Figures) -> str:
    """How full the batteries are, from the emptiest to the fullest."""
    if not figures.soe:
        return ""
    low, quarter, median, three, high = figures.soe.values()
    n = len(figures.of_kind("battery"))
    names = ("p5 to p95", "p25 to p75") if 5 in figures.soe else ("lowest to highest", "middle half")
    drawn: list[Line | Band] = [Line("median" if n > 1 else "state of energy", median, "battery")]
    if n > 1:
        drawn = [
            Band(names[0], low, high, "battery outer"),
            Band(names[1], quarter, three, "battery inner"),
            *drawn,
        ]
    note = f"%, across {n:,} batteries" if n > 1 else "%"
    return chart("State of energy", note, figures.day, drawn, span=(0, 100), absent=figures.absent)


def answer_times(figures: Figures) -> str:
    """How long answers took: over the day, and as percentiles."""
    if not figures.latencies:
        return ""
    batteries = {one.dataset for one in figures.of_kind("battery")}
    drawn = []
    for one in figures.latencies:
        style = "battery" if one.dataset in batteries else "grid"
        drawn += [Line(one.dataset, one.p50, style), Line("", one.p99, f"{style} thin")]
    picture = chart("Answer time", "ms, p50 and (thin) p99", figures.day, drawn, absent=figures.absent)
    names = list(figures.latencies[0].percentiles)
    rows = [
        (f"{escape(one.dataset)}, {one.devices:,}", *(number(one.percentiles[name]) for name in names))
        for one in figures.latencies
    ]
    return f"<div>{picture}{table(['ms', *names], rows)}</div>"


def completeness(figures: Figures) -> str:
    """A heat map, a row for each device; of very many only the worst have names."""
    devices = figures.devices
    shown = devices if len(devices) <= LABELLED else devices[:WORST_LABELLED]
    rest = devices[len(shown) :]
    seen = {COMPLETE, *np.unique([one.levels for one in devices]).tolist()}
    legend = "".join(
        f'<li class="cell l{level}">{text}</li>' for level, text in LEGEND.items() if level in seen
    )
    names = min(max(len(one.name) for one in shown), NAME) + 1
    order = ", worst first" if len(devices) > 1 else ""
    return (
        f'<figure class="long" style="--names:{names}ch"><figcaption><h2>Completeness</h2>'
        f"<p>good readings in each {duration(figures.cell_us)}{order}</p></figcaption>"
        f'<ul class="legend">{legend}</ul>{_heat_rows(shown)}{_heat_rest(rest) if rest else ""}'
        f'<div class="heat"><span></span>{time_axis(figures.day)}<span></span></div></figure>'
    )


def _heat_rows(devices: Sequence[DeviceFigures]) -> str:
    names = "".join(f'<li title="{escape(one.name)}">{escape(one.name)}</li>' for one in devices)
    shares = "".join(f"<li>{percent(one.complete)}</li>" for one in devices)
    height, about = (
        f"calc({len(devices)}*var(--row))",
        "how complete each device is over the day; in figures below",
    )
    cells = _cells(devices, height, about, '<div class="lines"></div>')
    return f'<div class="heat"><ol>{names}</ol>{cells}<ol class="share">{shares}</ol></div>'


def _heat_rest(devices: Sequence[DeviceFigures]) -> str:
    height = min(REST_HEIGHT_PX, max(40, 2 * len(devices)))
    cells = _cells(devices, f"{height}px", "the other devices, worst first")
    return (
        f'<p class="note" style="margin:8px 0 4px">the other {len(devices):,}, worst first; '
        f"none below {percent(devices[0].complete)}</p>"
        f'<div class="heat"><span></span>{cells}<span></span></div>'
    )


def _cells(devices: Sequence[DeviceFigures], height: str, about: str, over: str = "") -> str:
    """Return a picture of devices, and what lies over it."""
    picture = data_uri(np.array([one.levels for one in devices]))
    return f'<div class="cells" style="height:{height}"><img src="{picture}" alt="{about}">{over}</div>'
