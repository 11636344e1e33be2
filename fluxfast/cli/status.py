"""The live view of a running station: pure renderings of one snapshot.

``render`` for a terminal (80 columns), ``line`` for a file or a pipe.
"""

from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fluxfast.cli import sites
from fluxfast.cli.words import size
from fluxfast.status import Status

WIDTH: Final = 78
SHOWN_MESSAGES: Final = 4
COLOURS: Final = {"good": "green", "uncertain": "yellow", "bad": "red"}
FAINT: Final = "bright_black"


def render(status: Status) -> RenderableType:
    """Return a view 78 columns wide."""
    parts: list[RenderableType] = [_head(status), _bar(status), Text(), _figures(status), Text()]
    parts.append(_tables(status))
    if status.control:
        parts += [Text(), sites.render(status, WIDTH)]
    if status.messages:
        parts.append(Text())
    for message in status.messages[-SHOWN_MESSAGES:]:
        text = Text.assemble(("! ", COLOURS["bad"]), message)
        text.truncate(WIDTH, overflow="ellipsis")
        parts.append(text)
    return Group(*parts)


def line(status: Status) -> str:
    """Return the same as one line of plain text."""
    return (
        f"{_clock(status.elapsed_s)} | {status.devices_good:,} of {status.devices:,} devices good"
        f", {status.devices_uncertain:,} uncertain, {status.devices_bad:,} bad"
        f" | {status.readings_per_s:,.0f} readings/s"
        f" | tick p50 {_ms(status.tick_p50_ms)}, p99 {_ms(status.tick_p99_ms)}"
        f" | round trip p50 {_ms(status.round_trip_p50_ms)}, p99 {_ms(status.round_trip_p99_ms)}"
        f" | {status.overruns:,} overruns | {status.rows_logged:,} rows logged"
        + (f" | {sites.line(status)}" if status.control else "")
    )


def _counts(status: Status) -> dict[str, int]:
    return {
        "good": status.devices_good,
        "uncertain": status.devices_uncertain,
        "bad": status.devices_bad,
    }


def _head(status: Status) -> RenderableType:
    counts = [
        Text(f"{count:,} {name}", COLOURS[name] if count else FAINT)
        for name, count in _counts(status).items()
    ]
    grid = Table.grid(expand=True)
    grid.width = WIDTH
    grid.add_column()
    grid.add_column(justify="right")
    title = Text.assemble(("fluxfast", "bold"), f"  {_clock(status.elapsed_s)}")
    grid.add_row(title, Text("   ").join(counts))
    return grid


def _bar(status: Status) -> Text:
    """Return the devices by quality, to scale, but nothing that is there narrower than one cell."""
    cells = {
        name: max(round(WIDTH * count / status.devices), 1)
        for name, count in _counts(status).items()
        if count
    }
    if not cells:
        return Text("━" * WIDTH, FAINT)
    widest = max(cells, key=lambda name: cells[name])
    cells[widest] += WIDTH - sum(cells.values())
    return Text.assemble(*(("━" * n, COLOURS[name]) for name, n in cells.items()))


def _figures(status: Status) -> RenderableType:
    links_style = COLOURS["bad"] if status.links_up < status.links_total else ""
    overruns_style = COLOURS["uncertain"] if status.overruns else ""
    columns = [
        [
            ("readings/s", Text(f"{status.readings_per_s:,.0f}", "bold")),
            ("requests/s", Text(f"{status.requests_per_s:,.0f}")),
            ("links up", Text(f"{status.links_up:,}/{status.links_total:,}", links_style)),
            ("reconnects", Text(f"{status.reconnects:,}")),
            ("retries", Text(f"{status.retries:,}")),
        ],
        [
            ("tick p50", Text(_ms(status.tick_p50_ms))),
            ("tick p99", Text(_ms(status.tick_p99_ms))),
            ("overruns", Text(f"{status.overruns:,} of {status.ticks:,}", overruns_style)),
            ("trip p50", Text(_ms(status.round_trip_p50_ms))),
            ("trip p99", Text(_ms(status.round_trip_p99_ms))),
        ],
        [
            ("rows logged", Text(f"{status.rows_logged:,}")),
            ("journal", Text(size(status.log_bytes))),
            ("CPU", Text(f"{status.cpu_percent:.0f} %")),
            ("late", Text(f"{status.late:,}")),
            ("foreign", Text(f"{status.foreign:,}")),
        ],
    ]
    grid = Table.grid()
    for name_width, value_width in ((10, 13), (11, 15), (14, 15)):
        grid.add_column(style=FAINT, width=name_width)
        grid.add_column(justify="right", width=value_width)
    for (left, a), (middle, b), (right, c) in zip(*columns, strict=True):
        grid.add_row(left, a, f"   {middle}", b, f"   {right}", c)
    return grid


def _tables(status: Status) -> RenderableType:
    grid = Table(box=None, padding=0, width=WIDTH, header_style=FAINT)
    grid.add_column("table", ratio=1, no_wrap=True, overflow="ellipsis")
    for name in ("devices", "good", "uncertain", "bad"):
        grid.add_column(name, justify="right", width=11)
    for table in status.tables:
        quality = {"good": table.good, "uncertain": table.uncertain, "bad": table.bad}
        cells = [Text(f"{n:,}", COLOURS[name] if n else FAINT) for name, n in quality.items()]
        grid.add_row(table.name, f"{table.devices:,}", *cells)
    return grid


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f} ms"
