"""How long data stays, and how much of it.

- age: a file goes when its newest row is too old, here and at the remote, whether it was copied or not
- size: the oldest files go until the rest fits. Copies at the remote stay until their age comes. What the
  remote does not have yet stays too, beyond the limit, as long as the disk has room: a network that is away
  for a week costs no data while there is a place for it.

Files of the newest hour never go, nor do the small tables that explain the rest. The manifest's line comes
first, then the file goes; what a crash leaves in between ``merge.tidy`` removes.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fluxfast.log import disk
from fluxfast.log.manifest import Manifest, Record

NEWEST_US: Final = 3_600_000_000
RESERVE: Final = 0.05  # of the disk; with less left the remote is not waited for


@dataclass(frozen=True)
class Retention:
    """``keep_s``: age. ``max_bytes``: of all live files. ``remote``: whether copies go somewhere."""

    keep_s: float | None = None
    max_bytes: int | None = None
    remote: bool = False


def remove_old(
    root: Path,
    manifest: Manifest,
    retention: Retention,
    now_us: int,
    tell: Callable[[str], None],
    reserve: float = RESERVE,
) -> Iterator[Record]:
    """Remove what has to go, and yield its lines, the oldest first. Raises OSError.

    The caller holds ``DIR/.compacting``.
    """
    dated = sorted(
        (record for record in manifest.files.values() if "last_us" in record),
        key=lambda record: (record["last_us"], record["file"]),
    )
    if not dated:
        return
    newest_us = dated[-1]["last_us"] - NEWEST_US
    dated = [record for record in dated if record["last_us"] < newest_us]
    going: list[tuple[Record, str]] = []
    if retention.keep_s is not None:
        oldest_us = now_us - int(retention.keep_s * 1e6)
        going += [(record, "age") for record in dated if record["last_us"] < oldest_us]
    if retention.max_bytes is not None:
        excess = sum(record["bytes"] for record in manifest.files.values()) - retention.max_bytes
        excess -= sum(record["bytes"] for record, _ in going)
        chosen, unsent = _oldest(manifest, retention, dated[len(going) :], excess)
        going += [(record, "size") for record in chosen]
        excess -= sum(record["bytes"] for record in chosen)
        if excess > 0 and unsent and _is_short(root, reserve):
            lost = _until(unsent, excess)
            tell(f"the disk is nearly full: {len(lost)} old files go that the remote does not have")
            going += [(record, "size") for record in lost]
    yield from _remove(root, manifest, going)


def _oldest(
    manifest: Manifest, retention: Retention, dated: list[Record], excess: int
) -> tuple[list[Record], list[Record]]:
    """Return the oldest files that make up ``excess``, and those that would have, were they copied."""
    if not retention.remote:
        return _until(dated, excess), []
    sent = [record for record in dated if manifest.uploaded.get(record["file"]) == record["sha256"]]
    unsent = [record for record in dated if manifest.uploaded.get(record["file"]) != record["sha256"]]
    return _until(sent, excess), unsent


def _until(records: list[Record], excess: int) -> list[Record]:
    chosen = []
    for record in records:
        if excess <= 0:
            break
        chosen.append(record)
        excess -= record["bytes"]
    return chosen


def _is_short(root: Path, reserve: float) -> bool:
    usage = shutil.disk_usage(root)
    return usage.free < reserve * usage.total


def _remove(root: Path, manifest: Manifest, going: list[tuple[Record, str]]) -> Iterator[Record]:
    if not going:
        return
    manifest.append([{"op": "remove", "file": record["file"], "why": why} for record, why in going])
    for record, _ in going:
        path = root / record["file"]
        disk.unlink(path)
        yield record
    for folder in {(root / record["file"]).parent for record, _ in going}:
        disk.remove_folder(folder)
