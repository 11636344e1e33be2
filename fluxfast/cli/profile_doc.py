"""``fluxfast profile doc``: a register map as a table to read, to print or to send on."""

import csv
import html
import io
import json
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fluxfast.cli import completing
from fluxfast.cli.options import Command
from fluxfast.cli.words import plural
from fluxfast.plan.blocks import BlockLayout, plan_blocks
from fluxfast.profiles import BatteryControl, MeterControl, Point, Profile, builtin_profiles, load_profile
from fluxfast.profiles.document import one_line
from fluxfast.profiles.point import FAST
from fluxfast.profiles.types import BYTE_ORDERS, TYPES
from fluxfast.profiles.write import point_fields

FORMATS: Final = ("text", "markdown", "html", "csv")
_RIGHT: Final = ("address", "hex", "reference")
_PIPE_WIDTH: Final = 10_000
_NARROW: Final = 100  # columns of a terminal


@click.command("doc", cls=Command, short_help="Print a profile as a table.")
@click.argument("name", metavar="[PROFILE]", required=False, shell_complete=completing.profiles)
@click.option("--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True,
              help="How; html is a whole page, csv has a line for each point.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def doc(name: str | None, format_: str, as_json: bool) -> None:
    """Print a profile as a table: each point with its PDU address (counted from 0), the same in hex, and the
    reference that counts from 1 (holding register 2008 is 42009), its type, scale, unit and what it says;
    then what the device tolerates, the reads that this makes, and what control goes by.

    Without PROFILE: the profiles that come with fluxfast.

    \b
    Examples:
      fluxfast profile doc powerpack
      fluxfast profile doc pcs.yaml --format html > pcs.html
      fluxfast profile doc pcs.yaml --format csv > registers.csv

    Exit code: 0 done, 2 there is no such profile or it is wrong.
    """
    if name is None:
        _list(as_json)
        return
    profile = load_profile(name)
    if as_json:
        click.echo(json.dumps(_as_json(profile), default=_number, ensure_ascii=False))
        return
    rows = [_cells(point) for point in profile.points.values()]
    columns = [column for column in rows[0] if column in _ALWAYS or any(row[column] for row in rows)]
    writers = {"text": _text, "markdown": _markdown, "html": _html, "csv": _csv}
    writers[format_](profile, columns, rows)


_ALWAYS: Final = ("point", "address", "hex", "reference", "type", "unit", "access", "description")


def _cells(point: Point) -> dict[str, str]:
    """Return a point's row; a cell is empty where the profile says nothing."""
    bits = f" bit {point.bit}" if point.bit is not None else ""
    if point.bits is not None:
        bits = f" bits {point.bits[0]}–{point.bits[1]}"
    length = f"[{point.length}]" if point.length else ""
    order = (
        "" if len(BYTE_ORDERS[TYPES[point.type].width]) == 2 and not point.swap_bytes else point.byte_order
    )
    fields = point_fields(point)
    cells = {
        "point": point.name,
        "address": str(point.address),
        "hex": f"0x{point.address:04X}",
        "reference": point.reference,
        "table": "" if point.register == "holding" else point.register,
        "type": f"{point.type}{length}{bits}",
        "order": order,
        "scale": f"{point.scale.normalize():f}" if point.scale != 1 else "",
        "offset": f"{point.offset.normalize():f}" if point.offset else "",
        "unit": point.unit,
        "access": {"ro": "R", "rw": "R/W", "wo": "W"}[point.access],
        "group": "" if point.group == FAST else point.group,
        "limits": f"{point.limits[0]:f} to {point.limits[1]:f}" if point.limits else "",
        "states": ", ".join(f"{raw} {label}" for raw, label in (point.states or {}).items()),
        "no value": _raws(fields.get("not_implemented")),
        "description": point.description,
    }
    return {column: one_line(cell) for column, cell in cells.items()}


def _raws(raws: Any) -> str:
    if raws is None:
        return ""
    return ", ".join(map(str, raws)) if isinstance(raws, list) else str(raws)


# ---- what is said below the table ----


def _about(profile: Profile) -> Iterator[str]:
    """Yield the quirks, the reads and the control in words."""
    quirks = profile.quirks
    yield (
        f"One request reads up to {quirks.max_registers} registers, over gaps of up to {quirks.max_gap} that"
        " no point wants."
    )
    if quirks.readable is not None:
        ranges = ", ".join(f"{first}–{last}" for first, last in quirks.readable)
        yield f"It answers for these addresses only: {ranges}."
    if quirks.max_in_flight > 1:
        yield f"{quirks.max_in_flight} requests may wait for answers at once."
    for pause_ns, where in (
        (quirks.request_gap_ns, "between an answer and the next request"),
        (quirks.connect_delay_ns, "between connecting and the first request"),
    ):
        if pause_ns:
            yield f"It needs {pause_ns / 1e6:g} ms {where}."
    if quirks.transaction_id == "zero":
        yield "Its answers bear the transaction identifier 0."
    if quirks.unit_aliases:
        yield f"It may answer as unit {' or '.join(map(str, quirks.unit_aliases))}, too."
    if quirks.max_connections is not None:
        yield f"It accepts {plural(quirks.max_connections, 'connections')}."
    if quirks.write_function != "auto":
        yield f"Registers are written with function code {quirks.write_function}."
    blocks = plan_blocks(profile)
    yield f"That makes {plural(len(blocks), 'reads')}: {'; '.join(map(_block, blocks))}."
    yield from _control(profile)


def _block(block: BlockLayout) -> str:
    last = block.address + block.quantity - 1
    when = "" if block.every == 1 else f" every {block.every} ticks"
    return f"FC{block.function_code:02} {block.address}–{last}{when}"


def _control(profile: Profile) -> Iterator[str]:
    control = profile.control
    if isinstance(control, MeterControl):
        frequency = f", the frequency from {control.frequency}" if control.frequency else ""
        yield f"Control takes a site's power from {control.power}, positive is import{frequency}."
    elif isinstance(control, BatteryControl):
        function = profile.write_function(control.setpoint)
        yield (
            f"Control writes {control.setpoint} with function code {function}, positive discharges, at least"
            f" every {control.refresh_ns / 1e9:g} s, while {control.ready.point} is"
            f" {' or '.join(map(one_line, control.ready.labels))}; it reads the state of energy from"
            f" {control.soe}."
        )
        if control.source is not None:
            yield f"Before, it writes {one_line(control.source.labels[0])} to {control.source.point}."
        if control.heartbeat is not None:
            beat = control.heartbeat
            yield f"Meanwhile it writes {beat.point} ({beat.kind}) every {beat.every_ns / 1e9:g} s."


# ---- forms ----


def _title(profile: Profile) -> str:
    listed = f"{profile.name}, version {profile.version}, {plural(len(profile.points), 'points')}"
    return f"{one_line(profile.title)} ({listed})" if profile.title else listed


def _text(profile: Profile, _: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    """A terminal is narrow: what is said of a few points only has no column of its own."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    numbers = [column for column in _RIGHT if console.width >= _NARROW or column != "hex"]
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bright_black")
    for column in ("point", *numbers, "type", "unit", "access", "meaning"):
        right = column in _RIGHT
        table.add_column(column, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows:
        number = " ".join(filter(None, (
            row["table"], row["type"], row["order"], row["scale"] and f"×{row['scale']}",
            row["offset"] and f"{Decimal(row['offset']):+f}",
        )))  # fmt: skip
        meaning = "; ".join(filter(None, (
            row["description"], row["states"], row["limits"],
            row["no value"] and f"no value: {row['no value']}",
            row["group"] and f"group {row['group']}",
        )))  # fmt: skip
        cells = (
            row["point"],
            *(row[column] for column in numbers),
            number,
            row["unit"],
            row["access"],
            meaning,
        )
        table.add_row(*map(Text, cells))
    with console.capture() as printed:
        console.print(Text(_title(profile), "bold"))
        console.print(table)
        console.print()
        for line in _about(profile):
            console.print(Text(line))
    for line in printed.get().splitlines():
        click.echo(line.rstrip())  # the table is as wide as its widest row


def _markdown(profile: Profile, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    click.echo(f"# {_title(profile)}\n")
    click.echo(f"| {' | '.join(columns)} |")
    click.echo(f"|{'|'.join('--:' if column in _RIGHT else '---' for column in columns)}|")
    for row in rows:
        cells = (html.escape(row[column], quote=False).replace("|", "\\|") for column in columns)
        click.echo(f"| {' | '.join(cells)} |")
    click.echo("")
    for line in _about(profile):
        click.echo(f"- {html.escape(line, quote=False)}")


def _html(profile: Profile, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    title = html.escape(_title(profile))
    right = {column: ' class="r"' if column in _RIGHT else "" for column in columns}
    head = "".join(f"<th{right[column]}>{column}</th>" for column in columns)
    body = "\n".join(
        "<tr>" + "".join(f"<td{right[c]}>{html.escape(row[c])}</td>" for c in columns) + "</tr>"
        for row in rows
    )
    said = "\n".join(f"<li>{html.escape(line)}</li>" for line in _about(profile))
    click.echo(_PAGE.format(title=title, head=head, body=body, said=said), nl=False)


_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #222; background: #fff }}
table {{ border-collapse: collapse }}
td, th {{ padding: .2em .7em .2em 0; text-align: left; vertical-align: top }}
tr {{ border-bottom: 1px solid #ddd }} th {{ color: #666; font-weight: normal }}
.r {{ text-align: right; font-variant-numeric: tabular-nums }}
</style>
<h1>{title}</h1>
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table>
<ul>
{said}
</ul>
</html>
"""


def _csv(profile: Profile, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    """All columns, also the empty ones: programs want the same each time."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "table": row["table"] or "holding"} for row in rows)
    click.echo(out.getvalue(), nl=False)


def _as_json(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "title": profile.title,
        "version": profile.version,
        "points": [
            {"reference": point.reference} | point.model_dump(by_alias=True)
            for point in profile.points.values()
        ],
        "quirks": profile.quirks.model_dump(),
        "about": list(_about(profile)),
    }


def _number(value: Any) -> Any:
    """JSON has no decimals."""
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    raise TypeError(value)


def _list(as_json: bool) -> None:
    for name in builtin_profiles():
        profile = load_profile(name)
        if as_json:
            click.echo(json.dumps({"name": name, "title": profile.title, "points": len(profile.points)}))
        else:
            click.echo(f"{name:16}  {profile.title}, {plural(len(profile.points), 'points')}")
