"""Rows of a log to a file of other programs: CSV, Arrow, Excel. As a stream, in the log's order.

That is by file; in a file, by slices of some minutes, in which each device's rows are together.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset as ds

from fluxfast.errors import FluxfastError, MissingExtraError
from fluxfast.log.dataset import TIME
from fluxfast.log.reading import Log

EXCEL_ROWS: Final = 1_048_576  # with the header
EXCEL_COLUMNS: Final = 16_384
EXACT: Final = 2**53  # Excel's numbers are float64
BATCH_ROWS: Final = 65_536

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Selection:
    """Which rows and columns: times in UTC microseconds since 1970, ``to_us`` not included; None: all."""

    dataset: str
    from_us: int | None = None
    to_us: int | None = None
    devices: Sequence[str] = ()
    columns: Sequence[str] = ()

    def filter(self) -> ds.Expression | None:
        """Return the rows as pyarrow has it."""
        conditions = []
        if self.from_us is not None:
            conditions.append(ds.field("time") >= _time(self.from_us))
        if self.to_us is not None:
            conditions.append(ds.field("time") < _time(self.to_us))
        if self.devices:
            conditions.append(ds.field("device").isin(list(self.devices)))
        found = None
        for condition in conditions:
            found = condition if found is None else found & condition
        return found


class _Sink(Protocol):
    def write(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


def export(
    log: Log,
    selection: Selection,
    out: Path,
    format_: str,
    *,
    units: bool = False,
    progress: Progress = lambda done, total: None,
) -> int:
    """Write ``out``, whole or not at all, and return its rows.

    ``units``: columns are called ``power [kW]``. ``progress`` gets bytes of the log done, and in all.
    Begins again if files vanish, for a pass is going on.
    """
    schema = log.schema(selection.dataset)
    names = list(selection.columns) or schema.names
    if unknown := [
        name for name in (*names, *(["device"] if selection.devices else ())) if name not in schema.names
    ]:
        raise FluxfastError(
            f"{selection.dataset} has no column '{unknown[0]}'; it has {', '.join(schema.names)}"
        )
    hidden = out.with_name(f".{out.name}.part")
    try:
        rows = log.retried(lambda: _write(log, selection, names, hidden, format_, units, progress))
        os.replace(hidden, out)
    except BaseException as error:
        with suppress(OSError):
            hidden.unlink()
        if isinstance(error, OSError):
            raise FluxfastError(f"{error.filename or out}: {error.strerror or error}") from error
        raise
    return rows


def _write(
    log: Log, selection: Selection, names: list[str], out: Path, format_: str, units: bool, progress: Progress
) -> int:
    if format_ == "xlsx":
        rows = log.dataset(selection.dataset).count_rows(filter=selection.filter())
        if rows >= EXCEL_ROWS or len(names) > EXCEL_COLUMNS:
            raise FluxfastError(
                f"{rows:,} rows, {len(names):,} columns: a sheet of Excel takes {EXCEL_ROWS:,} rows with its"
                f" header, and {EXCEL_COLUMNS:,} columns (choose fewer, or export csv or arrow)"
            )
    schema = pa.schema([_plain(log.schema(selection.dataset).field(name)) for name in names])
    titles = [_title(field) if units else field.name for field in schema]
    sink = _SINKS[format_](out, schema, titles)
    rows = 0
    try:
        for batch in _batches(log, selection, names, progress):
            arrays = [array.cast(field.type) for array, field in zip(batch.columns, schema, strict=True)]
            sink.write(pa.RecordBatch.from_arrays(arrays, schema=schema))
            rows += len(batch)
    finally:
        sink.close()
    return rows


def _batches(
    log: Log, selection: Selection, names: list[str], progress: Progress
) -> Iterator[pa.RecordBatch]:
    """Yield what was chosen, file by file."""
    dataset, sizes = (
        log.dataset(selection.dataset),
        {str(f.path): f.size for f in log.files(selection.dataset)},
    )
    done, total = 0, sum(sizes.values())
    for fragment in dataset.get_fragments(selection.filter()):
        yield from fragment.to_batches(
            schema=dataset.schema,
            columns=names,
            filter=selection.filter(),
            batch_size=BATCH_ROWS,
            batch_readahead=2,
            fragment_readahead=1,
        )
        done += sizes.get(getattr(fragment, "path", ""), 0)
        progress(done, total)


def _time(us: int) -> pa.Scalar:
    return pa.scalar(us, TIME)


def _plain(field: pa.Field) -> pa.Field:
    """Return a column without dictionary: an Arrow file takes only one for all its batches."""
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


def _title(field: pa.Field) -> str:
    unit = (field.metadata or {}).get(b"unit")
    return f"{field.name} [{unit.decode()}]" if unit else str(field.name)


class Csv:
    """CSV: times are ISO 8601 in UTC, nulls are empty; what CSV has no words for is as Python shows it."""

    def __init__(self, out: Path | IO[bytes], schema: pa.Schema, titles: list[str]) -> None:
        """Write the header; ``titles`` are the columns' names in it."""
        types = [field.type if _is_plain(field.type) else pa.string() for field in schema]
        self._schema = pa.schema(list(zip(titles, types, strict=True)))
        options = pyarrow.csv.WriteOptions(quoting_style="needed")
        sink = str(out) if isinstance(out, Path) else out
        self._writer = pyarrow.csv.CSVWriter(sink, self._schema, write_options=options)

    def write(self, batch: pa.RecordBatch) -> None:
        """Write rows."""
        arrays = [array if _is_plain(array.type) else _text(array) for array in batch.columns]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _is_plain(type_: pa.DataType) -> bool:
    return any(
        is_a(type_)
        for is_a in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string,
                     pa.types.is_date, pa.types.is_null)
    )  # fmt: skip


def _text(array: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(array.type):
        coded = array.dictionary_encode()  # each tick once, for all devices share it
        zone = "Z" if array.type.tz else ""
        return pc.strftime(coded.dictionary, format=f"%Y-%m-%dT%H:%M:%S{zone}").take(coded.indices)
    return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())


class _Arrow:
    """An IPC file, of Arrow, also known as Feather."""

    def __init__(self, out: Path, schema: pa.Schema, titles: list[str]) -> None:
        self._schema = pa.schema(
            [field.with_name(title) for field, title in zip(schema, titles, strict=True)]
        )
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_file(str(out), self._schema, options=options)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _Excel:
    """One sheet. Excel knows no time zones: times are UTC, and the header says so."""

    def __init__(self, out: Path, schema: pa.Schema, titles: list[str]) -> None:
        try:
            import xlsxwriter
        except ImportError as error:
            raise MissingExtraError("Excel files need xlsxwriter: pip install 'fluxfast[excel]'") from error
        self._file = out.open("wb")  # an error now, not at the end
        # A row is on the disk when the next one comes.
        self._book = xlsxwriter.Workbook(self._file, {"constant_memory": True})
        self._sheet = self._book.add_worksheet()
        self._sheet.freeze_panes(1, 0)
        bold = self._book.add_format({"bold": True})
        self._formats = {
            "time": self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"}),
            "date": self._book.add_format({"num_format": "yyyy-mm-dd"}),
        }
        for at, (field, title) in enumerate(zip(schema, titles, strict=True)):
            is_time = pa.types.is_timestamp(field.type)
            self._sheet.set_column(at, at, 24 if is_time else 14)
            self._sheet.write_string(0, at, f"{title} (UTC)" if is_time else title, bold)
        self._row = 1

    def write(self, batch: pa.RecordBatch) -> None:
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            for at, value in enumerate(row):
                self._cell(at, value)
            self._row += 1

    def _cell(self, at: int, value: Any) -> None:
        sheet, row = self._sheet, self._row
        if value is None:
            return
        if isinstance(value, bool):
            sheet.write_boolean(row, at, value)
        elif isinstance(value, datetime):
            sheet.write_datetime(row, at, value.astimezone(UTC).replace(tzinfo=None), self._formats["time"])
        elif isinstance(value, int | float):
            # Also not: infinity, and what is no number.
            exact = abs(value) <= EXACT if isinstance(value, int) else abs(value) < float("inf")
            sheet.write_number(row, at, value) if exact else sheet.write_string(row, at, str(value))
        elif isinstance(value, str):
            sheet.write_string(row, at, value)
        else:
            sheet.write_datetime(row, at, value, self._formats["date"])

    def close(self) -> None:
        with self._file:
            self._book.close()


_SINKS: Final[dict[str, Callable[[Path, pa.Schema, list[str]], _Sink]]] = {
    "csv": Csv,
    "arrow": _Arrow,
    "xlsx": _Excel,
}
FORMATS: Final = tuple(_SINKS)
