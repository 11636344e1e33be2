"""One measurement: a poller's links come up, it warms up, and a window of its ticks is looked at."""

import gc
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.plan import plan_cost
from fluxfast.poller import Poller, Tick
from fluxfast.table import quality

NAMED: Final = 5  # devices that missed most


@dataclass(frozen=True)
class Window:
    """How long to look: so many ticks, and so many seconds, at the least; before that the warm-up's."""

    ticks: int
    seconds: float
    warm_ticks: int = 2
    warm_s: float = 1.0

    def length(self, every_s: float) -> int:
        """Return the length of the window in ticks."""
        return max(self.ticks, math.ceil(self.seconds / every_s))

    def warm_up(self, every_s: float) -> int:
        """Return the length of the warm-up in ticks."""
        return max(self.warm_ticks, math.ceil(self.warm_s / every_s))

    def lasts_s(self, every_s: float) -> float:
        """Return how long both are together."""
        return (self.warm_up(every_s) + self.length(every_s)) * every_s


@dataclass(frozen=True)
class Measured:
    """What a station's process found out about itself in a window.

    ``registers`` is the mean of a device and tick, ``cpu_percent`` of one core, ``memory_mb`` the
    resident set of the process at the end. ``tick_*`` are from a tick's begin to its last answer, ``begin_*``
    how far off the grid it began; NaN is left out: both are None where there was no tick. ``silent`` are
    [id, why] of the devices that never answered, ``missed_by`` [id, ticks] of those that missed most.
    """

    devices: int
    registers: float
    every_ms: float
    deadline_ms: float
    links: int
    links_up: int
    up_s: float
    ticks: int
    skipped: int
    missed: int
    cpu_percent: float
    memory_mb: float
    tick_p50_ms: float | None
    tick_p99_ms: float | None
    tick_max_ms: float | None
    begin_p99_ms: float | None
    silent: Sequence[Sequence[str]] = ()
    missed_by: Sequence[Sequence[Any]] = ()

    @property
    def why(self) -> str:
        """Why this does not hold, in a few words; empty if it does."""
        if not self.ticks or self.tick_p99_ms is None:
            return "no tick was done"
        if self.missed:
            return f"{self.missed:,} reading{'s' * (self.missed > 1)} missed"
        if self.skipped:
            return f"{self.skipped:,} tick{'s' * (self.skipped > 1)} skipped"
        if self.tick_p99_ms > self.deadline_ms:
            return f"ticks took longer than {self.deadline_ms:g} ms"
        return ""


@dataclass
class _Devices:
    """Which devices of one table did not answer, tick by tick."""

    ids: Sequence[str]
    codes: NDArray[np.uint8]  # of the rows, filled in place
    missed: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.missed = np.zeros(len(self.ids), np.int64)

    def look(self) -> None:
        self.missed += (self.codes >= quality.NEVER) & (self.codes < quality.EXCEPTION)


async def measure(poller: Poller, window: Window, tell: Callable[[str], None]) -> Measured:
    """Open a poller, and measure it; tell ``up``, after the warm-up ``begins``, at last ``ends``.

    Raises what entering it raises. Ends early where ``poller.stop`` is called.
    """
    every_s = poller.fleet.poll.every_ns / 1e9
    warm, lasts = window.warm_up(every_s), window.length(every_s)
    devices = [_Devices(poller.devices[name], table.row_quality) for name, table in poller.tables.items()]
    ticks: list[Tick] = []
    off_ms: list[float] = []
    before: tuple[float, float, int] | None = None  # the clocks and the ticks skipped, when the window begins
    began = time.monotonic()
    async with poller:
        up_s, up = time.monotonic() - began, poller.reactor.up
        tell("up")
        gc.freeze()  # as `fluxfast run`
        async with aclosing(poller.ticks((warm + lasts) * every_s)) as all_ticks:
            async for tick in all_ticks:
                if before is not None:
                    off_ms.append(time.time_ns() / 1e6 - tick.time_us / 1e3 - tick.took_ms)
                    ticks.append(tick)
                    for some in devices:
                        some.look()
                elif tick.number >= warm - 1:
                    tell("begins")
                    before = time.monotonic(), time.process_time(), poller.overruns
        after = time.monotonic(), time.process_time(), poller.overruns
        if before is None:
            tell("begins")
        tell("ends")
        memory = _resident()
    took_s, used_s, skipped = (b - a for a, b in zip(before or after, after, strict=True))
    took_ms = [tick.took_ms for tick in ticks]
    p50, p99, most = np.percentile(took_ms, (50, 99, 100)).tolist() if took_ms else (None, None, None)
    count = sum(len(some.ids) for some in devices)
    missed = [both for some in devices for both in zip(some.ids, some.missed.tolist(), strict=True)]
    return Measured(
        devices=count,
        registers=plan_cost(poller.plan).registers / count,
        every_ms=every_s * 1e3,
        deadline_ms=every_s * 1e3 * poller.fleet.poll.deadline,
        links=poller.reactor.n_links,
        links_up=up,
        up_s=up_s,
        ticks=len(ticks),
        skipped=round(skipped),
        missed=sum(tick.unanswered for tick in ticks),
        cpu_percent=100 * used_s / max(took_s, 1e-9),
        memory_mb=memory / 1e6,
        tick_p50_ms=p50,
        tick_p99_ms=p99,
        tick_max_ms=most,
        begin_p99_ms=float(np.percentile(off_ms, 99)) if off_ms else None,
        silent=[
            (id_, quality.reason(int(code)) or "no answer")
            for some in devices
            for id_, n, code in zip(some.ids, some.missed, some.codes, strict=True)
            if ticks and n == len(ticks)
        ],
        missed_by=sorted((one for one in missed if one[1]), key=lambda one: -one[1])[:NAMED],
    )


def _resident() -> int:
    """Return the resident set in bytes; where /proc does not tell, the largest it ever was."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == "darwin" else largest * 1024
