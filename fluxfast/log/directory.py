"""The log's directory: one writer at a time, and files that appear whole or not at all."""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from fluxfast.errors import FluxfastError


class LogDirectory:
    """Holds ``DIR/.lock`` while open."""

    def __init__(self, path: Path) -> None:
        """Create the directory if need be, lock it, and remove what a killed writer left half-written."""
        self.path = path.absolute()  # wherever the process goes later
        self._lock = -1
        try:
            self._take_lock()
            for stale in self.path.glob(".tmp-*"):
                stale.unlink()
        except FileExistsError as e:
            raise FluxfastError(f"cannot log to {path}: it is not a directory") from e
        except OSError as e:
            raise FluxfastError(f"cannot log to {path}: {e.strerror}") from e

    def publish(self, name: str, data: pa.Buffer) -> None:
        """Write the file ``name`` (relative) so that it survives power loss, or raise OSError.

        The hidden name has no ``.parquet`` at its end, so no reader's glob finds it. Whoever tries again
        after an error writes all of it again: after a failed fsync the kernel may have forgotten pages that
        it never wrote.
        """
        self._keep_lock()
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = self.path / f".tmp-{target.stem}"
        try:
            file = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
            finally:
                os.close(file)
            hidden.rename(target)
        except OSError:
            with suppress(OSError):
                hidden.unlink()
            raise
        for folder in (target.parent, target.parent.parent, self.path):
            _sync_folder(folder)

    def close(self) -> None:
        """Give the lock back.

        The file stays: removing it would let two writers lock two files of one name.
        """
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
            os.fsync(self._lock)
        except BlockingIOError as e:
            owner = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip()
            self.close()
            raise OSError(errno.EBUSY, f"process {owner} is logging there already") from e
        except OSError:
            self.close()
            raise

    def _keep_lock(self) -> None:
        # Somebody may have removed the directory, or mounted another one over it.
        try:
            here = os.stat(self.path / ".lock")
        except FileNotFoundError:
            pass
        else:
            if self._lock >= 0 and os.path.samestat(here, os.fstat(self._lock)):
                return
        self.close()
        self._take_lock()


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot
            raise
    finally:
        os.close(folder)
