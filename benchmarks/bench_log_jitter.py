"""Whether compaction is felt by the tick: 500 meters every 100 ms, with passes all the time, and without.

    python benchmarks/bench_log_jitter.py [--seconds 60] [--windows 3]

The station has one core for itself and the simulator the other, on which the passes find their place as well
as they can (nice 10), one after the other. Windows with and without passes take turns. Three figures of each:
by how much ticks began off the grid, how late devices' readings were (tick to receive time, every device and
tick), and when the loop had a finished tick. The latter two have in them that the simulator shares its core
with the passes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_link import machine, pinned, simulator
from feed import Feed, end
from meters import site_file

from fluxfast.station import Station

FIRST_IP, PORT, DEVICES, PERIOD_MS = "127.44.30.1", 5421, 500, 100
PERCENTS = (50, 99, 99.9)


def run_station(site: str, seconds: float, windows: int, crashed: str, log: str) -> None:
    """Poll, window by window; print JSON: the percentiles of each, ms."""
    import uvloop

    async def poll() -> None:
        async with Station(site, log_dir=log) as station:
            async for _ in station.ticks(5):
                pass
            for window in range(2 * windows):
                with_passes = window % 2 == 1
                passes = Passes(Path(crashed)) if with_passes else None
                began, latency, late = [], [], []
                async for tick in station.ticks(seconds):
                    late.append(time.time() * 1e3 - tick.time_us / 1e3)
                    began.append(late[-1] - tick.took_ms)
                    latency.append(station["acuvim2_vendor"].latency_ms.copy())
                made = passes.end() if passes is not None else 0
                figures = {
                    "begin": np.array(began),
                    "reading": np.concatenate(latency),
                    "tick": np.array(late),
                }
                for what, values in figures.items():
                    found = np.nanpercentile(values, PERCENTS).round(2).tolist()
                    print(json.dumps([what, with_passes, *found, made, len(late)]), flush=True)

    uvloop.run(poll())


class Passes:
    """A process that starts one pass after the other over a log that a crash has left."""

    def __init__(self, crashed: Path) -> None:
        command = [sys.executable, __file__, "--passes", str(crashed)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def end(self) -> int:
        out, _ = self._process.communicate(b"")
        return int(out)


def make_passes(crashed: Path) -> None:
    """Make passes until stdin ends; print how many."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    os.set_blocking(0, False)
    made = 0
    while sys.stdin.buffer.read(1) is None:
        copy = crashed.with_name(f"pass{os.getpid()}")
        shutil.copytree(crashed, copy)
        # As a station starts it.
        subprocess.run([sys.executable, "-P", "-m", "fluxfast.log", str(copy)], check=True)
        shutil.rmtree(copy)
        made += 1
    print(made)


def crash(root: Path) -> None:
    """Make a log of ten minutes of 500 batteries that are still in the journal."""
    feed = Feed()
    log = feed.writer(root, 1, "group")
    feed.log(log)
    end(log)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="of a window")
    parser.add_argument("--windows", type=int, default=2, help="with and without, so many each")
    asked = parser.parse_args()
    print(machine())
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        site, crashed = Path(folder) / "site.yaml", Path(folder) / "crashed"
        site.write_text(site_file(DEVICES, PERIOD_MS, FIRST_IP, PORT))
        crash(crashed)
        command = [sys.executable, __file__, "--client", site, asked.seconds, asked.windows, crashed]
        with simulator(site, cores[-1]):
            ran = subprocess.run(
                [*pinned(cores[0]), *map(str, command), f"{folder}/log"], capture_output=True, text=True
            )
    if ran.returncode:
        sys.exit(f"the station failed: {ran.stderr.strip() or ran.returncode}")
    for line in ran.stdout.splitlines():
        what, with_passes, p50, p99, p999, made, ticks = json.loads(line)
        passes = f"{made} passes" if with_passes else "no pass"
        print(
            f"{what:8} {passes:10} p50 {p50:.2f} ms, p99 {p99:.2f} ms, p99.9 {p999:.2f} ms of {ticks} ticks"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        site, seconds, windows, crashed, log = sys.argv[2:]
        run_station(site, float(seconds), int(windows), crashed, log)
    elif sys.argv[1:2] == ["--passes"]:
        make_passes(Path(sys.argv[2]))
    else:
        main()
