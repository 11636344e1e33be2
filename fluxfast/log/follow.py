"""The journal as tables, read while a station writes it.

No locks, and no memory map: who writes a segment may cut it. What was decoded once is kept, so that looking
again each second costs what a second brought.
"""

import os
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa

from fluxfast.log import convert, frame, segment
from fluxfast.log.dataset import Dataset
from fluxfast.log.frame import Damage, frames
from fluxfast.log.segment import Segment, SegmentName

_SIZE: Final = frame.HEADER.size


class Key(NamedTuple):
    """What the parts of a segment have in common with the rows they were made of."""

    dataset: str
    date: date
    run: str
    sequence: int


class Journal:
    """All segments of a log, as far as they have been read."""

    def __init__(self, root: Path) -> None:
        """Read nothing yet."""
        self._folder = root / segment.FOLDER
        self._followed: dict[SegmentName, Follower] = {}

    def update(self, done: Collection[tuple[str, int]]) -> None:
        """Read what is new, except of the segments that are ``done``."""
        followed = {}
        for wanted in segment.find(self._folder, done):
            name = wanted.name
            if (name.run, name.sequence) in done:
                continue
            follower = self._followed.get(name) or Follower(name)
            try:
                follower.update(wanted.before)
            except FileNotFoundError:  # its parts are there
                continue
            followed[name] = follower
        self._followed = followed

    def is_cut_by(self, done: Collection[tuple[str, int]]) -> bool:
        """Whether rows were read that do not count, for a segment that is ``done`` has them again."""
        return any(
            run == name.run and name.sequence < sequence <= last
            for name, follower in self._followed.items()
            if (last := follower.last_sequence) is not None
            for run, sequence in done
        )

    def datasets(self) -> Iterator[Dataset]:
        """Yield what the headers say, the latest segment of each run last."""
        for follower in self._followed.values():
            yield from follower.datasets

    def tables(self) -> Iterator[tuple[Key, list[pa.Table]]]:
        """Yield the rows by the part that they will be in."""
        for follower in self._followed.values():
            yield from follower.tables.items()


class Follower:
    """One segment. ``tables`` are the rows of all frames that were whole so far."""

    def __init__(self, name: SegmentName) -> None:
        """Read nothing yet."""
        self._name = name
        self._begin()

    @property
    def last_sequence(self) -> int | None:
        """That of the last frame that was read."""
        return None if self._last is None else self._last[2]

    def _begin(self) -> None:
        self.tables: dict[Key, list[pa.Table]] = {}
        self.datasets: list[Dataset] = []
        self._segment: Segment | None = None
        self._end = 0  # of what was read
        self._last: tuple[int, bytes, int] | None = None  # the last frame: start, header, sequence

    def update(self, before: int | None) -> None:
        """Read the frames that are new, those with sequences from ``before`` on not. Raises OSError."""
        file = os.open(self._name.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if self._was_rewritten(file, before):
                self._begin()
            data = _read(file, self._end)
        finally:
            os.close(file)
        base, fresh = self._end, None
        for piece in frames(data):
            if isinstance(piece, Damage):
                if piece.at_end:  # it is just being written, or torn
                    break
                continue
            if before is not None and piece.sequence >= before:
                break
            if piece.kind == segment.HEADER:
                self._segment = segment.begin(self._name, piece)
                self.datasets = self._segment.datasets
            elif self._segment is None:
                break
            else:
                fresh = fresh or replace(self._segment, messages=[[] for _ in self.datasets], events=[])
                fresh.take(piece)
            self._end = base + piece.end
            self._last = base + piece.start, data[piece.start : piece.start + _SIZE], piece.sequence
        if fresh is not None:
            self._take(fresh)

    def _was_rewritten(self, file: int, before: int | None) -> bool:
        """Whether what was read is not so any more: the writer has cut it, or begun again in a new file."""
        if self._last is None:
            return False
        start, header, sequence = self._last
        if before is not None and sequence >= before:
            return True
        return os.fstat(file).st_size < self._end or os.pread(file, _SIZE, start) != header

    def _take(self, fresh: Segment) -> None:
        for part in convert.parts(fresh):
            day = datetime.fromtimestamp(part.first_us // 1_000_000, UTC).date()
            key = Key(part.dataset, day, self._name.run, self._name.sequence)
            tables = self.tables.setdefault(key, [])
            tables.append(part.table)
            # Never more than a few, and each row is copied a few times at most.
            while len(tables) > 1 and 2 * len(tables[-1]) >= len(tables[-2]):
                tables[-2:] = [pa.concat_tables(tables[-2:]).unify_dictionaries().combine_chunks()]


def _read(file: int, at: int) -> bytes:
    pieces = []
    while piece := os.pread(file, 1 << 24, at):
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)
