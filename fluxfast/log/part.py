"""The ticks of one dataset that wait to be encoded."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fluxfast.log.dataset import Dataset

Array = npt.NDArray[Any]


class Part:
    """Preallocated ``[capacity, rows]`` arrays, filled tick by tick; becomes one file, then is reused."""

    def __init__(self, index: int, dataset: Dataset, capacity: int) -> None:
        """Allocate for ``capacity`` ticks; ``index`` is the dataset's place in the writer's list."""
        shape = (capacity, dataset.rows)
        self.index = index
        self.capacity = capacity
        self.slot = (0, 0)  # the UTC day, and which part of that day
        self.ticks = 0
        self.tick_us = np.empty(capacity, np.int64)
        self.latency_ms = np.empty(shape, np.float32)
        self.quality = np.empty(shape, np.uint8)
        self.values = [np.empty(shape, c.dtype) for c in dataset.columns]
        self.valid = np.empty((capacity, len(dataset.columns), dataset.rows), np.uint8)

    @property
    def rows(self) -> int:
        """Rows held now."""
        return self.ticks * int(self.quality.shape[1])

    @staticmethod
    def tick_bytes(dataset: Dataset) -> int:
        """Memory of one tick of this dataset."""
        row = 4 + 1 + sum(np.dtype(c.dtype).itemsize + 1 for c in dataset.columns)
        return 8 + row * dataset.rows

    def clear(self, slot: tuple[int, int]) -> None:
        """Forget all ticks; the next ones belong to ``slot``."""
        self.ticks = 0
        self.slot = slot

    def append(
        self,
        tick_us: int,
        latency_ms: Array,
        quality: Array,
        values: Sequence[Array],
        valid: Sequence[Array] | Array,
    ) -> None:
        """Copy one tick in. Nothing is kept when an array does not fit."""
        k = self.ticks
        if len(valid) != self.valid.shape[1]:
            raise ValueError(f"{len(valid)} columns of valid, not {self.valid.shape[1]}")
        np.copyto(self.latency_ms[k], latency_ms)
        np.copyto(self.quality[k], quality)
        if len(valid):
            np.copyto(self.valid[k], valid)
        for into, column in zip(self.values, values, strict=True):
            # Any number makes a bool (nonzero is true); every other conversion must keep its kind.
            if column.dtype != into.dtype and into.dtype != np.bool_:
                np.copyto(into[k], column)
            else:
                into[k] = column  # half of what copyto costs
        self.tick_us[k] = tick_us
        self.ticks = k + 1
