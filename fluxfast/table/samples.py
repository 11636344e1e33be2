"""When the values of each block were taken, for the log of tables of several blocks."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

PREFIX: Final = "sample_ms_"
_TENTHS_PER_NS: Final = 1e-5

Part = slice | NDArray[np.intp]


def sample_column(slot: int) -> str:
    """Return the name of the log's column for a block."""
    return f"{PREFIX}{slot + 1}"


class Samples:
    """Of each block and row: ``ms`` float32 [blocks, rows], and ``valid`` uint8, as of the last ``close``.

    ``ms`` is from the tick's beginning to the block's newest reply, to 0.1 ms, negative where that is older
    than the tick. It counts where any of the block's points can be used. Tables of one block have none of
    this: their row's latency says it.
    """

    def __init__(
        self, slots: NDArray[np.int16], variant: NDArray[np.int32], valid: NDArray[np.uint8]
    ) -> None:
        """``slots`` and ``variant`` as of the Table; ``valid``: where to say it, a row per block, or none."""
        blocks, rows = valid.shape
        self.valid = valid
        self.ms = np.zeros((blocks, rows), np.float32)
        self._tenths = np.zeros((blocks, rows), np.float64)
        # (block, its columns, the rows for which that is so)
        self._parts: list[tuple[int, Part, Part]] = []
        for slot in range(blocks):
            mine = slots == slot
            anywhere = mine.any(axis=1)
            if ((slots == -1) | mine)[anywhere].all():
                self._parts.append((slot, _part(anywhere), slice(None)))
                continue
            for k in np.flatnonzero(mine.any(axis=0)).tolist():
                self._parts.append((slot, _part(mine[:, k]), _part(variant == k)))

    def close(self, received_ns: NDArray[np.int64], began_ns: int, points_valid: NDArray[np.uint8]) -> None:
        """Take a tick that began at ``began_ns``: [blocks, rows] times of replies, [columns, rows] flags."""
        for slot, columns, rows in self._parts:
            self.valid[slot, rows] = points_valid[columns][:, rows].max(axis=0)
        if len(self.ms):
            np.subtract(received_ns, began_ns, out=self._tenths, casting="unsafe")
            self._tenths *= _TENTHS_PER_NS
            np.rint(self._tenths, out=self._tenths)
            np.multiply(self._tenths, 0.1, out=self.ms, casting="unsafe")


def _part(which: NDArray[np.bool_]) -> Part:
    """Return where it is true, as a slice where that is possible: NumPy takes it without a copy."""
    at = np.flatnonzero(which)
    if len(at) and at[-1] - at[0] == len(at) - 1:
        return slice(int(at[0]), int(at[-1]) + 1)
    return at
