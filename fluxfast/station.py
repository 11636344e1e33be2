"""The station: a poller that logs every tick.

::

    async with Station(fleet, log_dir="log") as station:
        async for tick in station.ticks(duration_s=30):
            soe = station["powerpack"]["soe"]          # NumPy, a row per device, no copy

A slot of the grid in which there was no tick is logged too: the gap is data.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from fluxfast.config import Fleet
from fluxfast.log import Column, Dataset, LogWriter
from fluxfast.plan import ColumnLayout, TableLayout
from fluxfast.plan.program import STRING
from fluxfast.poller import Poller, Tick
from fluxfast.status import Status
from fluxfast.table import quality

MAX_SKIPPED_ROWS: Final = 120  # ticks; a longer gap (the machine slept) is left as a gap


class Station(Poller):
    """Polls a fleet, tick by tick, and logs it. Use as an async context manager, then iterate ``ticks``."""

    def __init__(self, fleet: Fleet | str | Path, *, log_dir: str | Path | None = None) -> None:
        """Take a fleet or a site file; nothing is sent and nothing written yet.

        Raises what Poller raises; entering it, FluxfastError if the log cannot be opened.
        """
        super().__init__(fleet)
        self._log_dir = None if log_dir is None else Path(log_dir)
        self._log: LogWriter | None = None

    def _begin(self) -> None:
        if self._log_dir is not None:
            self._log = LogWriter(
                self._log_dir,
                [_dataset(layout) for layout in self.plan.tables],
                tick_seconds=self._every_ns / 1e9,
                quality_names=quality.QUALITY_NAMES,
                reasons=quality.REASONS,
                on_event=self.messages.append,
            )

    def close(self) -> None:
        """Close every connection and write out the log; what was read is on the disk when this returns."""
        super().close()
        if self._log is not None:
            self._log.close()

    def status(self) -> Status:
        """Return a snapshot; cheap enough to be called twice a second."""
        status, log = super().status(), self._log
        if log is None:
            return status
        return replace(
            status,
            rows_logged=log.rows_logged + log.rows_waiting,
            rows_dropped=log.rows_dropped,
            log_bytes=log.bytes_written,
        )

    def _done(self, tick: Tick) -> None:
        if self._log is not None:
            for index, t in enumerate(self.tables.values()):
                self._log.append(index, tick.time_us, t.latency_ms, t.row_quality, t.values, t.valid)

    def _skipped(self, times_us: Sequence[int]) -> None:
        if self._log is None or len(times_us) > MAX_SKIPPED_ROWS:
            return
        for index, table in enumerate(self.tables.values()):
            nothing = np.zeros_like(table.valid)
            code = np.full(table.rows, quality.SKIPPED, np.uint8)
            latency = np.full(table.rows, np.nan, np.float32)
            for time_us in times_us:
                self._log.append(index, time_us, latency, code, table.values, nothing)


def _dataset(layout: TableLayout) -> Dataset:
    return Dataset(
        layout.name,
        [device.site for device in layout.devices],
        [device.id for device in layout.devices],
        [_column(column) for column in layout.columns],
        {"profile": layout.name, "profile_version": str(layout.profile.version)},
        layout.variant.tolist(),
    )


def _column(column: ColumnLayout) -> Column:
    point = column.point
    about: dict[str, object | None] = {
        "unit": point.unit,
        "description": point.description,
        "register": point.register,
        "address": point.address,
        "type": point.type,
        "scale": point.scale,
        "offset": point.offset,
    }
    return Column(
        point.name,
        f"S{column.value.width}" if column.value.kind == STRING else column.value.dtype,
        column.labels,
        {key: str(value) for key, value in about.items() if value is not None},
    )
