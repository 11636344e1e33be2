"""What a tenth of 500 meters costs the others when it hangs, falls off the network, or resets.

A cost is the 99th percentile of how long after a tick's begin the well nine tenths answered, over ticks in
which every tenth meter was ill from the second one on; with ``healthy`` none was. ``lost`` counts readings of
the well ones that did not come; ``back s`` is how long after they were healed the ill ones were all good
again. fluxfast polls, and logs; pymodbus has a task for each meter, so that none waits for another, and gives
each read up at the tick's deadline. It is right if all of the well ones' readings were good.
What it does not show: a real network, and faults that last for long, whose end is looked for less often.
"""

import asyncio
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from apart import CORES, Apart, pinned, python, say
from meters import COUNT, FIRST, site_file

from fluxfast.config import Fleet, load
from fluxfast.sim import Simulator
from fluxfast.station import Station
from fluxfast.table.quality import GOOD

FIRST_IP, PORT, DEVICES, PERIOD_MS = "127.41.100.1", 5042, 500, 250
DEADLINE = 0.9  # of a tick, as site_file has it
WARM_UP, TICKS = 4, 9
HEALTHY, KINDS = "healthy", ("hang", "blackhole", "reset")
SHARE = 10  # every tenth is ill
BACK_WITHIN_S = 35.0  # a dead device is looked for every 30 s at the least

Order = Callable[[str], None]


def serve(site: Path) -> None:
    """Simulate; each line of stdin is the fault that every tenth device has from then on, or ``healthy``."""
    simulator = Simulator(load(site))
    ill = [device.id for device in simulator.devices[::SHARE]]
    with simulator.running():
        print("ready", flush=True)
        for line in sys.stdin:
            kind = line.strip()
            simulator.set_fault(ill, None if kind == HEALTHY else kind)
            print(kind, flush=True)


@contextmanager
def serving(site: str, core: int) -> Iterator[Order]:
    """Serve a site on a core; what is yielded makes every tenth of its devices ill, or well again."""
    command = [*pinned(core), sys.executable, __file__, "serve", site]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline().strip() == "ready"

    def order(kind: str) -> None:
        server.stdin.write(kind + "\n")
        server.stdin.flush()
        assert server.stdout.readline().strip() == kind

    try:
        yield order
    finally:
        server.stdin.close()
        server.wait()


def run_station(fleet: Fleet, kind: str, order: Order, log: str) -> None:
    """Poll and log with a whole Station."""
    import uvloop

    async def poll() -> None:
        good, latency_ms = [], []
        async with Station(fleet, log_dir=log) as station:
            (table,) = station.tables.values()
            scan = station.ticks()
            for _ in range(WARM_UP):
                await anext(scan)
            for tick in range(TICKS):
                await anext(scan)
                good.append(table.row_quality == GOOD)
                latency_ms.append(table.latency_ms.copy())
                if tick == 0:
                    order(kind)
            order(HEALTHY)
            healed_s = time.monotonic()
            while (table.row_quality != GOOD).any() and time.monotonic() < healed_s + BACK_WITHIN_S:
                await anext(scan)
            back_s = time.monotonic() - healed_s
            await scan.aclose()
        tell(np.array(good), np.array(latency_ms), {"back s": back_s})

    uvloop.run(poll())


def run_pymodbus(fleet: Fleet, kind: str, order: Order) -> None:
    """Poll with a task for each device."""
    import uvloop
    from pymodbus.client import AsyncModbusTcpClient
    from pymodbus.exceptions import ModbusException

    period_s = PERIOD_MS / 1e3

    async def poll() -> None:
        good = np.zeros((TICKS, DEVICES), bool)
        latency_ms = np.full((TICKS, DEVICES), np.nan)
        clients = [
            AsyncModbusTcpClient(d.modbus.host, port=d.modbus.port, retries=0, timeout=DEADLINE * period_s)
            for d in fleet.devices
        ]
        for client in clients:
            await client.connect()
        begin = time.monotonic() + period_s

        async def one(row: int, client: Any, unit: int) -> None:
            for tick in range(-WARM_UP, TICKS):
                due = begin + (tick + WARM_UP) * period_s
                await asyncio.sleep(due - time.monotonic())
                try:
                    reply = await client.read_holding_registers(FIRST, count=COUNT, device_id=unit)
                except (ModbusException, OSError):
                    continue
                if tick >= 0 and not reply.isError():
                    good[tick, row], latency_ms[tick, row] = True, (time.monotonic() - due) * 1e3

        async def fall_ill() -> None:
            await asyncio.sleep(begin + (WARM_UP + 1 - 0.1) * period_s - time.monotonic())
            order(kind)

        units = [d.modbus.unit for d in fleet.devices]
        await asyncio.gather(fall_ill(), *map(one, range(DEVICES), clients, units))
        for client in clients:
            client.close()
        tell(good, latency_ms, {})

    uvloop.run(poll())


def tell(good: np.ndarray, latency_ms: np.ndarray, said: dict[str, float]) -> None:
    """Say how the well devices fared: [ticks, devices]."""
    well = np.arange(DEVICES) % SHARE != 0
    good, latency_ms = good[:, well], latency_ms[:, well]
    lost = int(np.count_nonzero(~good))
    p50, p99 = np.percentile(latency_ms[good], (50, 99))
    figures = {"readings": good.size, "lost": lost, "p50 ms": float(p50), **said}
    say(float(p99), lost == 0, times=(1e3 * latency_ms[good]).tolist(), said=figures)


@contextmanager
def meters(folder: Path) -> Iterator[Mapping[str, list[str]]]:
    """Every command has a simulator of its own, for it makes its devices ill."""
    site = folder / "site.yaml"
    site.write_text(site_file(DEVICES, PERIOD_MS, FIRST_IP, PORT))
    commands = {
        f"fluxfast, {kind}": python(__file__, "fluxfast", kind, site, CORES[-1], folder / "log")
        for kind in (HEALTHY, *KINDS)
    }
    if importlib.util.find_spec("pymodbus"):
        for kind in (HEALTHY, KINDS[0]):
            commands[f"pymodbus, {kind}"] = python(__file__, "pymodbus", kind, site, CORES[-1])
    yield commands


CASES = [Apart(f"faults/{DEVICES}", "ms until 99 % of the well ones have answered", meters)]

if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]))
    else:
        who, ill, path, core, *log = sys.argv[1:]
        with serving(path, int(core)) as order:
            if who == "fluxfast":
                run_station(load(path), ill, order, *log)
            else:
                run_pymodbus(load(path), ill, order)
