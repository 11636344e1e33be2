"""The folder that all stations and users of this machine share: locks of sites, sockets of stations."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fluxfast.errors import FluxfastError

FOLDERS: Final = (Path("/run/lock/fluxfast"), Path("/tmp/fluxfast"))  # not $TMPDIR: it must be everybody's
VIEW_SOCKETS: Final = "station-*.sock"  # of stations that let others look on


def open_folder(folders: Sequence[Path] = FOLDERS) -> tuple[Path, int]:
    """Return the first of some folders that can be used, made if need be, and its descriptor.

    Raises FluxfastError if there is none.
    """
    why = ""
    for folder in folders:
        try:
            try:
                folder.mkdir()
            except FileExistsError:
                pass
            else:
                folder.chmod(0o1777)  # every user makes files, nobody removes those of another
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as e:
            why = why or f"{folder}: {e.strerror}"
            continue
        if os.access(folder, os.W_OK | os.X_OK):
            return folder, descriptor
        os.close(descriptor)
        why = why or f"{folder}: {os.strerror(errno.EACCES)}"
    raise FluxfastError(f"no folder for locks and sockets can be made ({why})")
