"""The datasets of a log, as a report reads them: what there is, from when to when, and batches of a day.

How a log lies on the disk, and which of its rows are only in the journal yet, is what ``open_log`` knows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from fluxfast.errors import FluxfastError
from fluxfast.log.dataset import TIME
from fluxfast.log.footers import bounds_us, to_us
from fluxfast.log.reading import Log

DECISIONS: Final = "decisions"
EVENTS: Final = "events"
DEVICES: Final = "devices"
BATCH_ROWS: Final = 1 << 18
_ROW_COLUMNS: Final = frozenset({"time", "site", "device", "quality", "reason", "latency_ms"})


@contextmanager
def reading() -> Iterator[None]:
    """Turn what goes wrong with a file into FluxfastError."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise FluxfastError(f"cannot read the log: {str(error).splitlines()[0]}") from None


def device_datasets(log: Log) -> list[str]:
    """Return the names of those that have a row for each device and tick."""
    names = [name for name in log.datasets if name not in (DECISIONS, EVENTS, DEVICES)]
    return [name for name in names if set(log.dataset(name).schema.names) >= _ROW_COLUMNS]


class Extent(NamedTuple):
    """When a log begins and ends, and the days (of the time zone that was asked for) that have rows."""

    first_us: int
    last_us: int
    days: Sequence[date]


def extent(log: Log, zone: tzinfo | None) -> Extent | None:
    """Return how far the rows of a log's devices reach; None when there are none.

    Looks at the first and the last file of each date only.
    """
    bounds = [
        bound
        for name in device_datasets(log)
        for pieces in _by_date(log.dataset(name)).values()
        if (bound := _bounds([pieces[0], pieces[-1]]))
    ]
    if not bounds:
        return None
    days: set[date] = set()
    for first, last in bounds:
        day, end = (local(us, zone).date() for us in (first, last))
        while day <= end:
            days.add(day)
            day += timedelta(days=1)
    return Extent(min(first for first, _ in bounds), max(last for _, last in bounds), sorted(days))


def roles(log: Log, before_us: int) -> dict[tuple[str, str], str]:
    """Return what each (site, device) measures, as far as the log has an inventory that says so.

    Of devices that were changed as the last entry that began before ``before_us`` says.
    """
    if DEVICES not in log.tables:
        return {}
    table = pq.read_table(log.tables[DEVICES])
    if not set(table.column_names) >= {"site", "device", "role", "valid_from"}:
        return {}
    rows = table.sort_by("valid_from").to_pylist()
    return {
        (row["site"], row["device"]): row["role"]
        for row in rows
        if row["role"] and to_us(row["valid_from"]) < before_us
    }


def local(us: int, zone: tzinfo | None) -> datetime:
    """Return a moment in a time zone; None is that of the machine."""
    moment = datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)
    return moment.astimezone(zone)


def start_us(day: date, zone: tzinfo | None) -> int:
    """Return when a day begins, in UTC microseconds since 1970."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1_000_000


def batches(
    dataset: ds.Dataset, columns: Sequence[str], from_us: int, to_us: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows from ``from_us`` to before ``to_us``, file by file in the order in which they began."""
    loose = []
    for piece in _pieces(dataset, from_us, to_us):
        if isinstance(piece, ds.ParquetFileFragment):
            yield from _of_file(piece, dataset.schema, columns, from_us, to_us)
        else:
            loose.append(piece)
    if loose:  # what is only in the journal yet: some minutes
        tables = [piece.to_table(schema=dataset.schema, columns=list(columns)) for piece in loose]
        for batch in pa.concat_tables(tables).sort_by("time").combine_chunks().to_batches(BATCH_ROWS):
            yield _between(batch, from_us, to_us)


def _of_file(
    piece: ds.ParquetFileFragment, schema: pa.Schema, columns: Sequence[str], from_us: int, to_us: int
) -> Iterator[pa.RecordBatch]:
    """Yield a file's rows, one row group after another: a scanner would read on, however slow we are."""
    with pq.ParquetFile(piece.path, filesystem=piece.filesystem) as file:
        groups = [
            k
            for k in range(file.num_row_groups)
            if (bounds := bounds_us(file.metadata.row_group(k))) is None
            or (bounds[0] < to_us and bounds[1] >= from_us)
        ]
        there = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=there) if groups else ():
            arrays = [
                batch.column(name) if name in there else pa.nulls(len(batch), schema.field(name).type)
                for name in columns
            ]
            yield _between(pa.RecordBatch.from_arrays(arrays, list(columns)), from_us, to_us)


def _between(batch: pa.RecordBatch, from_us: int, to_us: int) -> pa.RecordBatch:
    time_us = times_us(batch)
    inside = pc.and_(pc.greater_equal(time_us, from_us), pc.less(time_us, to_us))
    return batch if pc.all(inside).as_py() else batch.filter(inside)


def times_us(batch: pa.RecordBatch) -> pa.Array:
    """Return the column ``time`` in UTC microseconds since 1970, int64; older logs may count otherwise."""
    return batch.column("time").cast(TIME).cast(pa.int64())


def count_rows(dataset: ds.Dataset, from_us: int, to_us: int) -> int:
    """Return how many rows lie in the files of those UTC dates."""
    return sum(int(piece.count_rows()) for piece in _pieces(dataset, from_us, to_us))


def _pieces(dataset: ds.Dataset, from_us: int, to_us: int) -> list[ds.Fragment]:
    """Return what may have rows of a time, what has no date at the end."""
    dates = {local(us, UTC).date().isoformat() for us in (*range(from_us, to_us, 3_600_000_000), to_us - 1)}
    found = _by_date(dataset)
    days = [day for day in sorted(found) if day in dates]
    return [piece for day in [*days, ""] for piece in found.get(day, ())]


def _by_date(dataset: ds.Dataset) -> dict[str, list[ds.Fragment]]:
    """Return what a dataset consists of by UTC date, in the order of time; "" for what has no date."""
    found: dict[str, list[ds.Fragment]] = {}
    for piece in dataset.get_fragments():
        day = str(ds.get_partition_keys(piece.partition_expression).get("date", ""))
        found.setdefault(day, []).append(piece)
    return found


def _bounds(pieces: Sequence[ds.Fragment]) -> tuple[int, int] | None:
    """Return when the first and the last row are; None if there are none."""
    times: list[int] = []
    for piece in pieces:
        if isinstance(piece, ds.ParquetFileFragment):
            groups = [bounds_us(piece.metadata.row_group(k)) for k in range(piece.metadata.num_row_groups)]
            if all(groups):
                times += [us for bounds in groups if bounds for us in bounds]
                continue
        found = pc.min_max(piece.to_table(columns=["time"])["time"].cast(pa.int64()))
        times += [value.as_py() for value in (found["min"], found["max"]) if value.is_valid]
    return (min(times), max(times)) if times else None
