"""Whether compaction is felt by the tick: 500 meters every 100 ms, with a pass all the time, and without.

A cost is how late ticks began, at the 99.9th percentile (of a run's 100 ticks: at worst). ``reading`` is how
long after a tick's beginning the meters' answers came, every meter and tick. The station has one core for
itself and the simulator the other, on which the passes find their place as well as they can, one after the
other; so ``reading`` also has in it that the simulator shares its core with them.
What it does not show: a machine with a core to spare, and a disk that is slow.
"""

import gc
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from apart import Apart, python, say, simulator
from meters import site_file
from telemetry import generate

from fluxfast.log import Column, Dataset, LogWriter
from fluxfast.log.compactor import left_over
from fluxfast.log.job import CompactionJob
from fluxfast.log.retention import Retention
from fluxfast.station import Station
from fluxfast.table.quality import GOOD, QUALITY_NAMES, REASONS

FIRST_IP, PORT, DEVICES, PERIOD_MS = "127.44.30.1", 5421, 500, 100
WARM_UP, TICKS = 10, 100
LOGGED_TICKS = 600  # of 500 batteries, ten minutes at one a second: what a pass makes Parquet of


def run_station(site: str, log: str, crashed: str) -> None:
    """Poll and log with a whole Station, while passes are made over copies of ``crashed``, if named."""
    import uvloop

    async def poll() -> None:
        latency_ms = []
        async with Station(site, log_dir=log) as station:
            (table,) = station.tables.values()
            gc.freeze()
            scan = station.ticks()
            passes = Passes(Path(crashed)) if crashed else None
            for _ in range(WARM_UP):
                await anext(scan)
            for _ in range(TICKS):
                await anext(scan)
                latency_ms.append(table.latency_ms.copy())
            made = passes.end() if passes is not None else 0
            start_ms = station.moments.durations_ms()["start"][-TICKS:]
            await scan.aclose()
        said = {"passes": float(made), "lost": float(np.isnan(latency_ms).sum())}
        for what, values in (("start", start_ms), ("reading", np.concatenate(latency_ms))):
            for percent, value in zip((50, 99, 99.9), np.nanpercentile(values, (50, 99, 99.9)), strict=True):
                said[f"{what} p{percent} ms"] = float(value)
        say(said["start p99.9 ms"], bool(made) == bool(crashed), times=(1e3 * start_ms).tolist(), said=said)

    uvloop.run(poll())


class Passes:
    """A process that starts one pass after the other over a log that a crash has left."""

    def __init__(self, crashed: Path) -> None:
        command = python(__file__, "passes", crashed)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def end(self) -> int:
        out, _ = self._process.communicate(b"")
        return int(out)


def make_passes(crashed: Path) -> None:
    """Make passes until stdin ends, each started as a station does; print how many."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    os.set_blocking(0, False)
    made = 0
    while sys.stdin.buffer.read(1) is None:
        copy = crashed.with_name(f"pass{os.getpid()}")
        shutil.copytree(crashed, copy, copy_function=os.link)  # a pass reads, and then removes, its segments
        job = CompactionJob(copy, lambda text: print(text, file=sys.stderr), Retention(), None)
        job.start()
        while left_over(copy, ""):
            time.sleep(0.02)
        job.close(10)
        shutil.rmtree(copy)
        made += 1
    print(made)


def crash(root: Path) -> None:
    """Log ten minutes, and die before anything was made of the journal."""
    tick_us, _, columns = generate(DEVICES, LOGGED_TICKS)
    dataset = Dataset(
        "battery",
        ["site"] * DEVICES,
        [f"b{n:03}" for n in range(DEVICES)],
        [Column(name, str(values.dtype)) for name, values in columns.items()],
    )
    log = LogWriter(root, [dataset], tick_seconds=1.0, quality_names=QUALITY_NAMES, reasons=REASONS)
    latency_ms, good = np.zeros(DEVICES, np.float32), np.full(DEVICES, GOOD, np.uint8)
    valid = np.ones((len(columns), DEVICES), np.uint8)
    for tick in range(LOGGED_TICKS):
        log.append(
            0, int(tick_us[tick]), latency_ms, good, [values[tick] for values in columns.values()], valid
        )
        log.end_tick()
        while log.busy:
            time.sleep(0.0005)
    while log.rows_waiting:
        time.sleep(0.01)
    assert not log.rows_dropped
    os._exit(0)


@contextmanager
def meters(folder: Path) -> Iterator[Mapping[str, list[str]]]:
    """Serve the meters; the station's command, with passes and without."""
    site, crashed = folder / "site.yaml", folder / "crashed"
    site.write_text(site_file(DEVICES, PERIOD_MS, FIRST_IP, PORT))
    subprocess.run(python(__file__, "crash", crashed), check=True)
    with simulator(site):
        yield {
            "fluxfast, no pass": python(__file__, "station", site, folder / "log", ""),
            "fluxfast, passes": python(__file__, "station", site, folder / "log", crashed),
        }


CASES = [Apart(f"jitter/{DEVICES}", "ms late, at 99.9 % of the ticks", meters)]

if __name__ == "__main__":
    if sys.argv[1] == "station":
        run_station(*sys.argv[2:])
    elif sys.argv[1] == "passes":
        make_passes(Path(sys.argv[2]))
    else:
        crash(Path(sys.argv[2]))
