"""One pass over a log: what the journal has becomes Parquet, small files large ones, and old ones go.

The same pass runs when a segment is complete, at a station's start for what a crash has left, at its end, and
as ``fluxfast log compact``. It may be killed at any point, and be repeated. A station makes the copies to
the remote in a process of their own, for they take as long as the network wants.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fluxfast.errors import FluxfastError
from fluxfast.log import disk, inventory_files, segment
from fluxfast.log.convert import Converter
from fluxfast.log.directory import HIDDEN, compacting
from fluxfast.log.manifest import NAME, Manifest
from fluxfast.log.merge import Merger, has_room, tidy
from fluxfast.log.remote import check as check_remote
from fluxfast.log.retention import Retention, remove_old
from fluxfast.log.upload import upload

Progress = Callable[[int, int, str], None]


@dataclass
class Done:
    """What a pass has done.

    ``bytes`` of Parquet that was written; ``postponed``: merges for which the disk has no room.
    """

    segments: int = 0
    parts: int = 0
    rows: int = 0
    bytes: int = 0
    merged: int = 0  # files, to
    merged_to: int = 0  # so many
    postponed: int = 0
    removed: int = 0
    removed_bytes: int = 0
    uploaded: int = 0
    uploaded_bytes: int = 0


def compact(
    root: Path,
    tell: Callable[[str], None],
    *,
    retention: Retention | None = None,
    merge: bool = True,
    all_days: bool = False,
    remote: str | None = None,
    wait: bool = True,
    progress: Progress | None = None,
) -> Done:
    """Make one pass. ``tell`` gets a line for what is out of the ordinary.

    ``merge``: small files of days that are over, and with ``all_days`` of others, to large ones. ``remote``:
    the URL to which copies go, too, afterwards. ``progress`` gets how much is done, of how much, of what.

    Raises OSError if the disk does not take it, FluxfastError if another pass is under way and ``wait`` is
    false, RemoteAwayError if all but the copies is done.
    """
    done = Done()
    progress = progress or (lambda done, total, what: None)
    if remote is not None:
        check_remote(remote)
    with compacting(root, wait):
        with suppress(FileNotFoundError):
            disk.sync_file(root / NAME)  # it is acted upon, and its writer may have been killed before
        manifest = Manifest(root)
        tidy(root, manifest)
        inventory_files.refresh(root, manifest, tell)
        _convert(root, manifest, tell, done, progress)
        if merge:
            _merge(root, manifest, tell, done, progress, all_days)
        for record in remove_old(root, manifest, retention or Retention(), time.time_ns() // 1000, tell):
            done.removed += 1
            done.removed_bytes += record["bytes"]
    if remote is not None:
        keep_s = None if retention is None else retention.keep_s
        copies = upload(root, remote, tell, keep_s=keep_s, progress=progress)
        done.uploaded, done.uploaded_bytes = copies.files, copies.bytes
    return done


def left_over(root: Path, run: str) -> bool:
    """Return whether lives other than ``run`` have left something to do."""
    found = segment.find(root / segment.FOLDER)
    return any(wanted.name.run != run for wanted in found) or any(root.glob(HIDDEN + "*"))


def _convert(
    root: Path, manifest: Manifest, tell: Callable[[str], None], done: Done, progress: Progress
) -> None:
    total = len(segment.find(root / segment.FOLDER))
    for parts in Converter(root, manifest, tell).run():
        done.segments += 1
        done.parts += len(parts)
        done.rows += sum(part["rows"] for part in parts)
        done.bytes += sum(part["bytes"] for part in parts)
        progress(done.segments, total, "segments")


def _merge(
    root: Path,
    manifest: Manifest,
    tell: Callable[[str], None],
    done: Done,
    progress: Progress,
    all_days: bool,
) -> None:
    seen = 0

    def advance(n_bytes: int) -> None:
        nonlocal seen
        seen += n_bytes
        progress(seen, total, "bytes merged")

    merger = Merger(root, manifest, tell, advance)
    opened = [header.opened_us for header in segment.headers(root / segment.FOLDER)]
    now_us = time.time_ns() // 1000
    groups = merger.groups(now_us, min(opened, default=now_us), all_days=all_days)
    total = sum(record["bytes"] for group in groups for record in group)
    for group in groups:
        if not has_room(root, group):
            done.postponed += 1
            continue
        try:
            for merged in merger.merge(group):
                done.merged += merged.sources
                done.merged_to += 1
                done.bytes += merged.record["bytes"]
        except FluxfastError as error:
            tell(str(error))
