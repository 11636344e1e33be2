"""Which files and which rows of the journal make a log at one moment: every row once.

The journal is read first, then the folders, then the manifest. So what has left the journal in the meantime
is in the manifest, and what is in both is seen to be.

- The manifest decides. A merged file takes the place of its sources from its line on; until it is renamed,
  it is read under its hidden name.
- A file that the manifest does not know (of an older version, of a log that was copied in part, or just
  before its line) counts, unless one that covers its segments does already.
- A segment's rows count, as long as no part that was made of them does.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from fluxfast.log.directory import HIDDEN, hidden_path
from fluxfast.log.follow import Key
from fluxfast.log.inventory_files import COLUMNS, DEVICES
from fluxfast.log.manifest import Manifest, Record

TABLES: Final = {"columns": COLUMNS, "devices": DEVICES}
_NAME: Final = re.compile(r"(\d{8}T\d{6})Z-([0-9a-f]{8})-(\d{6,10})(?:-(\d{10}))?\.parquet")
_DAY: Final = re.compile(r"date=\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")


@dataclass(frozen=True)
class File:
    """One Parquet file. ``name`` is that of the manifest, relative to the log; ``path`` where it lies now."""

    name: str
    path: Path
    dataset: str
    date: date
    size: int
    record: Record | None
    run: str | None = None  # of the segments it was made of, as its name says; None: a name of others
    first: int = 0
    last: int | None = None  # None: it is a part

    @property
    def is_hidden(self) -> bool:
        """Whether its folder is not that of its date."""
        return self.path.name.startswith(HIDDEN)

    @property
    def is_part(self) -> bool:
        """Whether it was made of one segment, so that its run's others have the same columns."""
        return self.run is not None and self.last is None

    def overlaps(self, other: "File") -> bool:
        """Whether both are made of the same segments, as far as names tell."""
        if (other.dataset, other.date, other.run) != (self.dataset, self.date, self.run) or self.run is None:
            return False
        return self.first <= (other.last or other.first) and other.first <= (self.last or self.first)

    def has(self, key: Key) -> bool:
        """Whether it was made of this segment, which is not known to be done.

        What is merged was done before. (Its name may say more: it may end with the number of another run.)
        """
        if (key.dataset, key.date, key.run) != (self.dataset, self.date, self.run):
            return False
        known = self.is_part or self.record is not None
        return key.sequence == self.first if known else self.first <= key.sequence <= (self.last or 0)


@dataclass(frozen=True)
class Snapshot:
    """``missing``: files of the manifest that are not there."""

    files: list[File]
    missing: list[str]
    superseded: list[str]  # there, and not needed any more

    def counts(self, key: Key, manifest: Manifest) -> bool:
        """Whether rows of the journal are not in a file."""
        if (key.run, key.sequence) in manifest.segments:
            return False
        return not any(file.has(key) for file in self.files)


def take(root: Path, look: Callable[[], Manifest]) -> tuple[Snapshot, Manifest]:
    """Look at the folders, then read the manifest with ``look``. The journal must have been read before."""
    for last_try in (False, True):
        listed = dict(_listed(root))
        manifest = look()
        snapshot = _resolve(root, listed, manifest)
        if last_try or not snapshot.missing:  # else a pass has gone on in between
            break
    return snapshot, manifest


def _listed(root: Path) -> Iterator[tuple[str, int]]:
    """Yield all files that look like parts, with their sizes."""
    for dataset in _entries(root):
        if dataset.name.startswith((".", "_")) or not dataset.is_dir():
            continue
        for day in _entries(dataset.path):
            if not _DAY.fullmatch(day.name):
                continue
            for entry in _entries(day.path):
                if entry.name.endswith(".parquet") and not entry.name.startswith((".", "_")):
                    try:
                        yield f"{dataset.name}/{day.name}/{entry.name}", entry.stat().st_size
                    except FileNotFoundError:
                        continue


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _resolve(root: Path, listed: Mapping[str, int], manifest: Manifest) -> Snapshot:
    files, missing = [], []
    for name, record in manifest.files.items():
        if record["op"] == "put":
            continue
        if (size := listed.get(name)) is not None:
            files.append(_file(root / name, name, size, record))
        elif found := _elsewhere(root, name, record, listed, manifest):
            files += found
        else:
            missing.append(name)
    counted = {file.name for file in files}
    superseded = [name for name in listed if name in manifest.gone and name not in counted]
    unknown = [
        _file(root / name, name, size, None)
        for name, size in listed.items()
        if name not in counted and name not in manifest.gone
    ]
    superseded += [file.name for file in _add_unknown(files, unknown)]
    return Snapshot(sorted(files, key=_order), missing, superseded)


def _elsewhere(
    root: Path, name: str, record: Record, listed: Mapping[str, int], manifest: Manifest
) -> list[File]:
    """Return what stands for a file that was not in its folder: it under another name, or its sources."""
    for path in (
        root / name,
        hidden_path(root, name),
        root / name,
    ):  # in this order: it may be renamed just now
        try:
            return [_file(path, name, path.stat().st_size, record)]
        except FileNotFoundError:
            pass
    sources = record.get("of", ())
    if sources and all(source in listed for source in sources):
        return [_file(root / source, source, listed[source], manifest.gone.get(source)) for source in sources]
    return []


def _add_unknown(files: list[File], unknown: Iterable[File]) -> Iterator[File]:
    """Add those that nothing overlaps, the widest first; yield the others."""
    by_place: dict[tuple[str, date, str | None], list[File]] = {}
    for file in files:
        by_place.setdefault((file.dataset, file.date, file.run), []).append(file)
    for file in sorted(unknown, key=lambda file: file.first - (file.last or file.first)):
        near = by_place.setdefault((file.dataset, file.date, file.run), [])
        if any(other.overlaps(file) for other in near):
            yield file
        else:
            near.append(file)
            files.append(file)


def covers_segment(name: str, run: str, sequence: int) -> bool:
    """Whether a file of this name was made of this segment."""
    match = _NAME.fullmatch(name.rsplit("/", 1)[-1])
    return match is not None and match[2] == run and int(match[3]) <= sequence <= int(match[4] or match[3])


def _file(path: Path, name: str, size: int, record: Record | None) -> File:
    dataset, day, base = name.split("/")
    when = date.fromisoformat(day.removeprefix("date="))
    if match := _NAME.fullmatch(base):
        last = int(match[4]) if match[4] else None
        return File(name, path, dataset, when, size, record, match[2], int(match[3]), last)
    return File(name, path, dataset, when, size, record)


def _order(file: File) -> tuple[str, date, str]:
    return file.dataset, file.date, file.name
