"""A whole fleet in one process: 90 registers of every meter, every 500 ms.

    python benchmarks/bench_fleet.py [--devices 10000] [--seconds 300] [--log]

The simulator runs on one core, the station alone on the other. Says how long the links take to come up, at
the default pacing and without; what was missed; the station's share of a core; and what a device takes of the
process's memory, as the growth of its resident set from a tenth of the devices to all, each in a process of
its own (the kernel's sockets are not in there).
What it does not show: a real network, and slow devices.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from apart import pinned, simulator
from measured import machine
from meters import site_file

from fluxfast.bench.measure import Window
from fluxfast.bench.measure import measure as look
from fluxfast.config import load
from fluxfast.station import Station

FIRST_IP, PORT = "127.44.16.1", 5420
PERIOD_MS = 500
DEFAULT_PACING = 400
MEMORY_S = 5.0


@dataclass(frozen=True)
class Run:
    """What the station's process found out; memory in bytes."""

    devices: int
    links_up: int
    up_s: float
    ticks: int
    overruns: int
    missed: int
    core: float
    p50_ms: float
    p99_ms: float
    loaded: int
    ready: int
    polled: int


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run_client(site: str, seconds: float, log: str) -> None:
    """Poll with a whole Station, as ``fluxfast run`` does, and print JSON: Run."""
    import uvloop

    async def poll() -> Run:
        fleet = load(site)
        memory = {"loaded": resident()}
        found = await look(
            Station(fleet, log_dir=log or None),
            Window(1, seconds),
            lambda moment: memory.update({moment: resident()}),
        )
        assert found.tick_p50_ms is not None
        assert found.tick_p99_ms is not None
        return Run(
            found.devices, found.links_up, found.up_s, found.ticks, found.skipped, found.missed,
            found.cpu_percent / 100, found.tick_p50_ms, found.tick_p99_ms,
            memory["loaded"], memory["up"], memory["ends"],
        )  # fmt: skip

    print(json.dumps(asdict(uvloop.run(poll()))))


def measure(devices: int, seconds: float, connects_per_s: int, log: bool = False) -> Run:
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site.yaml"
        site.write_text(site_file(devices, PERIOD_MS, FIRST_IP, PORT, connects_per_s))
        command = [sys.executable, __file__, "--client", site, str(seconds), f"{folder}/log" if log else ""]
        with simulator(site):
            ran = subprocess.run([*pinned(cores[0]), *command], capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"the station failed: {ran.stderr.strip() or ran.returncode}")
    return Run(**json.loads(ran.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--log", action="store_true", help="log what is read, too")
    asked = parser.parse_args()
    print(machine())
    paced = measure(asked.devices, asked.seconds, DEFAULT_PACING, asked.log)
    many, few = measure(asked.devices, MEMORY_S, 0), measure(asked.devices // 10, MEMORY_S, 0)
    more = many.devices - few.devices
    print(
        f"{paced.links_up} of {paced.devices} links up in {paced.up_s:.1f} s at {DEFAULT_PACING} connects/s"
    )
    print(f"{many.links_up} of {many.devices} links up in {many.up_s:.1f} s without pacing")
    print(
        f"{paced.ticks} ticks{' with the log on' if asked.log else ''}: {paced.missed} readings missed,"
        f" {paced.overruns} overruns, {100 * paced.core:.0f} % of a core;"
        f" tick p50 {paced.p50_ms:.0f} ms, p99 {paced.p99_ms:.0f} ms"
    )
    print(
        f"memory per device: {(many.polled - few.polled) / more:.0f} bytes, of which"
        f" {(many.loaded - few.loaded) / more:.0f} for the site file's entry,"
        f" {(many.ready - few.ready - many.loaded + few.loaded) / more:.0f} for plan, table and link,"
        f" {(many.polled - few.polled - many.ready + few.ready) / more:.0f} while polling"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        run_client(sys.argv[2], float(sys.argv[3]), sys.argv[4])
    else:
        main()
