"""``killed_log.py DIR FIRST FILE``: logs ticks from the number FIRST on, as fast as they are made, for ever.

Into FILE goes a line for each: its number, how many ticks are acknowledged, and when that was. Segments are
short, so whoever kills it hits conversions, too.
"""

import itertools
import os
import sys
import time
from pathlib import Path

from fluxfast.log import journal
from tests.support.proved_log import append_tick, open_log

ROWS = (60, 1)
PAUSE_S = 0.002
SEGMENT_S = 0.4


def main(root: Path, first: int, file: Path) -> None:
    journal.FIRST_SEGMENT_S = SEGMENT_S  # type: ignore[misc]
    told = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log = open_log(root, rows=ROWS, tick_seconds=0.02, segment_seconds=SEGMENT_S)
    for tick in itertools.count(first):
        append_tick(log, tick, ROWS)
        # Events of the log's own may be among the rows: fewer than a tick has.
        acknowledged = max(log.rows_logged // sum(ROWS) - 1, 0)
        os.write(told, f"{tick} {acknowledged} {log.rows_dropped} {time.monotonic()}\n".encode())
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
