"""The table's connections: what cannot be reached, will not talk, or hangs, costs nobody else anything."""

import asyncio
import contextlib
import socket
from collections import Counter

import pytest

from fluxfast.constants import MAX_IN_FLIGHT
from fluxfast.link.counters import read_counters
from fluxfast.station import Station
from fluxfast.table import quality
from tests.support.fleets import device, fleet, registers
from tests.support.hostile_links import (
    Deaf,
    OneSlot,
    TalksFirst,
    Vanishes,
    black_hole,
    full_queue,
    mute,
    refuses,
    resets,
)
from tests.support.scripted import ScriptedServer, Servers, serving, well_behaved

pytestmark = pytest.mark.usefixtures("no_descriptor_lost")
FIRST = 2000
# Four reads a tick at once, or one.
PROFILES = {
    "plain": registers(FIRST, 10, name="plain"),
    "pipelined": registers(FIRST, 40, name="pipelined", max_registers=10, max_in_flight=4),
}
TIMEOUT_MS, SLACK_MS = 200, 10
UNREACHABLE = {59: refuses, 60: black_hole, 61: full_queue}
SILENT = {62: resets, 63: mute}
EXPECTED = {
    59: {"connection refused"},
    60: {"unreachable"},
    61: {"unreachable"},
    # Whether the RST comes before or after the socket is looked at is the kernel's affair.
    62: {"connection lost", "unreachable"},
    63: {"timeout"},
    "good": {"good"},
}


def reasons(station, name):
    return [quality.reason(int(code)) or "good" for code in station[name].row_quality]


def check_values(table):
    """Whatever is valid is what the scripted servers say: each register's own address."""
    for point, column in enumerate(table.values):
        for row in range(table.rows):
            assert not table.valid[point, row] or column[row] == FIRST + point


@pytest.fixture(scope="module")
def unreached():
    """Ten devices that never answer and two that do, in one station; {(case, mode): (reasons, connects)}."""
    ticks, every_ms = 6, 400
    servers = {
        (number, mode): ScriptedServer(answer, f"127.42.{number}.{row + 1}")
        for number, answer in {**SILENT, "good": well_behaved}.items()
        for row, mode in enumerate(PROFILES)
        if number != "good"
    } | {("good", mode): ScriptedServer(well_behaved) for mode in PROFILES}

    async def run(places):
        ids = {f"{number} {mode}": (number, mode) for number, mode in places}
        devices = [
            device(id_, PROFILES[key[1]], places[key][1], host=places[key][0], timeout_ms=TIMEOUT_MS)
            for id_, key in ids.items()
        ]
        seen = {key: [] for key in places}
        async with Station(fleet(*devices, every_ms=every_ms)) as station:
            async for _ in station.ticks(ticks * every_ms / 1000):
                for layout in station.plan.tables:
                    check_values(station[layout.name])
                    for placed, reason in zip(layout.devices, reasons(station, layout.name), strict=True):
                        seen[ids[placed.id]].append(reason)
            _, links = read_counters(station.reactor, len(station.plan.units))
        connects = {
            ids[placed.id]: int(links["connects"][station.plan.units[unit]["link"]])
            for unit, placed in enumerate(station.plan.unit_devices)
        }
        return {key: (seen[key], connects[key]) for key in places}

    with contextlib.ExitStack() as stack:
        places = {}
        for number, make in UNREACHABLE.items():
            for row, mode in enumerate(PROFILES):
                host = f"127.42.{number}.{row + 1}"
                places[number, mode] = (host, stack.enter_context(make(host)))
        stack.enter_context(Servers(list(servers.values())))
        places |= {key: (server.host, server.port) for key, server in servers.items()}
        return asyncio.run(run(places))


@pytest.mark.parametrize("mode", PROFILES)
@pytest.mark.parametrize("number", EXPECTED)
def test_what_never_answers_says_why_and_is_left_in_peace(unreached, number, mode):
    """Cases 59 to 63, and the good devices beside them."""
    seen, connects = unreached[number, mode]
    assert set(seen) <= EXPECTED[number]
    if number == "good":
        assert connects == 1
    else:
        assert 2 <= connects <= 8  # the waits grow: 20 ms, 1 s, 2 s … at the most


@pytest.mark.parametrize("hole", [black_hole, full_queue])
def test_a_connect_ends_at_its_deadline(hole):
    """A machine that is busy may be late; four times in a row it is not."""

    async def run(port):
        station = Station(fleet(device("d", PROFILES["plain"], port, host=host, timeout_ms=TIMEOUT_MS)))
        began_ns = station.reactor.now_ns()
        async with station:
            took_ms = (station.reactor.now_ns() - began_ns) / 1e6
            assert [event.rpartition(": ")[2] for event in station.messages] == ["unreachable"]
        return took_ms

    host = "127.42.60.9"
    with hole(host) as port:
        took_ms = [asyncio.run(run(port))]
        while took_ms[-1] > TIMEOUT_MS + SLACK_MS and len(took_ms) < 4:
            took_ms.append(asyncio.run(run(port)))
    assert TIMEOUT_MS <= took_ms[-1] <= TIMEOUT_MS + SLACK_MS


def test_a_peer_that_is_gone_without_a_word_is_given_up():
    """Case 64. One timeout does not close a link: data unacknowledged for two seconds do, so says the kernel.

    Four timeouts do, at once.
    """

    async def run(servers):
        seen = []
        devices = [
            device(mode, PROFILES[mode], server.port, timeout_ms=500) for mode, server in servers.items()
        ]
        async with Station(fleet(*devices, every_ms=2500)) as station:
            async for _ in station.ticks(7.5):
                for mode in PROFILES:
                    check_values(station[mode])
                seen.append([reasons(station, mode)[0] for mode in PROFILES])
            return seen, [station.reactor.connects(link) for link in range(2)]

    servers = {mode: ScriptedServer(Vanishes()) for mode in PROFILES}
    with Servers(list(servers.values())):
        seen, connects = asyncio.run(run(servers))
    assert seen == [["good"] * 2, ["timeout"] * 2, ["good"] * 2]
    assert connects == [2, 2]


@pytest.mark.parametrize("mode", PROFILES)
def test_a_device_with_one_slot_costs_one_reconnect_for_each_rival(mode):
    """Case 65: every rival throws us out, we come back once, and it is told."""

    async def run(port):
        seen = []
        async with Station(fleet(device("d", PROFILES[mode], port), every_ms=400)) as station:
            with contextlib.ExitStack() as rivals:
                async for _ in station.ticks(1.6):
                    check_values(station[mode])
                    seen.append(reasons(station, mode)[0])
                    if len(seen) < 4:
                        rivals.enter_context(socket.create_connection(("127.0.0.1", port)))
                return seen, station.reactor.connects(0), list(station.messages)

    with serving(OneSlot()) as server:
        seen, connects, messages = asyncio.run(run(server.port))
    assert seen == ["good"] * 4
    assert connects == 4
    assert [line.rpartition(": ")[2] for line in messages] == ["connection lost", "connected"] * 3


@pytest.mark.parametrize("mode", PROFILES)
def test_a_peer_that_talks_before_it_is_asked_is_closed(mode):
    """Case 70."""

    async def run(port):
        async with Station(fleet(device("d", PROFILES[mode], port), every_ms=400)) as station:
            async with asyncio.timeout(5):  # a tick that began before would have asked something
                while station.reactor.connects(0) == 1:
                    await asyncio.sleep(0.01)
            async for _ in station.ticks(0.8):
                check_values(station[mode])
            told = [line.rpartition(": ")[2] for line in station.messages]
            return reasons(station, mode), station.reactor.connects(0), told

    with serving(TalksFirst()) as server:
        last, connects, told = asyncio.run(run(server.port))
    assert last == ["good"]
    assert connects == 2
    assert "not Modbus" in told


@pytest.mark.parametrize("mode", PROFILES)
def test_units_of_a_gateway_that_are_busy_or_gone_cost_the_others_nothing(mode):
    """Cases 66 and 67: exceptions 6 for ever from one unit, 11 for ever from another, of thirty."""
    asked = Counter()
    busy, gone = 3, 7

    async def gateway(peer):
        while True:
            request = await peer.request()
            asked[request.unit_id] += 1
            code = {busy: b"\x83\x06", gone: b"\x83\x0b"}.get(request.unit_id)
            await peer.send(request.reply(pdu=code))

    async def run(port):
        units = [device(f"u{n}", PROFILES[mode], port, unit=n) for n in range(1, 31)]
        async with Station(fleet(*units, every_ms=500)) as station:
            async for _ in station.ticks(2):
                check_values(station[mode])
                seen = dict(enumerate(reasons(station, mode), 1))
                assert seen.pop(busy) == "exception 6 server device busy"
                assert seen.pop(gone) == "exception 11 gateway target device failed to respond"
                assert set(seen.values()) == {"good"}
            return station.reactor.connects(0)

    with serving(gateway) as server:
        connects = asyncio.run(run(server.port))
    assert connects == 1
    reads = len(PROFILES[mode].points) // 10
    assert asked[busy] <= 4 * reads * 5  # a wait of 0.1 s before each, in 0.4 s of a tick
    assert asked[gone] <= 4 * reads
    assert asked[1] == 4 * reads


def test_a_peer_that_never_reads_is_given_up():
    """Case 68. It answers all the same, so no request times out; but what it does not take gets too old."""
    reads, back = MAX_IN_FLIGHT, 2  # good ticks, then it is told what happened before them

    async def run():
        profile = registers(FIRST, reads, name="deep", max_registers=1, max_in_flight=reads)
        station, good = None, 0
        with Deaf(lambda: station.reactor.requests if station else 0) as server:
            station = Station(fleet(device("d", profile, server.port, timeout_ms=650), every_ms=50))
            async with station:
                async for _ in station.ticks(6):
                    table = station["deep"]
                    for point in range(reads):
                        assert not table.valid[point, 0] or table.values[point][0] == Deaf.VALUE
                    if station.reactor.connects(0) == 1:
                        asked = station.reactor.requests
                    elif (good := good + (reasons(station, "deep") == ["good"])) == back:
                        break
                told = [line.rpartition(": ")[2] for line in station.messages]
                return asked, server.unread, station.reactor.connects(0), told

    asked, unread, connects, told = asyncio.run(run())
    assert unread < 12 * (asked - 1)  # the window was closed: the rest never came
    assert connects == 2
    assert told == ["connection lost", "connected"]
