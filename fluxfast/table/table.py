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
from fluxfast.table.samples import Samples

# ``Column`` of decode.pxd
COLUMN: Final = np.dtype(
    [("values", np.uint64), ("quality", np.uint64), ("kind", np.int32), ("width", np.int32)]
)
LINE, PAGE, APART = 64, 4096, 192  # bytes: of a cache line, after which caches repeat, between columns
NEVER_NS: Final = np.iinfo(np.int64).max  # the age of what was never read
_KINDS = (np.float64, np.float32, np.int64, np.uint64, np.bool_)


class Table:
    """Columns, quality and times of all devices of one profile.

    ``values[c]`` has shape [rows]; ``quality`` is uint8 [columns, rows] (table.quality). ``row_quality``
    uint8 [rows], ``valid`` uint8 [columns, rows] and ``latency_ms`` float32 [rows] are as of the last
    ``close``.

    Columns that are read together share a slot, the number of their block among the device's:
    ``requested_ns`` and ``received_ns`` are int64 [slots, rows], the reactor's clock at the newest request
    that was answered and at its reply, 0 before the first. Column c of row r is in slot
    ``slots[c, variant[r]]`` (int16), -1 where the device has no such point.

    ``logged`` and ``logged_valid`` are what the log takes of each tick: where there are several blocks one
    column for each (``samples``), then ``values`` and ``valid`` themselves.
    """

    def __init__(
        self,
        name: str,
        columns: Sequence[tuple[str, int, int]],
        rows: int,
        absent: NDArray[np.bool_],
        slots: NDArray[np.int16] | None = None,
        variant: NDArray[np.int32] | None = None,
    ) -> None:
        """Allocate ``columns`` (name, value_kind, width) for ``rows`` devices.

        ``absent``: [columns, rows]; ``slots``: [columns, variants] and ``variant``: [rows], without which all
        columns are in slot 0.
        """
        self.name = name
        self.slots = np.zeros((len(columns), 1), np.int16) if slots is None else slots
        self.variant = np.zeros(rows, np.int32) if variant is None else variant
        self.names = tuple(column[0] for column in columns)
        self.rows = rows
        self.values = _allocate([_dtype(kind, width) for _, kind, width in columns], rows)
        self.quality = np.full((len(columns), rows), quality.NEVER, np.uint8)
        self.quality[absent] = quality.ABSENT
        self.requested_ns = np.zeros((max(self.slots.max(initial=0), 0) + 1, rows), np.int64)
        self.received_ns = np.zeros_like(self.requested_ns)
        self.row_quality = np.full(rows, quality.NEVER, np.uint8)
        blocks = len(self.received_ns) if len(self.received_ns) > 1 else 0
        self.logged_valid = np.zeros((blocks + len(columns), rows), np.uint8)
        self.valid = self.logged_valid[blocks:]
        self.samples = Samples(self.slots, self.variant, self.logged_valid[:blocks])
        self.logged: list[NDArray[Any]] = [*self.samples.ms, *self.values]
        self.latency_ms = np.full(rows, np.nan, np.float32)
        self.structs = np.array(
            [
                (values.ctypes.data, self.quality[c].ctypes.data, kind, width)
                for c, (values, (_, kind, width)) in enumerate(zip(self.values, columns, strict=True))
            ],
            COLUMN,
        )
        # ``TableTimes`` of link/schedule.pxd
        self.times = np.array([self.requested_ns.ctypes.data, self.received_ns.ctypes.data, rows], np.uint64)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column's values [rows]; look at ``quality`` before using one."""
        return self.values[self.names.index(name)]

    def age_ns(self, name: str, now_ns: int) -> NDArray[np.int64]:
        """Return how old a column's values may be, int64 [rows], at ``now_ns`` of the reactor's clock.

        Counted from the request, for the device took the value some time between request and reply;
        ``NEVER_NS`` where nothing was ever read, or there is no such point.
        """
        slots = self.slots[self.names.index(name)]
        if len(slots) == 1:
            requested_ns = self.requested_ns[slots[0]] if slots[0] >= 0 else np.zeros(self.rows, np.int64)
        else:
            slot = slots[self.variant]
            requested_ns = self.requested_ns[slot, np.arange(self.rows)]
            requested_ns[slot < 0] = 0
        age_ns = now_ns - requested_ns
        age_ns[requested_ns == 0] = NEVER_NS
        return age_ns

    def close(self, began_ns: int) -> None:
        """Sum up the cells' quality into ``row_quality`` and ``valid``, at the end of a tick.

        ``latency_ms`` becomes the time from ``began_ns`` (the reactor's clock) to each row's newest reply,
        NaN for bad rows; ``samples`` has the same of each block.
        """
        received_ns = self.received_ns[0] if len(self.received_ns) == 1 else self.received_ns.max(axis=0)
        close_rows(self.quality, self.row_quality, self.valid, received_ns, began_ns, self.latency_ms)
        self.samples.close(self.received_ns, began_ns, self.valid)


def _dtype(kind: int, width: int) -> np.dtype[Any]:
    return np.dtype(_KINDS[kind] if kind < len(_KINDS) else f"S{width}")


def _allocate(dtypes: Sequence[np.dtype[Any]], rows: int) -> list[NDArray[Any]]:
    """Return a column of zeros for each dtype, [rows].

    Each begins at a cache line, and not a multiple of 4 KiB after another: else the cells of a row, which are
    written together, would want the same few places of the cache.
    """
    begins, at = [], 0
    for number, dtype in enumerate(dtypes):
        at += -(at - number * APART) % PAGE
        begins.append(at)
        at += rows * dtype.itemsize
    memory = np.zeros(at + LINE, np.uint8)
    memory = memory[-memory.ctypes.data % LINE :]
    return [
        memory[begin : begin + rows * dtype.itemsize].view(dtype)
        for begin, dtype in zip(begins, dtypes, strict=True)
    ]
