"""A part to the bytes of one Parquet file.

Rows leave in the order device, then tick: a device's history lies together, which compresses best and lets a
reader of one device skip the rest by the page index.

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

SAMPLE_ROWS: Final = 30_000  # a part with as many rows settles the encodings for good
FILE_OPTIONS: Final[dict[str, Any]] = {
    "compression": "zstd",
    "compression_level": 3,
    "write_page_checksum": True,
    "write_page_index": True,
}
# One page holds a column of the whole row group: zstd finds more in it, and a stream of BYTE_STREAM_SPLIT
# fills its blocks. Older pyarrow has no such limit.
LARGE_PAGES: Final[dict[str, Any]] = {"data_page_size": 1 << 24} | (
    {"max_rows_per_page": 1 << 30}
    if "max_rows_per_page" in inspect.signature(pq.ParquetWriter.__init__).parameters
    else {}
)
# What to try against a dictionary.
ALTERNATIVES: Final = {
    "float64": "BYTE_STREAM_SPLIT",
    "float32": "BYTE_STREAM_SPLIT",
    "int64": "DELTA_BINARY_PACKED",
    "uint64": "DELTA_BINARY_PACKED",
}


class PartEncoder:
    """Encodes the parts of one dataset; what its first part settles stays for the next ones."""

    def __init__(self, schema: pa.Schema) -> None:
        """Take the schema of the dataset's files."""
        self._schema = schema
        self._encodings: dict[str, str] | None = None
        self._levels: dict[str, int] = {}

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
            self._encodings = {}
            if table.num_rows:
                self._choose(table.slice(0, SAMPLE_ROWS))
        options = FILE_OPTIONS | LARGE_PAGES | {"compression_level": self._levels or 3}
        return pq.ParquetWriter(
            sink,
            self._schema,
            use_dictionary=[name for name in table.column_names if name not in self._encodings],
            column_encoding=self._encodings,
            **options,
        )

    def _choose(self, sample: pa.Table) -> None:
        assert self._encodings is not None
        for field in self._schema:
            one = sample.select([field.name]).replace_schema_metadata()
            other = None
            if pa.types.is_floating(field.type):
                other = "BYTE_STREAM_SPLIT"
            elif pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type):
                other = "DELTA_BINARY_PACKED"
            elif pa.types.is_boolean(field.type):
                other = "PLAIN"
            if other and _size(one, False, {field.name: other}) < _size(one, True, None):
                self._encodings[field.name] = other
            self._levels[field.name] = 6 if pa.types.is_floating(field.type) else 3


def _size(table: pa.Table, use_dictionary: bool, encoding: dict[str, str] | None) -> int:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, use_dictionary=use_dictionary, column_encoding=encoding, **FILE_OPTIONS)
    return int(sink.getvalue().size)


def _row_groups(device_rows: Sequence[int]) -> list[int]:
    """Return rows of each group: whole devices, groups alike, none of much more than 300,000 rows."""
    total = sum(device_rows)
    want = total / max(-(-total // 300_000), 1)
    groups: list[int] = []
    rows = done = 0
    for count in device_rows:
        rows += count
        if done + rows >= want * (len(groups) + 1):
            groups.append(rows)
            done += rows
            rows = 0
    return [*groups, rows] if rows else groups
