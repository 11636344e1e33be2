"""One site's day as one HTML file: no script, nothing from elsewhere, every text of a device escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import numpy as np

from fluxfast.report.figures import NO_ROWS_TEXT, DeviceFigures, Figures
from fluxfast.report.heat import LEGEND, data_uri
from fluxfast.report.source import local
from fluxfast.report.style import STYLE
from fluxfast.report.svg import Band, Line, chart, time_axis
from fluxfast.report.text import clock, duration, number, percent, zone_name

LABELLED: Final = 60  # rows of the heat map; of more devices only the worst have names
WORST_LABELLED: Final = 25
REST_HEIGHT_PX: Final = 280
SHOWN: Final = 20  # devices, events
GAPS_SHOWN: Final = 12
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
GOOD_ENOUGH: Final = 0.99


def document(title: str, body: str) -> str:
    """Return a whole page."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def render(figures: Figures, index: str | None = None) -> str:
    """Return a site's page; ``index`` is the page that lists all sites."""
    day = figures.day
    parts = [
        _header(figures, index),
        _tiles(figures),
        _findings(figures),
        _power(figures),
        f'<div class="pair">{_soe(figures)}{_latency(figures)}</div>',
        _heat_map(figures),
        _device_table(figures),
        _gap_table(figures),
        _energy_table(figures),
        _control(figures),
        _events(figures),
        _footer(figures),
    ]
    return document(f"{figures.site}, {day.day}", "\n".join(part for part in parts if part))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], wide: Iterable[int] = (), texts: Iterable[int] = ()) -> str:
    """Return a table of cells that are HTML. ``wide``: columns that a phone leaves out; ``texts``: of text."""
    classes = [
        " ".join(name for name, which in (("wide", set(wide)), ("text", set(texts))) if k in which)
        for k in range(len(head))
    ]
    tags = [f' class="{name}"' if name else "" for name in classes]
    top = "".join(f"<th{tag}>{cell}</th>" for tag, cell in zip(tags, head, strict=True))
    body = ""
    for row in rows:
        summed, cells = (row[0] == "sum"), (row[1:] if row[0] == "sum" else row)
        filled = "".join(f"<td{tag}>{cell}</td>" for tag, cell in zip(tags, cells, strict=True))
        body += f'<tr class="sum">{filled}</tr>' if summed else f"<tr>{filled}</tr>"
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def bar(share: float, enough: float = GOOD_ENOUGH) -> str:
    """Return a small bar, and the percentage; in another colour if that is not enough."""
    low = " low" if share < enough else ""
    return (
        f'<span class="bar{low}"><i style="width:{100 * share:.1f}%"></i></span>'
        f'<span class="share">{percent(share)}</span>'
    )


def _header(figures: Figures, index: str | None) -> str:
    day = figures.day
    back = f'<nav><a href="{escape(index)}">all sites</a></nav>' if index else ""
    return (
        f"<header>{back}<h1>{escape(figures.site)}</h1>"
        f"<p>{day.day:%A, {day.day.day} %B %Y} · {escape(zone_name(day.life_us[0], day.zone))}</p>"
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
    whole = day.life_us == (day.start_us, day.end_us)
    when = "The whole day" if whole else f"{_clock(figures, day.life_us[0])} to {_clock(figures, day.life_us[1])}"
    return f"{when}, a reading every {ticks or 'tick'}; {kinds}"


def _clock(figures: Figures, us: int) -> str:
    day = figures.day
    if us == day.end_us:
        return "24:00"
    return clock(us, day.zone, fine=us % 60_000_000 != 0 or day.grid.bin_us < 60_000_000)


def _tiles(figures: Figures) -> str:
    tiles = [("good readings", percent(figures.complete))]
    meters = [one for one in figures.devices if one.is_grid and one.has_power]
    if meters:
        tiles += [
            ("grid import", number(sum(one.out_kwh for one in meters), "kWh")),
            ("grid export", number(sum(one.in_kwh for one in meters), "kWh")),
        ]
    peak = figures.peak()
    if peak:
        kw, when, _ = peak
        tiles.append((f"highest import, {_clock(figures, when)}", number(kw, "kW")))
    batteries = [one for one in figures.of_kind("battery") if one.has_power]
    if batteries:
        tiles += [
            ("charged", number(sum(one.in_kwh for one in batteries), "kWh")),
            ("discharged", number(sum(one.out_kwh for one in batteries), "kWh")),
        ]
    if 50 in figures.soe:
        median = figures.soe[50][~np.isnan(figures.soe[50])]
        tiles.append(("state of energy", f"{number(float(median[0]), digits=0)} → {number(float(median[-1]), '%', 0)}"))
    if figures.control is not None:
        tiles.append(("target met", percent(figures.control.met)))
    elif figures.latencies:
        slowest = max(figures.latencies, key=lambda one: one.percentiles["p99"])
        tiles.append(("answer time p99", number(slowest.percentiles["p99"], "ms")))
    cells = "".join(f"<li><span>{escape(name)}</span><b>{escape(value)}</b></li>" for name, value in tiles)
    return f'<ul class="tiles">{cells}</ul>'


def _findings(figures: Figures) -> str:
    found = []
    incomplete = [one for one in figures.devices if one.complete < 1]
    n = len(figures.devices)
    if not incomplete:
        what = "The device has" if n == 1 else f"All {n:,} devices have"
        found.append(("well", f"{what} a good reading in every tick."))
    else:
        worst = incomplete[0]
        why = f", mostly {worst.reason}" if worst.reason else ""
        found.append(
            ("", f"{len(incomplete):,} of {n:,} device{'s' * (n > 1)} missed readings; "
             f"the worst is {worst.name} with {percent(worst.complete)} good{why}.")
        )  # fmt: skip
    down = [gap for gap in figures.gaps if len(gap.devices) == n and gap.reason == NO_ROWS_TEXT]
    for gap in down[:3]:
        took = duration(gap.to_us - gap.from_us)
        found.append(("", f"No rows at all from {_clock(figures, gap.from_us)} to {_clock(figures, gap.to_us)} ({took}): nothing was polling."))
    if len(down) > 3:
        found.append(("", f"{len(down) - 3:,} further times without any rows."))
    cells = "".join(f'<li class="{kind}">{escape(text)}</li>' for kind, text in found)
    return f'<ul class="findings">{cells}</ul>'


def _power(figures: Figures) -> str:
    lines: list[Line | Band] = []
    mega = max((float(np.nanmax(np.abs(c), initial=0)) for c in (figures.grid_kw, figures.battery_kw) if c is not None), default=0) >= 10_000
    factor, unit = (1e-3, "MW") if mega else (1.0, "kW")
    told = ", as told" if figures.battery_is_setpoint else ""
    control = figures.control
    if figures.load_kw is not None:
        lines.append(Line("load", figures.load_kw * factor, "load"))
    if figures.grid_kw is not None:
        meters = sum(one.is_grid for one in figures.devices)
        lines.append(Line("grid (+ import)" if meters < 2 else f"{meters} meters (+ import)", figures.grid_kw * factor, "grid"))
    if figures.battery_kw is not None:
        lines.append(Line(f"batteries{told} (+ discharge)", figures.battery_kw * factor, "battery"))
    if control is not None and not np.isnan(control.curves["target_kw"]).all():
        lines.append(Line("target", control.curves["target_kw"] * factor, "dash"))
    if not lines:
        return ""
    note = f"{unit}, means of {duration(figures.day.grid.bin_us)}, over the devices that answered"
    return chart("Power", note, figures.day, lines, absent=figures.absent)


def _soe(figures: Figures) -> str:
    if not figures.soe:
        return ""
    low, quarter, median, three, high = figures.soe.values()
    n = sum(1 for one in figures.of_kind("battery"))
    names = ("p5 to p95", "p25 to p75") if 5 in figures.soe else ("lowest to highest", "middle half")
    drawn: list[Line | Band] = [Line("median" if n > 1 else "state of energy", median, "battery")]
    if n > 1:
        drawn = [Band(names[0], low, high, "battery wide"), Band(names[1], quarter, three, "battery mid"), *drawn]
    note = f"%, across {n:,} batteries" if n > 1 else "%"
    return chart("State of energy", note, figures.day, drawn, span=(0, 100), absent=figures.absent)


def _latency(figures: Figures) -> str:
    if not figures.latencies:
        return ""
    day, drawn = figures.day, []
    for one in figures.latencies:
        style = "battery" if any(d.kind == "battery" for d in figures.devices if d.dataset == one.dataset) else "grid"
        drawn += [Line(f"{one.dataset} p50", one.p50, style), Line(f"{one.dataset} p99", one.p99, f"{style} thin")]
    return chart("Answer time", "ms, from the tick's beginning", day, drawn, absent=figures.absent)


def _heat_map(figures: Figures) -> str:
    devices = figures.devices
    shown = devices if len(devices) <= LABELLED else devices[:WORST_LABELLED]
    legend = "".join(
        f'<li class="cell l{level}">{text}</li>'
        for level, text in LEGEND.items()
    )
    blocks = [_heat_block(shown)]
    rest = devices[len(shown) :]
    after = ""
    if rest:
        height = min(REST_HEIGHT_PX, max(40, 2 * len(rest)))
        picture = data_uri(np.array([one.levels for one in rest]))
        after = (
            f'<p class="note" style="margin:8px 0 4px">the other {len(rest):,}, worst first; '
            f"none below {percent(rest[0].complete)}</p>"
            f'<div class="heat"><span></span><div class="cells" style="height:{height}px">'
            f'<img src="{picture}" alt="the other devices, worst first"></div><span></span></div>'
        )
    order = "worst first" if len(devices) > 1 else ""
    what = f"good readings in each {duration(figures.cell_us)}{', ' + order if order else ''}"
    axis = f'<div class="heat"><span></span>{time_axis(figures.day)}<span></span></div>'
    return (
        f'<figure class="long"><figcaption><h2>Completeness</h2><p>{what}</p></figcaption>'
        f'<ul class="legend">{legend}</ul>{"".join(blocks)}{after}{axis}</figure>'
    )


def _heat_block(devices: Sequence[DeviceFigures]) -> str:
    names = "".join(f'<li title="{escape(one.name)}">{escape(one.name)}</li>' for one in devices)
    shares = "".join(f"<li>{percent(one.complete)}</li>" for one in devices)
    picture = data_uri(np.array([one.levels for one in devices]))
    return (
        f'<div class="heat"><ol>{names}</ol><div class="cells" style="height:calc({len(devices)}*var(--row))">'
        f'<img src="{picture}" alt="completeness of each device over the day; the figures are in the table below">'
        f'<div class="lines"></div></div><ol class="share">{shares}</ol></div>'
    )


def _device_table(figures: Figures) -> str:
    head = ["device", "good", "good rows", "expected", "uncertain", "gaps", "longest", "main reason", "p50 ms", "p99 ms"]
    rows = [
        (
            escape(one.name), bar(one.complete), f"{one.good:,}", f"{one.expected:,.0f}", f"{one.uncertain:,}",
            f"{one.gaps:,}", duration(one.longest_gap_us) if one.gaps else "–", escape(one.reason) or "–",
            number(one.latency_ms[0]), number(one.latency_ms[1]),
        )
        for one in figures.devices[:SHOWN]
    ]  # fmt: skip
    more = len(figures.devices) - SHOWN
    note = f" · {more:,} better ones are not listed" if more > 0 else ""
    title = "Worst devices" if more > 0 else "Devices"
    return (
        f'<section class="long"><h2>{title}</h2><p class="note">good rows of those expected, worst first{note}</p>'
        f"{table(head, rows, wide=(2, 3, 4, 8), texts=(7,))}</section>"
    )


def _gap_table(figures: Figures) -> str:
    """The longest gaps; those of a single tick are only counted."""
    total = sum(one.gaps for one in figures.devices)
    if not total:
        return ""
    n = len(figures.devices)
    tick_us = max(int(tally.tick_us.max()) for tally in figures.day.tallies.values())
    longer = [gap for gap in figures.gaps if gap.to_us - gap.from_us > 1.5 * tick_us]
    rows = [
        (
            _clock(figures, gap.from_us), _clock(figures, gap.to_us), duration(gap.to_us - gap.from_us),
            escape(_names(gap.devices, n)), escape(gap.reason or "unknown"),
        )
        for gap in longer[:GAPS_SHOWN]
    ]  # fmt: skip
    note = f"{total:,} in all, counted for each device"
    if len(longer) > len(rows):
        note += f"; the {len(rows)} longest, devices together where they coincide"
    elif rows:
        note += "; those of more than one tick, devices together where they coincide"
    else:
        note += "; none longer than a tick"
    listed = table(["from", "to", "length", "devices", "because"], rows, texts=(3, 4)) if rows else ""
    return f'<section class="long"><h2>Gaps</h2><p class="note">{note}</p>{listed}</section>'


def _names(names: Sequence[str], all_of_them: int) -> str:
    if len(names) == all_of_them > 1:
        return f"all {all_of_them:,}"
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3:,} more"
    return ", ".join(names)


def _energy_table(figures: Figures) -> str:
    sections = []
    for kind, title, out, in_ in (
        ("battery", "batteries", "discharged", "charged"),
        ("meter", "meters", "import", "export"),
    ):
        devices = [one for one in figures.devices if one.kind == kind and one.has_power]
        if not devices:
            continue
        devices.sort(key=lambda one: (one.coverage, -abs(one.out_kwh) - abs(one.in_kwh)))
        rows: list[tuple[str, ...]] = [
            (escape(one.name) + (" (grid)" if one.is_grid and len(devices) > 1 else ""),
             number(one.in_kwh, digits=1), number(one.out_kwh, digits=1), percent(one.coverage))
            for one in devices[:SHOWN]
        ]  # fmt: skip
        if len(devices) > 1:
            expected = sum(one.expected for one in devices)
            covered = sum(one.coverage * one.expected for one in devices) / expected if expected else 0.0
            rows.append(
                ("sum", f"all {len(devices):,}", number(sum(one.in_kwh for one in devices), digits=1),
                 number(sum(one.out_kwh for one in devices), digits=1), percent(covered))
            )  # fmt: skip
        sections.append(f"<div>{table([title, f'{in_} kWh', f'{out} kWh', 'of the time'], rows)}</div>")
    if not sections:
        return ""
    told = " Batteries: of the power they were told, for they report no measured one." if figures.battery_is_setpoint else ""
    return (
        '<section class="long"><h2>Energy</h2><p class="note">integrated from power where it was read; '
        f'how much of the time that is stands beside it.{told}</p><div class="shares">{"".join(sections)}</div></section>'
    )


def _control(figures: Figures) -> str:
    control = figures.control
    if control is None:
        return ""
    tiles = [
        ("units", f"{control.units:,}"),
        ("target met", percent(control.met)),
        ("unserved", number(control.unserved_kwh, "kWh")),
        ("write confirmed, p50 / p99", f"{number(control.confirm_ms[0])} / {number(control.confirm_ms[1], 'ms')}"),
    ]
    cells = "".join(f"<li><span>{escape(name)}</span><b>{escape(value)}</b></li>" for name, value in tiles)
    lists = [
        _shares("mode that set the target", control.shares["mode"], "none applies"),
        _shares("action", control.shares["action"], "–"),
        _shares("what kept the site from more", control.shares["site_reason"], "nothing"),
        _shares("what kept units from more, or out", control.shares["reason"], "nothing"),
        _shares("writes", _without(control.shares["write"], ("none", None)), ""),
        _shares("whose the units were", control.shares["phase"], "nothing is written (shadow)"),
    ]
    return (
        f'<section class="long"><h2>Control</h2><p class="note">from the decisions of every tick, as shares of the time</p>'
        f'<ul class="tiles" style="margin:8px 0 14px">{cells}</ul>'
        f'<div class="shares">{"".join(one for one in lists if one)}</div></section>'
    )


def _without(shares: Sequence[tuple[str | None, float]], left_out: Sequence[str | None]) -> list[tuple[str | None, float]]:
    kept = [(text, share) for text, share in shares if text not in left_out]
    total = sum(share for _, share in kept)
    return [(text, share / total) for text, share in kept]


def _shares(title: str, shares: Sequence[tuple[str | None, float]], nothing: str) -> str:
    if not shares:
        return ""
    rows = [
        (escape(nothing if text is None else text), bar(share, 0.0))
        for text, share in shares[:8]
    ]
    body = "".join(f'<tr><td class="text">{name}</td><td>{value}</td></tr>' for name, value in rows)
    return f"<div><h3>{escape(title)}</h3><table><tbody>{body}</tbody></table></div>"


def _events(figures: Figures) -> str:
    if not figures.events:
        return ""
    kinds: dict[str, int] = {}
    for event in figures.events:
        kinds[str(event.get("kind"))] = kinds.get(str(event.get("kind")), 0) + 1
    counts = ", ".join(f"{n:,} {kind}" for kind, n in sorted(kinds.items(), key=lambda one: -one[1]))
    events = sorted(figures.events, key=lambda event: int(str(event["time_us"])))[:SHOWN]
    rows = [
        (f"{local(int(str(one['time_us'])), figures.day.zone):%H:%M:%S}", escape(str(one.get("kind"))), escape(str(one.get("text"))))
        for one in events
    ]
    note = f"{counts}{f'; the first {SHOWN}' if len(figures.events) > SHOWN else ''}"
    return (
        f'<section class="long"><h2>Events</h2><p class="note">{escape(note)}</p>'
        f"{table(['time', 'kind', 'what'], rows, texts=(1, 2))}</section>"
    )


def _footer(figures: Figures) -> str:
    return (
        "<footer><p>Good: all points of the device were read in time and inside their limits. Expected: a row in "
        "every tick from the log's beginning to its end on this day; a device that came or went during the day is "
        "expected from its first to its last row.</p><p>Energy is the trapezoid between readings at most three "
        "ticks apart that are neither bad nor out of range. Answer time counts from the tick's beginning to the "
        "device's newest answer, within 2 %.</p><p>Made by fluxfast.</p></footer>"
    )
