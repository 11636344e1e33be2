"""Real servers of others behind a proxy that does to frames what it likes: what is credited is right."""

import asyncio
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from fluxfast.link.counters import read_counters
from fluxfast.station import Station
from fluxfast.table import quality
from tests.support.command import Process, free_port
from tests.support.fleets import device, fleet, registers
from tests.support.proxy import TO_CLIENT, TO_SERVER, proxied

SCRIPT = Path(__file__).parents[1] / "support" / "python_server.py"
UNITS, COUNT = 4, 60
EVERY_MS, TIMEOUT_MS = 100, 80
TICKS = 60
BACK_WITHIN_S = 35  # once the network is good again


def held(address: int) -> int:
    """Return what the register at an address holds; each unit has addresses of its own."""
    return (address * 40_503 + 977) & 0xFFFF


def write_spec(file: Path) -> Path:
    cells = [(unit, 1000 * unit + n) for unit in range(1, UNITS + 1) for n in range(COUNT)]
    file.write_text("".join(f"{unit} h {address} {held(address)}\n" for unit, address in cells))
    return file


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path):
    """Run the server of the library that the test names; return (host, port)."""
    host = {"pymodbus": "127.41.40.1", "libmodbus": "127.41.40.2"}[request.param]
    if request.param == "libmodbus":
        command = [str(request.getfixturevalue("libmodbus")["server"])]
    else:
        command = [sys.executable, str(SCRIPT), "pymodbus"]
    port = free_port(host)
    with Process([*command, host, str(port), str(write_spec(tmp_path / "spec.txt"))]) as process:
        assert process.line() == "ready"
        yield host, port


def check(station: Station) -> tuple[int, set[str]]:
    """Compare every value that a table shows with what the server holds; return how many, and the reasons."""
    values, reasons = 0, set()
    for unit in range(1, UNITS + 1):
        table = station[f"unit{unit}"]
        for row in range(table.rows):
            reasons.add(quality.reason(int(table.row_quality[row])) or "good")
            for point in range(COUNT):
                if table.valid[point, row]:
                    assert table.values[point][row] == held(1000 * unit + point)
                    values += 1
    return values, reasons


# (Of several requests in one segment, pymodbus answers the first.)
@pytest.mark.parametrize(
    ("server", "depth"), [("pymodbus", 1), ("libmodbus", 1), ("libmodbus", 8)], indirect=["server"]
)
def test_every_value_is_the_servers(server: tuple[str, int], depth: int) -> None:
    """Three ways through the network to four units each; then the network is good again."""

    async def poll(proxies):
        devices = []
        for unit in range(1, UNITS + 1):
            profile = registers(1000 * unit, COUNT, max_registers=20, max_in_flight=depth)
            profile = profile.model_copy(update={"name": f"unit{unit}"})
            devices += [
                device(f"u{unit}p{n}", profile, proxy.port, host=proxy.host, unit=unit, timeout_ms=TIMEOUT_MS)
                for n, proxy in enumerate(proxies)
            ]
        station = Station(fleet(*devices, every_ms=EVERY_MS))
        values, seen = 0, Counter()
        async with station:
            async for _ in station.ticks(TICKS * EVERY_MS / 1000):
                more, reasons = check(station)
                values += more
                seen.update(reasons)
            for proxy in proxies:
                proxy.quiet = True
            async for _ in station.ticks(BACK_WITHIN_S):
                _, reasons = check(station)
                if reasons == {"good"}:
                    break
            _, links = read_counters(station.reactor, len(devices))
        return values, seen, reasons, links

    with ExitStack() as stack:
        proxies = [stack.enter_context(proxied(*server, at=f"127.41.41.{n}", seed=n)) for n in range(1, 4)]
        values, seen, reasons, links = asyncio.run(poll(proxies))
        done = sum((proxy.done for proxy in proxies), Counter())
    assert set(TO_CLIENT) | set(TO_SERVER) <= set(done)
    assert values > TICKS * COUNT  # most arrive
    assert {"good", "timeout"} <= set(seen)
    assert links["late"].sum() > 0
    assert reasons == {"good"}
