"""``python -m fluxfast.log DIR``: the compaction pass that a station starts; prints JSON lines."""

import json
import os
import sys
from pathlib import Path

from fluxfast.log.compactor import compact
from fluxfast.log.job import NICE


def tell(text: str) -> None:
    print(json.dumps({"tell": text}), flush=True)


if __name__ == "__main__":
    os.nice(NICE)
    try:
        compact(Path(sys.argv[1]), tell)
    except OSError as error:
        tell(f"compaction: {error}")
        sys.exit(3)
