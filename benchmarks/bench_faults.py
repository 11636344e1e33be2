"""What a tenth of the fleet costs the others when it hangs, falls off the network, or resets.

    python benchmarks/bench_faults.py [LINKS] [TICKS] [PERIOD_MS]

One station polls and logs all the while. For each fault: TICKS with nothing wrong, TICKS with it on every
tenth device, then they are healed and have to come back. From the log come, for the devices that were never
ill, the readings that were lost, and how long after the tick's begin they answered, before and during the
fault. The simulator has one core, the station the other. What it does not show: a real network.
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
Span = tuple[int, int]  # first and last tick (us, UTC)
Phase = tuple[str, Span, Span, float]  # fault, before it, during it, seconds until all were back


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

        async def some() -> Span:
            times = [(await anext(scan)).time_us for _ in range(ticks)]
            return times[0], times[-1]

        for kind in KINDS:
            before = await some()
            order(kind)
            during = await some()
            order("none")
            healed_s = time.monotonic()
            while station.status().devices_good < len(fleet.devices):
                if time.monotonic() - healed_s > BACK_WITHIN_S:
                    sys.exit(f"after {kind}: not all are back {BACK_WITHIN_S} s after they were healed")
                await anext(scan)
            phases.append((kind, before, during, time.monotonic() - healed_s))
    return phases


def report(phases: list[Phase], log: Path) -> None:
    table = pq.read_table(log, columns=["time", "device", "quality", "latency_ms"])
    number = np.array([int(name[1:]) for name in table["device"].cast("string").to_pylist()])
    well = (number - number.min()) % SHARE != 0
    time_us = table["time"].cast("int64").to_numpy()
    good = pc.equal(table["quality"].cast("string"), "good").to_numpy()
    latency_ms = table["latency_ms"].to_numpy()
    print("           readings  lost  p50 ms: before  during  p99 ms: before  during  ratio  back after")
    for kind, before, during, back_s in phases:
        spans = [well & (time_us >= first) & (time_us <= last) for first, last in (before, during)]
        (p50, p99), (p50_ill, p99_ill) = (np.percentile(latency_ms[s & good], (50, 99)) for s in spans)
        readings, lost = np.count_nonzero(spans[1]), np.count_nonzero(spans[1] & ~good)
        print(
            f"{kind:10} {readings:9,} {lost:5,} {p50:15.1f} {p50_ill:7.1f} {p99:15.1f} {p99_ill:7.1f} "
            f"{p99_ill / p99:6.2f} {back_s:9.1f} s"
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
