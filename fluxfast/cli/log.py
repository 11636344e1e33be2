"""``fluxfast log``: what a log has, whether it is whole, and its housekeeping."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fluxfast.cli.log_export import export
from fluxfast.cli.options import DONE, FINDINGS, JSON, LOG, Command
from fluxfast.cli.progress import Bar
from fluxfast.cli.words import percent, period, plural, size
from fluxfast.errors import FluxfastError
from fluxfast.log.compactor import Done, compact
from fluxfast.log.reading import Log, open_log
from fluxfast.log.statistics import ColumnStatistics, Extent, Statistics, extent, share, statistics
from fluxfast.log.verify import verify

Tell = Callable[[str], None]


@click.group()
def log() -> None:
    """Look at a log, check it, and export it.

    LOG is its folder, ./log if none is given. All but `recover` and `compact` only read, also beside a
    running station, and see what it logged a second ago.

    \b
    Examples:
      fluxfast log ls
      fluxfast log verify /var/log/plant

    Exit code: 0 done, 1 there are findings, 2 bad input, 3 could not be done.
    """


log.add_command(export)


@log.command("ls", cls=Command, short_help="List the datasets.")
@LOG
@JSON
def ls(log: Path, as_json: bool) -> None:
    """List the datasets of LOG: files and their size, rows, those that only the journal has yet, times.

    \b
    Example:
      fluxfast log ls /var/log/plant
    """
    opened = open_log(log)
    extents = opened.retried(lambda: [extent(opened, name) for name in opened.datasets])
    if as_json:
        for one in extents:
            click.echo(json.dumps(_extent_json(one)))
        return
    table = Table(box=None, pad_edge=False, header_style="bright_black")
    table.add_column("dataset", no_wrap=True)
    for title in ("files", "size", "rows", "journal"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("UTC", no_wrap=True)
    for one in extents:
        cells = (one.dataset, f"{one.files:,}", size(one.bytes), f"{one.rows:,}", f"{one.journal_rows:,}")
        table.add_row(*cells, period(one.first_us, one.last_us))
    Console(highlight=False).print(table)
    _tell_missing(opened)


@log.command("stat", cls=Command, short_help="Show sizes, completeness, and each column.")
@LOG
@click.option("--dataset", "names", multiple=True, help="Only this one; may be given several times.")
@JSON
def stat(log: Path, names: Sequence[str], as_json: bool) -> None:
    """Show what each dataset of LOG takes, how complete it is, and what its columns hold.

    Size, nulls, least and most of a column are those of the files, not of the journal.

    \b
    Example:
      fluxfast log stat log --dataset powerpack
    """
    opened = open_log(log)
    for name in names or opened.datasets:
        try:
            with Bar(name) as bar:
                found = opened.retried(partial(statistics, opened, name, bar.update))
        except (OSError, ValueError, pa.ArrowException) as error:
            why = str(error).strip().splitlines()[0]
            raise FluxfastError(f"{log}: {name}: {why} (fluxfast log verify tells more)") from error
        if as_json:
            click.echo(json.dumps(_statistics_json(found)))
        else:
            _print_statistics(found)
    if not as_json:
        _tell_missing(opened)


@log.command("verify", cls=Command, short_help="Check every byte.")
@LOG
@JSON
def verify_(log: Path, as_json: bool) -> None:
    """Check every byte of LOG against its checksum, and say what to do about what is wrong.

    Exits with 1 if something is wrong. What a running station or a killed one leaves for the next pass is
    told as a note, and is none.

    \b
    Example:
      fluxfast log verify log || echo "look at it"
    """
    wrong, total = 0, 0

    def progress(done: int, of: int) -> None:
        nonlocal total
        total = of
        bar.update(done, of)

    with Bar("verify") as bar:
        for finding in verify(log, progress):
            wrong += not finding.harmless
            if as_json:
                click.echo(json.dumps({"event": "finding", **asdict(finding)}))
            else:
                click.echo(f"note: {finding}" if finding.harmless else click.style(str(finding), fg="red"))
    if as_json:
        click.echo(json.dumps({"event": "end", "bytes": total, "findings": wrong}))
    else:
        click.echo(f"{log}: {size(total)} checked; {plural(wrong, 'findings')}")
    sys.exit(FINDINGS if wrong else DONE)


@log.command("recover", cls=Command, short_help="Make Parquet of what a crash has left.")
@LOG
@JSON
def recover(log: Path, as_json: bool) -> None:
    """Make Parquet of what a crash has left in the journal of LOG, and say what was lost.

    A station does that by itself when it starts. What a running one still writes is left alone. Exits with 1
    if something was damaged.

    \b
    Example:
      fluxfast log recover log
    """
    told, done = _pass(log, merge=False)
    if as_json:
        click.echo(json.dumps({"told": told, **asdict(done)}))
    else:
        for line in told:
            click.echo(line)
        recovered = f"{plural(done.rows, 'rows')} of {plural(done.segments, 'segments')} are Parquet now"
        click.echo(f"{log}: {recovered if done.segments else 'nothing to recover'}{_of_the_journal(log)}")
    sys.exit(FINDINGS if told else DONE)


@log.command("compact", cls=Command, short_help="Make Parquet of the journal, and few files of many.")
@LOG
@click.option("--all-days", is_flag=True, help="Merge the files of the current day, too.")
@click.option("--remote", metavar="URL", help="Copy to this place what it does not have yet.")
@JSON
def compact_(log: Path, all_days: bool, remote: str | None, as_json: bool) -> None:
    """Make Parquet of the journal of LOG, and large files of the small ones of days that are over.

    A station does that by itself. Exits with 1 if something was damaged, or the disk has no room to merge.

    \b
    Example:
      fluxfast log compact log --all-days
    """
    told, done = _pass(log, merge=True, all_days=all_days, remote=remote)
    if as_json:
        click.echo(json.dumps({"told": told, **asdict(done)}))
    else:
        for line in told:
            click.echo(line)
        lines = []
        if done.segments:
            lines.append(f"{plural(done.rows, 'rows')} of {plural(done.segments, 'segments')} of the journal")
        if done.merged:
            lines.append(f"{plural(done.merged, 'files')} merged to {done.merged_to:,}")
        if done.postponed:
            lines.append(
                f"{plural(done.postponed, 'merges')} left: the disk has no room for both, old and new"
            )
        if done.uploaded:
            lines.append(f"{plural(done.uploaded, 'files')} ({size(done.uploaded_bytes)}) copied")
        click.echo(f"{log}: {'; '.join(lines) or 'nothing to do'}")
    sys.exit(FINDINGS if told or done.postponed else DONE)


def _pass(
    log: Path, *, merge: bool, all_days: bool = False, remote: str | None = None
) -> tuple[list[str], Done]:
    open_log(log)  # there must be one
    told: list[str] = []
    options: dict[str, Any] = {"merge": merge, "all_days": all_days, "remote": remote}
    try:
        with Bar("journal") as bar:
            done = compact(log, told.append, **options, wait=False, progress=bar.update)
    except OSError as error:
        raise FluxfastError(f"{error.filename or log}: {error.strerror or error}") from error
    return told, done


def _of_the_journal(log: Path) -> str:
    """Say what is still in the journal: a station writes it."""
    opened = open_log(log)
    rows = sum(map(opened.journal_rows, opened.datasets))
    return f"; {plural(rows, 'rows')} more are in the journal of a running station" if rows else ""


def _tell_missing(opened: Log) -> None:
    for name in opened.snapshot.missing:
        click.secho(
            f"missing: {name} (the manifest has it; fluxfast log verify tells more)", fg="yellow", err=True
        )


def _print_statistics(found: Statistics) -> None:
    one, each = found.extent, found.bytes_per_reading
    devices = f" of {plural(len(found.devices), 'devices')}" if found.devices else ""
    click.secho(one.dataset, bold=True)
    click.echo(f"  {plural(one.rows, 'rows')}{devices}, {period(one.first_us, one.last_us)} UTC")
    journal = f"; {plural(one.journal_rows, 'rows')} only in the journal" if one.journal_rows else ""
    readings = f", {plural(found.points, 'readings')} in a row, {each:.2f} bytes for each" if each else ""
    click.echo(f"  {size(one.bytes)} in {plural(one.files, 'files')}{readings}{journal}")
    if found.qualities:
        listed = ", ".join(f"{count:,} {quality}" for quality, count in found.qualities.most_common())
        click.echo(f"  {percent(found.usable)} of the rows can be used ({listed}){_worst(found)}")
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bright_black")
    table.add_column("  column", no_wrap=True)
    for title in ("type", "unit", "encoding"):
        table.add_column(title, overflow="fold")
    for title in ("size", "nulls", "least", "most"):
        table.add_column(title, justify="right", overflow="fold")
    for column in found.columns:
        table.add_row(*map(Text, _column_cells(column)))
    Console(highlight=False).print(table)


def _worst(found: Statistics) -> str:
    if found.worst is None or found.usable == 1:
        return ""
    site, device = found.worst
    return f"; {percent(share(found.devices[found.worst]))} of {device}, {site}"


def _column_cells(column: ColumnStatistics) -> Iterator[str]:
    yield from (f"  {column.name}", column.type, column.unit or "", ", ".join(_encodings(column)))
    yield from (size(column.bytes), f"{column.nulls:,}", _value(column.least), _value(column.most))


def _encodings(column: ColumnStatistics) -> list[str]:
    return [name for name, _ in column.encodings.most_common()]


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%m-%d %H:%M}"
    return f"{value + 0.0:,.6g}" if isinstance(value, float) else str(value)


def _extent_json(one: Extent) -> dict[str, Any]:
    said = asdict(one)
    first, last = (_iso(said.pop(key)) for key in ("first_us", "last_us"))
    return {**said, "from": first, "to": last}


def _statistics_json(found: Statistics) -> dict[str, Any]:
    return {
        **_extent_json(found.extent),
        "points": found.points,
        "bytes_per_reading": found.bytes_per_reading,
        "qualities": dict(found.qualities),
        "usable": found.usable,
        "devices": [
            {"site": site, "device": device, "usable": share(qualities), "qualities": dict(qualities)}
            for (site, device), qualities in found.devices.items()
        ],
        "columns": [
            {
                "name": column.name,
                "type": column.type,
                "unit": column.unit,
                "encodings": _encodings(column),
                "bytes": column.bytes,
                "nulls": column.nulls,
                "least": _plain(column.least),
                "most": _plain(column.most),
            }
            for column in found.columns
        ],
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _iso(us: int | None) -> str | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC).isoformat()
