"""A station as a program embeds it: opened, cancelled, closed, and what it makes of names and of time."""

import asyncio
import ipaddress
import socket
import threading

import pytest

from fluxfast.errors import FluxfastError
from fluxfast.grid import Grid
from fluxfast.link import driver
from fluxfast.station import Station
from fluxfast.table import quality
from tests.support.fleets import device, fleet, registers
from tests.support.scripted import serving, well_behaved

PROFILE = registers(2000, 10)
SECOND = 1_000_000_000


def reasons(station):
    return [quality.reason(int(code)) or "good" for code in station["plain"].row_quality]


async def mute(peer):
    while True:
        await peer.request()


def test_a_device_that_closes_after_each_reply_is_good_while_the_tick_waits_for_others():
    async def once(peer):
        await peer.send((await peer.request()).reply())

    async def run(flapping, silent):
        seen = []
        devices = device("a", PROFILE, flapping), device("b", PROFILE, silent)
        async with Station(fleet(*devices, every_ms=1000, deadline=0.3)) as station:
            async for _ in station.ticks(3):
                seen.append(reasons(station))
        return seen

    with serving(once) as flapping, serving(mute) as silent:
        assert asyncio.run(run(flapping.port, silent.port)) == [["good", "timeout"]] * 3


def test_what_a_device_said_before_it_left_counts_for_its_own_tick_only():
    async def once(peer):
        await peer.send((await peer.request()).reply())
        server.stop_listening()

    async def run(port):
        seen = []
        async with Station(fleet(device("a", PROFILE, port), device("b", PROFILE, port + 1))) as station:
            async for _ in station.ticks(0.6):
                seen.append(reasons(station)[0])
        return seen

    with serving(once) as server:
        seen = asyncio.run(run(server.port))
    assert seen[0] == "good"
    assert set(seen[1:]) <= {"connection lost", "connection refused"}


def test_a_cancelled_tick_leaves_nothing_to_the_next():
    async def run(port):
        async with Station(fleet(device("a", PROFILE, port, timeout_ms=5000), every_ms=500)) as station:
            tick = asyncio.ensure_future(anext(station.ticks()))
            while not station.reactor.outstanding:
                await asyncio.sleep(0.01)
            tick.cancel()
            with pytest.raises(asyncio.CancelledError):
                await tick
            assert station.reactor.outstanding == 0
            return [tick.unanswered async for tick in station.ticks(0.5)]

    with serving(mute) as server:
        assert asyncio.run(run(server.port)) == [1]


def test_a_station_that_is_not_open_says_so():
    async def run(port):
        station = Station(fleet(device("a", PROFILE, port)))
        with pytest.raises(FluxfastError, match="async with"):
            await anext(station.ticks())
        async with station:
            station.close()
            assert [tick async for tick in station.ticks(1)] == []
        with pytest.raises(FluxfastError, match="another"):
            await station.__aenter__()

    with serving(well_behaved) as server:
        asyncio.run(run(server.port))


def test_a_deadline_at_the_end_of_the_tick_skips_none():
    async def run(port):
        async with Station(fleet(device("a", PROFILE, port), every_ms=1000, deadline=1.0)) as station:
            ticks = [tick.number async for tick in station.ticks(3)]
            return ticks, station.overruns

    with serving(mute) as server:
        assert asyncio.run(run(server.port)) == ([0, 1, 2], 0)


@pytest.mark.parametrize(("late_ns", "slot"), [(-1, 7), (0, 7), (49_000_000, 7), (51_000_000, 8)])
def test_a_tick_may_begin_a_tenth_late(monkeypatch, late_ns, slot):
    monkeypatch.setattr("time.time_ns", lambda: 1000 * SECOND)
    monkeypatch.setattr("time.monotonic_ns", lambda: 0)
    grid = Grid(SECOND // 2)
    monkeypatch.setattr("time.monotonic_ns", lambda: 7 * SECOND // 2 + late_ns)
    assert grid.next_slot() - 2000 == slot


def resolving(monkeypatch, hosts):
    """Make look-ups answer from ``hosts``: addresses, or an Event to wait for first."""

    def getaddrinfo(host, port, **_):
        found = hosts[host]
        if isinstance(found, threading.Event):
            found.wait(10)
            return []
        v6 = [ipaddress.ip_address(ip).version == 6 for ip in found]
        return [
            (socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM, 6, "",
             (ip, port, 0, 0) if six else (ip, port))
            for ip, six in zip(found, v6, strict=True)
        ]  # fmt: skip

    monkeypatch.setattr(driver.socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("addresses", [["::1", "127.0.0.1"], ["127.9.9.9", "127.0.0.1"]])
def test_every_address_of_a_name_is_tried(monkeypatch, addresses):
    async def run(port):
        async with Station(fleet(device("a", PROFILE, port, host="pack.test"))) as station:
            async with asyncio.timeout(10):
                async for _ in station.ticks():
                    if reasons(station) == ["good"]:
                        return

    resolving(monkeypatch, {"pack.test": addresses})
    monkeypatch.setattr(driver, "NEXT_ADDRESS_S", 0.2)
    with serving(well_behaved) as server:
        asyncio.run(run(server.port))


def test_a_name_that_resolves_at_once_does_not_wait_for_one_that_hangs(monkeypatch):
    hanging = threading.Event()

    async def run(port):
        devices = device("a", PROFILE, port, host="quick.test"), device("b", PROFILE, port, host="slow.test")
        async with Station(fleet(*devices)) as station:
            assert station.reactor.up == 1
            hanging.set()

    resolving(monkeypatch, {"quick.test": ["127.0.0.1"], "slow.test": hanging})
    monkeypatch.setattr("fluxfast.poller.SETTLE_S", 1.0)
    with serving(well_behaved) as server:
        asyncio.run(run(server.port))


def test_an_interface_that_is_not_there_is_a_host_not_found():
    async def run():
        async with Station(fleet(device("a", PROFILE, 5020, host="fe80::1%nosuch0"))) as station:
            await anext(station.ticks())
            return reasons(station)

    assert asyncio.run(run()) == ["host not found"]
