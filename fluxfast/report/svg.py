"""Charts as HTML with a stretched SVG in it: sharp at every width, its colours from the page's style.

Curves are drawn in a box of 1000 × 200 that is stretched to whatever room there is; strokes keep their width,
and labels are HTML, placed in percent. Nothing here is a script.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Final

import numpy as np

from fluxfast.report.day import NICE_US, Day
from fluxfast.report.rows import Array
from fluxfast.report.source import local
from fluxfast.report.words import number

WIDTH, HEIGHT = 1000, 200
TIME_LABELS: Final = 9
VALUE_LABELS: Final = 4
AIR: Final = 0.06
EDGE: Final = 0.04  # where a label would stick out
_RANKS: Final = ("major", "minor", "middle", "minor")


@dataclass(frozen=True)
class Line:
    """A curve; ``style`` names its colour in the style sheet. Without a label it is not in the legend."""

    label: str
    values: Array
    style: str


@dataclass(frozen=True)
class Band:
    """An area between two curves."""

    label: str
    low: Array
    high: Array
    style: str


def chart(
    title: str,
    note: str,
    day: Day,
    drawn: Sequence[Line | Band],
    *,
    span: tuple[float, float] | None = None,
    absent: Array | None = None,
    zero: bool = True,
) -> str:
    """Return a figure; each curve spreads over the whole of the day that was logged.

    ``span``: of the values, otherwise as they need it, with 0 in it if ``zero``. ``absent``: shaded if true.
    """
    low, high = span or _span(drawn, zero)
    ticks = value_ticks(low, high)
    if span is None:  # a little air, below only if something is below
        air = (high - low) * AIR
        low, high = low - air * (low < 0), high + air
    ticks = [tick for tick in ticks if low <= tick <= high]
    inside = [_shade(absent)] if absent is not None else []
    inside += [
        f'<path class="rule{" zero" if t == 0 else ""}" d="M0 {_y(t, low, high)}H{WIDTH}"/>' for t in ticks
    ]
    for one in sorted(drawn, key=lambda one: isinstance(one, Line)):
        if isinstance(one, Band):
            inside.append(f'<path class="band {one.style}" d="{_area(one.low, one.high, low, high)}"/>')
        else:
            inside.append(f'<path class="line {one.style}" d="{_path(one.values, low, high)}"/>')
    legend = "".join(
        f'<li class="{"band" if isinstance(one, Band) else "line"} {one.style}">{escape(one.label)}</li>'
        for one in drawn
        if one.label
    )
    digits = _digits(ticks)
    labels = "".join(
        f'<span style="bottom:{100 * (t - low) / (high - low):.2f}%">{number(t, digits=digits)}</span>'
        for t in ticks
    )
    return (
        f'<figure class="chart"><figcaption><h2>{escape(title)}</h2><p>{escape(note)}</p></figcaption>'
        f'<ul class="legend">{legend}</ul><div class="plot"><div class="values">{labels}</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}">{"".join(inside)}</svg>{time_axis(day)}</div></figure>'
    )


def time_axis(day: Day) -> str:
    """Return the labels of the time below a chart; a narrow one shows every second or fourth."""
    start, width = day.grid.start_us, day.grid.n * day.grid.bin_us
    ticks = time_ticks(day)
    form = "%H:%M:%S" if len(ticks) > 1 and (ticks[1] - ticks[0]) % 60_000_000 else "%H:%M"
    labels = "".join(
        f'<span class="{_RANKS[k % 4]}" style="left:{100 * (t - start) / width:.2f}%">'
        f"{local(t, day.zone):{form}}</span>"
        for k, t in enumerate(ticks)
        if EDGE < (t - start) / width < 1 - EDGE
    )
    return f'<div class="times">{labels}</div>'


def time_ticks(day: Day) -> list[int]:
    """Return where labels of the time belong: on whole hours of the day's own clock, or finer."""
    start = day.grid.start_us
    end = start + day.grid.n * day.grid.bin_us
    step = next((nice for nice in NICE_US if nice >= (end - start) / TIME_LABELS), NICE_US[-1])
    if step < 3_600_000_000:
        first = -(-(start - day.start_us) // step)
        return list(range(day.start_us + first * step, end + 1, step))
    # The hours of a day on which the clock is changed are not where counting would find them.
    begin = datetime(day.day.year, day.day.month, day.day.day)
    hours = step // 3_600_000_000
    walls = [begin + timedelta(hours=h) for h in range(0, 25, hours)]
    found = [int(wall.replace(tzinfo=day.zone).timestamp()) * 1_000_000 for wall in walls]
    return [us for us in found if start <= us <= end]


def value_ticks(low: float, high: float) -> list[float]:
    """Return round numbers that span the values."""
    rough = (high - low) / VALUE_LABELS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(k * size for k in (1, 2, 2.5, 5, 10) if k * size >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, last + 1)]


def _digits(ticks: Iterable[float]) -> int:
    return next((d for d in range(3) if all(abs(round(t, d) - t) < 1e-9 * max(1, abs(t)) for t in ticks)), 3)


def _span(drawn: Sequence[Line | Band], zero: bool) -> tuple[float, float]:
    arrays = [a for one in drawn for a in ((one.low, one.high) if isinstance(one, Band) else (one.values,))]
    values = np.concatenate(arrays) if arrays else np.zeros(0)
    values = values[~np.isnan(values)]
    if zero or not len(values):
        values = np.append(values, 0.0)
    low, high = float(values.min()), float(values.max())
    return (low, high) if high - low > 1e-6 * max(abs(low), abs(high)) else (min(low, 0), max(high, low + 1))


def _y(value: float, low: float, high: float) -> str:
    return f"{HEIGHT * (high - value) / (high - low):.1f}"


def _runs(values: Array) -> list[tuple[int, int]]:
    """Return the stretches of true, each from its first to behind its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], values.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _points(values: Array, first: int, last: int, low: float, high: float) -> list[str]:
    x = WIDTH * (np.arange(first, last) + 0.5) / len(values)
    return [
        f"{a:.1f} {_y(b, low, high)}" for a, b in zip(x.tolist(), values[first:last].tolist(), strict=True)
    ]


def _path(values: Array, low: float, high: float) -> str:
    """Return a curve, broken where values are missing; a single value is a dot."""
    return "".join(
        "M" + "L".join(_points(values, a, b, low, high)) + ("h.1" if b - a == 1 else "")
        for a, b in _runs(~np.isnan(values))
    )


def _area(bottom: Array, top: Array, low: float, high: float) -> str:
    return "".join(
        "M" + "L".join(_points(top, a, b, low, high) + _points(bottom, a, b, low, high)[::-1]) + "Z"
        for a, b in _runs(~np.isnan(bottom) & ~np.isnan(top))
    )


def _shade(absent: Array) -> str:
    scale = WIDTH / max(len(absent), 1)
    d = "".join(f"M{a * scale:.1f} 0H{b * scale:.1f}V{HEIGHT}H{a * scale:.1f}Z" for a, b in _runs(absent))
    return f'<path class="absent" d="{d}"/>' if d else ""
