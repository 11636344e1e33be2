"""All that the log changes on a disk goes through here.

So a test can record what was written, synced, renamed and removed, and try every state in which a crash may
have left the disk (``tests/long/test_crash_states.py``). Descriptors and paths; every function may raise
OSError.
"""

import errno
import os
from pathlib import Path


def create(path: Path) -> int:
    """Open a new file for writing; there must be none of that name."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)


def write(file: int, data: bytes | memoryview, at: int) -> None:
    """Write all of ``data`` at an offset. After an error some of it may be there."""
    rest = memoryview(data).cast("B")
    while rest:
        written = os.pwrite(file, rest, at)
        rest, at = rest[written:], at + written


def truncate(file: int, size: int) -> None:
    """Cut a file."""
    os.ftruncate(file, size)


def sync(file: int) -> None:
    """Return when all that was written is on the disk.

    Never to be asked again after an error: the kernel may have forgotten pages that it never wrote.
    """
    os.fdatasync(file) if hasattr(os, "fdatasync") else os.fsync(file)


def sync_file(path: Path) -> None:
    """Return when a file is on the disk that somebody else has written."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(file)
    finally:
        os.close(file)


def sync_folder(path: Path) -> None:
    """Return when the folder's names are on the disk."""
    folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot
            raise
    finally:
        os.close(folder)


def rename(old: Path, new: Path) -> None:
    """Rename a file, over one that is there; the name is on the disk after ``sync_folder``."""
    old.rename(new)


def unlink(path: Path) -> None:
    """Remove a file; nothing if there is none."""
    path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder if nothing is in it."""
    try:
        path.rmdir()
    except OSError as e:
        if e.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise


def make_folder(path: Path) -> None:
    """Make a folder and those above it, so that they stay; nothing if it is there."""
    missing = [path, *path.parents]
    missing = missing[: next(i for i, folder in enumerate(missing) if folder.is_dir())]
    for folder in reversed(missing):
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError:
            if folder == path:
                raise
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
        sync_folder(folder.parent)
