"""Copies of the log's files, wherever pyarrow or fsspec can write.

What the remote has, and what not, the manifest says; so the disk itself is the spool while the network is
away. The order is such that the remote is readable at any time: files first, then those go that are no more,
then the small tables, and at last the manifest, which names them all.

A file appears there whole or not at all: object stores make it when its last byte has come; elsewhere it is
written under a hidden name and moved. Killed in between, a pass leaves what the next one writes over.
(Unfinished uploads of parts stay invisible in a bucket until its lifecycle rule removes them.)
"""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fluxfast.log import manifest as manifests
from fluxfast.log.directory import compacting, held
from fluxfast.log.manifest import Manifest, Record, sha256, sha256_of
from fluxfast.log.remote import Remote

LOCK: Final = ".uploading"


@dataclass
class Uploaded:
    """What was done; ``reached``: whether the remote was asked anything; ``complete``: it has all now."""

    files: int = 0
    bytes: int = 0
    removed: int = 0
    reached: bool = False
    complete: bool = False


def upload(
    root: Path,
    url: str,
    tell: Callable[[str], None],
    *,
    keep_s: float | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Uploaded:
    """Bring the remote up to date; nothing if another process does it.

    Raises RemoteAwayError when the remote does not answer or refuses, FluxfastError when there is no such
    kind of remote, OSError when the disk fails. ``tell`` gets a line for what is out of the ordinary.
    """
    with held(root / LOCK, wait=False) as mine:
        if not mine:
            return Uploaded()
        return _Upload(root, url, tell, keep_s, progress or (lambda done, total, what: None)).run()


class _Upload:
    def __init__(
        self,
        root: Path,
        url: str,
        tell: Callable[[str], None],
        keep_s: float | None,
        progress: Callable[[int, int, str], None],
    ) -> None:
        self._root, self._url, self._tell, self._progress = root, url, tell, progress
        self._oldest_us = 0 if keep_s is None else time.time_ns() // 1000 - int(keep_s * 1e6)
        self._manifest = Manifest(root)
        self._done = Uploaded()

    def run(self) -> Uploaded:
        if self._is_complete():
            self._done.complete = True
            return self._done
        remote = Remote(self._url)
        self._done.reached = True
        while missing := self._missing():  # meanwhile there may be others
            total = self._done.bytes + sum(record["bytes"] for record in missing)
            for record in missing:
                self._copy(remote, record)
                self._progress(self._done.bytes, total, "bytes uploaded")
            self._manifest.refresh()
        for name in self._stale():
            remote.remove(name)
            self._append({"op": "recalled", "file": name})
            self._done.removed += 1
        self._copy_manifest(remote)
        self._done.complete = True
        return self._done

    def _is_complete(self) -> bool:
        last = self._manifest.last
        nothing_new = last is None or (last["op"] == "uploaded" and last["file"] == manifests.NAME)
        return nothing_new and not self._missing() and not self._stale()

    def _missing(self) -> list[Record]:
        """Return what the remote does not have, oldest first, the small tables last."""
        missing = [
            record
            for name, record in self._manifest.files.items()
            if self._manifest.uploaded.get(name) != record["sha256"] and name not in self._manifest.bad
        ]
        return sorted(missing, key=lambda record: record.get("first_us", 1 << 62))

    def _stale(self) -> list[str]:
        """Return what the remote has and shall not have any more.

        What was removed here for its size, or by hand, stays there until its age comes.
        """
        gone = self._manifest.gone
        return [
            name
            for name in self._manifest.uploaded
            if name in gone
            and (gone[name]["why"] in ("merge", "age") or gone[name].get("last_us", 0) < self._oldest_us)
        ]

    def _copy(self, remote: Remote, record: Record) -> None:
        name = record["file"]
        try:
            file = (self._root / name).open("rb")
        except FileNotFoundError:
            self._has_changed(record, "is gone: somebody has removed it", {"op": "remove", "why": "missing"})
            return
        with file:
            if sha256_of(file) != record["sha256"]:
                what = "is damaged: its bytes are not those that were written"
                self._has_changed(record, what, {"op": "bad"})
                return
            remote.put(name, file)
        self._append({"op": "uploaded", "file": name, "bytes": record["bytes"], "sha256": record["sha256"]})
        self._done.files += 1
        self._done.bytes += record["bytes"]

    def _has_changed(self, record: Record, what: str, line: Record) -> None:
        """Tell of a file that is not as its line says, unless a compaction was here meanwhile."""
        name = record["file"]
        with compacting(self._root):
            self._manifest.refresh()
            if self._manifest.files.get(name) == record:
                self._tell(f"{name} {what}")
                self._manifest.append([{**line, "file": name}])

    def _copy_manifest(self, remote: Remote) -> None:
        data = (self._root / manifests.NAME).read_bytes()
        remote.put(manifests.NAME, io.BytesIO(data))
        self._append({"op": "uploaded", "file": manifests.NAME, "bytes": len(data), "sha256": sha256(data)})

    def _append(self, record: Record) -> None:
        with compacting(self._root):
            self._manifest.refresh()
            self._manifest.append([record])
