"""``fluxfast query``: SQL against a log."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fluxfast.cli.options import BAD_INPUT, COULD_NOT, JSON, LOG, Command
from fluxfast.cli.progress import Bar
from fluxfast.cli.words import plural
from fluxfast.errors import FluxfastError
from fluxfast.log.export import Csv
from fluxfast.log.reading import Log, open_log

SHOWN: Final = 200  # rows of a table
LOOK_S: Final = 0.1
T = TypeVar("T")


@click.command(cls=Command)
@click.argument("sql")
@LOG
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write a .parquet or .csv file instead.")
@JSON
def query(sql: str, log: Path, as_csv: bool, out: Path | None, as_json: bool) -> None:
    """Ask LOG (./log if none is given) by SQL, as DuckDB speaks it.

    Each dataset is a table of its name, up to the last second; <name>_long has a row for each reading;
    columns and devices are what the log says of itself. Times are UTC.

    \b
    Examples:
      fluxfast query "SELECT device, avg(soe) FROM powerpack GROUP BY device"
      fluxfast query "SUMMARIZE powerpack"
      fluxfast query "SHOW TABLES" /var/log/plant --csv

    Exit code: 0 done, 2 bad input (also of SQL), 3 could not be done.
    """
    if out is not None and out.suffix not in (".parquet", ".csv"):
        raise click.BadParameter(f"{out} is neither .parquet nor .csv", param_hint="--out")
    opened = open_log(log)
    opened.duckdb().close()  # tells what to install
    import duckdb

    try:
        schema, batches = opened.retried(lambda: _ask(opened, sql), duckdb.IOException)
        if out is not None:
            click.echo(f"{out}: {plural(_write(schema, batches, out), 'rows')}")
        elif as_csv:
            _write(schema, batches, sys.stdout.buffer)
        elif as_json:
            for batch in batches:
                for row in _rows(batch):
                    click.echo(json.dumps(dict(zip(schema.names, row, strict=True)), default=_word))
        else:
            _print(schema, batches)
    except (duckdb.Error, pa.ArrowException) as error:
        click.secho(str(error).strip(), fg="red", err=True)
        his = isinstance(error, duckdb.ProgrammingError | duckdb.DataError | pa.ArrowException)
        sys.exit(BAD_INPUT if his else COULD_NOT)


def _ask(opened: Log, sql: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Return what is answered: its columns, and its rows as they come, the first of them now."""
    connection = opened.duckdb()
    reader: pa.RecordBatchReader | None = None

    def begin() -> pa.RecordBatch | None:
        nonlocal reader
        relation = connection.sql(sql)
        if relation is None:  # no question
            return None
        reader = pa.RecordBatchReader.from_stream(_in_words(relation))
        return _next(reader)

    first = _interruptible(begin, connection)

    def batches() -> Iterator[pa.RecordBatch]:
        batch = first
        while batch is not None and reader is not None:
            yield batch
            batch = _interruptible(lambda: _next(reader), connection)

    return pa.schema([]) if reader is None else reader.schema, batches()


def _in_words(relation: Any) -> Any:
    """Return it with intervals as DuckDB writes them, like 00:15:00: Arrow's can go to no file."""
    types = list(map(str, relation.types))
    if "INTERVAL" not in types:
        return relation
    names = ('"' + name.replace('"', '""') + '"' for name in relation.columns)
    casts = ("::VARCHAR" if type_ == "INTERVAL" else "" for type_ in types)
    columns = (f"#{n}{cast} AS {name}" for n, (cast, name) in enumerate(zip(casts, names, strict=True), 1))
    return relation.project(", ".join(columns))


def _next(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None


def _interruptible(work: Callable[[], T], connection: Any) -> T:
    """Do it on a thread, so that Ctrl-C ends it, and a terminal sees how far it is."""
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="fluxfast-query", daemon=True).start()
    try:
        if not done.wait(LOOK_S):
            with Bar("query") as bar:
                while not done.wait(LOOK_S):
                    bar.update(max(connection.query_progress(), 0.0), 100.0)
    except KeyboardInterrupt:
        connection.interrupt()
        while not done.wait(LOOK_S):  # the statement that was meant may only have begun now
            connection.interrupt()
        raise
    if errors:
        raise errors[0]
    return results[0]


def _write(schema: pa.Schema, batches: Iterator[pa.RecordBatch], out: Any) -> int:
    """Write all rows; a file is there whole or not at all."""
    if not isinstance(out, Path):
        return _copy(batches, Csv(out, schema, schema.names))
    hidden = out.with_name(f".{out.name}.part")
    try:
        if out.suffix == ".csv":
            rows = _copy(batches, Csv(hidden, schema, schema.names))
        else:
            rows = _copy(batches, pq.ParquetWriter(hidden, schema, compression="zstd"))
        hidden.replace(out)
    except BaseException as error:
        with suppress(OSError):
            hidden.unlink()
        if isinstance(error, OSError):
            raise FluxfastError(f"{out}: {os.strerror(error.errno) if error.errno else error}") from error
        raise
    return rows


def _copy(batches: Iterator[pa.RecordBatch], writer: Any) -> int:
    rows = 0
    try:
        for batch in batches:
            writer.write(batch)
            rows += len(batch)
    finally:
        writer.close()
    return rows


def _print(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bright_black")
    for field in schema:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        table.add_column(Text(field.name), justify="right" if number else "left", overflow="fold")
    shown, more = 0, False
    for batch in batches:
        for row in _rows(batch.slice(0, SHOWN - shown)):
            table.add_row(*(Text(_shown(value)) for value in row))
        shown, more = shown + len(batch), shown + len(batch) > SHOWN
        if more:
            break
    if len(schema):
        width = None if sys.stdout.isatty() else 10_000  # only a terminal is narrow
        Console(highlight=False, width=width).print(table)
    if more:
        click.echo(f"… the first {SHOWN} rows; all with --csv, --json or -o FILE", err=True)


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _shown(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        zone = "Z" if value.tzinfo else ""
        fraction = f"{value:.%f}".rstrip("0") if value.microsecond else ""
        return f"{value:%Y-%m-%d %H:%M:%S}{fraction}{zone}"
    return str(value)


def _word(value: Any) -> str:
    """Return what JSON has no words for."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)
