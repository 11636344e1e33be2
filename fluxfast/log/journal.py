"""The journal's thread: blocks of ticks, and events, to segments on the disk.

::

    loop ─▶ queue of blocks ─▶ packed ─▶ written ─▶ synced ─▶ block is free again
             bounded            └───── this thread ─────┘

Invariants:

1. Whoever puts a block in never waits, neither for the disk nor for this thread. Without room the oldest
   ticks go, whole ticks of all datasets, counted.
2. A block is kept until it is synced. After a failed sync all that was written since the last good one goes
   to a new segment: what the old one holds of it is unknown, and does not count (``segment.py``).
3. A failing disk never ends the station: the thread tries again every ``RETRY_S``.
"""

import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

from fluxfast.log import batches, disk, events, segment
from fluxfast.log.block import Block
from fluxfast.log.dataset import Dataset
from fluxfast.log.directory import LogDirectory
from fluxfast.log.frame import pack
from fluxfast.log.segment import SegmentWriter

LOGGER: Final = logging.getLogger("fluxfast.log")
GROUP_S: Final = 1.0  # with `sync: group`
RETRY_S: Final = 1.0
QUEUE_BYTES: Final = 128 << 20  # of blocks, whatever they are doing
MIN_BLOCKS: Final = 4  # one being filled, one being written, two of the last second
SEGMENT_BYTES: Final = 256 << 20  # of columns; converting takes some times as much memory
FIRST_SEGMENT_S: Final = 30.0  # twice as long each time, so that a new log soon has something to look at

Sync = Literal["group", "tick", "os"]


class Journal:
    """Writes blocks and events. ``take``, ``put`` and ``close`` belong to one thread, the loop's.

    Readable at any time: ``rows_written`` (as safe as the policy makes them), ``rows_dropped``,
    ``bytes_written``, ``failures``.
    """

    def __init__(
        self,
        directory: LogDirectory,
        run: str,
        datasets: Sequence[Dataset],
        *,
        capacity: int,
        sync: Sync,
        segment_s: float,
        about: dict[str, Any],
        tell: Callable[[str], None],
        closed: Callable[[], None],
    ) -> None:
        """Start the thread. ``capacity``: ticks of a block; ``closed``: called when a segment is complete."""
        self.rows_written = self.rows_dropped = self.bytes_written = self.failures = 0
        self._directory, self._run, self._datasets = directory, run, datasets
        self._schemas = [batches.schema(dataset) for dataset in datasets]
        self._capacity, self._policy, self._segment_s = capacity, sync, segment_s
        self._about, self._tell, self._closed = about, tell, closed
        block_bytes = max(capacity * Block.tick_bytes(datasets), 1)
        self.memory_limit_bytes = max(QUEUE_BYTES, MIN_BLOCKS * block_bytes)
        self._blocks = self._blocks_left = self.memory_limit_bytes // block_bytes
        self._free: list[Block] = []
        self._queue: deque[Block] = deque()
        self._events: list[events.Event] = []
        # Of the thread alone: what is written and not yet synced.
        self._unsynced: list[Block] = []
        self._unsynced_events: list[events.Event] = []
        self._segment: SegmentWriter | None = None
        self._given_up: list[SegmentWriter] = []
        self._sequence = 0  # of the next frame
        self._synced_sequence = 0  # frames from this one on are not known to be on the disk
        self._segment_length_s = min(FIRST_SEGMENT_S, segment_s)
        self._segment_began = self._last_sync = time.monotonic()
        self._segment_bytes = 0
        self._failing = self._dropping = self._closing = False
        self._changed = (
            threading.Condition()
        )  # guards _free, _queue, _events, _blocks_left, _closing, _dropping
        self._thread = threading.Thread(target=self._run_thread, name="fluxfast-journal", daemon=True)
        self._open_segment()  # a directory that cannot be written to is an error now
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether less than half of the blocks are left."""
        with self._changed:
            return 2 * (len(self._free) + self._blocks_left) < self._blocks

    # ---- on the loop's thread ----

    def take(self) -> Block:
        """Return an empty block; if none is left, the oldest one that waits loses its ticks."""
        with self._changed:
            if self._free:
                return self._free.pop()
            if self._blocks_left:
                self._blocks_left -= 1
                return Block(self._datasets, self._capacity)
            block = self._queue.popleft()  # there is one, for the thread never holds all (_sync_is_due)
        self._drop(block.rows, "the disk is too slow")
        block.clear()
        return block

    def put(self, block: Block) -> None:
        """Hand a block over; it must not be used any more."""
        with self._changed:
            self._queue.append(block)
            self._changed.notify()

    def add_event(self, event: events.Event) -> None:
        """Keep an event; any thread may call it."""
        with self._changed:
            full = len(self._events) >= events.MAX_EVENTS
            if not full:
                self._events.append(event)
                if len(self._events) == 1:
                    self._changed.notify()
        if full:
            self._drop(1, f"{events.MAX_EVENTS} events wait", "newest events")

    def close(self, timeout_s: float) -> bool:
        """Write all that waits, sync, and close the segment; return False if the disk hangs."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # ---- on either ----

    def _drop(self, rows: int, why: str, what: str = "oldest ticks") -> None:
        with self._changed:
            self.rows_dropped += rows
            first, self._dropping = not self._dropping, True
        if first:
            self._tell(f"{why}; dropping the {what}")

    # ---- on the journal's thread ----

    def _run_thread(self) -> None:
        last = False
        while not last:
            with self._changed:
                if not self._queue and not self._events and not self._closing:
                    self._changed.wait(self._patience_s())
                last = self._closing
            try:
                self._work(last)
            except OSError as e:
                self._failed(e)
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, RETRY_S)
            except Exception:  # a mistake of ours must not end the logging without a word
                LOGGER.exception("the journal's thread failed")
                self._tell("a block could not be written: see the program's own log")
                raise
            else:
                self._recovered()
        self._end()

    def _patience_s(self) -> float:
        now = time.monotonic()
        if self._unsynced or self._unsynced_events:
            return max(self._last_sync + GROUP_S - now, 0.001)
        return max(self._segment_began + self._segment_length_s - now, 0.1)

    def _work(self, last: bool) -> None:
        while True:
            with self._changed:
                block = self._queue.popleft() if self._queue else None
                news, self._events = self._events, []
            if block is None and not news:
                break
            try:
                self._write(block, news)
            except OSError:
                self._give_back([] if block is None else [block], news)
                raise
            if block is not None:
                self._unsynced.append(block)
            self._unsynced_events += news
            if self._policy == "tick" or self._sync_is_due():
                self._sync()
            if self._segment_is_full():
                self._rotate()
        if last or self._sync_is_due():
            self._sync()
        if self._segment_is_full():
            self._rotate()

    def _give_back(self, blocks: Sequence[Block], news: Sequence[events.Event]) -> None:
        with self._changed:
            self._queue.extendleft(reversed(blocks))
            self._events[:0] = news

    def _write(self, block: Block | None, news: Sequence[events.Event]) -> None:
        if self._segment is None:
            self._open_segment()
        assert self._segment is not None
        packed, n_bytes = [], 0
        if news:
            packed.append(pack(segment.EVENTS, self._sequence, events.to_message(news)))
        for d, ticks in enumerate(() if block is None else block.ticks):
            if ticks.count:
                message = batches.to_message(self._schemas[d], ticks)
                packed.append(pack(d, self._sequence + len(packed), message))
                n_bytes += message.size
        data = b"".join(packed)
        self._segment.append(data)
        self._sequence += len(packed)
        self._segment_bytes += n_bytes
        self.bytes_written += len(data)

    def _sync_is_due(self) -> bool:
        if not self._unsynced and not self._unsynced_events:
            return False
        # Never so many that there is none left to fill.
        many = len(self._unsynced) >= self._blocks - 2
        return many or time.monotonic() >= self._last_sync + GROUP_S

    def _sync(self) -> None:
        """Make sure of what was written, as far as the policy wants it; then its blocks are free."""
        self._last_sync = time.monotonic()
        if self._segment is not None:
            try:
                if not self._segment.is_there():
                    raise OSError(errno.ENOENT, "somebody has removed its file")
                if self._policy != "os":
                    self._segment.sync()
            except OSError:
                self._abandon()
                raise
        self._synced_sequence = self._sequence
        self.rows_written += sum(block.rows for block in self._unsynced) + len(self._unsynced_events)
        for block in self._unsynced:
            block.clear()
        with self._changed:
            self._free += self._unsynced
        self._unsynced, self._unsynced_events = [], []

    def _abandon(self) -> None:
        """Give up a segment of whose end nobody knows whether it is on the disk: that is written again."""
        self._give_back(self._unsynced, self._unsynced_events)
        self._unsynced, self._unsynced_events = [], []
        self._sequence = self._synced_sequence
        assert self._segment is not None
        # Nobody may convert it before its successor is there, whose name says where this one ends.
        self._given_up.append(self._segment)
        self._segment = None

    def _segment_is_full(self) -> bool:
        if self._segment is None or self._segment_bytes == 0:
            return False
        old = time.monotonic() >= self._segment_began + self._segment_length_s
        return old or self._segment_bytes >= SEGMENT_BYTES

    def _rotate(self) -> None:
        self._sync()
        assert self._segment is not None
        self._segment.close()
        self._segment = None
        self._segment_length_s = min(2 * self._segment_length_s, self._segment_s)
        self._closed()

    def _open_segment(self) -> None:
        self._directory.keep()
        header = segment.header(self._run, time.time_ns() // 1000, self._datasets, self._about)
        folder = self._directory.path / segment.FOLDER
        disk.make_folder(folder)
        self._segment = SegmentWriter(folder, self._run, self._sequence, header)
        self._sequence += 1
        self._synced_sequence = self._sequence
        self._segment_began, self._segment_bytes = time.monotonic(), 0
        given_up, self._given_up = self._given_up, []
        for old in given_up:
            old.close()

    def _end(self) -> None:
        lost = sum(block.rows for block in (*self._queue, *self._unsynced)) + len(self._events)
        if lost:
            self.rows_dropped += lost
            self._tell(f"closed with {lost} rows not written")
        for old in (*self._given_up, *([] if self._segment is None else [self._segment])):
            with suppress(OSError):
                old.close()

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        if not self._failing:
            self._failing = True
            self._tell(
                f"cannot write to {self._directory.path}: {error.strerror or error}; keeping up to "
                f"{self.memory_limit_bytes >> 20} MiB in memory and trying again"
            )

    def _recovered(self) -> None:
        with self._changed:
            keeping_up = self._dropping and not self._queue
            if keeping_up:
                self._dropping = False
        if self._failing or keeping_up:
            self._failing = False
            self._tell(f"writing again; {self.rows_dropped} rows dropped since the start")
