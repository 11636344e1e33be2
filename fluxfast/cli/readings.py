"""How answers of units are shown: a table, JSON, CSV, raw registers."""

import csv
import io
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fluxfast.access.cure import failure
from fluxfast.access.read import Answer
from fluxfast.access.target import Unit
from fluxfast.access.watch import Track
from fluxfast.cli.options import COULD_NOT, DONE, FINDINGS
from fluxfast.cli.words import plural
from fluxfast.profiles import Point
from fluxfast.profiles.document import one_line
from fluxfast.profiles.point import one_based
from fluxfast.table import quality
from fluxfast.values import Reading, Value

FAINT: Final = "bright_black"
COLOURS: Final = {"good": "green", "uncertain": "yellow", "bad": "red"}
NONE: Final = "–"
WORDS_A_LINE: Final = 8
WIDE: Final = 10_000  # only a terminal is narrow
Tracks = Sequence[Track | None]  # of each answer; None where it is read once


def exit_code(answers: Sequence[Answer]) -> int:
    """Return 0 if all are good, 3 if nothing was read, otherwise 1."""
    if not any(answer.was_read for answer in answers):
        return COULD_NOT
    return FINDINGS if any(answer.reading.code for answer in answers) else DONE


def place_json(unit: Unit, point: Point) -> dict[str, Any]:
    """Return what says which value of which unit it is, as JSON values."""
    device = unit.device
    return {
        "site": None if device is None else device.site,
        "device": None if device is None else device.id,
        "name": None if device is None else device.name,
        "host": unit.host,
        "port": unit.port,
        "unit_id": unit.unit_id,
        "point": point.name,
        "table": point.register,
        "address": point.address,
        "reference": point.reference,
        "type": point.type,
    }


def as_json(answer: Answer, track: Track | None) -> dict[str, Any]:
    """Return an answer as JSON values, with what was seen of it if it is watched."""
    reading, point = answer.reading, answer.reading.point
    fields = {
        "time": moment(answer.time_us),
        **place_json(answer.unit, point),
        "value": reading.value,
        "label": reading.label,
        "unit": point.unit or None,
        "quality": quality.quality_name(reading.code),
        "reason": answer.reason,
        "raw": reading.raw.hex() or None,
        "took_ms": None if answer.took_ms is None else round(answer.took_ms, 3),
    }
    if track is not None:
        fields |= {
            "changed": track.has_changed,
            "min": track.minimum,
            "max": track.maximum,
            "per_s": track.rate_per_s,
        }
    return fields


def print_json(answers: Sequence[Answer], tracks: Tracks) -> None:
    """Print a JSON object a line for each answer."""
    rows = map(as_json, answers, tracks)
    click.echo("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows), nl=False)


def print_csv(answers: Sequence[Answer], tracks: Tracks, *, with_header: bool) -> None:
    """Print a line of CSV for each answer, the same fields as in JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = list(map(as_json, answers, tracks))
    if with_header:
        writer.writerow(rows[0])
    for row in rows:
        writer.writerow("" if cell is None else plain(cell) for cell in row.values())
    click.echo(text.getvalue(), nl=False)


def print_raw(answers: Sequence[Answer]) -> None:
    """Print the registers as they came, in hex, adjacent ones together: table, address, reference, words."""
    for (unit, register), group in itertools.groupby(answers, lambda a: (a.unit, a.reading.point.register)):
        place = f"{unit.name}  " if len({answer.unit for answer in answers}) > 1 else ""
        for first, words in _runs(list(group)):
            for at in range(0, len(words), WORDS_A_LINE):
                line = " ".join(words[at : at + WORDS_A_LINE])
                address = first + at
                click.echo(f"{place}{register:8}  {address:5}  {one_based(register, address):>6}  {line}")
    for answer in answers:
        if not answer.was_read:
            click.echo(failure(answer), err=True)


def print_table(table: Table) -> None:
    """Print a table, as wide as it is unless a terminal is narrow."""
    Console(highlight=False, width=None if sys.stdout.isatty() else WIDE).print(table)


def line_of(answers: Sequence[Answer], tracks: Tracks) -> str:
    """Return the time and the values in a line, each with its address and reference; * marks a change."""
    several = len({answer.unit for answer in answers}) > 1
    cells = []
    for answer, track in zip(answers, tracks, strict=True):
        point = answer.reading.point
        name = f"{answer.unit.name} {point.name}" if several else point.name
        value = f"{shown(answer.reading)}{f' {point.unit}' if point.unit else ''}"
        if answer.reading.value is None:
            value = f"{NONE} ({one_line(answer.reason or '')})"
        changed = "*" if track is not None and track.has_changed else ""
        at = f"{point.address}, {point.reference}"
        cells.append(f"{name} ({at})={value}{changed}")
    return f"{moment(answers[0].time_us)}  {'  '.join(cells)}"


def moment(time_us: int) -> str:
    """Return UTC microseconds since 1970 as ISO 8601, to the millisecond."""
    return (
        datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def shown(reading: Reading) -> str:
    """Return the value as people read it, or a dash: its state, or all its digits, on one line."""
    if reading.value is None:
        return NONE
    return one_line(reading.label) if reading.label is not None else plain(reading.value)


def plain(value: Value) -> str:
    """Return a value with all its digits and nothing else, to be copied; bits are 1 and 0."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return one_line(str(value))


def raw_words(raw: bytes, point: Point) -> str:
    """Return registers in hex, ``FFCE 0001``; of a bit 0 or 1."""
    return str(raw[0]) if point.in_bit_table and raw else raw.hex(" ", 2).upper()


def table_of(answers: Sequence[Answer], tracks: Tracks) -> Table:
    """Return a row for each answer; if it is watched with what was seen of it in place of its registers."""
    units = {answer.unit for answer in answers}
    is_watched = tracks[0] is not None
    by_name = any(answer.unit.device is not None for answer in answers)
    table = Table(box=None, pad_edge=False, header_style=FAINT)
    if by_name and not (is_watched and len(units) == 1):  # then it is in the title
        table.add_column("device", overflow="fold")
    if not by_name and len(units) > 1:
        table.add_column("unit id", justify="right")
    if by_name:
        table.add_column("point", overflow="fold")
    is_text = any(isinstance(answer.reading.value, str) for answer in answers)
    table.add_column("value", justify="right", overflow="fold", no_wrap=not is_text)
    if by_name:
        table.add_column("unit")
    if is_watched:
        for name in ("min", "max", "per s"):
            table.add_column(name, justify="right", no_wrap=True)
    if not is_watched or any(answer.reading.code for answer in answers):  # 80 columns are few
        table.add_column("quality", overflow="fold")
    for name in ("address", "reference"):
        table.add_column(name, justify="right", no_wrap=True)
    if not is_watched:
        table.add_column("raw", overflow="fold", style=FAINT)
    for answer, track in zip(answers, tracks, strict=True):
        cells = dict(_cells(answer, track))
        table.add_row(*(cells[str(column.header)] for column in table.columns))
    if is_watched:
        failures = sum(track.failures for track in tracks if track is not None)
        who = answers[0].unit.name if len(units) == 1 else f"{len(units)} units"
        reads = max(track.reads for track in tracks if track is not None)
        failed = f", {failures} values failed" if failures else ""
        table.title = Text(f"{who}: {plural(reads, 'reads')}{failed}", FAINT)
        table.title_justify = "left"
    return table


def _cells(answer: Answer, track: Track | None) -> Iterator[tuple[str, Text]]:
    """Yield all that a row may show, by the column's name."""
    reading, point = answer.reading, answer.reading.point
    quality_ = quality.quality_name(reading.code)
    yield "device", Text(answer.unit.name)
    yield "unit id", Text(str(answer.unit.unit_id))
    yield "point", Text(point.name)
    yield "value", Text(shown(reading), "reverse" if track is not None and track.has_changed else "")
    yield "unit", Text(point.unit)
    yield "quality", Text(_why(answer), COLOURS[quality_])
    yield "address", Text(str(point.address))
    yield "reference", Text(point.reference)
    yield "raw", Text(raw_words(reading.raw, point))
    if track is not None:
        yield "min", _short(track.minimum)
        yield "max", _short(track.maximum)
        yield "per s", _short(track.rate_per_s, 3)


def _short(number: float | None, digits: int = 7) -> Text:
    return Text(NONE if number is None else f"{number:.{digits}g}")


def _why(answer: Answer) -> str:
    name = quality.quality_name(answer.reading.code)
    return f"{name}: {one_line(answer.reason)}" if answer.reason else name


def _runs(answers: Sequence[Answer]) -> Iterator[tuple[int, list[str]]]:
    """Yield (first address, words) of what is adjacent."""
    first = 0
    words: list[str] = []
    read = [answer for answer in answers if answer.was_read]
    for answer in sorted(read, key=lambda answer: answer.reading.point.address):
        point, raw = answer.reading.point, answer.reading.raw
        if words and point.address != first + len(words):
            if point.address < first + len(words):  # bits of a register that is there already
                continue
            yield first, words
            words = []
        if not words:
            first = point.address
        words += raw_words(raw, point).split()
    if words:
        yield first, words
