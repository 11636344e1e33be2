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

from apart import compiled, python, say
from measured import HERE
from meters import Meter, is_right, resident, site_file

from fluxfast.config import Fleet, load
from fluxfast.station import Station

CHECKS = 40  # ticks, until one falls where no value has changed since
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
    """Write the site's file and, for the other clients' stdin, the file ``asked``; return the site's."""
    folder.mkdir(exist_ok=True)
    site = folder / "site.yaml"
    site.write_text(site_file(links, period_ms, first_ip, port))
    (folder / "asked").write_text("".join(f"{meter}\n" for meter in _meters(load(site))))
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
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True)
    if flags.returncode:
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


async def poll(fleet: Fleet, ticks: int, log: str | None) -> None:
    """Poll with a whole Station, as ``fluxfast run`` does."""
    meters, station = _meters(fleet), Station(fleet, log_dir=log)
    used, begin = time.process_time(), time.monotonic()
    async with station:
        said = {
            "connect_us": (time.process_time() - used) * 1e6 / len(meters),
            "up_s": time.monotonic() - begin,
        }
        gc.freeze()
        (table,), done, requests, unanswered, times = station.tables.values(), 0, 0, 0, list[float]()
        async for tick in station.ticks():
            done += 1
            if done == 1:
                used, requests = time.process_time(), station.reactor.requests
                continue
            if done <= ticks:
                unanswered += tick.unanswered
                times.append(tick.took_ms * 1e3)
            if done == ticks:
                cost = (time.process_time() - used) * 1e6 / (station.reactor.requests - requests)
                said |= {"unanswered": unanswered, "resident": resident()}
            if done >= ticks:
                right = is_right(meters[-1], lambda: [float(column[-1]) for column in table.values], 1)
                if right or done == ticks + CHECKS:
                    break
    say(cost, right, times=times, said=said)


if __name__ == "__main__":
    import uvloop

    uvloop.run(poll(load(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if sys.argv[3:] else None))
