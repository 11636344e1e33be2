"""A record batch's IPC message as one piece of memory: laid out once, filled and sent again and again.

::

    +----------+----------------------------+----------+--------+--------+---
    | metadata | bitmap, bitmap, bitmap …   | column 0 |   1    |   2    | …
    +----------+----------------------------+----------+--------+--------+---
                 of the columns with nulls    all begin at multiples of 8

pyarrow makes an object for each buffer and each array of each batch, and writes the metadata anew: for a tick
of 500 devices that took longer than all else together. Here whoever fills the columns writes to the place
that they leave from, and from batch to batch only the lengths change.

The metadata is a flatbuffer with the tables ``Message`` and ``RecordBatch`` of Arrow's ``Message.fbs``. What
points where in it follows from the number of columns.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

V5: Final = 4  # as Arrow counts its versions
RECORD_BATCH: Final = 3  # among the kinds of messages
NODE: Final = np.dtype([("length", "<i8"), ("nulls", "<i8")])
BUFFER: Final = np.dtype([("offset", "<i8"), ("length", "<i8")])


class MessageLayout:
    """Where everything is in the memory of a message of up to ``rows`` rows.

    ``bits``: of a value of each column; the last ``nullable`` columns can have nulls. All places count bytes
    from the beginning: ``columns`` of the columns' data; ``bitmaps`` of the nullable columns' bitmaps, a bit
    for each row, set: a value; ``nulls`` of an int64 for each of these columns, how many nulls it has. To
    fill them in is their owner's part. ``n_bytes`` is the size of the whole message.
    """

    def __init__(self, bits: Sequence[int], nullable: int, rows: int) -> None:
        """Work it out."""
        whole = len(bits) - nullable
        # What a row takes of each column's two buffers, its bitmap and its data.
        self._bits = np.array([[0] * whole + [1] * nullable, bits], np.int64)
        self._sizes = (rows * self._bits + 63) // 64 * 8
        self._rows = rows
        metadata = np.dtype(_metadata(len(bits)))
        self._offsets = np.cumsum(self._sizes) - self._sizes.reshape(-1)  # all bitmaps, then all columns
        places = (metadata.itemsize + self._offsets).reshape(2, -1)
        self.bitmaps: list[int] = places[0, whole:].tolist()
        self.columns: list[int] = places[1].tolist()
        first_null = _at(metadata, "nodes") + _at(NODE, "nulls")
        self.nulls = [first_null + c * NODE.itemsize for c in range(whole, len(bits))]
        self.n_bytes = metadata.itemsize + int(self._sizes.sum())
        self._of_rows: dict[int, npt.NDArray[np.uint8]] = {}

    def begin(self, memory: npt.NDArray[np.uint8], rows: int) -> None:
        """Write the metadata of a message of so many rows, all of it but the ``nulls``."""
        if rows not in self._of_rows:
            self._of_rows[rows] = self._metadata(rows)
        metadata = self._of_rows[rows]
        memory[: len(metadata)] = metadata
        if rows < self._rows:  # what was here before must not be written once more
            used = (rows * self._bits[1] + 7) >> 3
            for first, of_it, size in zip(self.columns, used, self._sizes[1], strict=True):
                memory[first + of_it : first + size] = 0

    def _metadata(self, rows: int) -> npt.NDArray[np.uint8]:
        columns = self._bits.shape[1]
        metadata = np.zeros(1, _metadata(columns))
        for name, value in _constants(metadata.dtype, columns).items():
            metadata[name] = value
        metadata["body_size"] = self._sizes.sum()
        metadata["rows"] = rows
        metadata["nodes"]["length"] = rows
        metadata["buffers"]["offset"] = self._offsets.reshape(2, columns).T.reshape(-1)
        metadata["buffers"]["length"] = ((rows * self._bits + 7) >> 3).T.reshape(-1)
        return metadata.view(np.uint8)


def _metadata(columns: int) -> list[Any]:
    """Return the metadata's fields, each at a multiple of its size; the flatbuffer begins at ``root``."""
    return [
        ("continuation", "<u4"),
        ("size", "<i4"),  # of what follows
        ("root", "<u4"),
        ("message_vtable", "<u2", 6),
        ("message", "<i4"),
        ("version", "<i2"),
        ("kind", "u1"),
        ("pad_1", "u1"),
        ("header", "<u4"),
        ("pad_2", "<u4"),
        ("body_size", "<i8"),
        ("batch_vtable", "<u2", 5),
        ("pad_3", "<u2", 3),
        ("batch", "<i4"),
        ("to_nodes", "<u4"),
        ("rows", "<i8"),
        ("to_buffers", "<u4"),
        ("n_nodes", "<u4"),
        ("nodes", NODE, columns),
        ("pad_4", "<u4"),
        ("n_buffers", "<u4"),
        ("buffers", BUFFER, 2 * columns),
    ]


def _constants(dtype: np.dtype[Any], columns: int) -> dict[str, Any]:
    """Return what is the same in all batches of so many columns: which field is how far from which.

    A table begins with the way back to its ``vtable``: the bytes of that, of the table, and where in the
    table each field is. All else that points somewhere counts forward from itself.
    """

    def at(name: str) -> int:
        return _at(dtype, name)

    def fields(table: str, end: str, *names: str) -> tuple[int, ...]:
        return (4 + 2 * len(names), at(end) - at(table), *(at(name) - at(table) for name in names))

    return {
        "continuation": 0xFFFFFFFF,
        "size": dtype.itemsize - at("root"),
        "root": at("message") - at("root"),
        "message_vtable": fields("message", "batch_vtable", "version", "kind", "header", "body_size"),
        "message": at("message") - at("message_vtable"),
        "version": V5,
        "kind": RECORD_BATCH,
        "header": at("batch") - at("header"),
        "batch_vtable": fields("batch", "n_nodes", "rows", "to_nodes", "to_buffers"),
        "batch": at("batch") - at("batch_vtable"),
        "to_nodes": at("n_nodes") - at("to_nodes"),
        "n_nodes": columns,
        "to_buffers": at("n_buffers") - at("to_buffers"),
        "n_buffers": 2 * columns,
    }


def _at(dtype: np.dtype[Any], name: str) -> int:
    assert dtype.fields is not None
    return int(dtype.fields[name][1])
