"""The log's directory: one writer at a time, and files that appear whole or not at all."""

import errno
import fcntl
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from fluxfast.errors import FluxfastError
from fluxfast.log import disk

HIDDEN: Final = ".tmp-"  # no reader's glob finds these
COMPACTING: Final = ".compacting"
PIECE_BYTES: Final = 1 << 20


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


@contextmanager
def compacting(root: Path, wait: bool = True) -> Iterator[None]:
    """Hold ``DIR/.compacting``: whoever has it may append to the manifest.

    Raises FluxfastError if another process has it and ``wait`` is false.
    """
    with held(root / COMPACTING, wait) as mine:
        if not mine:
            raise FluxfastError(f"{root}: another process is compacting it")
        yield


@contextmanager
def held(path: Path, wait: bool) -> Iterator[bool]:
    """Hold a lock file; yield whether it is so, which it is if ``wait``."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(file)


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
    with hidden_file(root, name) as file:
        file.write(memoryview(data))
    return file.path


class HiddenFile(io.RawIOBase):
    """A file that is written piece by piece under a hidden name; ``size`` and ``sha256`` of what it has."""

    def __init__(self, path: Path) -> None:
        """Create it, instead of one that is there."""
        disk.unlink(path)
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._file = disk.create(path)
        self._pending = bytearray()
        self._written = 0

    @property
    def sha256(self) -> str:
        """The checksum of all that was written."""
        return self._hash.hexdigest()

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return where the next byte goes."""
        return self.size

    def write(self, data: Any) -> int:
        """Add bytes."""
        piece = memoryview(data).cast("B")
        self._hash.update(piece)
        self.size += len(piece)
        if len(piece) >= PIECE_BYTES:
            self._write_pending()
            disk.write(self._file, piece, self._written)
            self._written += len(piece)
        else:
            self._pending += piece
            if len(self._pending) >= PIECE_BYTES:
                self._write_pending()
        return len(piece)

    def sync(self) -> None:
        """Return when all is on the disk."""
        self._write_pending()
        disk.sync(self._file)
        disk.sync_folder(self.path.parent)  # for merges, whose commit says that it is there

    def release(self) -> None:
        """Close the descriptor. (``close`` belongs to whoever was handed this as a file.)"""
        os.close(self._file)

    def _write_pending(self) -> None:
        disk.write(self._file, bytes(self._pending), self._written)
        self._written += len(self._pending)
        self._pending.clear()


def hidden_path(root: Path, name: str) -> Path:
    """Return where a file lies until it gets its name."""
    return root / (HIDDEN + name.replace("/", "+"))


@contextmanager
def hidden_file(root: Path, name: str) -> Iterator[HiddenFile]:
    """Give what is to become the file ``name``; it is synced at the end, or gone after an error."""
    file = HiddenFile(hidden_path(root, name))
    try:
        try:
            yield file
            file.sync()
        finally:
            file.release()
    except BaseException:
        with suppress(OSError):
            disk.unlink(file.path)
        raise
