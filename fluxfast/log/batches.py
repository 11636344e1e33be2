"""Ticks as the journal has them: an Arrow record batch, a row per device and tick, in the order tick, device.

Its columns are ``time``, ``quality`` (a code), ``latency_ms`` and the dataset's own, as they are in memory:
codes are not yet words, and who a row belongs to is its place among ``Dataset.devices``.
"""

from typing import Final

import numpy as np
import pyarrow as pa

from fluxfast.log.arrays import primitive
from fluxfast.log.block import Ticks
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


def to_message(dataset_schema: pa.Schema, ticks: Ticks) -> pa.Buffer:
    """Return ticks as one encapsulated IPC message; they are read, not changed."""
    n, rows = ticks.count, ticks.quality.shape[1]
    length = n * rows
    valid = ticks.valid[:, :n].reshape(-1, length)
    whole = np.asarray(valid.all(axis=1))
    bitmaps = np.packbits(valid, axis=1, bitorder="little")
    arrays = [
        primitive(np.repeat(ticks.tick_us[:n], rows), TIME),
        primitive(ticks.quality[:n], pa.uint8()),
        primitive(ticks.latency_ms[:n], pa.float32()),
    ]
    for c, values in enumerate(ticks.values):
        held = np.packbits(values[:n], bitorder="little") if values.dtype == np.bool_ else values[:n]
        bitmap = None if whole[c] else pa.py_buffer(bitmaps[c])
        type_ = dataset_schema.field(FIRST_COLUMN + c).type
        arrays.append(pa.Array.from_buffers(type_, length, [bitmap, pa.py_buffer(held)]))
    return pa.RecordBatch.from_arrays(arrays, schema=dataset_schema).serialize()
