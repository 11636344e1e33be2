"""CPU per poll, beside the floor and the rivals: one 90-register read per link and tick, over loopback.

What is measured, and what else is said, is in clients.py; what of each rival was tried, in rivals/. fluxfast
spreads its requests over the first tenth of a tick on purpose, so its ticks' times are no shorter than that.

What it does not show: a real network, slow devices, and the log's encoding, which comes every 30 s.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from apart import Apart, simulator
from clients import VARIANTS, clients, prepare

FIRST_IP, PORT = "127.44.8.1", 5416
# Links → the tick's length in ms, and how many ticks; the first warms up.
SIZES = {1: (50, 21), 100: (50, 11), 500: (250, 4), 2_000: (500, 3), 10_000: (1_000, 3)}
ALL = 500  # where variants are measured, too


@contextmanager
def links(count: int, folder: Path) -> Iterator[Mapping[str, list[str]]]:
    """Serve so many meters; the command of every client."""
    period_ms, ticks = SIZES[count]
    with simulator(prepare(folder, count, period_ms, FIRST_IP, PORT)):
        commands = clients(folder, count, ticks, period_ms)
        yield {name: commands[name] for name in commands if count == ALL or name not in VARIANTS}


CASES = [Apart(f"link/{count}", "µs CPU a request", partial(links, count)) for count in SIZES]
