"""The datasets of a log, as a report reads them: what there is, from when to when, and batches of a day.

Only ``open_log`` knows how a log lies on the disk.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from fluxfast.errors import FluxfastError

DECISIONS: Final = "decisions"
EVENTS: Final = "events"
DEVICES: Final = "devices"
BATCH_ROWS: Final = 1 << 18
_ROW_COLUMNS: Final = frozenset({"time", "site", "device", "quality", "reason", "latency_ms"})


class Log(Protocol):
    """A log that can be read."""

    @property
    def datasets(self) -> list[str]:
        """Return the names."""

    @property
    def tables(self) -> dict[str, Path]:
        """Return the small tables that are there, of which ``devices`` is the inventory."""

    def dataset(self, name: str) -> ds.Dataset:
        """Return a dataset with all its columns, the oldest files first; other rows as they come."""


class _Folder:
    """A log as its files are: one folder a dataset, hive partitions by UTC date."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.datasets = sorted({file.parents[1].name for file in path.glob("*/date=*/*.parquet")})
        inventory = path / DEVICES / f"{DEVICES}.parquet"
        self.tables = {DEVICES: inventory} if inventory.is_file() else {}

    def dataset(self, name: str) -> ds.Dataset:
        """Return a dataset; columns that came later are null before."""
        found = ds.dataset(self._path / name, format="parquet", partitioning="hive")
        newest = ds.dataset(sorted(found.files)[-1], format="parquet").schema
        schema = pa.unify_schemas([newest, found.schema], promote_options="permissive")
        return found.replace_schema(schema.with_metadata(newest.metadata))


def open_log(path: Path) -> Log:
    """Return the log in a folder; FluxfastError when there is none."""
    if not path.is_dir():
        raise FluxfastError(f"{path}: is no folder of a log")
    return _Folder(path)


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
        if row["role"] and _us(row["valid_from"]) < before_us
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
    pieces = _pieces(dataset, from_us, to_us)
    time = pc.field("time")
    type_ = dataset.schema.field("time").type
    wanted = (time >= pa.scalar(from_us, type_)) & (time < pa.scalar(to_us, type_))
    files = [piece for piece in pieces if isinstance(piece, ds.ParquetFileFragment)]
    if files:
        together = ds.FileSystemDataset(files, dataset.schema, files[0].format, files[0].filesystem)
        # With more ahead, a day's batches wait in memory.
        yield from together.scanner(
            columns=list(columns),
            filter=wanted,
            batch_size=BATCH_ROWS,
            batch_readahead=2,
            fragment_readahead=1,
        ).to_batches()
    loose = [piece for piece in pieces if not isinstance(piece, ds.ParquetFileFragment)]
    tables = [piece.to_table(schema=dataset.schema, columns=list(columns), filter=wanted) for piece in loose]
    if tables:  # what is only in the journal yet: some minutes
        yield from pa.concat_tables(tables).sort_by("time").combine_chunks().to_batches(BATCH_ROWS)


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
    times: list[int] = []
    for piece in pieces:
        if isinstance(piece, ds.ParquetFileFragment):
            groups = [group.statistics or {} for group in piece.row_groups]
            if groups and all("time" in group for group in groups):
                times += [_us(group["time"][end]) for group in groups for end in ("min", "max")]
                continue
        found = pc.min_max(piece.to_table(columns=["time"])["time"].cast(pa.int64()))
        times += [value.as_py() for value in (found["min"], found["max"]) if value.is_valid]
    return (min(times), max(times)) if times else None


def _us(moment: datetime) -> int:
    whole = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (whole - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
