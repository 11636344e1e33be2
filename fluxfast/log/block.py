"""The ticks that wait for the journal, in preallocated memory, as the journal takes them."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fluxfast.log import batches, message
from fluxfast.log.dataset import Dataset
from fluxfast.log.gather import gather

Array = npt.NDArray[Any]
BLOCK_BYTES: Final = 300  # of a block's objects in Python, without the ticks
TICKS_BYTES: Final = 500  # of each dataset's, without the memory
ONES: Final = np.array([byte.bit_count() for byte in range(256)])  # among the bits of a byte


class Layout:
    """How ticks of one dataset lie in memory; worked out once, and shared by all blocks.

    ::

        message: quality, latency and the columns   | bools, a byte each | valid, a byte for each cell
        [capacity, rows] each                       | [capacity, rows]   | [capacity, columns, rows]

    What the message's rows and columns are: ``batches.py``.
    """

    def __init__(self, dataset: Dataset, capacity: int) -> None:
        """For ``capacity`` ticks."""
        columns, tick_rows = dataset.columns, dataset.rows
        self.capacity, self.rows, self.columns = capacity, tick_rows, len(columns)
        bits = [field.type.bit_width for field in batches.schema(dataset)]
        self.message = message.MessageLayout(bits, len(columns), capacity * tick_rows)
        self.dtypes = [np.dtype(name) for name in ("u1", "f4", "u1", *(c.dtype for c in columns))]
        time, quality, latency, *values = self.message.columns
        self.time = time
        end = self.message.n_bytes
        self.bools = []  # of each, where it is as bytes, and where as bits
        for c, column in enumerate(columns):
            if column.dtype == "bool":
                self.bools.append((end, values[c]))
                values[c] = end
                end += capacity * tick_rows
        self.valid = end
        self.n_bytes = end + capacity * tick_rows * len(columns)
        widths = [1, 4, len(columns), *(dtype.itemsize for dtype in self.dtypes[3:])]
        self.places = np.array(
            [
                (place, tick_rows * width)
                for place, width in zip([quality, latency, self.valid, *values], widths, strict=True)
            ],
            np.int64,
        )


class Ticks:
    """Some ticks of one dataset, filled tick by tick."""

    def __init__(self, layout: Layout) -> None:
        """Allocate."""
        self._layout = layout
        self._times_us: list[int] = []
        self._memory = np.zeros(layout.n_bytes, np.uint8)
        layout.message.begin(self._memory)

    @property
    def count(self) -> int:
        """Ticks held now."""
        return len(self._times_us)

    @property
    def rows(self) -> int:
        """Rows held now."""
        return len(self._times_us) * self._layout.rows

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another tick."""
        return len(self._times_us) == self._layout.capacity

    def clear(self) -> None:
        """Forget all ticks."""
        self._times_us.clear()

    def append(
        self,
        tick_us: int,
        latency_ms: Array,
        quality: Array,
        values: Sequence[Array],
        valid: Sequence[Array] | Array,
    ) -> None:
        """Copy one tick in. Nothing is kept when an array does not fit."""
        layout = self._layout
        cells = np.asarray(valid)
        if cells.shape != (layout.columns, layout.rows):
            raise ValueError(f"valid is {cells.shape}, not {(layout.columns, layout.rows)}")
        arrays = [quality, latency_ms, cells, *values]
        if [array.dtype for array in arrays] != layout.dtypes:
            arrays = [_cast(array, dtype) for array, dtype in zip(arrays, layout.dtypes, strict=True)]
        gather(self._memory, layout.places, len(self._times_us), arrays)
        self._times_us.append(tick_us)

    def to_message(self) -> pa.Buffer:
        """Return the ticks as one encapsulated IPC message, in this memory."""
        layout, memory, count, length = self._layout, self._memory, self.count, self.rows
        times = memory[layout.time :][: 8 * length].view(np.int64).reshape(count, layout.rows)
        times[:] = np.array(self._times_us, np.int64)[:, None]
        cells = memory[layout.valid :][: length * layout.columns].reshape(count, layout.columns, layout.rows)
        valid = cells.transpose(1, 0, 2).reshape(layout.columns, length)
        there = np.packbits(valid, axis=1, bitorder="little")
        layout.message.bitmaps(memory)[:, : there.shape[1]] = there
        for place, bits in layout.bools:
            packed = np.packbits(memory[place:][:length], bitorder="little")
            memory[bits:][: len(packed)] = packed
        return layout.message.finish(memory, length, length - ONES[there].sum(axis=1))


def _cast(array: Array, dtype: np.dtype[Any]) -> Array:
    """Any number makes a bool (nonzero is true); every other conversion must keep its kind."""
    return array.astype(dtype, casting="unsafe" if dtype == np.bool_ else "same_kind", copy=False)


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
            ticks.clear()

    @staticmethod
    def n_bytes(layouts: Sequence[Layout]) -> int:
        """Memory of a block: its ticks, and what Python needs for them, however small."""
        return BLOCK_BYTES + sum(layout.n_bytes + TICKS_BYTES for layout in layouts)
