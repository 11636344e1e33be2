"""The log's directory: one writer at a time, and files that appear whole or not at all."""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import pyarrow as pa

from fluxfast.errors import FluxfastError
from fluxfast.log import disk

HIDDEN: Final = ".tmp-"  # no reader's glob finds these


class LogDirectory:
    """Holds ``DIR/.lock`` while open."""

    def __init__(self, path: Path) -> None:
        """Create the directory if need be, and lock it."""
        self.path = path.absolute()  # wherever the process goes later
        self._lock = -1
        try:
            self._take_lock()
        except FileExistsError as e:
            raise FluxfastError(f"cannot log to {path}: it is not a directory") from e
        except OSError as e:
            raise FluxfastError(f"cannot log to {path}: {e.strerror}") from e

    def keep(self) -> None:
        """Make and lock the directory again, if somebody has removed it or mounted another one over it."""
        try:
            here = os.stat(self.path / ".lock")
        except FileNotFoundError:
            pass
        else:
            if self._lock >= 0 and os.path.samestat(here, os.fstat(self._lock)):
                return
        self.close()
        self._take_lock()

    def close(self) -> None:
        """Give the lock back.

        The file stays: removing it would let two writers lock two files of one name.
        """
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> None:
        disk.make_folder(self.path)
        self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(OSError):  # says only who it is, and the disk may be full
                os.ftruncate(self._lock, 0)
                os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as e:
            owner = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip()
            self.close()
            raise OSError(errno.EBUSY, f"process {owner} is logging there already") from e
        except OSError:
            self.close()
            raise


def publish(root: Path, name: str, data: pa.Buffer | bytes) -> None:
    """Write the file ``name`` (relative to ``root``) so that it survives power loss, or raise OSError.

    It is there whole or not at all, over one of that name. Whoever tries again after an error writes all of
    it again: after a failed sync the kernel may have forgotten pages that it never wrote.
    """
    target = root / name
    disk.make_folder(target.parent)
    hidden = write_hidden(root, name, data)
    try:
        disk.rename(hidden, target)
    except OSError:
        with suppress(OSError):
            disk.unlink(hidden)
        raise
    disk.sync_folder(target.parent)


def write_hidden(root: Path, name: str, data: pa.Buffer | bytes) -> Path:
    """Write what is to become the file ``name`` under a hidden name, and sync it."""
    hidden = root / (HIDDEN + name.replace("/", "+"))
    disk.unlink(hidden)
    file = disk.create(hidden)
    try:
        try:
            disk.write(file, memoryview(data), 0)
            disk.sync(file)
        finally:
            os.close(file)
        disk.sync_folder(root)  # for merges, whose commit says that it is there
    except OSError:
        with suppress(OSError):
            disk.unlink(hidden)
        raise
    return hidden
