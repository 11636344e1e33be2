"""The closed loop: from the last byte of a meter to the last setpoint in a socket, every tick.

    python benchmarks/bench_control.py [--sites 100] [--seconds 300] [--every 500]

Sites of four PowerPacks and a grid meter each, on a simulator that has one core to itself; the station, with
log, guard and watchdog, has the other. Self-consumption under a load that moves, so that nearly every tick
changes nearly every setpoint. Says how long the station took from the newest grid meter's reply to the moment
at which the last setpoint of that tick had been handed to the kernel, and whether all of them were on the
wire before the tick was over, and confirmed.
What it does not show: a real network, and slow devices.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from apart import pinned, simulator
from measured import machine

from fluxfast.station import Station

PORT, PACKS = 5420, 4
BUDGET_P50_MS, BUDGET_P99_MS = 5.0, 20.0  # of 400 units and 100 meters; README has what was measured


@dataclass(frozen=True)
class Run:
    """What the station found out; times in ms from the last meter's byte."""

    ticks: int
    overruns: int
    setpoints: int
    late_ticks: int
    unconfirmed: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    core: float


def site_file(sites: int, every_ms: int) -> str:
    entries = "".join(
        f"""
  - site: site-{n:04}
    devices:
      bess:
        - {{id: "s{n}-b{{n}}", count: {PACKS}, type: powerpack, capacity_kwh: 400, rated_power_kw: 200,
           modbus: {{host: 127.{48 + n // 200}.{n % 200}.1, port: {PORT}}}}}
      meters:
        - {{id: s{n}-grid, type: acuvim2, role: grid,
           modbus: {{host: 127.{48 + n // 200}.{n % 200}.100, port: {PORT}}}}}
"""
        for n in range(1, sites + 1)
    )
    return (
        f"poll: {{every: {every_ms}ms}}\n"
        "control: {action: act, modes: [{type: self_consumption}]}\n"
        f"sites:{entries}"
    )


def run_client(site: str, seconds: float, log: str) -> None:
    """Control with a whole Station, as ``fluxfast run`` does, and print JSON: Run."""
    import uvloop

    async def control() -> Run:
        took_ms: list[float] = []
        late = asked = 0
        async with Station(site, log_dir=log) as station:
            assert station.controller is not None
            assert station.commander is not None
            used, begun, ticks = time.process_time(), time.monotonic(), 0
            meters = [
                station[group.table].received_ns[group.slot] for group in station.controller.plan.meters
            ]
            async for tick in station.ticks(seconds):
                ticks += 1
                commander = station.commander
                took_ms.append((commander.handed_ns - max(times.max() for times in meters)) / 1e6)
                states = station.commander.states  # of the tick before, as seen in this one
                began_ns = commander.handed_ns - tick.took_ms * 1e6
                late += bool(np.any((states["sent_ns"] == 0) & (states["n_ended"] > 0)))
                late += bool(np.any(states["sent_ns"] > began_ns))
            asked, ended = int(states["n_asked"].sum()), int(states["n_ended"].sum())
            core = (time.process_time() - used) / (time.monotonic() - begun)
            p50, p99 = np.percentile(took_ms[5:], (50, 99))
            return Run(
                ticks, station.overruns, asked, late, asked - ended, float(p50), float(p99),
                max(took_ms[5:]), core,
            )  # fmt: skip

    print(json.dumps(asdict(uvloop.run(control()))))


def measure(sites: int, seconds: float, every_ms: int) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site.yaml"
        site.write_text(site_file(sites, every_ms))
        cores = sorted(os.sched_getaffinity(0))
        command = [sys.executable, __file__, "--client", site, str(seconds), f"{folder}/log"]
        with simulator(site):
            ran = subprocess.run([*pinned(cores[0]), *command], capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"the station failed: {ran.stderr.strip() or ran.returncode}")
    return Run(**json.loads(ran.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--every", type=int, default=500, help="a tick's length, ms")
    asked = parser.parse_args()
    print(machine())
    run = measure(asked.sites, asked.seconds, asked.every)
    print(
        f"{asked.sites * PACKS} units, {asked.sites} meters, every {asked.every} ms, {run.ticks} ticks,"
        f" {run.overruns} overruns, {100 * run.core:.0f} % of a core"
    )
    print(
        f"last meter byte to last setpoint in its socket: p50 {run.p50_ms:.2f} ms, p99 {run.p99_ms:.2f} ms,"
        f" worst {run.worst_ms:.2f} ms (budget for 400 units: p50 {BUDGET_P50_MS:g}, p99 {BUDGET_P99_MS:g})"
    )
    print(
        f"{run.setpoints} setpoints, {run.unconfirmed} of them replaced or not confirmed;"
        f" ticks with one that was not on the wire when the tick ended: {run.late_ticks}"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        run_client(sys.argv[2], float(sys.argv[3]), sys.argv[4])
    else:
        main()
