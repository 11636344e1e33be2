"""``LogWriter``: what a station hands its ticks to.

::

    append ─▶ block ─▶ journal ─▶ segment ─▶ compaction ─▶ Parquet
      loop: a copy      a thread, ≤ 1 s      a process, every 10 minutes

``append`` never waits, neither for the disk nor for anybody else.
"""

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fluxfast.errors import FluxfastError
from fluxfast.log import events, inventory_files
from fluxfast.log.block import Array, Block
from fluxfast.log.compactor import compact, left_over
from fluxfast.log.dataset import Dataset, Words
from fluxfast.log.directory import LogDirectory
from fluxfast.log.inventory import DeviceRow
from fluxfast.log.job import CompactionJob
from fluxfast.log.journal import BLOCK_S, LOGGER, Journal, Sync
from fluxfast.log.remote import check as check_remote
from fluxfast.log.retention import Retention

SEGMENT_S: Final = 600.0
CLOSE_S: Final = 60.0  # a disk that hangs for longer is given up at the end
JOB_CLOSE_S: Final = 10.0
UPLOAD_CLOSE_S: Final = 20.0


class LogWriter:
    """Logs ticks of several datasets under one directory. ``append`` to ``close`` belong to one thread.

    Readable at any time: ``rows_logged`` (in the journal, as safe as ``sync`` makes them), ``rows_waiting``
    (in memory), ``rows_dropped`` (lost), ``bytes_written`` (of journal), ``failures`` (attempts that failed).
    """

    def __init__(
        self,
        directory: Path,
        datasets: Sequence[Dataset],
        *,
        tick_seconds: float,
        quality_names: Sequence[str],
        reasons: Sequence[str | None],
        sync: Sync = "group",
        segment_seconds: float = SEGMENT_S,
        keep_s: float | None = None,
        max_bytes: int | None = None,
        remote: str | None = None,
        devices: Sequence[DeviceRow] | None = None,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        """Lock the directory and start; FluxfastError when the directory cannot be used.

        ``tick_seconds`` sizes the buffers. ``quality_names`` and ``reasons`` have 256 entries: what a row's
        quality code is called, and why it is not good (None when it is); a dataset may have its own.
        ``sync``: the journal is synced once a second (``group``), at each tick, or when the system likes
        (``os``). ``keep_s``: what is older goes; ``max_bytes``: of the oldest goes what is more; ``remote``:
        the URL to which copies go. ``devices``: the inventory. ``on_event`` gets one line when the disk or
        the remote fails, when rows are dropped, when a dataset goes on under another name, and when all is
        well again; it may be called on any thread. Without it the lines go to the logger ``fluxfast.log``.
        """
        words = Words(quality_names, reasons)
        self._datasets = [replace(d, words=d.words or words) for d in datasets]
        run = secrets.token_hex(4)
        names = [*(d.name for d in datasets), events.NAME, *inventory_files.FOLDERS]
        for name in names:
            if names.count(name) > 1:
                raise FluxfastError(f"two datasets of the log would be called '{name}': rename the profile")
        self._on_event = on_event or LOGGER.warning
        self._rows_appended = 0
        # The block is filled by the loop, and fetched by the journal's thread if the loop does not go on.
        self._filling = threading.Lock()
        self._since_s: float | None = None  # when the block's first tick came
        self._within_tick = False
        self._closing = False
        if remote is not None:
            check_remote(remote)
        about = {} if devices is None else {"devices": [row._asdict() for row in devices]}
        now_us = time.time_ns() // 1000
        self._directory = LogDirectory(directory)
        self._retention = Retention(keep_s, max_bytes, remote is not None)
        self._job = CompactionJob(self._directory.path, self._tell, self._retention, remote)
        try:
            self._datasets, news = inventory_files.settle(self._directory.path, self._datasets, now_us)
            self._journal = Journal(
                self._directory,
                run,
                self._datasets,
                capacity=1 if sync == "tick" else max(int(BLOCK_S / tick_seconds), 1),
                sync=sync,
                segment_s=segment_seconds,
                about=about,
                tell=self._tell,
                old=self._hand_over_old,
                closed=self._segment_closed,
            )
        except BaseException as e:
            self._job.close(JOB_CLOSE_S)
            self._directory.close()
            if isinstance(e, OSError):
                raise FluxfastError(f"cannot log to {directory}: {e.strerror}") from e
            raise
        self._block: Block = self._journal.take()
        for text in news:
            self._tell(text)
            self.add_event(now_us, "log", text)
        if left_over(self._directory.path, run):
            self._job.start()

    def __enter__(self) -> Self:
        """Return self; ``close`` follows at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened."""
        self.close()

    @property
    def rows_logged(self) -> int:
        """Rows in the journal."""
        return self._journal.rows_written

    @property
    def rows_dropped(self) -> int:
        """Rows that are lost."""
        return self._journal.rows_dropped

    @property
    def rows_waiting(self) -> int:
        """Rows appended that are neither in the journal nor lost."""
        return self._rows_appended - self.rows_logged - self.rows_dropped

    @property
    def busy(self) -> bool:
        """Whether so much waits that whoever can wait should, before ticks are dropped."""
        return self._journal.busy

    @property
    def bytes_written(self) -> int:
        """Bytes written to the journal."""
        return self._journal.bytes_written

    @property
    def failures(self) -> int:
        """How often the disk did not take something."""
        return self._journal.failures

    @property
    def memory_limit_bytes(self) -> int:
        """The most that the buffers take."""
        return self._journal.memory_limit_bytes

    def append(
        self,
        dataset: int,
        tick_us: int,
        latency_ms: Array,
        quality: Array,
        values: Sequence[Array],
        valid: Sequence[Array] | Array,
    ) -> None:
        """Copy one tick of the dataset with this index.

        ``tick_us``: UTC microseconds since 1970. ``latency_ms``: float32[rows], tick to receive time, NaN
        when nothing was received. ``quality``: uint8[rows] codes. ``values``: one array[rows] per column, of
        its dtype. ``valid``: bool or uint8 [columns, rows]; zero makes the cell null.
        """
        if self._closing:
            raise ValueError("append to a closed LogWriter")
        with self._filling:
            ticks = self._block.ticks[dataset]
            if ticks.is_full:
                self._hand_over()
                ticks = self._block.ticks[dataset]
            ticks.append(tick_us, latency_ms, quality, values, valid)
            self._rows_appended += self._datasets[dataset].rows
            self._within_tick = True
            if self._since_s is None:
                self._since_s = time.monotonic()

    def end_tick(self) -> None:
        """All datasets have their row of this tick: it may go to the journal."""
        with self._filling:
            self._within_tick = False
            if any(ticks.is_full for ticks in self._block.ticks):
                self._hand_over()

    def add_event(
        self, time_us: int, kind: str, text: str, site: str | None = None, device: str | None = None
    ) -> None:
        """Log an event in the dataset ``events``; any thread may call it. After ``close`` it is lost."""
        if self._closing:
            return
        self._rows_appended += 1
        self._journal.add_event(events.Event(time_us, site, device, kind, text))

    def close(self) -> None:
        """Write all that is left, wait for the disk, make Parquet of it, and give the directory free."""
        if self._closing:
            return
        with self._filling:
            self._closing = True
            self._journal.put(self._block)
        job_ended = self._job.close(JOB_CLOSE_S)
        if not self._journal.close(CLOSE_S):
            self._tell(f"the disk hangs; {self.rows_waiting} rows are not written")
            return
        try:
            if job_ended:
                # Merges can wait for the next start: they may take minutes.
                compact(self._directory.path, self._tell, retention=self._retention, merge=False)
                self._job.last_upload(UPLOAD_CLOSE_S)
        except Exception as e:  # what was read is in the journal, and whoever closes has more to close
            why = e.strerror if isinstance(e, OSError) else repr(e)
            self._tell(f"cannot make Parquet of the journal: {why}; the next start does")
        finally:
            self._directory.close()

    def _hand_over(self) -> None:
        self._since_s = None
        self._journal.put(self._block)
        self._block = self._journal.take()

    def _hand_over_old(self) -> None:
        """Hand over whole ticks that wait for others, on the journal's thread: the loop may be held up."""
        with self._filling:
            if self._closing or self._within_tick or self._since_s is None:
                return
            if time.monotonic() >= self._since_s + BLOCK_S:
                self._hand_over()

    def _segment_closed(self) -> None:
        if not self._closing:
            self._job.start()

    def _tell(self, text: str) -> None:
        try:
            self._on_event(f"log: {text}")
        except Exception:  # a listener's mistake must not end the logging
            LOGGER.exception("the listener failed")
