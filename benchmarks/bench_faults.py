"""What a tenth of the fleet costs the others when it hangs, falls off the network, or resets.

    python benchmarks/bench_faults.py [LINKS] [TICKS] [PERIOD_MS]

One station polls and logs all the while. At first nothing is wrong; then every tenth device has a fault, is
healed, and has to come back, for one fault after another. From the log come, for the devices that were never
ill, the readings that were lost, and how long after the tick's begin they answered. The simulator has one
core, the station the other. What it does not show: a real network.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import uvloop

from fluxfast.config import load
from fluxfast.sim import Simulator
from fluxfast.station import Station

PORT = 5042
KINDS = ("hang", "blackhole", "reset")
SHARE = 10  # every tenth
PROBE_INTERVAL_S = 30
BACK_WITHIN_S = PROBE_INTERVAL_S + 5
Phase = tuple[str, int, int, float]  # name, first and last tick (us, UTC), seconds until all were back


def site_file(links: int, period_ms: int) -> str:
    return (
        f"poll: {{every: {period_ms}ms, deadline: 90%}}\ndevices:\n  meters:\n"
        f'    - {{id: "m{{n}}", count: {links}, type: acuvim2_vendor,'
        f" modbus: {{host: 127.41.100.1, port: {PORT}}}}}\n"
    )


def serve(site: Path) -> None:
    """Simulate; each line of stdin is the fault that every tenth device has from then on, or ``none``."""
    simulator = Simulator(load(site))
    ill = [device.id for device in simulator.devices[::SHARE]]
    with simulator.running():
        print("ready", flush=True)
        for line in sys.stdin:
            kind = line.strip()
            simulator.set_fault(ill, None if kind == "none" else kind)
            print(kind, flush=True)


async def poll(site: Path, log: Path, ticks: int, order) -> list[Phase]:
    phases: list[Phase] = []
    fleet = load(site)
    async with Station(fleet, log_dir=log) as station:
        scan = station.ticks()
        first = await anext(scan)
        for kind in ("none", *KINDS):
            order(kind)
            first = last = await anext(scan)
            for _ in range(ticks - 1):
                last = await anext(scan)
            order("none")
            healed_s = time.monotonic()
            while station.status().devices_good < len(fleet.devices):
                if time.monotonic() - healed_s > BACK_WITHIN_S:
                    sys.exit(f"after {kind}: not all are back {BACK_WITHIN_S} s after they were healed")
                await anext(scan)
            phases.append((kind, first.time_us, last.time_us, time.monotonic() - healed_s))
    return phases


def report(phases: list[Phase], log: Path) -> None:
    table = pq.read_table(log, columns=["time", "device", "quality", "latency_ms"])
    number = np.array([int(name[1:]) for name in table["device"].cast("string").to_pylist()])
    well = (number - number.min()) % SHARE != 0
    time_us = table["time"].cast("int64").to_numpy()
    good = pc.equal(table["quality"].cast("string"), "good").to_numpy()
    latency_ms = table["latency_ms"].to_numpy()
    print("a tenth     readings  lost  p50 ms  p99 ms  x healthy  back after")
    healthy_ms = 0.0
    for kind, first, last, back_s in phases:
        these = well & (time_us >= first) & (time_us <= last)
        p50, p99 = np.percentile(latency_ms[these & good], (50, 99))
        healthy_ms = healthy_ms or p99
        back = "" if kind == "none" else f"{back_s:9.1f} s"
        name = "healthy" if kind == "none" else kind
        lost = np.count_nonzero(these & ~good)
        print(
            f"{name:10} {np.count_nonzero(these):9,} {lost:5,} {p50:7.1f} {p99:7.1f} "
            f"{p99 / healthy_ms:10.2f} {back:>11}"
        )


def main() -> None:
    links, ticks, period_ms = [*map(int, sys.argv[1:4]), *(500, 12, 500)[len(sys.argv) - 1 :]]
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])
    with tempfile.TemporaryDirectory() as folder:
        site, log = Path(folder) / "site.yaml", Path(folder) / "log"
        site.write_text(site_file(links, period_ms))
        simulator = subprocess.Popen(
            ["taskset", "-c", str(cores[-1]), sys.executable, __file__, "--serve", str(site)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert simulator.stdin is not None
        assert simulator.stdout is not None

        def order(kind: str) -> None:
            simulator.stdin.write(kind + "\n")
            simulator.stdin.flush()
            assert simulator.stdout.readline().strip() == kind

        try:
            assert simulator.stdout.readline().strip() == "ready"
            print(f"{links} links every {period_ms} ms, {ticks} ticks each; the other nine tenths:")
            report(uvloop.run(poll(site, log, ticks, order)), log)
        finally:
            simulator.stdin.close()
            simulator.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]))
    else:
        main()
