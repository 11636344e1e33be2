"""The closed loop end to end: read, decide, write, log; and how long each stage of a tick takes.

Sites of four PowerPacks and a grid meter each. The station has log, guard and watchdog; self-consumption
under a load that moves changes nearly every setpoint in nearly every tick. CPU is user and system time of the
whole client process for a device and tick (the watchdog is a process of its own, and sleeps). Times are
absolute, and those of this machine: ``start`` is how late a tick began, ``read`` until the last answer,
``decode`` from there until the tables were closed, ``decide`` until all setpoints were there, ``write`` until
the last of them had been handed to the kernel, ``log`` until the tick was in its buffers; ``reaction`` from
the last byte of a meter to the last setpoint handed to the kernel, ``confirmed`` until the last unit had
answered that. pymodbus reads the same, splits each site's load evenly with NumPy, writes what has changed,
and neither logs nor watches over anything; its ``write`` ends with the last unit's answer. At the end three
units' registers must hold what they were told last.
What it does not show: a real network, and slow devices. A run has few ticks: p99.9 is their worst.
"""

import asyncio
import gc
import importlib.util
import struct
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from apart import Apart, python, say, simulator
from meters import Meter, read_registers

from fluxfast.config import Fleet, load
from fluxfast.config.fleet import Device
from fluxfast.moments import CLOSE, DECIDE, LOG, START, WRITE
from fluxfast.station import Station

PORT, PACKS, RATED_KW = 5430, 4, 200
WARM_UP = 6  # ticks: until all units are taken, and every buffer has been used
TARGET = 2008
# Case → sites, the tick's length in ms, and how many ticks.
SIZES = {"50": (10, 500, 6), "500": (100, 500, 20), "2000": (400, 500, 6), "each 100 ms": (100, 100, 30)}


def site_file(sites: int, every_ms: int, packs: str = "powerpack", meters: str = "acuvim2") -> str:
    """Every device has an address of its own; ``packs`` and ``meters`` are their profiles."""
    entries = "".join(
        f"""
  - site: tick-{n:04}
    devices:
      bess:
        - {{id: "s{n}-b{{n}}", count: {PACKS}, type: {packs}, capacity_kwh: 400, rated_power_kw: {RATED_KW},
           modbus: {{host: 127.{48 + n // 200}.{n % 200}.1, port: {PORT}}}}}
      meters:
        - {{id: s{n}-grid, type: {meters}, role: grid,
           modbus: {{host: 127.{48 + n // 200}.{n % 200}.100, port: {PORT}}}}}
"""
        for n in range(1, sites + 1)
    )
    return (
        f"poll: {{every: {every_ms}ms, connects_per_s: 0}}\n"
        "control: {action: act, modes: [{type: self_consumption}]}\n"
        f"sites:{entries}"
    )


def run_station(site: str, ticks: int, log: str) -> None:
    """Control with a whole Station, as ``fluxfast run`` does."""
    import uvloop

    async def control(fleet: Fleet) -> None:
        answered_ns, confirmed_ms = [], []
        async with Station(fleet, log_dir=log) as station:
            commander = station.commander
            assert commander is not None
            gc.freeze()
            scan = station.ticks()
            for _ in range(WARM_UP):
                await anext(scan)
            used_s, meter_ns, unanswered = time.process_time(), 0.0, 0
            for _ in range(ticks):
                unanswered += (await anext(scan)).unanswered
                answered_ns.append(max(int(table.received_ns.max()) for table in station.tables.values()))
                states = commander.states  # as the writes of the tick before have ended
                if meter_ns:
                    confirmed_ms.append((states["ended_ns"].max() - meter_ns) / 1e6)
                meter_ns = commander.handed_ns - commander.reactions_ms[-1] * 1e6
            used_s = time.process_time() - used_s
            asked = commander.states["n_asked"] - commander.states["n_ended"]
            ns = station.moments.ns[-ticks:]
            reactions_ms = list(commander.reactions_ms)[-ticks:]
            packs = [station.controller.plan.devices[unit] for unit in commander.units]
            told = station.controller.columns.units.setpoint_kw[commander.units]
            right = not asked.any() and holds(packs, told)
            await scan.aclose()
        answered = np.array(answered_ns)
        began, ends = ns[:, 1 + START], {stage: ns[:, 1 + stage] for stage in (CLOSE, DECIDE, WRITE, LOG)}
        said = {
            "unanswered": float(unanswered),
            **latencies("start", (began - ns[:, 0]) / 1e6),
            **latencies("read", (answered - began) / 1e6),
            **latencies("decode", (ends[CLOSE] - answered) / 1e6),
            **latencies("decide", (ends[DECIDE] - ends[CLOSE]) / 1e6),
            **latencies("write", (ends[WRITE] - ends[DECIDE]) / 1e6),
            **latencies("log", (ends[LOG] - ends[WRITE]) / 1e6),
            **latencies("reaction", reactions_ms),
            **latencies("confirmed", confirmed_ms),
        }
        cost = used_s * 1e6 / (ticks * len(fleet.devices))
        say(cost, right, times=[1e3 * ms for ms in reactions_ms], said=said)

    uvloop.run(control(load(site)))


def run_pymodbus(site: str, ticks: int) -> None:
    """Do the same with pymodbus on uvloop: all reads at once, then all writes at once."""
    import uvloop
    from pymodbus.client import AsyncModbusTcpClient

    async def control(fleet: Fleet) -> None:
        packs = [device for device in fleet.devices if device.kind == "bess"]
        meters = [device for device in fleet.devices if device.kind == "meter"]
        clients = [
            AsyncModbusTcpClient(d.modbus.host, port=d.modbus.port, retries=0) for d in (*packs, *meters)
        ]
        units = [device.modbus.unit for device in (*packs, *meters)]
        for client in clients:
            await client.connect()
        batteries = list(zip(clients, units, strict=True))[: len(packs)]
        grids = list(zip(clients, units, strict=True))[len(packs) :]
        meter_s = 0.0

        async def read_pack(client: AsyncModbusTcpClient, unit: int) -> list[int]:
            return (await client.read_holding_registers(2000, count=29, device_id=unit)).registers

        async def read_meter(client: AsyncModbusTcpClient, unit: int) -> list[int]:
            nonlocal meter_s
            reply = await client.read_holding_registers(0, count=66, device_id=unit)
            await client.read_holding_registers(256, count=2, device_id=unit)
            meter_s = time.monotonic()
            return reply.registers

        async def write(pack: int, power_kw: int) -> bool:
            client, unit = batteries[pack]
            return not (await client.write_register(TARGET, power_kw & 0xFFFF, device_id=unit)).isError()

        for client, unit in batteries:
            await client.write_register(2010, 1, device_id=unit)
        told = np.zeros(len(packs), np.int64)
        took: dict[str, list[float]] = {
            name: [] for name in ("start", "read", "decide", "write", "confirmed")
        }
        right, used_s, every_s = True, 0.0, fleet.poll.every_ns / 1e9
        due = time.monotonic() + every_s
        for tick in range(WARM_UP + ticks):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if tick == WARM_UP:
                used_s = time.process_time()
            began = time.monotonic()
            reads = asyncio.gather(*(read_pack(*one) for one in batteries))
            grid_reads = asyncio.gather(*(read_meter(*one) for one in grids))
            pack_registers, grid_registers = np.array(await reads), await grid_reads
            read = time.monotonic()
            # Power Total is a float32 of kW at 0x0040; what is told follows what was told before.
            grid_kw = np.array(grid_registers)[:, 64:66].astype(">u2").view(">f4")[:, 0]
            load_kw = grid_kw + told.reshape(-1, PACKS).sum(axis=1)
            ready = pack_registers[:, 0] == 1
            share = np.repeat(np.clip(load_kw / PACKS, -RATED_KW, RATED_KW), PACKS)
            wanted = np.where(ready, np.rint(share), 0).astype(np.int64)
            changed = np.flatnonzero(wanted != told)
            decided = time.monotonic()
            right &= all(await asyncio.gather(*map(write, changed.tolist(), wanted[changed].tolist())))
            told = wanted
            if tick >= WARM_UP:
                ended = time.monotonic()
                took["start"].append(began - due)
                took["read"].append(read - began)
                took["decide"].append(decided - read)
                took["write"].append(ended - decided)
                took["confirmed"].append(ended - meter_s)
            due += every_s * max(1, np.ceil((time.monotonic() - due) / every_s))
        used_s = time.process_time() - used_s
        right &= holds(packs, told)
        for pack in range(len(packs)):
            await write(pack, 0)
        for client in clients:
            client.close()
        said = {}
        for stage, seconds in took.items():
            said |= latencies(stage, 1e3 * np.array(seconds))
        cost = used_s * 1e6 / (ticks * len(fleet.devices))
        say(cost, right, times=[1e6 * s for s in took["confirmed"]], said=said)

    uvloop.run(control(load(site)))


def holds(packs: Sequence[Device], told_kw: Sequence[float]) -> bool:
    """Whether the first, the middle and the last unit's registers hold what they were told, or do soon."""
    left = {0, len(packs) // 2, len(packs) - 1}
    ends = {k: Meter(packs[k].modbus.host, packs[k].modbus.port, packs[k].modbus.unit) for k in left}
    for _ in range(100):
        left = {k for k in left if struct.unpack(">h", read_registers(ends[k], TARGET, 1))[0] != told_kw[k]}
        if not left:
            return True
        time.sleep(0.005)
    return False


def latencies(stage: str, took_ms: Sequence[float]) -> dict[str, float]:
    """Return the figures that a table wants of a stage's times."""
    found = np.percentile(took_ms, (50, 99, 99.9, 100))
    return {
        f"{stage} {what} ms": float(ms)
        for what, ms in zip(("p50", "p99", "p99.9", "max"), found, strict=True)
    }


@contextmanager
def sites(size: str, folder: Path) -> Iterator[Mapping[str, list[str]]]:
    """Serve so many sites; the command of every client."""
    count, every_ms, ticks = SIZES[size]
    site = folder / "site.yaml"
    site.write_text(site_file(count, every_ms))
    clients = {"fluxfast": python(__file__, "fluxfast", site, ticks, folder / "log")}
    if importlib.util.find_spec("pymodbus"):
        clients["pymodbus"] = python(__file__, "pymodbus", site, ticks)
    else:
        print("tick: pymodbus is not installed, and left out", file=sys.stderr)
    with simulator(site):
        yield clients


CASES = [Apart(f"tick/{size}", "µs CPU of a tick a device", partial(sites, size)) for size in SIZES]

if __name__ == "__main__":
    who, site, ticks, *log = sys.argv[1:]
    if who == "fluxfast":
        run_station(site, int(ticks), *log)
    else:
        run_pymodbus(site, int(ticks))
