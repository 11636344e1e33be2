"""``python -m fluxfast.log DIR [RETENTION [--upload]]``: what a station starts; prints JSON lines.

A compaction pass, RETENTION being JSON; or the copies to the remote that the environment names.
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from fluxfast.errors import FluxfastError
from fluxfast.log.compactor import compact
from fluxfast.log.job import NICE, REMOTE, UPLOAD
from fluxfast.log.remote import RemoteAwayError, shown
from fluxfast.log.retention import Retention
from fluxfast.log.upload import upload


class NoPandas:
    """pyarrow loads pandas wherever it finds it, which takes longer than a pass."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def say(what: str, text: str) -> None:
    with suppress(OSError):  # the station that wanted to know may be dead
        print(json.dumps({what: text}), flush=True)


def tell(text: str) -> None:
    say("tell", text)


def copies(root: Path, url: str, keep_s: float | None) -> None:
    try:
        if upload(root, url, tell, keep_s=keep_s).reached:
            say("reached", shown(url))
    except RemoteAwayError as error:
        say("away", str(error))


if __name__ == "__main__":
    os.nice(NICE)
    sys.meta_path.insert(0, NoPandas)
    root, options = Path(sys.argv[1]), sys.argv[2:]
    try:
        retention = Retention(**json.loads(options[0] if options else "{}"))
        if UPLOAD in options:
            copies(root, os.environ[REMOTE], retention.keep_s)
        else:
            compact(root, tell, retention=retention)
    except FluxfastError as error:
        tell(str(error))
        sys.exit(3)
    except Exception as error:  # it has no other way to say what was wrong
        tell(f"compaction failed: {error if isinstance(error, OSError) else repr(error)}")
        sys.exit(3)
