"""A part's table to the bytes of one Parquet file. (To be replaced by the measured one.)"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS: Final = 120_000
FILE_OPTIONS: Final[dict[str, Any]] = {
    "compression": "zstd",
    "compression_level": 3,
    "write_page_checksum": True,
    "write_page_index": True,
}


class PartEncoder:
    """Encodes the parts of one dataset."""

    def __init__(self, schema: pa.Schema) -> None:
        """``schema`` is the dataset's."""
        self._schema = schema

    def encode(self, table: pa.Table, device_rows: Sequence[int]) -> pa.Buffer:
        """Return the file."""
        sink = pa.BufferOutputStream()
        self.write(sink, [(table, device_rows)])
        return sink.getvalue()

    def write(self, sink: Any, slices: Iterable[tuple[pa.Table, Sequence[int]]]) -> None:
        """Write one file of several such tables, each with row groups of its own; ``sink``: a file object."""
        with ExitStack() as stack:
            writer: pq.ParquetWriter | None = None
            for table, _ in slices:
                if writer is None:
                    writer = stack.enter_context(pq.ParquetWriter(sink, self._schema, **FILE_OPTIONS))
                writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
