"""The ticks that wait for the journal, in preallocated memory, as the journal takes them."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fluxfast.log import batches, message
from fluxfast.log.dataset import Dataset

Array = npt.NDArray[Any]
ARRAY_BYTES: Final = 160  # of an array and what holds it, without its data
ONES: Final = np.array([byte.bit_count() for byte in range(256)])  # among the bits of a byte


class Ticks:
    """Some ticks of one dataset, filled tick by tick: arrays of ``[capacity, rows]`` in one ``Message``.

    What the message's rows and columns are: ``batches.py``.
    """

    def __init__(self, dataset: Dataset, capacity: int) -> None:
        """Allocate for ``capacity`` ticks."""
        shape = (capacity, dataset.rows)
        columns = dataset.columns
        self.count = 0
        self._message = message.Message(_bits(dataset), len(columns), capacity * dataset.rows)
        time, quality, latency, *data = self._message.data

        def array(memory: Array, dtype: str) -> Array:
            return memory[: capacity * dataset.rows * np.dtype(dtype).itemsize].view(dtype).reshape(shape)

        self._time_us, self._quality = array(time, "i8"), array(quality, "u1")
        self._latency_ms = array(latency, "f4")
        # A bool has a byte here, and a bit in the message.
        self._values = [
            np.empty(shape, np.bool_) if c.dtype == "bool" else array(memory, c.dtype)
            for c, memory in zip(columns, data, strict=True)
        ]
        self._bools = [
            (values, memory) for values, memory in zip(self._values, data, strict=True) if values.dtype == np.bool_
        ]
        self._valid = np.empty((len(columns), *shape), np.uint8)  # nonzero: a value

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another tick."""
        return self.count == len(self._time_us)

    def append(
        self,
        tick_us: int,
        latency_ms: Array,
        quality: Array,
        values: Sequence[Array],
        valid: Sequence[Array] | Array,
    ) -> None:
        """Copy one tick in. Nothing is kept when an array does not fit."""
        k = self.count
        if len(valid) != len(self._values):
            raise ValueError(f"{len(valid)} columns of valid, not {len(self._values)}")
        np.copyto(self._latency_ms[k], latency_ms)
        np.copyto(self._quality[k], quality)
        if len(valid):
            np.copyto(self._valid[:, k], valid)
        for into, column in zip(self._values, values, strict=True):
            # Any number makes a bool (nonzero is true); every other conversion must keep its kind.
            if column.dtype != into.dtype and into.dtype != np.bool_:
                np.copyto(into[k], column)
            else:
                into[k] = column  # half of what copyto costs
        self._time_us[k] = tick_us
        self.count = k + 1

    def to_message(self) -> pa.Buffer:
        """Return the ticks as one encapsulated IPC message, in this memory."""
        length = self.count * self._valid.shape[2]
        valid = self._valid[:, : self.count].reshape(len(self._valid), length)
        there = _pack(valid, self._message.bitmaps)
        for values, memory in self._bools:
            _pack(values[: self.count].reshape(-1), memory)
        return self._message.finish(length, length - ONES[there].sum(axis=1))


def _bits(dataset: Dataset) -> list[int]:
    """Return the bits of a value of each column of a message."""
    return [field.type.bit_width for field in batches.schema(dataset)]


def _pack(flags: Array, into: Array) -> Array:
    packed = np.packbits(flags, axis=-1, bitorder="little")
    into[..., : packed.shape[-1]] = packed
    return packed


class Block:
    """Whole ticks of all datasets: what is written, or lost, together. Reused when it is on the disk."""

    def __init__(self, datasets: Sequence[Dataset], capacity: int) -> None:
        """Allocate for ``capacity`` ticks of each."""
        self.ticks = [Ticks(dataset, capacity) for dataset in datasets]
        self._rows = [dataset.rows for dataset in datasets]

    @property
    def rows(self) -> int:
        """Rows held now."""
        return sum(ticks.count * rows for ticks, rows in zip(self.ticks, self._rows, strict=True))

    def clear(self) -> None:
        """Forget all ticks."""
        for ticks in self.ticks:
            ticks.count = 0

    @staticmethod
    def n_bytes(datasets: Sequence[Dataset], capacity: int) -> int:
        """Memory of a block: its ticks, and what Python needs for arrays, however small."""
        ticks = 0
        for d in datasets:
            rows, columns = capacity * d.rows, len(d.columns)
            flags = rows * (columns + sum(c.dtype == "bool" for c in d.columns))
            ticks += message.n_bytes(_bits(d), columns, rows) + flags
        return ticks + ARRAY_BYTES * (1 + sum(14 + 2 * len(d.columns) for d in datasets))
