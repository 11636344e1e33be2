"""The order, depth and gaps of a link's requests, and replies that come after their tick."""

import asyncio
import itertools

import pytest

from fluxfast.station import Station
from tests.support.fleets import device, fleet, registers
from tests.support.one_device import FIRST, poll
from tests.support.scripted import serving


def test_a_reply_that_comes_after_its_tick_counts_for_the_next_one_as_late():
    async def slow(peer):
        while True:
            request = await peer.request()
            await asyncio.sleep(0.25)
            await peer.send(request.reply())

    reasons, connections = poll(slow, ticks=4, every_ms=200, timeout_ms=2000)
    assert reasons[0] == "timeout"
    assert "late" in reasons[1:]
    assert connections == 1


@pytest.mark.parametrize("gap_ms", [0, 20])
def test_gap_and_delay_are_kept(gap_ms):
    arrivals = []

    async def watch(peer):
        connected = asyncio.get_running_loop().time()
        while True:
            request = await peer.request()
            arrivals.append((asyncio.get_running_loop().time() - connected, request.address))
            await peer.send(request.reply())

    quirks = {"max_registers": 2, "request_gap": f"{gap_ms}ms", "connect_delay": "30ms"}
    reasons, _ = poll(watch, ticks=1, every_ms=500, **quirks)
    assert reasons == ["good"]
    assert [address for _, address in arrivals] == [2000, 2002, 2004, 2006, 2008]
    assert arrivals[0][0] >= 0.029
    assert all(b[0] - a[0] >= gap_ms / 1000 for a, b in itertools.pairwise(arrivals))


def test_each_tick_asks_in_the_order_of_addresses():
    asked = []

    async def watch(peer):
        while True:
            request = await peer.request()
            asked.append(request.address)
            await peer.send(request.reply())

    reasons, _ = poll(watch, ticks=3, every_ms=300, max_registers=4)
    assert reasons == ["good"] * 3
    assert asked == [2000, 2004, 2008] * 3


def test_requests_are_pipelined_only_as_deep_as_the_profile_allows():
    depth = []

    async def gather(peer):
        while True:
            requests = [await peer.request()]
            try:
                while True:
                    requests.append(await asyncio.wait_for(peer.request(), 0.02))
            except TimeoutError:
                pass
            depth.append(len(requests))
            for request in reversed(requests):  # in any order
                await peer.send(request.reply())

    reasons, _ = poll(gather, ticks=1, every_ms=1000, max_registers=1, max_in_flight=4)
    assert reasons == ["good"]
    assert depth == [4, 4, 2]


def test_a_silent_unit_does_not_cost_the_units_behind_it_their_turn():
    """On one link, one request at a time: unit 1 answers, unit 2 never does, unit 3 must get its turn."""

    async def gateway(peer):
        while True:
            request = await peer.request()
            if request.unit_id != 2:
                await peer.send(request.reply())

    async def run(port):
        profile = registers(FIRST, 4, max_registers=2)  # two reads for each unit
        units = [device(f"u{n}", profile, port, unit=n, timeout_ms=150) for n in (1, 2, 3)]
        seen = [0, 0, 0]
        async with Station(fleet(*units, every_ms=100)) as station:
            async for _ in station.ticks(4):
                for row in range(3):
                    seen[row] += bool(station["plain"].valid[:, row].all())
        return seen

    with serving(gateway) as server:
        seen = asyncio.run(run(server.port))
    assert seen[1] == 0
    assert seen[0] > 1
    assert seen[2] > 1
