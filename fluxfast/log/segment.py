"""One file of the journal: a header, then the ticks and events of some minutes.

``DIR/.journal/<run>-<sequence>.ffj``: the run is one life of a station, the sequence that of the file's first
frame. Whoever writes it holds a lock on it; so a file that can be locked is complete, or its writer is dead.

The header is JSON: the datasets, with all that is needed to make tables of the batches behind it. It is on
the disk before anything follows it. Frames of one run have rising sequences, and where two files have the
same one, the later file's counts: after a failed sync nobody knows what is on the disk, so it is written
again, to a new file.
"""

import bisect
import fcntl
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from fluxfast.errors import FluxfastError
from fluxfast.log import disk, frame
from fluxfast.log.dataset import Column, Dataset, Words
from fluxfast.log.frame import MAGIC, Damage, Frame, frames, pack

FOLDER: Final = ".journal"
FORMAT: Final = 1
HEADER: Final = 0xFFFF  # kinds of frames; the others are the number of their dataset
EVENTS: Final = 0xFFFE
_NAME: Final = re.compile(r"([0-9a-f]{8})-(\d{10})\.ffj")


class NewerError(FluxfastError):
    """A segment that this fluxfast does not understand."""


class NotBegunError(FluxfastError):
    """A segment whose writer has died over the header: nothing was ever logged in it."""


class SegmentWriter:
    """A new file of the journal; every method but ``close`` may raise OSError.

    ``size`` is what is written, whole frames; ``broken``: an error has left more than that, so this file must
    not be written to any more.
    """

    def __init__(self, folder: Path, run: str, sequence: int, header: bytes) -> None:
        """Create and lock it, and write the header, which takes ``sequence``."""
        self.path = folder / f"{run}-{sequence:010}.ffj"
        self.size = 0
        self.broken = False
        disk.unlink(self.path)  # of an attempt that could neither write a header nor remove the file
        self._file = disk.create(self.path)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.append(pack(HEADER, sequence, header))
            self.sync()
            disk.sync_folder(folder)
        except OSError:
            self.close()
            with suppress(OSError):
                disk.unlink(self.path)
            raise

    def append(self, data: bytes) -> None:
        """Write frames behind those that are there; after an error none of them is, unless it is broken."""
        try:
            disk.write(self._file, data, self.size)
        except OSError:
            self.broken = True
            disk.truncate(self._file, self.size)
            # Else a crash might bring back frames that are written once more behind these.
            disk.sync(self._file)
            self.broken = False
            raise
        self.size += len(data)

    def sync(self) -> None:
        """Return when all is on the disk. After an error this file must not be used any more."""
        disk.sync(self._file)

    def is_there(self) -> bool:
        """Whether the file still has its name: somebody may have removed it, or mounted over its folder."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Close the file; from now on it may be converted."""
        with suppress(OSError):  # what was synced is there
            os.close(self._file)


class Header:
    """What all segments of a run begin with."""

    def __init__(self, run: str, datasets: Sequence[Dataset], about: Mapping[str, Any]) -> None:
        """``about`` says more of the run: version, devices."""
        described = []
        for dataset in datasets:
            one = asdict(dataset)
            one["columns"] = [
                {
                    **asdict(column),
                    "labels": [{str(code): text for code, text in names.items()} for names in column.labels],
                }
                for column in dataset.columns
            ]
            described.append(one)
        # Once, for it takes milliseconds with 10,000 devices, and the loop waits.
        self._json = json.dumps({"format": FORMAT, "run": run, "datasets": described, **about})

    def to_json(self, opened_us: int) -> bytes:
        """Return the header of a segment that begins now."""
        return f'{{"opened_us":{opened_us},{self._json[1:]}'.encode()


@dataclass(frozen=True)
class SegmentName:
    """What a segment's name says."""

    path: Path
    run: str
    sequence: int


@dataclass
class Segment:
    """A segment as read: ``messages[d]`` are the IPC messages of dataset d, ``events`` those of events."""

    name: SegmentName
    opened_us: int
    datasets: list[Dataset]
    about: dict[str, Any]
    messages: list[list[Frame]] = field(default_factory=list)
    events: list[Frame] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)

    def take(self, frame: Frame) -> None:
        """Put a frame where it belongs."""
        (self.events if frame.kind == EVENTS else self.messages[frame.kind]).append(frame)


class Wanted(NamedTuple):
    """A segment, and from which sequence on the following one of its run counts (None: it is the last)."""

    name: SegmentName
    before: int | None


def find(journal: Path, done: Collection[tuple[str, int]] = ()) -> list[Wanted]:
    """Return the segments of a journal: those of a run together, in their order.

    ``done``: run and sequence of segments that may be gone already, though one that comes before is not.
    """
    names = []
    for path in journal.glob("*.ffj"):
        if match := _NAME.fullmatch(path.name):
            names.append(SegmentName(path, match[1], int(match[2])))
    names.sort(key=lambda name: (name.run, name.sequence))
    begins = sorted({*((name.run, name.sequence) for name in names), *done})
    return [Wanted(name, _next_of_run(begins, name)) for name in names]


def find_one(path: Path, done: Collection[tuple[str, int]] = ()) -> Wanted | None:
    """Return a segment with what follows it now; to be asked while it is locked, for its writer may go on."""
    return next((wanted for wanted in find(path.parent, done) if wanted.name.path == path), None)


def _next_of_run(begins: Sequence[tuple[str, int]], name: SegmentName) -> int | None:
    at = bisect.bisect_right(begins, (name.run, name.sequence))
    return begins[at][1] if at < len(begins) and begins[at][0] == name.run else None


def headers(journal: Path) -> list[Segment]:
    """Return what the segments say before their rows, the oldest first; none of those that cannot be read."""
    found = []
    for wanted in find(journal):
        with suppress(OSError, FluxfastError):
            first = _first_frame(wanted.name.path)
            if first is not None and first.kind == HEADER:
                found.append(begin(wanted.name, first))
    return sorted(found, key=lambda segment: segment.opened_us)


def _first_frame(path: Path) -> Frame | None:
    with path.open("rb") as file:
        data = file.read(frame.HEADER.size)
        if len(data) == frame.HEADER.size:
            _, length, *_ = frame.HEADER.unpack(data)
            data += file.read(min(length, frame.MAX_LENGTH))
    first = next(frames(data), None)
    return first if isinstance(first, Frame) else None


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold a segment that nobody writes; yield whether it is so, False also if it is gone."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield path.exists()  # or another one has just finished with it
    finally:
        os.close(file)


def read(wanted: Wanted) -> Segment:
    """Read a segment into memory. Raises OSError if the file cannot be read.

    NotBegunError or NewerError if it is so, FluxfastError if its header is damaged.
    """
    path = wanted.name.path
    data = path.read_bytes()  # no map: a bad sector is an error then, and not the end of the process
    segment: Segment | None = None
    damage: list[Damage] = []
    complete = False  # all that counts is read
    for piece in frames(data):
        if isinstance(piece, Damage):
            if not complete:
                damage.append(piece)
            continue
        complete = wanted.before is not None and piece.sequence >= wanted.before - 1
        if wanted.before is not None and piece.sequence >= wanted.before:
            continue
        if piece.kind == HEADER:
            segment = begin(wanted.name, piece)
        elif segment is None:
            break
        else:
            segment.take(piece)
    if segment is None:
        if len(damage) == 1 and damage[0].at_end and data.find(MAGIC, 1) < 0:
            raise NotBegunError(f"{path}: has no whole header")
        if not data:
            raise NotBegunError(f"{path}: is empty")
        raise FluxfastError(f"{path}: its header is damaged")
    segment.damage = damage
    return segment


def begin(name: SegmentName, frame: Frame) -> Segment:
    """Return what a segment's header says of it, without ticks."""
    try:
        about = json.loads(frame.payload().to_pybytes())
        if about.pop("format") != FORMAT:
            raise NewerError(f"{name.path}: written by a newer fluxfast")
        about.pop("run")
        datasets = [_dataset(described) for described in about.pop("datasets")]
        return Segment(name, about.pop("opened_us"), datasets, about, [[] for _ in datasets])
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # it must not hold up all others
        raise FluxfastError(f"{name.path}: its header makes no sense ({error!r})") from error


def _dataset(described: dict[str, Any]) -> Dataset:
    columns = [
        Column(
            column["name"],
            column["dtype"],
            [{int(code): text for code, text in names.items()} for names in column["labels"]],
            column["metadata"],
        )
        for column in described.pop("columns")
    ]
    words = described.pop("words")
    return Dataset(**described, columns=columns, words=None if words is None else Words(*words))
