"""The journal's thread: blocks of ticks, and events, to segments on the disk.

::

    loop ─▶ queue of blocks ─▶ packed ─▶ written ─▶ synced ─▶ block is free again
             bounded            └───── this thread ─────┘

Invariants:

1. Whoever puts a block in never waits, neither for the disk nor for this thread. Without room the oldest
   ticks go, whole ticks of all datasets, counted.
2. A block is kept until it is synced. After a failed sync all that was written since the last good one goes
   to a new segment: what the old one holds of it is unknown, and does not count (``segment.py``).
3. Neither a failing disk nor a mistake of ours ends the logging: the thread tries again every ``RETRY_S``.
"""

import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

import pyarrow as pa

from fluxfast.log import disk, events, segment
from fluxfast.log.block import Block, Layout
from fluxfast.log.dataset import Dataset
from fluxfast.log.directory import LogDirectory
from fluxfast.log.frame import pack
from fluxfast.log.segment import SegmentWriter

LOGGER: Final = logging.getLogger("fluxfast.log")
BLOCK_S: Final = 0.5  # of ticks are written together; the newest are as much later in the journal
GROUP_S: Final = 1.0  # with `sync: group`
RETRY_S: Final = 1.0
CALM_S: Final = 5.0  # without a failure or a dropped row, and all is well again
LAST_ATTEMPTS: Final = 3  # at the end, on a disk that fails
QUEUE_BYTES: Final = 128 << 20  # of blocks, whatever they are doing
MIN_BLOCKS: Final = 4  # one being filled, one being written, two of the last second
SEGMENT_BYTES: Final = 128 << 20  # of columns; converting takes 100 MiB, and three times as much as these
FIRST_SEGMENT_S: Final = 30.0  # twice as long each time, so that a new log soon has something to look at

FULL: Final = (errno.ENOSPC, errno.EDQUOT)

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
        old: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        """Start the thread. Raises OSError if the directory cannot be used; a full one is waited for.

        ``capacity``: ticks of a block. ``old`` is asked to put in what it holds, if that is ``BLOCK_S`` old;
        ``closed`` is called when a segment is complete. Both on the thread.
        """
        self.rows_written = self.rows_dropped = self.bytes_written = self.failures = 0
        self._directory, self._run = directory, run
        self._policy, self._segment_s = sync, segment_s
        self._header = segment.Header(run, datasets, about)
        self._tell, self._old, self._closed = tell, old, closed
        self._layouts = [Layout(dataset, capacity) for dataset in datasets]
        block_bytes = Block.n_bytes(self._layouts)
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
        self._last_trouble = 0.0
        # Guards _free, _queue, _events, _blocks_left, _closing, _dropping, rows_dropped.
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run_thread, name="fluxfast-journal", daemon=True)
        try:
            self._open_segment()
        except OSError as e:
            if e.errno not in FULL:  # a full disk must not keep a station from starting
                raise
            self._failed(e)
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
                return Block(self._layouts)
            block = self._queue.popleft()  # there is one, for the thread never holds all (_sync_is_due)
        self._drop(block.rows, f"{self.memory_limit_bytes >> 20} MiB wait for the disk", "oldest ticks")
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

    def _drop(self, rows: int, why: str, what: str) -> None:
        with self._changed:
            self.rows_dropped += rows
            self._last_trouble = time.monotonic()
            first, self._dropping = not self._dropping, True
        if first:
            self._tell(f"{why}; dropping the {what}")

    # ---- on the journal's thread ----

    def _run_thread(self) -> None:
        attempts = 0
        while attempts < LAST_ATTEMPTS:
            with self._changed:
                if not self._queue and not self._events and not self._closing:
                    self._changed.wait(self._patience_s())
                idle, last = not self._queue, self._closing
            try:
                if idle:
                    self._old()
                self._work(last)
                self._recovered(last)
                if last:
                    break
            except Exception as e:  # not only OSError: a mistake of ours must not end the logging
                self._failed(e)
                attempts += last
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, RETRY_S)
        self._end()

    def _patience_s(self) -> float:
        if self._unsynced or self._unsynced_events:
            return max(min(self._last_sync + GROUP_S - time.monotonic(), BLOCK_S), 0.001)
        return BLOCK_S

    def _work(self, last: bool) -> None:
        while True:
            with self._changed:
                block = self._queue.popleft() if self._queue else None
                news, self._events = self._events, []
            if block is None and not news:
                break
            try:
                packed = self._pack(block, news)
            except Exception as e:  # it would fail again and again, and hold up all others
                self._leave_out(block, news, e)
                continue
            try:
                self._write(packed)
            except Exception:
                self._give_back([] if block is None else [block], news)
                if self._segment is not None and self._segment.broken:
                    self._abandon()
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

    def _leave_out(self, block: Block | None, news: Sequence[events.Event], why: Exception) -> None:
        LOGGER.error("ticks or events cannot be written", exc_info=why)
        self._drop((block.rows if block else 0) + len(news), f"{type(why).__name__}: {why}", "ticks it met")
        if block is not None:
            block.clear()
            with self._changed:
                self._free.append(block)

    def _pack(self, block: Block | None, news: Sequence[events.Event]) -> list[tuple[int, pa.Buffer]]:
        """Return the messages of a block and of events, each with its kind of frame."""
        messages = []
        if news:
            messages.append((segment.EVENTS, events.to_message(news)))
        for d, ticks in enumerate(() if block is None else block.ticks):
            if ticks.rows:
                messages.append((d, ticks.to_message()))
        return messages

    def _write(self, messages: Sequence[tuple[int, pa.Buffer]]) -> None:
        if not messages:
            return
        if self._segment is None:
            self._open_segment()
        assert self._segment is not None
        packed = [
            pack(kind, sequence, message) for sequence, (kind, message) in enumerate(messages, self._sequence)
        ]
        data = b"".join(packed)
        self._segment.append(data)
        self._sequence += len(packed)
        self._segment_bytes += sum(message.size for _, message in messages)
        self.bytes_written += len(data)

    def _sync_is_due(self) -> bool:
        if not self._unsynced and not self._unsynced_events:
            return False
        # The rest is for what comes while the disk takes its time.
        many = len(self._unsynced) >= self._blocks // 2
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
        complete, self._segment = self._segment, None
        complete.close()
        self._segment_length_s = min(2 * self._segment_length_s, self._segment_s)
        self._closed()

    def _open_segment(self) -> None:
        self._directory.keep()
        folder = self._directory.path / segment.FOLDER
        disk.make_folder(folder)
        header = self._header.to_json(time.time_ns() // 1000)
        self._segment = SegmentWriter(folder, self._run, self._sequence, header)
        self._sequence += 1
        self._synced_sequence = self._sequence
        self._segment_began, self._segment_bytes = time.monotonic(), 0
        given_up, self._given_up = self._given_up, []
        for old in given_up:
            old.close()

    def _end(self) -> None:
        with suppress(OSError):  # of the last failure
            self._sync()
        lost = sum(block.rows for block in self._queue) + len(self._events)
        if lost:
            with self._changed:
                self.rows_dropped += lost
            self._tell(f"closed with {lost} rows not written")
        for old in (*self._given_up, *([] if self._segment is None else [self._segment])):
            old.close()

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, OSError):
            LOGGER.error("the journal's thread failed", exc_info=error)
        self.failures += 1
        self._last_trouble = time.monotonic()
        if not self._failing:
            self._failing = True
            why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            self._tell(
                f"cannot write to {self._directory.path}: {why}; keeping up to "
                f"{self.memory_limit_bytes >> 20} MiB in memory and trying again"
            )

    def _recovered(self, last: bool) -> None:
        """Nothing has failed just now: tell so, if it lasts; a disk that comes and goes is one event."""
        if not (self._failing or self._dropping):
            return
        if last or (not self._queue and time.monotonic() >= self._last_trouble + CALM_S):
            self._failing = self._dropping = False
            self._tell(f"writing again; {self.rows_dropped} rows dropped since the start")
