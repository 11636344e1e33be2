"""One site's day as one HTML file: no script, nothing from elsewhere, every text of a device escaped."""

from html import escape
from typing import Final

import numpy as np

from fluxfast.report import curves, tables
from fluxfast.report.figures import NO_ROWS_TEXT, Figures
from fluxfast.report.html import document, tiles
from fluxfast.report.words import duration, number, percent, zone_name

OUTAGES_SHOWN: Final = 3


def render(figures: Figures, index: str | None = None) -> str:
    """Return a site's page; ``index`` is the page that lists all sites."""
    day = figures.day
    parts = [
        _header(figures, index),
        _tiles(figures),
        _findings(figures),
        curves.power(figures),
        f'<div class="pair">{curves.state_of_energy(figures)}{curves.answer_times(figures)}</div>',
        curves.completeness(figures),
        tables.devices(figures),
        tables.gaps(figures),
        tables.energy(figures),
        tables.control(figures),
        tables.events(figures),
        _footer(),
    ]
    return document(f"{figures.site}, {day.day}", "\n".join(part for part in parts if part))


def _header(figures: Figures, index: str | None) -> str:
    day = figures.day
    back = f'<nav><a href="{escape(index)}">all sites</a></nav>' if index else ""
    return (
        f"<header>{back}<h1>{escape(figures.site)}</h1>"
        f"<p>{day.day:%A, {day.day.day} %B %Y} · {escape(zone_name(day.start_us, day.end_us, day.zone))}</p>"
        f"<p>{escape(_recorded(figures))}</p></header>"
    )


def _recorded(figures: Figures) -> str:
    counts: dict[str, int] = {}
    for device in figures.devices:
        counts[device.dataset] = counts.get(device.dataset, 0) + 1
    kinds = ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items()))
    day = figures.day
    every = {int(us) for tally in day.tallies.values() for us in np.unique(tally.tick_us) if us}
    ticks = " and ".join(duration(us) for us in sorted(every))
    first, last = day.life_us
    when = f"{figures.clock(first)} to {figures.clock(last)}"
    if (first, last) == (day.start_us, day.end_us):
        when = "The whole day"
    return f"{when}, a reading every {ticks or 'tick'}; {kinds}"


def _tiles(figures: Figures) -> str:
    found = [("good readings", percent(figures.complete))]
    if figures.grid_kwh is not None:
        imported, exported = figures.grid_kwh
        found += [("grid import", number(imported, "kWh")), ("grid export", number(exported, "kWh"))]
    peak = figures.peak()
    if peak is not None:
        kw, when, _ = peak
        found.append((f"highest import, {figures.clock(when)}", number(kw, "kW")))
    if figures.battery_kwh is not None:
        charged, discharged = figures.battery_kwh
        found += [("charged", number(charged, "kWh")), ("discharged", number(discharged, "kWh"))]
    if 50 in figures.soe:
        median = figures.soe[50][~np.isnan(figures.soe[50])].tolist()
        found.append(("state of energy", f"{number(median[0], digits=0)} → {number(median[-1], '%', 0)}"))
    if figures.control is not None:
        found.append(("target met", percent(figures.control.met)))
    elif figures.latencies:
        slowest = max(one.percentiles["p99"] for one in figures.latencies)
        found.append(("answer time p99", number(slowest, "ms")))
    return tiles(found)


def _findings(figures: Figures) -> str:
    found = []
    incomplete = [one for one in figures.devices if one.complete < 1]
    n = len(figures.devices)
    # Most devices have a good reading at both ends of it; those that have not, have longer gaps.
    down = [gap for gap in figures.gaps if 2 * len(gap.devices) > n and gap.reason == NO_ROWS_TEXT]
    for gap in down[:OUTAGES_SHOWN]:
        when = f"from {figures.clock(gap.from_us)} to {figures.clock(gap.to_us)}"
        found.append(
            ("", f"No rows at all {when} ({duration(gap.to_us - gap.from_us)}): nothing was polling.")
        )
    if len(down) > OUTAGES_SHOWN:
        found.append(("", f"{len(down) - OUTAGES_SHOWN:,} further times without any rows."))
    if incomplete:
        worst = incomplete[0]
        why = f", mostly {worst.reason}" if worst.reason else ""
        which = f"; the worst is {worst.name}" if n > 1 else ":"
        missed = f"{len(incomplete):,} of {n:,} devices missed" if n > 1 else "The device missed"
        text = f"{missed} readings{which} {'with ' * (n > 1)}{percent(worst.complete)} good{why}."
        found.append(("", text))
    else:
        what = "The device has" if n == 1 else f"All {n:,} devices have"
        found.append(("well", f"{what} a good reading in every tick."))
    cells = "".join(f'<li class="{kind}">{escape(text)}</li>' for kind, text in found)
    return f'<ul class="findings">{cells}</ul>'


def _footer() -> str:
    return (
        "<footer><p>Good: all points of the device were read in time and inside their limits. Expected: a "
        "row in every tick from the log's beginning to its end on this day; a device that came or went "
        "during the day is expected from its first to its last row.</p>"
        "<p>Energy is the trapezoid between readings at most three ticks apart that are neither bad nor out "
        "of range. Answer time counts from the tick's beginning to the device's newest answer, within 2 %."
        "</p>"
        "<p>Made by fluxfast.</p></footer>"
    )
