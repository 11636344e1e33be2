"""``DIR/manifest.jsonl``: which files the log consists of, and the checksum of each.

A line for each file that appears or goes, JSON, whose last key is the crc32 of what stands before it. Lines
are only appended, by who holds ``DIR/.compacting``; what is said later counts. What a crash leaves of lines
that were never synced, a torn one or zeros, is no damage:

- ``add``: a part, made of a segment of the journal: dataset, rows, bytes, sha256, first_us, last_us, run
- ``segment``: all ``parts`` of a segment are there; it is not needed any more
- ``merge``: a file that takes the place of those in ``of``
- ``put``: a file that is rewritten whole
- ``remove``: a file that is gone, and why: ``age``, ``size``, ``missing``
- ``bad``: a file whose bytes are not what they were; nothing is made of it any more
- ``uploaded``: a file is at the remote, too; ``recalled``: it is there no more
"""

import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from fluxfast.log import disk

NAME: Final = "manifest.jsonl"
_LINE: Final = re.compile(rb'(\{.*),"crc":"([0-9a-f]{8})"\}')

Record = Mapping[str, Any]


class Manifest:
    """The lines as read, and what they come to.

    ``files``: the newest line of each file that is there, by its name relative to the log. ``gone``: the
    last line of each that is not, with ``why``: ``merge``, or as in ``remove``. ``bad``: names.
    ``segments``: (run, sequence) of those that are done. ``uploaded``: sha256 of what the remote has, by
    name. ``last``: the newest line. ``damaged``: numbers of lines that are not whole.
    """

    def __init__(self, root: Path) -> None:
        """Read; raises OSError. No manifest is an empty one."""
        self.path = root / NAME
        self._file = (0, 0)
        self._forget()
        self.refresh()

    def _forget(self) -> None:
        self.files: dict[str, Record] = {}
        self.gone: dict[str, Record] = {}
        self.bad: set[str] = set()
        self.segments: set[tuple[str, int]] = set()
        self.merges: list[Record] = []
        self.uploaded: dict[str, str] = {}
        self.damaged: list[int] = []
        self.last: Record | None = None
        self.size = 0  # where the last line ends that is none of a crash
        self.ends_torn = False
        self._lines = 0  # up to there
        self._parts: dict[tuple[str, int], set[str]] = {}  # of segments that are not known to be done

    def refresh(self) -> None:
        """Read what others have appended meanwhile. Raises OSError."""
        try:
            with self.path.open("rb") as file:
                about = os.fstat(file.fileno())
                if self._file != (about.st_dev, about.st_ino) or about.st_size < self.size:
                    self._forget()
                    self._file = about.st_dev, about.st_ino
                file.seek(self.size)
                data = file.read()
        except FileNotFoundError:
            self._forget()
            return
        begin, at = self.size, 0
        *lines, _ = data.split(b"\n")
        for number, line in enumerate(lines, self._lines + 1):
            at += len(line) + 1
            if (record := _read(line)) is not None:
                self._take(record)
            elif b"\0\0" in line:  # one alone may be a flipped bit
                continue
            else:
                self.damaged.append(number)
            self.size, self._lines = begin + at, number
        self.ends_torn = begin + len(data) > self.size

    def append(self, records: Iterable[Record]) -> None:
        """Add lines; on the disk when this returns. Raises OSError, and then none of them counts.

        The caller holds ``DIR/.compacting``, and has read all that is there.
        """
        records = list(records)
        data = b"".join(_line(record) for record in records)
        new = not self.path.exists()
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                if self.ends_torn:
                    disk.truncate(file, self.size)
                disk.write(file, data, self.size)
                disk.sync(file)
            except OSError:
                disk.truncate(file, self.size)
                raise
        finally:
            os.close(file)
        if new:
            disk.sync_folder(self.path.parent)
        self.refresh()

    def _take(self, record: Record) -> None:
        name = record.get("file", "")
        self.last = record
        match record["op"]:
            case "add":
                self._appears(name, record)
                self._parts.setdefault((record["run"], record["segment"]), set()).add(name)
            case "put":
                self._appears(name, record)
            case "merge":
                for source in record["of"]:
                    self._goes(source, "merge")
                self._appears(name, record)
                self.merges.append(record)
            case "segment":
                one = record["run"], record["sequence"]
                if len(self._parts.pop(one, ())) >= record["parts"]:  # else a crash has taken their lines
                    self.segments.add(one)
            case "remove":
                self._goes(name, record["why"])
            case "bad":
                self.bad.add(name)
            case "uploaded":
                self.uploaded[name] = record["sha256"]
            case "recalled":
                self.uploaded.pop(name, None)

    def _appears(self, name: str, record: Record) -> None:
        self.files[name] = record
        self.gone.pop(name, None)
        self.bad.discard(name)

    def _goes(self, name: str, why: str) -> None:
        if record := self.files.pop(name, None):
            self.gone[name] = {**record, "why": why}


def sha256(data: Any) -> str:
    """Return the checksum of a file's bytes, as lines have it."""
    return hashlib.sha256(data).hexdigest()


def sha256_of(file: BufferedReader) -> str:
    """Return the same of an open file."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def _line(record: Record) -> bytes:
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()[:-1]
    return b'%s,"crc":"%08x"}\n' % (text, zlib.crc32(text))


def _read(line: bytes) -> Record | None:
    match = _LINE.fullmatch(line)
    if match is None or b"%08x" % zlib.crc32(match[1]) != match[2]:
        return None
    record = json.loads(match[1] + b"}")
    return record if isinstance(record, dict) else None
