"""Everybody that polls meters.py's meters over Modbus TCP: one command each, the floor first.

A client reads all meters once a tick. Its cost is CPU, user and system, of its whole process in µs a
request, from the end of the first tick, which warms everybody up, to that of the last. It compares its last
values with the meters'. Its times are those of whole ticks in µs: from when a tick was due until all were
read and decoded. What it says: ``unanswered`` requests; ``connect_us``, CPU a link until all were up, and
``up_s``, how long that took; ``resident``, the bytes of its process after the last tick. This file as a
program is our client.
"""

import gc
import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from apart import compiled, python, say
from measured import HERE
from meters import FREQUENCY, Meter, all_read, is_right, resident, site_file

from fluxfast.config import Fleet, load
from fluxfast.station import Station

LAST = "last.yaml"  # of the last meter alone: of many, some are read long before a tick ends
TRIES = 40
# Client → the Python module it needs.
PYTHON = {
    "pymodbus": "pymodbus.client",
    "pymodbus, raw replies": "pymodbus.client",
    "async-modbus": "async_modbus",
    "pyModbusTCP": "pyModbusTCP.client",
    "modbus-rs": "modbus_rs",
    "modbus-tcp-cython": "modbus_tcp",
}
NODE, NODE_MODULE = "modbus-serial", HERE / "rivals/node_modules/modbus-serial"
VARIANTS = ("fluxfast, logging", "pymodbus, raw replies")  # of others; measured where that says something
SELECT_LINKS = 1_000  # libmodbus waits by select(): descriptors up to 1023


def prepare(folder: Path, links: int, period_ms: int, first_ip: str, port: int) -> Path:
    """Write the site's file, its last meter's and, for other clients, ``asked``; return the first."""
    folder.mkdir(exist_ok=True)
    site = folder / "site.yaml"
    site.write_text(site_file(links, period_ms, first_ip, port))
    meters = _meters(load(site))
    site.with_name(LAST).write_text(site_file(1, 100, meters[-1].host, port))
    (folder / "asked").write_text("".join(f"{meter}\n" for meter in meters))
    return site


def clients(folder: Path, links: int, ticks: int, period_ms: int) -> dict[str, list[str]]:
    """Return the command of every client that is installed here, for a prepared folder."""
    timing = [str(ticks), str(period_ms)]
    ours = [str(folder / "site.yaml"), str(ticks)]
    floor = compiled("floor.c", folder)
    commands = {
        "C floor": [floor, *timing],
        "C floor, decodes": [floor, *timing, "decode"],
        "fluxfast": python(__file__, *ours),
        "fluxfast, logging": python(__file__, *ours, folder / "log"),
    }
    return commands | dict(_rivals(folder, links, timing))


def _rivals(folder: Path, links: int, timing: list[str]) -> Iterator[tuple[str, list[str]]]:
    asked = ["pkg-config", "--cflags", "--libs", "libmodbus"]
    flags = subprocess.run(asked, capture_output=True, text=True) if shutil.which(asked[0]) else None
    if flags is None or flags.returncode:
        _left_out("libmodbus", "it is not installed; on Debian: apt-get install libmodbus-dev pkg-config")
    elif links > SELECT_LINKS:
        _left_out("libmodbus", f"it waits by select(), which cannot watch {links:,} links")
    else:
        yield "libmodbus", [compiled("rivals/libmodbus.c", folder, *flags.stdout.split()), *timing]
    if shutil.which("node") and NODE_MODULE.is_dir():
        script = str(HERE / "rivals/modbus_serial.js")
        yield NODE, ["node", "--expose-gc", script, *timing]
    else:
        _left_out(NODE, "node or the package is not installed; npm install --prefix benchmarks/rivals")
    for name, module in PYTHON.items():
        if installed(module):
            yield name, python("rivals/python.py", name, *timing)
        else:
            _left_out(name, f"{module} is not installed; ci/bench installs it")


def installed(module: str) -> bool:
    """Whether a Python module can be imported here."""
    return importlib.util.find_spec(module.partition(".")[0]) is not None


@cache  # says it once
def _left_out(name: str, why: str) -> None:
    print(f"{name} is left out: {why}", file=sys.stderr)


def _meters(fleet: Fleet) -> list[Meter]:
    return [Meter(d.modbus.host, d.modbus.port, d.modbus.unit) for d in fleet.devices]


async def poll(fleet: Fleet, ticks: int, log: str | None) -> tuple[float, bool, dict[str, Any]]:
    """Poll with a whole Station, as ``fluxfast run`` does; what ``say`` takes."""
    links, station, times = len(fleet.devices), Station(fleet, log_dir=log), list[float]()
    used, begin = time.process_time(), time.monotonic()
    async with station:
        said = {"connect_us": (time.process_time() - used) * 1e6 / links, "up_s": time.monotonic() - begin}
        gc.freeze()
        done = requests = unanswered = 0
        async for tick in station.ticks():
            done += 1
            if done == 1:
                used, requests = time.process_time(), station.reactor.requests
                continue
            unanswered += tick.unanswered
            times.append(tick.took_ms * 1e3)
            if done == ticks:
                break
        cost = (time.process_time() - used) * 1e6 / (station.reactor.requests - requests)
        said |= {"unanswered": unanswered, "resident": resident()}
        (table,) = station.tables.values()
        return cost, all_read(table.values[FREQUENCY]), {"times": times, "said": said}


async def check(fleet: Fleet) -> bool:
    """Whether the values of a fleet of one are what its meter says."""
    async with Station(fleet) as station:
        (table,), (meter,), tries = station.tables.values(), _meters(fleet), 0
        async for _ in station.ticks():
            tries += 1
            right = is_right(meter, lambda: [float(column[-1]) for column in table.values], 1)
            if right or tries == TRIES:
                return right
    return False


if __name__ == "__main__":
    import uvloop

    site, ticks, *log = sys.argv[1:]
    cost, right, more = uvloop.run(poll(load(site), int(ticks), *log or [None]))
    say(cost, right and uvloop.run(check(load(Path(site).with_name(LAST)))), **more)
