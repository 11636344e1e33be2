"""A table as Arrow, over the same memory."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fluxfast.table import quality
from fluxfast.table.table import Table

_QUALITIES = pa.array(quality.QUALITY_NAMES)
_REASONS = pa.array(quality.REASONS)


def device_array(devices: Sequence[str]) -> pa.Array:
    """Return the ids of a table's devices, to be made once."""
    return pa.array(devices, pa.string())


def record_batch(table: Table, devices: pa.Array) -> pa.RecordBatch:
    """Return device, quality, reason, latency_ms and a column per point, [rows] each, without a copy.

    ``devices`` are the ids in the order of the rows. Only validity (a bit per cell) and booleans are made
    anew; quality and reason are dictionaries whose indices are the table's own codes.
    """
    codes = pa.array(table.row_quality)
    columns = {
        "device": devices,
        "quality": pa.DictionaryArray.from_arrays(codes, _QUALITIES),
        "reason": pa.DictionaryArray.from_arrays(codes, _REASONS),
        "latency_ms": pa.array(table.latency_ms),
    }
    validity, size = _validity(table.valid)
    for c, (name, values) in enumerate(zip(table.names, table.values, strict=True)):
        columns[name] = _array(values, table.valid[c], validity.slice(c * size, size))
    return pa.record_batch(columns)


def _validity(valid: NDArray[np.uint8]) -> tuple[pa.Buffer, int]:
    """Return a bit for each cell of [columns, rows], and the bytes of a column: whole 64, as Arrow likes."""
    bits = np.packbits(valid, axis=1, bitorder="little")
    padded = np.zeros((len(bits), -(-bits.shape[1] // 64) * 64), np.uint8)
    padded[:, : bits.shape[1]] = bits
    return pa.py_buffer(padded), padded.shape[1]


def _array(values: NDArray[np.generic], valid: NDArray[np.uint8], validity: pa.Buffer) -> pa.Array:
    if values.dtype == np.bool_:
        return pa.array(values, mask=valid == 0)
    is_text = values.dtype.kind == "S"
    type_ = pa.binary(values.dtype.itemsize) if is_text else pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(type_, len(values), [validity, pa.py_buffer(values)])
