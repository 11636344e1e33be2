"""A part to the bytes of one Parquet file.

Rows leave in the order device, then tick: a device's history lies together, which compresses best and lets a
reader of one device skip the rest by the statistics of row groups.

What pays in size, and so is chosen per column on real data: a dictionary for values that come back (scaled
integers), BYTE_STREAM_SPLIT for noisy floats, DELTA_BINARY_PACKED for counters. Page checksums are on;
readers have to ask for the check (``page_checksum_verification=True`` in pyarrow).
"""

import inspect
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS: Final = 300_000
SAMPLES: Final = 4  # places that the choice of encodings looks at, so many rows each
SAMPLE_ROWS: Final = 3_000
OPTIONS: Final[dict[str, Any]] = {
    "compression": "zstd",
    "compression_level": 3,
    "write_page_checksum": True,
    "write_page_index": True,
    # One page holds a column of the whole row group: zstd finds more in it, and a stream of BYTE_STREAM_SPLIT
    # fills its blocks. Older pyarrow has no limit of rows.
    "data_page_size": 1 << 24,
} | (
    {"max_rows_per_page": 1 << 30}
    if "max_rows_per_page" in inspect.signature(pq.ParquetWriter.__init__).parameters
    else {}
)


class PartEncoder:
    """Encodes the parts of one dataset; what its first part settles stays for the next ones."""

    def __init__(self, schema: pa.Schema) -> None:
        """Take the schema of the dataset's files."""
        self._schema = schema
        self._encodings: dict[str, str] | None = None

    def encode(self, table: pa.Table, device_rows: Sequence[int]) -> pa.Buffer:
        """Return the file; ``table`` is sorted by device, and ``device_rows`` says how many rows each has."""
        sink = pa.BufferOutputStream()
        self.write(sink, [(table, device_rows)])
        return sink.getvalue()

    def write(self, sink: Any, slices: Iterable[tuple[pa.Table, Sequence[int]]]) -> None:
        """Write one file of such tables, each in row groups of its own, one after the other."""
        with ExitStack() as stack:
            writer: pq.ParquetWriter | None = None
            for table, device_rows in slices:
                table = table.cast(self._schema)
                if writer is None:
                    writer = stack.enter_context(self._writer(sink, table))
                start = 0
                for rows in _row_groups(device_rows):
                    writer.write_table(table.slice(start, rows), row_group_size=max(rows, 1))
                    start += rows

    def _writer(self, sink: Any, table: pa.Table) -> pq.ParquetWriter:
        if self._encodings is None:
            self._encodings = _choose(table)
        return pq.ParquetWriter(
            sink,
            self._schema,
            use_dictionary=[name for name in table.column_names if name not in self._encodings],
            column_encoding=self._encodings,
            **OPTIONS,
        )


def _choose(table: pa.Table) -> dict[str, str]:
    """Return the encodings of those columns for which a dictionary is not the smallest."""
    step = max(table.num_rows // SAMPLES, SAMPLE_ROWS)
    sample = pa.concat_tables(
        [table.slice(start, SAMPLE_ROWS) for start in range(0, max(table.num_rows, 1), step)]
    )
    encodings = {}
    for field in table.schema:
        other = _alternative(field.type)
        one = sample.select([field.name]).replace_schema_metadata()
        if other and _size(one, False, {field.name: other}) < _size(one, True, None):
            encodings[field.name] = other
    return encodings


def _alternative(type_: pa.DataType) -> str | None:
    """Return what to try against a dictionary."""
    if pa.types.is_floating(type_):
        return "BYTE_STREAM_SPLIT"
    if pa.types.is_integer(type_) or pa.types.is_timestamp(type_):
        return "DELTA_BINARY_PACKED"
    return "PLAIN" if pa.types.is_boolean(type_) else None


def _size(table: pa.Table, use_dictionary: bool, encoding: dict[str, str] | None) -> int:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, use_dictionary=use_dictionary, column_encoding=encoding, **OPTIONS)
    return int(sink.getvalue().size)


def _row_groups(device_rows: Sequence[int]) -> list[int]:
    """Return rows of each group: whole devices, groups alike, of GROUP_ROWS at most or of one device."""
    total = sum(device_rows)
    want = total / max(-(-total // GROUP_ROWS), 1)
    groups: list[int] = []
    rows = done = 0
    for count in device_rows:
        if rows and rows + count > GROUP_ROWS:
            groups.append(rows)
            done += rows
            rows = 0
        rows += count
        if done + rows >= want * (len(groups) + 1):
            groups.append(rows)
            done += rows
            rows = 0
    return [*groups, rows] if rows else groups
