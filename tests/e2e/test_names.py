"""Hosts that are names: looked up off the loop, none waiting for another."""

import asyncio
import socket
import threading

import pytest

from fluxfast.link import driver
from fluxfast.station import Station
from tests.support.fleets import device, fleet, registers
from tests.support.scripted import ScriptedServer, Servers, serving, well_behaved

PROFILE = registers(0, 2)


@pytest.fixture
def silent_name_server(monkeypatch):
    """Make ``slow.test`` hang until the test is over; ``fast.test`` is this machine."""
    over = threading.Event()
    real = socket.getaddrinfo

    def look_up(host, *rest, **more):
        if host == "slow.test":
            over.wait(30)
            raise socket.gaierror
        return real("127.0.0.1" if host == "fast.test" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield
    over.set()


def test_a_silent_name_server_holds_up_no_other_name(silent_name_server):
    async def run(port):
        units = [device(name, PROFILE, port, host=f"{name}.test") for name in ("slow", "fast")]
        station = Station(fleet(*units))
        opening = asyncio.create_task(station.__aenter__())
        while not station.reactor.up:
            await asyncio.sleep(0.01)
        station.stop()
        await opening
        station.close()

    with serving(well_behaved) as server:
        asyncio.run(asyncio.wait_for(run(server.port), 4))  # settling takes 5 s, a look-up 30 s


def test_an_interface_that_is_not_there_is_a_host_not_found():
    async def run():
        async with Station(fleet(device("d", PROFILE, 502, host="fe80::1%nope0"))) as station:
            return list(station.messages)

    assert asyncio.run(run()) == ["d at fe80::1%nope0:502: host not found"]


@pytest.fixture
def name_server(monkeypatch):
    """Answers with the addresses in this list, and fails when it is empty; asked every 50 ms."""
    addresses = []

    def look_up(host, port, **_):
        asked.release()
        if not addresses:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in addresses]

    asked = threading.Semaphore(0)
    monkeypatch.setattr(driver.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(driver, "RESOLVE_AGAIN_S", 0.05)
    monkeypatch.setattr(driver, "NEXT_ADDRESS_S", 0.05)
    return addresses, asked


async def ticks_until(station, is_good):
    async for _ in station.ticks(10):
        if bool(station["plain"].valid.all()) == is_good:
            return
    pytest.fail("never became good" if is_good else "stayed good")


def test_a_name_that_resolves_no_longer_keeps_its_last_address(name_server):
    addresses, asked = name_server
    addresses.append("127.0.0.1")
    healed = threading.Event()

    async def comes_back(peer):
        if addresses or healed.is_set():
            await well_behaved(peer)

    async def run(server):
        async with Station(fleet(device("d", PROFILE, server.port, host="pack.test"))) as station:
            await ticks_until(station, True)
            addresses.clear()
            server.end_connections()
            await ticks_until(station, False)
            while asked.acquire(blocking=False):
                pass
            for _ in range(2):  # looked up in vain since it went down
                assert await asyncio.to_thread(asked.acquire, timeout=5)
            healed.set()
            await ticks_until(station, True)

    with serving(comes_back) as server:
        asyncio.run(run(server))


def test_a_name_that_moves_is_followed(name_server):
    addresses, _ = name_server
    addresses.append("127.0.0.1")

    async def run(old):
        async with Station(fleet(device("d", PROFILE, old.port, host="pack.test"))) as station:
            await ticks_until(station, True)
            new = ScriptedServer(well_behaved, "127.42.76.2", old.port)
            with Servers([new]):
                addresses[:] = [new.host]
                old.stop_listening()
                old.end_connections()
                async with asyncio.timeout(10):
                    while not new.connections:
                        await asyncio.sleep(0.01)
                await ticks_until(station, True)

    with serving(well_behaved) as old:
        asyncio.run(run(old))
