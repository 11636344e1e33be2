"""The closed loop: from the last byte of a meter to the last setpoint in a socket, every tick.

    python benchmarks/bench_control.py [--sites 100] [--seconds 300] [--every 500]

Sites of four PowerPacks and a grid meter each, on a simulator that has one core to itself; the station, with
log, guard and watchdog, has the other. Peak shaving below a load that moves, so that nearly every tick changes
nearly every setpoint. Says how long the station took from the newest grid meter's reply to the moment at which
the last setpoint of that tick had been handed to the kernel, and whether all of them were on the wire before
the tick was over, and confirmed.
What it does not show: a real network, and slow devices.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from bench_link import machine, pinned, simulator

from fluxfast.station import Station

PORT, PACKS = 5420, 4
BUDGET_P50_MS, BUDGET_P99_MS = 5.0, 20.0  # of 400 units and 100 meters; measured here 2026-11: see README


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
            every_ns = station.controller.every_ns
            meters = [station[group.table].received_ns[group.slot] for group in station.controller.plan.meters]
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
