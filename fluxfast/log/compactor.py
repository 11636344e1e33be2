"""One pass over a log: what the journal has becomes Parquet.

The same pass runs when a segment is complete, at a station's start for what a crash has left, at its end, and
as ``fluxfast log compact``. It may be killed at any point, and be repeated.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fluxfast.errors import FluxfastError
from fluxfast.log import disk, segment
from fluxfast.log.convert import Converter
from fluxfast.log.directory import HIDDEN
from fluxfast.log.manifest import NAME, Manifest

LOCK: Final = ".compacting"


@dataclass
class Done:
    """What a pass has done."""

    segments: int = 0
    rows: int = 0


def compact(root: Path, tell: Callable[[str], None], *, wait: bool = True) -> Done:
    """Make one pass. ``tell`` gets a line for what is out of the ordinary.

    Raises OSError if the disk does not take it, FluxfastError if another pass is under way and ``wait`` is
    false.
    """
    done = Done()
    with _alone(root, wait):
        with suppress(FileNotFoundError):
            disk.sync_file(root / NAME)  # it is acted upon, and its writer may have been killed before
        manifest = Manifest(root)
        for _ in Converter(root, manifest, tell).run():
            done.segments += 1
        for hidden in root.glob(HIDDEN + "*"):
            disk.unlink(hidden)
    return done


def left_over(root: Path, run: str) -> bool:
    """Return whether lives other than ``run`` have left something to do."""
    found = segment.find(root / segment.FOLDER)
    return any(wanted.name.run != run for wanted in found) or any(root.glob(HIDDEN + "*"))


@contextmanager
def _alone(root: Path, wait: bool) -> Iterator[None]:
    file = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise FluxfastError(f"{root}: another process is compacting it") from None
        yield
    finally:
        os.close(file)
