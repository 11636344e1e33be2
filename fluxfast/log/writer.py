"""``LogWriter``: the event loop copies ticks in, one thread beside it encodes and writes.

::

    append ─▶ open part ─▶ queue of full parts ─▶ encode ─▶ held files ─▶ disk
      loop: a copy          at most 3 a dataset   └────── the thread ──────┘

Invariants:

1. ``append`` never waits, neither for the disk nor for the thread. Without room the oldest goes, counted.
2. Memory is bounded by ``memory_limit_bytes``, whatever the disk does.
3. A file is on the disk whole, or not at all. A crash costs what was not yet in a file: the open parts, that
   is ``part_seconds``, and the part that is just being written.
4. A failing disk never ends the station: the thread keeps the encoded files and tries again.
"""

import logging
import math
import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa

from fluxfast.errors import FluxfastError
from fluxfast.log import events
from fluxfast.log.dataset import Dataset, Words
from fluxfast.log.directory import LogDirectory
from fluxfast.log.encoder import Encoder
from fluxfast.log.part import Array, Part

LOGGER: Final = logging.getLogger("fluxfast.log")
DAY_US: Final = 86_400_000_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
PART_BYTES: Final = 64 << 20  # a part is closed early rather than grow beyond this
PARTS_PER_DATASET: Final = 4  # one being filled, one being encoded, two that wait
HELD_BYTES: Final = 64 << 20  # encoded files that the disk did not take yet
RETRY_S: Final = 1.0
CLOSE_S: Final = 60.0  # a disk that hangs for longer is given up at the end


@dataclass(frozen=True, eq=False)
class _File:
    """One encoded part, until it is on the disk."""

    index: int
    name: str
    data: pa.Buffer
    rows: int


class LogWriter:
    """Logs ticks of several datasets under one directory. ``append`` and ``close`` belong to one thread.

    Readable at any time: ``rows_logged``, ``bytes_written``, ``parts_written`` (all three: safely on the
    disk), ``rows_waiting`` (in memory), ``rows_dropped`` (lost), ``failures`` (attempts that failed).
    """

    def __init__(
        self,
        directory: Path,
        datasets: Sequence[Dataset],
        *,
        tick_seconds: float,
        quality_names: Sequence[str],
        reasons: Sequence[str | None],
        part_seconds: float = 30.0,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        """Lock the directory and start the thread; FluxfastError when the directory cannot be used.

        ``tick_seconds`` sizes the buffers; faster ticks only make shorter parts. ``quality_names`` and
        ``reasons`` have 256 entries: what a row's quality code is called, and why it is not good (None when
        it is); a dataset may have its own. ``on_event`` gets one line when the disk fails, when rows are
        dropped, and when all is well again; it may be called on any thread. Without it the lines go to the
        logger ``fluxfast.log``.
        """
        self.rows_logged = 0
        self.bytes_written = 0
        self.parts_written = 0
        self.rows_dropped = 0
        self.failures = 0
        self._rows_appended = 0
        self._datasets = tuple(datasets)
        words = Words(quality_names, reasons)
        self._encoders = [Encoder(d, words) for d in datasets]
        self._folders = [*(d.name for d in datasets), events.FOLDER]
        for name in self._folders:
            if self._folders.count(name) > 1:
                raise FluxfastError(f"two datasets of the log would be called '{name}': rename the profile")
        self._part_us = max(int(part_seconds * 1e6), 1)
        wanted = math.ceil(part_seconds / tick_seconds)
        self._capacity = [max(min(wanted, PART_BYTES // Part.tick_bytes(d)), 1) for d in datasets]
        self._open: list[Part | None] = [None] * len(datasets)
        self._free: list[list[Part]] = [[] for _ in datasets]
        self._allocated = [0] * len(datasets)
        self._queue: deque[Part | events.EventPart] = deque()
        self._events: list[events.Event] = []
        self._n_events = 0
        self._held: deque[_File] = deque()
        self._held_bytes = 0
        self._sequence = 0
        self._writer_id = secrets.token_hex(4)
        self._on_event = on_event or LOGGER.warning
        self._failing = False
        self._dropping = False
        self._closing = False
        self._changed = threading.Condition()  # guards _free, _queue, _events, _dropping and rows_dropped
        self._directory = LogDirectory(directory)
        self._thread = threading.Thread(target=self._run, name="fluxfast-log", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Return self; ``close`` follows at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened."""
        self.close()

    @property
    def rows_waiting(self) -> int:
        """Rows appended that are neither on the disk nor lost."""
        return self._rows_appended + self._n_events - self.rows_logged - self.rows_dropped

    @property
    def memory_limit_bytes(self) -> int:
        """The most that buffers, encoding and held files take together."""
        parts = [
            capacity * Part.tick_bytes(d) for capacity, d in zip(self._capacity, self._datasets, strict=True)
        ]
        # Encoding holds a part once more in device order, once as pages, and twice as a file, which grows by
        # doubling; for the same reason a held file may own twice its size.
        return PARTS_PER_DATASET * sum(parts) + 4 * max(parts, default=0) + 2 * HELD_BYTES

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
        day, rest = divmod(tick_us, DAY_US)
        slot = (day, rest // self._part_us)
        part = self._open[dataset]
        if part is None or part.slot != slot or part.ticks == part.capacity:
            self._hand_over(dataset)
            part = self._open[dataset] = self._take(dataset)
            part.clear(slot)
        part.append(tick_us, latency_ms, quality, values, valid)
        self._rows_appended += self._datasets[dataset].rows

    def add_event(
        self, time_us: int, kind: str, text: str, site: str | None = None, device: str | None = None
    ) -> None:
        """Keep an event for the dataset ``events``; any thread may call it. After ``close`` it is lost."""
        with self._changed:
            if self._closing:
                return
            self._n_events += 1
            full = len(self._events) >= events.MAX_EVENTS
            if not full:
                self._events.append(events.Event(time_us, site, device, kind, text))
        if full:
            self._drop(1, f"{events.MAX_EVENTS} events wait", "newest events")

    def close(self) -> None:
        """Write all that is left, wait for the disk, and give the directory free."""
        if self._closing:
            return
        for dataset in range(len(self._datasets)):
            self._hand_over(dataset)
        with self._changed:
            self._hand_over_events()
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._tell(f"the disk hangs; {self.rows_waiting} rows are not written")
        else:
            self._directory.close()

    # On the caller's thread.

    def _hand_over(self, dataset: int) -> None:
        part, self._open[dataset] = self._open[dataset], None
        if part is None:
            return
        with self._changed:
            # A part whose first tick was refused is empty.
            if part.ticks:
                self._queue.append(part)
                if not any(isinstance(waiting, events.EventPart) for waiting in self._queue):
                    self._hand_over_events()
            else:
                self._free[dataset].append(part)
            self._changed.notify()

    def _hand_over_events(self) -> None:
        self._queue += events.by_day(self._events, len(self._datasets))
        self._events = []

    def _take(self, dataset: int) -> Part:
        with self._changed:
            if self._free[dataset]:
                return self._free[dataset].pop()
            if self._allocated[dataset] < PARTS_PER_DATASET:
                self._allocated[dataset] += 1
                return Part(dataset, self._datasets[dataset], self._capacity[dataset])
            oldest = next(p for p in self._queue if isinstance(p, Part) and p.index == dataset)
            self._queue.remove(oldest)
        self._drop(oldest.rows, "the disk is too slow")
        return oldest

    # On either.

    def _tell(self, text: str) -> None:
        try:
            self._on_event(f"log: {text}")
        except Exception:  # a listener's mistake must not end the logging
            LOGGER.exception("the listener failed")

    def _drop(self, rows: int, why: str, what: str = "oldest rows") -> None:
        with self._changed:
            self.rows_dropped += rows
            first, self._dropping = not self._dropping, True
        if first:
            self._tell(f"{why}; dropping the {what}")

    # On the writer's thread.

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._queue and not self._closing:
                    self._changed.wait(RETRY_S if self._held else None)
                part = self._queue.popleft() if self._queue else None
                last = self._closing and not self._queue
            if part is not None:
                self._encode(part)
            self._write_held()
            if last:
                break
        lost = sum(file.rows for file in self._held)
        if lost:
            self.rows_dropped += lost
            self._tell(f"closed with {lost} rows not written")

    def _encode(self, part: Part | events.EventPart) -> None:
        self._sequence += 1
        rows = part.rows
        folder = self._folders[part.index]
        try:
            start = EPOCH + timedelta(microseconds=int(part.tick_us[0]))
            if isinstance(part, events.EventPart):
                data = events.encode(part)
            else:
                data = self._encoders[part.index].encode(part)
        except Exception as e:  # one part that cannot be encoded must not end the logging
            self.failures += 1
            self._drop(rows, f"cannot encode a part of {folder}: {e!r}")
            return
        finally:
            if isinstance(part, Part):
                with self._changed:
                    self._free[part.index].append(part)
        name = f"{start:%Y%m%dT%H%M%S}Z-{self._writer_id}-{self._sequence:06}.parquet"
        file = _File(part.index, f"{folder}/date={start:%Y-%m-%d}/{name}", data, rows)
        self._held.append(file)
        self._held_bytes += file.data.size
        while self._held_bytes > HELD_BYTES and len(self._held) > 1:
            oldest = self._held.popleft()
            self._held_bytes -= oldest.data.size
            self._drop(oldest.rows, f"{HELD_BYTES >> 20} MiB wait for the disk")

    def _write_held(self) -> None:
        # A dataset whose folder is unusable must not hold up the others.
        # Only the text of an error is kept: the error would keep this frame alive, and with it the file.
        stuck: dict[int, str] = {}
        for file in list(self._held):
            if file.index in stuck:
                continue
            try:
                self._directory.publish(file.name, file.data)
            except OSError as e:
                self.failures += 1
                stuck[file.index] = e.strerror or str(e)
                continue
            self._held.remove(file)
            self._held_bytes -= file.data.size
            self.rows_logged += file.rows
            self.bytes_written += file.data.size
            self.parts_written += 1
        for reason in stuck.values():
            if not self._failing:
                self._failing = True
                self._tell(
                    f"cannot write to {self._directory.path}: {reason}; "
                    f"keeping up to {HELD_BYTES >> 20} MiB in memory and trying again"
                )
        if not stuck:
            self._recovered()

    def _recovered(self) -> None:
        with self._changed:
            keeping_up = self._dropping and not self._queue
            if keeping_up:
                self._dropping = False
        if self._failing or keeping_up:
            self._failing = False
            self._tell(f"writing again; {self.rows_dropped} rows dropped since the start")
