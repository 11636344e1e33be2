"""The ticks that wait for the journal, in preallocated arrays."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fluxfast.log.dataset import Dataset

Array = npt.NDArray[Any]
ARRAY_BYTES: Final = 160  # of an array and what holds it, without its data


class Ticks:
    """Some ticks of one dataset: arrays of ``[capacity, rows]``, filled tick by tick."""

    def __init__(self, dataset: Dataset, capacity: int) -> None:
        """Allocate for ``capacity`` ticks."""
        shape = (capacity, dataset.rows)
        self.count = 0
        self.tick_us = np.empty(capacity, np.int64)
        self.latency_ms = np.empty(shape, np.float32)
        self.quality = np.empty(shape, np.uint8)
        self.values = [np.empty(shape, c.dtype) for c in dataset.columns]
        self.valid = np.empty((len(dataset.columns), *shape), np.uint8)  # nonzero: a value

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
        if len(valid) != len(self.values):
            raise ValueError(f"{len(valid)} columns of valid, not {len(self.values)}")
        np.copyto(self.latency_ms[k], latency_ms)
        np.copyto(self.quality[k], quality)
        if len(valid):
            np.copyto(self.valid[:, k], valid)
        for into, column in zip(self.values, values, strict=True):
            # Any number makes a bool (nonzero is true); every other conversion must keep its kind.
            if column.dtype != into.dtype and into.dtype != np.bool_:
                np.copyto(into[k], column)
            else:
                into[k] = column  # half of what copyto costs
        self.tick_us[k] = tick_us
        self.count = k + 1


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
        ticks = sum(
            8 + d.rows * (4 + 1 + sum(np.dtype(c.dtype).itemsize + 1 for c in d.columns)) for d in datasets
        )
        return capacity * ticks + ARRAY_BYTES * (1 + sum(5 + len(d.columns) for d in datasets))
