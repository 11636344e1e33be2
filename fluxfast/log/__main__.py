"""``python -m fluxfast.log DIR``: the compaction pass that a station starts; prints JSON lines."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from fluxfast.log.compactor import compact
from fluxfast.log.job import NICE


def tell(text: str) -> None:
    with suppress(OSError):  # the station that wanted to know may be dead
        print(json.dumps({"tell": text}), flush=True)


if __name__ == "__main__":
    os.nice(NICE)
    try:
        compact(Path(sys.argv[1]), tell)
    except Exception as error:  # it has no other way to say what was wrong
        tell(f"compaction failed: {error if isinstance(error, OSError) else repr(error)}")
        sys.exit(3)
