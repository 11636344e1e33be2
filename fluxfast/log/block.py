"""The ticks that wait for the journal, in preallocated memory, as the journal takes them."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fluxfast.log import batches
from fluxfast.log.dataset import Dataset
from fluxfast.log.gather import gather, pack
from fluxfast.log.message import MessageLayout

Array = npt.NDArray[Any]
BLOCK_BYTES: Final = 300  # of a block's objects in Python, without the ticks
TICKS_BYTES: Final = 500  # of each dataset's, without the memory


class Layout:
    """How ticks of one dataset lie in memory; worked out once, and shared by all blocks.

    ::

        message: time, quality, latency, the columns | bools, a byte each | valid, a byte for each cell
        [capacity, rows] each                        | [capacity, rows]   | [columns, capacity, rows]

    What the message's rows and columns are: ``batches.py``.
    """

    def __init__(self, dataset: Dataset, capacity: int) -> None:
        """For ``capacity`` ticks."""
        columns, rows = dataset.columns, dataset.rows
        self.capacity, self.rows = capacity, rows
        self.valid_shape = len(columns), rows
        # Of what a tick has but for its time, and their places: see `gather`.
        self.dtypes = [np.dtype(name) for name in ("u1", "f4", *(c.dtype for c in columns), "u1")]
        bits = [field.type.bit_width for field in batches.schema(dataset)]
        self.message = message = MessageLayout(bits, len(columns), capacity * rows)
        self.time, *places = message.columns
        end = message.n_bytes
        packings = []
        for c, column in enumerate(columns, batches.FIRST_COLUMN - 1):
            if column.dtype == "bool":
                packings.append((end, places[c], -1))
                places[c] = end
                end += capacity * rows
        for c, (bitmap, nulls) in enumerate(zip(message.bitmaps, message.nulls, strict=True)):
            packings.append((end + c * capacity * rows, bitmap, nulls))
        widths = [rows * dtype.itemsize for dtype in self.dtypes]
        arrays = [
            *((place, 1, width, 0) for place, width in zip(places, widths, strict=False)),
            (end, len(columns), rows, capacity * rows),
        ]
        self.places = np.array(arrays, np.int64)
        self.packings = np.array(packings, np.int64).reshape(-1, 3)
        self.n_bytes = end + capacity * rows * len(columns)


class Ticks:
    """Some ticks of one dataset, filled tick by tick."""

    def __init__(self, layout: Layout) -> None:
        """Allocate."""
        self._layout = layout
        self._memory = np.zeros(layout.n_bytes, np.uint8)
        self._times_us = np.zeros(layout.capacity, np.int64)
        self.count = 0

    @property
    def rows(self) -> int:
        """Rows held now."""
        return self.count * self._layout.rows

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another tick."""
        return self.count == self._layout.capacity

    def append(
        self,
        tick_us: int,
        latency_ms: Array,
        quality: Array,
        values: Sequence[Array],
        valid: Sequence[Array] | Array,
    ) -> None:
        """Copy one tick in. Nothing is kept when an array does not fit."""
        layout, k = self._layout, self.count
        cells = valid if isinstance(valid, np.ndarray) else np.array(valid, bool)
        if not len(valid):
            cells = cells.reshape(0, layout.valid_shape[1])
        if cells.shape != layout.valid_shape:
            raise ValueError(f"valid is {cells.shape}, not {layout.valid_shape}")
        arrays = [quality, latency_ms, *values, cells]
        if not gather(self._memory, layout.places, layout.dtypes, k, arrays):
            arrays = [_fitted(array, dtype) for array, dtype in zip(arrays, layout.dtypes, strict=True)]
            gather(self._memory, layout.places, layout.dtypes, k, arrays)
        self._times_us[k] = tick_us
        self.count = k + 1

    def to_message(self) -> pa.Buffer:
        """Return the ticks as one encapsulated IPC message, in this memory."""
        layout = self._layout
        layout.message.begin(self._memory, self.rows)
        times = self._memory[layout.time : layout.time + 8 * self.rows].view(np.int64)
        times.reshape(self.count, layout.rows)[:] = self._times_us[: self.count, None]
        pack(self._memory, layout.packings, self.rows)
        return pa.py_buffer(self._memory[: layout.message.n_bytes])


def _fitted(array: Array, dtype: np.dtype[Any]) -> Array:
    """Any number makes a bool (nonzero is true); every other conversion must keep its kind."""
    if dtype == np.bool_:
        return np.ascontiguousarray(array, np.bool_)
    return np.ascontiguousarray(array.astype(dtype, casting="same_kind", copy=False))


class Block:
    """Whole ticks of all datasets: what is written, or lost, together. Reused when it is on the disk."""

    def __init__(self, layouts: Sequence[Layout]) -> None:
        """Allocate."""
        self.ticks = [Ticks(layout) for layout in layouts]

    @property
    def rows(self) -> int:
        """Rows held now."""
        return sum(ticks.rows for ticks in self.ticks)

    def clear(self) -> None:
        """Forget all ticks."""
        for ticks in self.ticks:
            ticks.count = 0

    @staticmethod
    def n_bytes(layouts: Sequence[Layout]) -> int:
        """Memory of a block: its ticks, and what Python needs for them, however small."""
        return BLOCK_BYTES + sum(layout.n_bytes + TICKS_BYTES for layout in layouts)
