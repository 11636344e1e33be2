"""One file of the journal: a header, then the ticks and events of some minutes.

``DIR/.journal/<run>-<sequence>.ffj``: the run is one life of a station, the sequence that of the file's first
frame. Whoever writes it holds a lock on it; so a file that can be locked is complete, or its writer is dead.

The header is JSON: the datasets, with all that is needed to make tables of the batches behind it. Frames of
one run have rising sequences, and where two files have the same one, the later file's counts: after a failed
sync nobody knows what is on the disk, so it is written again, to a new file.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from fluxfast.errors import FluxfastError
from fluxfast.log import disk
from fluxfast.log.dataset import Column, Dataset, Words
from fluxfast.log.frame import Damage, Frame, frames, pack

FOLDER: Final = ".journal"
FORMAT: Final = 1
HEADER: Final = 0xFFFF  # kinds of frames; the others are the number of their dataset
EVENTS: Final = 0xFFFE
_NAME: Final = re.compile(r"([0-9a-f]{8})-(\d{10})\.ffj")


class SegmentWriter:
    """A new file of the journal. Every method may raise OSError; ``size`` is what is known to be written."""

    def __init__(self, folder: Path, run: str, sequence: int, header: bytes) -> None:
        """Create and lock it, and write the header, which takes ``sequence``."""
        self.path = folder / f"{run}-{sequence:010}.ffj"
        self.size = 0
        self._file = disk.create(self.path)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.append(pack(HEADER, sequence, header))
            self.sync()
            disk.sync_folder(folder)
        except OSError:
            os.close(self._file)
            disk.unlink(self.path)
            raise

    def append(self, data: bytes) -> None:
        """Write frames behind those that are there; after an error none of them is."""
        try:
            disk.write(self._file, data, self.size)
        except OSError:
            disk.truncate(self._file, self.size)
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
        os.close(self._file)


def header(run: str, opened_us: int, datasets: Sequence[Dataset], about: dict[str, Any]) -> bytes:
    """Return a header's JSON. ``about`` says more of the run: version, devices."""
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
    return json.dumps(
        {"format": FORMAT, "run": run, "opened_us": opened_us, "datasets": described, **about}
    ).encode()


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


class Wanted(NamedTuple):
    """A segment, and the sequence from which on the following one of its run counts (None: it is the last)."""

    name: SegmentName
    before: int | None


def find(journal: Path) -> list[Wanted]:
    """Return the segments of a journal: those of a run together, in their order."""
    names = []
    for path in journal.glob("*.ffj"):
        if match := _NAME.fullmatch(path.name):
            names.append(SegmentName(path, match[1], int(match[2])))
    names.sort(key=lambda name: (name.run, name.sequence))
    following = [*names[1:], None]
    return [
        Wanted(name, after.sequence if after and after.run == name.run else None)
        for name, after in zip(names, following, strict=True)
    ]


def headers(journal: Path) -> list[Segment]:
    """Return what the segments say before their rows, the oldest first; none of those that cannot be read."""
    found = []
    for wanted in find(journal):
        with suppress(FileNotFoundError, FluxfastError):
            first = next(frames(_map(wanted.name.path)), None)
            if isinstance(first, Frame) and first.kind == HEADER:
                found.append(_begin(wanted.name, first))
    return sorted(found, key=lambda segment: segment.opened_us)


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
    """Read a segment. Raises FluxfastError if its header cannot be read, OSError if the file cannot."""
    data = _map(wanted.name.path)
    segment: Segment | None = None
    damage: list[Damage] = []
    for piece in frames(data):
        if isinstance(piece, Damage):
            damage.append(piece)
        elif wanted.before is not None and piece.sequence >= wanted.before:
            continue
        elif piece.kind == HEADER:
            segment = _begin(wanted.name, piece)
        elif segment is None:
            break
        elif piece.kind == EVENTS:
            segment.events.append(piece)
        else:
            segment.messages[piece.kind].append(piece)
    if segment is None:
        raise FluxfastError(f"{wanted.name.path}: its header is damaged")
    segment.damage = damage
    return segment


def _map(path: Path) -> memoryview:
    if path.stat().st_size == 0:
        return memoryview(b"")
    with pa.memory_map(str(path)) as file:
        return memoryview(file.read_buffer())


def _begin(name: SegmentName, frame: Frame) -> Segment:
    about = json.loads(frame.payload().to_pybytes())
    if about.pop("format") != FORMAT:
        raise FluxfastError(f"{name.path}: written by a newer fluxfast")
    about.pop("run")
    datasets = [_dataset(described) for described in about.pop("datasets")]
    return Segment(name, about.pop("opened_us"), datasets, about, [[] for _ in datasets])


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
