"""One station per site on this machine: a locked file for each, in a folder that all users share.

A lock belongs to whoever has the descriptor open, here the station and its watchdog, and ends with the last
of them; what is in the file is for people only.
"""

import fcntl
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fluxfast.errors import FluxfastError
from fluxfast.watchdog.folder import FOLDERS, open_folder
from fluxfast.watchdog.sidecar.task import STOPPING

CONTROLLED: Final = b"controlled"
assert len(CONTROLLED) == len(STOPPING)


class SiteLocks:
    """Holds the locks of some sites until ``close``, or the end of the process and of its watchdog.

    ``folder``: where they are.
    """

    def __init__(self, sites: Sequence[str], file: str, folders: Sequence[Path] = FOLDERS) -> None:
        """Take the locks of all sites, or none and raise a ``FluxfastError`` that says who has one.

        ``file`` is the site file, for the message that another process gets. The first of ``folders`` that
        can be used is.
        """
        self.descriptors: tuple[int, ...] = ()
        self.folder, folder = open_folder(folders)
        try:
            for site in sites:
                self.descriptors += (_take(folder, site, file),)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(folder)

    def close(self) -> None:
        """Give the locks back, after the watchdog has ended.

        The descriptors are only closed: an explicit unlock would take the lock from the watchdog too.
        """
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = ()


def _take(folder: int, site: str, file: str) -> int:
    while True:
        try:
            descriptor = _open(folder, f"{site}.lock")
        except OSError as e:
            raise FluxfastError(f"cannot lock site {site}: {e.strerror}") from e
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:  # it is written to below
            os.close(descriptor)
            raise FluxfastError(f"cannot lock site {site}: {site}.lock is not a plain file; remove it")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            held = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            raise FluxfastError(_refusal(site, held)) from e
        except OSError as e:
            os.close(descriptor)
            raise FluxfastError(f"cannot lock site {site}: {e.strerror}") from e
        with suppress(FileNotFoundError):
            if os.path.samestat(found, os.stat(f"{site}.lock", dir_fd=folder, follow_symlinks=False)):
                break
        os.close(descriptor)  # somebody removed the file that we have locked: another may lock the new one
    since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    text = b"%s\n%d\n%s\n%s\n" % (CONTROLLED, os.getpid(), since.encode(), os.fsencode(file))
    with suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)
    return descriptor


def _open(folder: int, name: str) -> int:
    # O_CREAT on a file of another user is refused in a shared folder (fs.protected_regular).
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        with suppress(FileNotFoundError):
            return os.open(name, flags, dir_fd=folder)
        with suppress(FileExistsError):
            descriptor = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder)
            os.fchmod(descriptor, 0o666)  # whatever the umask is
            return descriptor


def _refusal(site: str, held: bytes) -> str:
    state, pid, since, file, *_ = [*held.decode(errors="replace").splitlines(), "", "", "", ""]
    if not pid.isdecimal():
        return f"site {site} is controlled by another process; stop it first"
    today = f"{datetime.now(UTC):%Y-%m-%d} "
    about = f"process {pid} (since {since.removeprefix(today)}, {file})"
    if state.encode() == STOPPING:
        return f"site {site}: the watchdog of {about} is still stopping its units; try again in half a minute"
    return f"site {site} is controlled by {about}; stop it first"
