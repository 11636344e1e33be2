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
import pyarrow as pa

V5: Final = 4  # as Arrow counts its versions
RECORD_BATCH: Final = 3  # among the kinds of messages
Sizes = npt.NDArray[np.int64]


class Message:
    """The memory of a message of up to ``rows`` rows.

    ``bits``: of a value of each column; the last ``nullable`` columns can have nulls. Its owner fills
    ``bitmaps``, uint8 [nullable, bytes], a bit for each row, set: a value; and ``data``, uint8 [bytes] for
    each column.
    """

    def __init__(self, bits: Sequence[int], nullable: int, rows: int) -> None:
        """Allocate."""
        columns, self._rows = len(bits), rows
        self._bits = _with_bitmaps(bits, nullable)
        sizes = _sizes(self._bits, rows)
        offsets = np.cumsum(sizes) - sizes.reshape(-1)  # all bitmaps, then all columns
        head = np.dtype(_metadata(columns))
        memory = np.zeros(head.itemsize + sizes.sum(), np.uint8)
        body = memory[head.itemsize :]
        self.bitmaps = body[: sizes[0].sum()].reshape(nullable, _sizes(1, rows))
        self.data = [body[at : at + size] for at, size in zip(offsets[columns:], sizes[1], strict=True)]
        self._metadata = memory[: head.itemsize].view(head)[0]
        self._lengths = self._metadata["buffers"]["length"].reshape(columns, 2).T
        self._nulls = self._metadata["nodes"]["nulls"][columns - nullable :]
        for name, value in _constants(columns).items():
            self._metadata[name] = value
        self._metadata["body_size"] = body.size
        self._metadata["buffers"]["offset"] = offsets.reshape(2, columns).T.reshape(-1)
        self._memory = pa.py_buffer(memory)

    def finish(self, rows: int, nulls: npt.NDArray[Any]) -> pa.Buffer:
        """Return the message with its first ``rows`` rows, and so many ``nulls`` in each nullable column.

        It is this memory: what is filled in later changes it.
        """
        self._metadata["rows"] = rows
        self._metadata["nodes"]["length"] = rows
        self._nulls[:] = nulls
        self._lengths[:] = (rows * self._bits + 7) >> 3
        if rows < self._rows:  # what was here before must not be written once more
            for column, used in zip(self.data, self._lengths[1].tolist(), strict=True):
                column[used:] = 0
        return self._memory


def n_bytes(bits: Sequence[int], nullable: int, rows: int) -> int:
    """Return the memory of a message."""
    return int(np.dtype(_metadata(len(bits))).itemsize + _sizes(_with_bitmaps(bits, nullable), rows).sum())


def _with_bitmaps(bits: Sequence[int], nullable: int) -> Sizes:
    """Return the bits a row takes of each column's two buffers, [2, columns]: its bitmap and its data."""
    return np.array([[0] * (len(bits) - nullable) + [1] * nullable, bits], np.int64)


def _sizes(bits: Any, rows: int) -> Any:
    return (rows * bits + 63) // 64 * 8


def _metadata(columns: int) -> list[Any]:
    """Return the fields of the metadata, each at a multiple of its size; the flatbuffer begins at ``root``."""
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
        ("nodes", [("length", "<i8"), ("nulls", "<i8")], columns),
        ("pad_4", "<u4"),
        ("n_buffers", "<u4"),
        ("buffers", [("offset", "<i8"), ("length", "<i8")], 2 * columns),
    ]


def _constants(columns: int) -> dict[str, Any]:
    """Return what is the same in all batches of so many columns: which field is how far from which.

    A table begins with the way back to its ``vtable``: the bytes of that, of the table, and where in the
    table each field is. All else that points somewhere counts forward from itself.
    """
    dtype = np.dtype(_metadata(columns))

    def at(name: str) -> int:
        assert dtype.fields is not None
        return int(dtype.fields[name][1])

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
