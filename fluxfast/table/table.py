"""The process image of one profile's devices: a row per device, a column per point.

Columns are NumPy arrays that the reactor's decode kernel writes in place; the Table owns them and must
outlive the reactor. Quality travels beside every cell.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.table import quality
from fluxfast.table.decode import close_rows

# ``Column`` of decode.pxd
COLUMN: Final = np.dtype(
    [("values", np.uint64), ("quality", np.uint64), ("kind", np.int32), ("width", np.int32)]
)
_KINDS = (np.float64, np.float32, np.int64, np.uint64, np.bool_)


class Table:
    """Columns, quality and receive times of all devices of one profile.

    ``values[c]`` has shape [rows]; ``quality`` is uint8 [columns, rows] (table.quality); ``received_ns`` is
    int64 [rows], the reactor's clock at a device's newest reply, 0 before the first. ``row_quality`` uint8
    [rows], ``valid`` uint8 [columns, rows] and ``latency_ms`` float32 [rows] are as of the last ``close``.
    """

    def __init__(
        self, name: str, columns: Sequence[tuple[str, int, int]], rows: int, absent: NDArray[np.bool_]
    ) -> None:
        """Allocate ``columns`` (name, value_kind, width) for ``rows`` devices; absent: [columns, rows]."""
        self.name = name
        self.names = tuple(column[0] for column in columns)
        self.rows = rows
        self.values: list[NDArray[Any]] = [
            np.zeros(rows, _KINDS[kind] if kind < len(_KINDS) else f"S{width}") for _, kind, width in columns
        ]
        self.quality = np.full((len(columns), rows), quality.NEVER, np.uint8)
        self.quality[absent] = quality.ABSENT
        self.received_ns = np.zeros(rows, np.int64)
        self.row_quality = np.full(rows, quality.NEVER, np.uint8)
        self.valid = np.zeros((len(columns), rows), np.uint8)
        self.latency_ms = np.full(rows, np.nan, np.float32)
        self.structs = np.array(
            [
                (values.ctypes.data, self.quality[c].ctypes.data, kind, width)
                for c, (values, (_, kind, width)) in enumerate(zip(self.values, columns, strict=True))
            ],
            COLUMN,
        )

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column's values [rows]; look at ``quality`` before using one."""
        return self.values[self.names.index(name)]

    def close(self, began_ns: int) -> None:
        """Sum up the cells' quality into ``row_quality`` and ``valid``, at the end of a tick.

        ``latency_ms`` becomes the time from ``began_ns`` (the reactor's clock) to each row's newest reply, NaN
        for bad rows.
        """
        close_rows(self.quality, self.row_quality, self.valid, self.received_ns, began_ns, self.latency_ms)
