"""CPU per poll, beside the floor and the peers: one 90-register read per link and tick, over loopback.

CPU is user and system time of the whole client process between the first tick and the last, divided by its
requests. Every client's last values are compared with the meters'. Its times are those of whole ticks: from
when a tick was due until the fleet was read and decoded; fluxfast spreads its requests over the first tenth
of a tick on purpose.
What it does not show: a real network, slow devices, and the log's encoding, which comes every 30 s.
"""

import gc
import importlib.util
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from apart import Apart, compiled, python, say, simulator
from meters import COUNT, FIRST, is_right, site_file

from fluxfast.config import Fleet, load
from fluxfast.station import Station

FIRST_IP, PORT = "127.44.8.1", 5410
CHECK_S = 20.0
# Links → the tick's length in ms, and how many ticks. 10,000 reads take the slowest client most of a second.
SIZES = {1: (50, 40), 100: (100, 20), 500: (500, 5), 2_000: (500, 5), 10_000: (1_000, 3)}
# Client → the Python module it needs.
PEERS = {
    "pymodbus": "pymodbus",
    "pyModbusTCP": "pyModbusTCP",
    "modbus-rs": "modbus_rs",
    "modbus-tcp-cython": "modbus_tcp",
}


def run_client(site: str, ticks: int, log: str) -> None:
    """Poll with a whole Station, as ``fluxfast run`` does."""
    import uvloop

    async def poll(fleet: Fleet) -> None:
        async with Station(fleet, log_dir=log or None) as station:
            gc.freeze()
            requests, before, unanswered = station.reactor.requests, time.process_time(), 0
            times = []
            async for tick in station.ticks(ticks * fleet.poll.every_ns / 1e9):
                unanswered += tick.unanswered
                times.append(tick.took_ms * 1e3)
            used, requests = time.process_time() - before, station.reactor.requests - requests
            (table,) = station.tables.values()
            devices, right = list(fleet.devices), False
            async for _ in station.ticks(CHECK_S):
                right = is_right(devices, lambda row: [float(column[row]) for column in table.values], 1)
                if right:
                    break
        say(used * 1e6 / requests, right, times=times, said={"unanswered": unanswered})

    uvloop.run(poll(load(site)))


@contextmanager
def links(count: int, folder: Path) -> Iterator[Mapping[str, list[str]]]:
    """Serve so many meters; the command of every client."""
    period_ms, ticks = SIZES[count]
    site, log = folder / "site.yaml", folder / "log"
    site.write_text(site_file(count, period_ms, FIRST_IP, PORT))
    floor = [compiled("floor.c", folder), str(COUNT), str(ticks), str(period_ms)]
    (folder / "asked").write_text(
        "".join(f"{d.modbus.host} {d.modbus.port} {d.modbus.unit} {FIRST}\n" for d in load(site).devices)
    )
    clients = {
        "C floor": floor,
        "C floor, decodes": [*floor, "decode"],
        "fluxfast": python(__file__, site, ticks, ""),
        "fluxfast, logging": python(__file__, site, ticks, log),
    }
    for name, module in PEERS.items():
        if importlib.util.find_spec(module):
            clients[name] = python("rivals.py", name, site, ticks)
    with simulator(site):
        yield clients


CASES = [Apart(f"link/{count}", "µs CPU a request", partial(links, count)) for count in SIZES]

if __name__ == "__main__":
    run_client(sys.argv[1], int(sys.argv[2]), sys.argv[3])
