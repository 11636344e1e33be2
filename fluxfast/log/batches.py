"""Ticks as the journal has them: an Arrow record batch, a row per device and tick, in the order tick, device.

Its columns are ``time``, ``quality`` (a code), ``latency_ms`` and the dataset's own, as they are in memory:
codes are not yet words, and who a row belongs to is its place among ``Dataset.devices``.
"""

from typing import Final

import pyarrow as pa

from fluxfast.log.dataset import ARROW_TYPES, TIME, Dataset

FIRST_COLUMN: Final = 3  # behind time, quality, latency_ms


def schema(dataset: Dataset) -> pa.Schema:
    """Return the schema of its batches."""
    fields = [pa.field("time", TIME), pa.field("quality", pa.uint8()), pa.field("latency_ms", pa.float32())]
    for column in dataset.columns:
        text = column.dtype.startswith("S")
        type_ = pa.binary(int(column.dtype[1:])) if text else ARROW_TYPES[column.dtype]
        fields.append(pa.field(column.name, type_))
    return pa.schema(fields)
