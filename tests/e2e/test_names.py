"""Hosts that are names: looked up off the loop, none waiting for another."""

import asyncio
import socket
import threading

import pytest

from fluxfast.station import Station
from tests.support.fleets import device, fleet, registers
from tests.support.scripted import serving, well_behaved

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
