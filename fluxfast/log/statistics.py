"""What a log holds, in numbers: from the manifest and the files' footers, and as little else as possible."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fluxfast.log.dataset import TEXT
from fluxfast.log.footers import bounds_us
from fluxfast.log.reading import DATE, Log
from fluxfast.log.snapshot import File
from fluxfast.log.views import points

USABLE: Final = ("good", "uncertain")
# What a column chunk says of its pages' encodings, the telling one first.
_ENCODINGS: Final = {
    "RLE_DICTIONARY": "dictionary",
    "PLAIN_DICTIONARY": "dictionary",
    "BYTE_STREAM_SPLIT": "split",
    "DELTA_BINARY_PACKED": "delta",
    "DELTA_BYTE_ARRAY": "delta",
    "DELTA_LENGTH_BYTE_ARRAY": "delta",
    "PLAIN": "plain",
    "RLE": "run length",
}


@dataclass
class Extent:
    """How much there is of a dataset; times in UTC microseconds since 1970, None without rows."""

    dataset: str
    files: int = 0
    bytes: int = 0
    rows: int = 0  # with those of the journal
    journal_rows: int = 0
    first_us: int | None = None
    last_us: int | None = None

    def add(self, rows: int, first_us: int | None, last_us: int | None) -> None:
        """Count rows of this time."""
        self.rows += rows
        if first_us is not None and last_us is not None:
            self.first_us = first_us if self.first_us is None else min(self.first_us, first_us)
            self.last_us = last_us if self.last_us is None else max(self.last_us, last_us)


@dataclass
class ColumnStatistics:
    """One column of all files of a dataset; the journal has no share in it."""

    name: str
    type: str
    unit: str | None
    encodings: Counter[str] = field(default_factory=Counter)  # by bytes
    bytes: int = 0
    nulls: int = 0
    least: Any = None
    most: Any = None

    def add(self, chunk: Any) -> None:
        """Count one column chunk, a pyarrow ``ColumnChunkMetaData``."""
        self.bytes += chunk.total_compressed_size
        names = [name for name in _ENCODINGS if name in chunk.encodings]
        self.encodings[_ENCODINGS[names[0]] if names else "other"] += chunk.total_compressed_size
        statistics = chunk.statistics
        if statistics is None:
            return
        if statistics.has_null_count:
            self.nulls += statistics.null_count
        if statistics.has_min_max:
            self.least = statistics.min if self.least is None else min(self.least, statistics.min)
            self.most = statistics.max if self.most is None else max(self.most, statistics.max)


@dataclass
class Statistics:
    """``points``: readings in a row. ``qualities``: rows by quality, empty for a dataset without it."""

    extent: Extent
    points: int
    columns: list[ColumnStatistics]
    qualities: Counter[str] = field(default_factory=Counter)
    devices: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)  # by site and device

    @property
    def bytes_per_reading(self) -> float | None:
        """Bytes of the files, everything counted, for each reading in them."""
        readings = (self.extent.rows - self.extent.journal_rows) * self.points
        return self.extent.bytes / readings if readings else None

    @property
    def usable(self) -> float | None:
        """The share of rows that have a usable value."""
        return share(self.qualities)

    @property
    def worst(self) -> tuple[str, str] | None:
        """Site and name of the device with the smallest such share."""
        return min(self.devices, key=lambda key: (share(self.devices[key]) or 0, key), default=None)


def share(qualities: Mapping[str, int]) -> float | None:
    """Return the share of rows that have a usable value."""
    rows = sum(qualities.values())
    return sum(qualities.get(name, 0) for name in USABLE) / rows if rows else None


def extent(log: Log, name: str) -> Extent:
    """Return how much there is of a dataset."""
    found = Extent(name)
    for file in log.files(name):
        found.files += 1
        found.bytes += file.size
        found.add(*_of_file(file))
    journal = log.journal(name)
    found.journal_rows = len(journal)
    if len(journal):
        times = pc.min_max(journal["time"].cast(pa.int64()))
        found.add(len(journal), times["min"].as_py(), times["max"].as_py())
    return found


def _of_file(file: File) -> tuple[int, int | None, int | None]:
    if file.record is not None and "first_us" in file.record:
        return file.record["rows"], file.record["first_us"], file.record["last_us"]
    about = pq.read_metadata(file.path)
    groups = map(about.row_group, range(about.num_row_groups))
    # A file that is none of ours may have no times.
    times = [us for group in groups for us in bounds_us(group) or ()]
    return about.num_rows, min(times, default=None), max(times, default=None)


def statistics(
    log: Log, name: str, progress: Callable[[int, int], None] = lambda done, total: None
) -> Statistics:
    """Return a dataset's statistics; ``progress`` gets rows done, and rows in all."""
    found = Statistics(extent(log, name), len(points(log.schema(name))), _columns(log, name))
    if "quality" not in log.schema(name).names:
        return found
    done = 0
    for batch in log.dataset(name).scanner(columns=["site", "device", "quality"]).to_batches():
        counted = pa.table(batch).group_by(["site", "device", "quality"]).aggregate([([], "count_all")])
        for row in counted.to_pylist():
            found.qualities[row["quality"]] += row["count_all"]
            device = found.devices.setdefault((row["site"], row["device"]), Counter())
            device[row["quality"]] += row["count_all"]
        done += len(batch)
        progress(done, found.extent.rows)
    return found


def _columns(log: Log, name: str) -> list[ColumnStatistics]:
    columns = {
        field.name: ColumnStatistics(field.name, _type(field.type), _unit(field))
        for field in log.schema(name)
        if field.name != DATE.name
    }
    for file in log.files(name):
        about = pq.read_metadata(file.path)
        for group in map(about.row_group, range(about.num_row_groups)):
            for chunk in map(group.column, range(group.num_columns)):
                columns[chunk.path_in_schema].add(chunk)
    return list(columns.values())


def _type(type_: pa.DataType) -> str:
    if pa.types.is_timestamp(type_):
        return "time"
    return "text" if type_ == TEXT else str(type_)


def _unit(field: pa.Field) -> str | None:
    unit = (field.metadata or {}).get(b"unit")
    return None if unit is None else unit.decode()
