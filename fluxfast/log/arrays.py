"""NumPy arrays and texts to Arrow, by their buffers, and back.

``pa.array`` does as much, but imports pandas first where that is installed: more than a second in which the
loop of a station waits for the interpreter, and each compaction makes nothing.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fluxfast.log.block import Array


def primitive(values: Array, type_: pa.DataType, valid: Array | None = None) -> pa.Array:
    """Wrap without a copy; ``valid`` (nonzero: a value, zero: null) has one entry per value."""
    bitmap = None if valid is None else bits(valid)
    return pa.Array.from_buffers(type_, values.size, [bitmap, pa.py_buffer(values)])


def texts(values: Sequence[str | None]) -> pa.Array:
    """Return strings; what is no text, as a lone surrogate, becomes a question mark."""
    encoded = [b"" if value is None else value.encode("utf-8", "replace") for value in values]
    ends = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(one) for one in encoded], out=ends[1:])
    bitmap = None
    if None in values:
        bitmap = bits(np.array([value is not None for value in values]))
    buffers = [bitmap, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def bits(flags: Array) -> pa.Buffer:
    """Return one bit per flag, as Arrow packs them."""
    return pa.py_buffer(np.packbits(flags, bitorder="little"))


def values(array: pa.Array, dtype: object) -> Array:
    """Return an array's values without a copy (bools: a byte each), whatever is null."""
    _, data = array.buffers()
    kind = np.dtype(dtype)  # type: ignore[call-overload]
    if kind == np.bool_:
        return _unpacked(data, len(array)).view(np.bool_)
    return np.frombuffer(data, kind, len(array))


def valid(array: pa.Array) -> Array | None:
    """Return a byte for each value, zero: null; None if all are there."""
    bitmap, _ = array.buffers()
    return None if bitmap is None or not array.null_count else _unpacked(bitmap, len(array))


def _unpacked(bitmap: pa.Buffer, length: int) -> Array:
    return np.unpackbits(np.frombuffer(bitmap, np.uint8), count=length, bitorder="little")
