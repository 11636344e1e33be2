"""Every byte of a log checked, without a lock, also while a station writes it.

Of a file that the manifest knows: its size, its sha256, and all its pages, by their own checksums. Of the
journal: each frame, and that none is missing between two. Of the manifest: each line. What belongs to none
of these is told, too.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from fluxfast.errors import FluxfastError
from fluxfast.log import manifest as manifest_file
from fluxfast.log import segment
from fluxfast.log.convert import DAMAGED
from fluxfast.log.directory import HIDDEN, hidden_path
from fluxfast.log.frame import Damage, Frame, frames
from fluxfast.log.manifest import Manifest, Record, sha256_of
from fluxfast.log.snapshot import covers_segment

UNCHECKED: Final = {".lock", ".compacting", ".uploading", "watchdog.jsonl"}
AGAIN_S: Final = 0.05  # what is just being written is whole after that
UNREADABLE: Final = (OSError, pa.ArrowException, ValueError)  # names that are no UTF-8 are a ValueError
_RECOVER: Final = "fluxfast log recover keeps all that is whole"
_RESTORE: Final = "restore it from a copy; without one its rows are lost, and it is best moved away"
_NEXT_PASS: Final = "a pass is under way, or was killed: the next one, or fluxfast log recover, clears it up"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    ``file`` is relative to the log; ``where`` in it, empty for all of it; ``harmless``: nothing is lost, and
    there is nothing that must be done.
    """

    file: str
    where: str
    what: str
    cure: str
    harmless: bool = False

    def __str__(self) -> str:
        """Return it on one line."""
        place = f"{self.file}: {self.where}" if self.where else self.file
        return f"{place}: {self.what} ({self.cure})"


def verify(root: Path, progress: Callable[[int, int], None] | None = None) -> Iterator[Finding]:
    """Check a log and yield what is found; ``progress`` gets the bytes that are done, and all there are.

    Raises FluxfastError if there is no log.
    """
    return _Verification(root, progress or (lambda done, total: None)).run()


class _Verification:
    def __init__(self, root: Path, progress: Callable[[int, int], None]) -> None:
        self._root, self._progress = root, progress
        self._done = self._total = 0
        try:
            self._manifest = Manifest(root)
            self._files = dict(_all_files(root))
        except OSError as error:
            raise FluxfastError(f"{root}: {error.strerror or error}") from error
        if not root.is_dir() or not any(map(_is_ours, self._files)):
            raise FluxfastError(f"{root}: there is no log")
        self._journal = {
            f"{segment.FOLDER}/{wanted.name.path.name}": wanted
            for wanted in segment.find(root / segment.FOLDER)
        }
        self._last: tuple[str, int] | None = None  # run and sequence of the last frame

    def run(self) -> Iterator[Finding]:
        self._total = sum(self._files.values())
        yield from self._check_manifest()
        for name, size in self._files.items():
            if name not in UNCHECKED and name != manifest_file.NAME:
                try:
                    yield from self._check(name)
                except FileNotFoundError:
                    yield from self._check_missing(name)
                except OSError as error:
                    yield Finding(name, "", f"cannot be read: {error.strerror or error}", _RESTORE)
            self._step(size)
        for name in list(self._manifest.files):
            if name not in self._files:
                yield from self._check_missing(name)

    def _step(self, size: int) -> None:
        self._done += size
        self._progress(self._done, self._total)

    def _check(self, name: str) -> Iterator[Finding]:
        hidden = name.removeprefix(HIDDEN).replace("+", "/")
        if name in self._journal:
            yield from self._check_segment(name)
        elif name.endswith(DAMAGED):
            yield self._kept(name)
        elif name in self._manifest.files:
            yield from self._check_live(name)
        elif name in self._manifest.gone:
            wrong = list(_compare(self._root / name, name, self._manifest.gone[name]))
            yield from wrong or [Finding(name, "", "merged or removed, and still there", _NEXT_PASS, True)]
        elif name.startswith(HIDDEN) and hidden in self._manifest.files:
            yield from _compare(self._root / name, name, self._manifest.files[hidden])
            yield Finding(name, "", "merged, and not yet renamed", _NEXT_PASS, True)
        elif name.startswith(HIDDEN):
            yield Finding(name, "", "not finished", _NEXT_PASS, True)
        elif name.endswith(".parquet"):
            yield from self._check_unknown(name)
        else:
            yield Finding(name, "", "not a file of the log", "it may stay", True)

    def _kept(self, name: str) -> Finding:
        first = next(frames((self._root / name).read_bytes()), None)
        if isinstance(first, Frame) and first.kind == segment.HEADER:
            cure = "its whole frames are recovered: remove it when nobody needs the rest"
        else:
            cure = "nothing of it is recovered: without its header nobody knows what its frames are"
        return Finding(name, "", "a damaged segment that was kept", cure)

    # ---- the manifest ----

    def _check_manifest(self) -> Iterator[Finding]:
        name = manifest_file.NAME
        if self._manifest.ends_torn:  # or just being written
            time.sleep(AGAIN_S)
            self._manifest.refresh()
        if self._manifest.damaged:
            cure = "what it said is unknown: a file without a line is told below"
            for line in self._manifest.damaged:
                yield Finding(name, f"line {line}", "damaged", cure)
        if self._manifest.ends_torn:
            yield Finding(name, "its last line", "torn", _RECOVER)
        if not self._manifest.path.exists() and any(file.endswith(".parquet") for file in self._files):
            cure = "an older version writes none; only what the files say of themselves can be checked"
            yield Finding(name, "", "there is none", cure, True)

    def _reread(self) -> bool:
        """Whether the manifest has got more lines."""
        before = self._manifest.size
        self._manifest.refresh()
        return self._manifest.size != before

    # ---- files ----

    def _check_live(self, name: str) -> Iterator[Finding]:
        record = self._manifest.files[name]
        wrong = list(_compare(self._root / name, name, record))
        if wrong and record["op"] == "put":  # it may be new, and its line to come
            time.sleep(AGAIN_S)
        if wrong and self._reread():
            if name not in self._manifest.files:
                return
            wrong = list(_compare(self._root / name, name, self._manifest.files[name]))
        yield from wrong

    def _check_missing(self, name: str) -> Iterator[Finding]:
        """Tell that a file is gone, unless the manifest says so, too, or it is there under another name."""
        hidden = hidden_path(self._root, name)
        if name in self._manifest.files and not hidden.exists() and not (self._root / name).exists():
            self._reread()
        if name in self._manifest.files and not hidden.exists() and not (self._root / name).exists():
            yield Finding(name, "", "missing; the manifest has it", _RESTORE)

    def _check_unknown(self, name: str) -> Iterator[Finding]:
        if self._reread() and name in self._manifest.files:
            yield from self._check_live(name)
            return
        yield from _check_pages(self._root / name, name)
        if any(covers_segment(name, w.name.run, w.name.sequence) for w in self._journal.values()):
            yield Finding(name, "", "its segment is still in the journal", _NEXT_PASS, True)
        elif self._manifest.path.exists():
            cure = "it is read as if it were the log's; move it away if it is not"
            yield Finding(name, "", "the manifest has no line for it", cure)

    # ---- the journal ----

    def _check_segment(self, name: str) -> Iterator[Finding]:
        wanted = self._journal[name]
        path, run = wanted.name.path, wanted.name.run
        pieces = list(frames(path.read_bytes()))
        if pieces and isinstance(pieces[-1], Damage):  # or just being written
            time.sleep(AGAIN_S)
            pieces = list(frames(path.read_bytes()))
        if not pieces:
            yield Finding(name, "", "empty", _NEXT_PASS, True)
        before_run, before = self._last or ("", -1)
        expected = before + 1 if before_run == run else None
        for piece in pieces:
            if isinstance(piece, Damage):
                what = "torn" if piece.at_end else "damaged"
                yield Finding(name, f"bytes {piece.start} to {piece.end}", what, _RECOVER)
                expected = None  # what is missing is in there
                continue
            if expected is not None and piece.sequence > expected:
                lost = f"frames {expected} to {piece.sequence - 1} are missing"
                yield Finding(
                    name, f"byte {piece.start}", lost, "their rows are lost, unless a copy has them"
                )
            expected = piece.sequence + 1
        self._last = None if expected is None else (run, expected - 1)


def _is_ours(name: str) -> bool:
    """Whether only a log has a file of that name."""
    folder, _, rest = name.partition("/")
    return name in (".lock", manifest_file.NAME) or folder == segment.FOLDER or rest.startswith("date=")


def _all_files(root: Path) -> Iterator[tuple[str, int]]:
    """Yield every file's name relative to the log, and its size."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            try:
                yield str(path.relative_to(root)), path.lstat().st_size
            except FileNotFoundError:
                continue


def _compare(path: Path, name: str, record: Record) -> Iterator[Finding]:
    """Yield how a file differs from what the manifest says of it. Raises OSError."""
    with open(path, "rb") as file:
        size, digest = os.fstat(file.fileno()).st_size, sha256_of(file)
    changed = None
    if size != record["bytes"]:
        changed = f"{size} bytes, not {record['bytes']}"
    elif digest != record["sha256"]:
        changed = "its sha256 is not that of the manifest"
    if name.endswith(".parquet"):
        damaged = list(_check_pages(path, name))
        if damaged:
            yield from damaged
            return
        if changed is None and (rows := pq.read_metadata(path).num_rows) != record.get("rows", rows):
            changed = f"{rows} rows, not {record['rows']}"
    if changed is not None:
        yield Finding(name, "", changed, _RESTORE)


def _check_pages(path: Path, name: str) -> Iterator[Finding]:
    """Read a Parquet file through, and yield where that fails."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
            for group in range(parquet.num_row_groups):
                try:
                    parquet.read_row_group(group)
                except UNREADABLE as error:
                    columns = list(_check_columns(parquet, group, name))
                    yield from columns or [Finding(name, f"row group {group}", _one_line(error), _RESTORE)]
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        yield Finding(name, "footer", _one_line(error), _RESTORE)


def _check_columns(parquet: pq.ParquetFile, group: int, name: str) -> Iterator[Finding]:
    for column in parquet.schema_arrow.names:
        try:
            parquet.read_row_group(group, [column])
        except UNREADABLE as error:
            yield Finding(name, f"row group {group}, column {column}", _one_line(error), _RESTORE)


def _one_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
