"""Units behind one link: what one of them does costs the others nothing beyond its share."""

import asyncio
from collections import Counter

import pytest

from fluxfast.link.counters import read_counters, read_exceptions
from fluxfast.link.round_trips import quantile_ms, read_round_trips
from fluxfast.station import Station
from fluxfast.table import quality
from tests.support.fleets import device, fleet, registers
from tests.support.scripted import serving

FIRST, COUNT = 100, 6


def run(answer, *, units=3, ticks=4, every_ms=200, timeout_ms=100, count=COUNT, **quirks):
    """Poll ``units`` units behind one server; return (reasons per tick and unit, counters, server)."""

    async def poll(port):
        profile = registers(FIRST, count, **quirks)
        devices = [device(f"u{n}", profile, port, unit=n, timeout_ms=timeout_ms) for n in range(1, units + 1)]
        seen = []
        async with Station(fleet(*devices, every_ms=every_ms)) as station:
            async for _ in station.ticks(ticks * every_ms / 1000):
                table = station["plain"]
                for row in range(units):
                    for point in range(count):
                        if table.valid[point, row]:
                            assert table.values[point][row] == FIRST + point
                seen.append([quality.reason(int(code)) or "good" for code in table.row_quality])
            counts = read_counters(station.reactor, units)
            codes = read_exceptions(station.reactor, units)
            buckets, longest_ms = read_round_trips(station.reactor, units)
        of_units = counts[0]
        kinds = ("replies", "timeouts", "exceptions", "malformed", "lost")
        ended = sum(of_units[kind] for kind in kinds)
        assert (codes.sum(axis=1) == of_units["exceptions"]).all()
        assert all(of_units["requests"] - ended <= 1)  # each ends once; one may be in flight
        assert buckets.sum(axis=1).tolist() == of_units["replies"].tolist()
        assert all(quantile_ms(buckets, 1.0)[longest_ms > 0] <= longest_ms[longest_ms > 0] * 1.26 + 0.082)
        return seen, counts

    with serving(answer) as server:
        seen, counts = asyncio.run(poll(server.port))
    return seen, counts, server.connections


def by_unit(behave):
    """Answer each request with ``behave(request)``: bytes, or None for silence."""

    async def answer(peer):
        while True:
            made = behave(await peer.request())
            if made:
                await peer.send(made)

    return answer


def test_a_dead_unit_behind_a_gateway_is_charged_alone():
    """Exception 11 is the unit's fault: the link stays, the others are read in every tick."""

    def behave(request):
        return request.reply(pdu=b"\x83\x0b") if request.unit_id == 2 else request.reply()

    seen, (units, links), connections = run(by_unit(behave), ticks=12, every_ms=150)
    assert connections == 1
    assert all(tick[0] == tick[2] == "good" for tick in seen)
    assert {tick[1] for tick in seen} == {"exception 11 gateway target device failed to respond"}
    # Again at once, after a second, after two more.
    assert 2 <= units["requests"][1] <= 3
    assert links["connects"].tolist() == [1]


@pytest.mark.parametrize("units", [1, 3])
def test_a_read_that_got_lost_is_asked_again_within_the_tick(units):
    asked = Counter()

    def behave(request):
        asked[request.unit_id] += 1
        return None if request.unit_id == 1 and asked[1] == 1 else request.reply()

    seen, (counts, _), connections = run(
        by_unit(behave), units=units, ticks=2, every_ms=500, timeout_ms=50, max_registers=2
    )
    assert seen == [["good"] * units] * 2
    assert counts["timeouts"].tolist() == [1] + [0] * (units - 1)
    assert connections == 1


def test_a_silent_unit_takes_two_timeouts_and_then_steps_back():
    def behave(request):
        return None if request.unit_id == 1 else request.reply()

    seen, (units, _), connections = run(
        by_unit(behave), ticks=10, every_ms=100, timeout_ms=30, max_registers=2
    )
    assert connections == 1
    assert all(tick[1:] == ["good", "good"] for tick in seen)
    assert {tick[0] for tick in seen} == {"timeout"}
    # Three blocks each: once the first was met with silence, only one of them is asked again.
    assert units["requests"][0] <= 3
    assert units["requests"][1] == 30


def test_a_unit_that_answers_again_is_at_full_rate_at_once():
    asked = Counter()

    def behave(request):
        asked[request.unit_id] += 1
        silent = request.unit_id == 2 and asked[2] <= 2
        return request.reply(pdu=b"\x83\x0b") if silent else request.reply()

    seen, _, _ = run(by_unit(behave), ticks=12, every_ms=200)
    reasons = [tick[1] for tick in seen]
    back = reasons.index("good")
    assert set(reasons[back:]) == {"good"}
    assert set(reasons[:back]) == {"exception 11 gateway target device failed to respond"}


@pytest.mark.parametrize("code", [5, 6])
def test_a_busy_unit_is_asked_again_within_the_tick(code):
    asked = Counter()

    def behave(request):
        asked[request.unit_id] += 1
        busy = request.unit_id == 1 and asked[1] % 2 == 1
        return request.reply(pdu=bytes([0x83, code])) if busy else request.reply()

    seen, (units, _), connections = run(by_unit(behave), ticks=2, every_ms=500)
    assert seen == [["good"] * 3] * 2
    assert connections == 1
    assert units["exceptions"].tolist() == [2, 0, 0]
    assert units["retries"].tolist() == [2, 0, 0]


def test_a_unit_that_stays_busy_says_so():
    def behave(request):
        return request.reply(pdu=b"\x83\x06") if request.unit_id == 1 else request.reply()

    seen, _, connections = run(by_unit(behave), ticks=2, every_ms=300)
    assert seen == [["exception 6 server device busy", "good", "good"]] * 2
    assert connections == 1


@pytest.mark.parametrize("hole", [{100}, {103}, {105}, {101, 104}, {100, 101, 102, 103, 104, 105}])
@pytest.mark.parametrize("code", [2, 3])
def test_a_refused_register_costs_only_itself(hole, code):
    """The block is cut until only what is refused is missing; it is remembered for this unit alone."""
    asked = Counter()

    def behave(request):
        asked[request.unit_id] += 1
        touched = hole & set(range(request.address, request.address + request.quantity))
        refused = request.unit_id == 2 and touched
        return request.reply(pdu=bytes([0x83, code])) if refused else request.reply()

    valid = []

    async def poll(port):
        profile = registers(FIRST, COUNT)
        devices = [device(f"u{n}", profile, port, unit=n) for n in (1, 2)]
        async with Station(fleet(*devices, every_ms=200)) as station:
            async for _ in station.ticks(0.8):
                table = station["plain"]
                valid.append(table.valid.T.tolist())
                for point in range(COUNT):
                    if table.valid[point, 1]:
                        assert table.values[point][1] == FIRST + point
            before = asked[2]
            async for _ in station.ticks(0.2):
                pass
            return asked[2] - before

    with serving(by_unit(behave)) as server:
        requests = asyncio.run(poll(server.port))
    expected = [int(FIRST + point not in hole) for point in range(COUNT)]
    assert valid == [[[1] * COUNT, expected]] * 4
    assert requests < COUNT  # the hole itself is not asked for again
    assert asked[1] == 5


def test_late_and_foreign_frames_are_told_apart():
    async def answer(peer):
        await asyncio.sleep(0)
        while True:
            request = await peer.request()
            await peer.send(request.reply() + request.reply())  # the second is a duplicate
            await peer.send(request.reply(transaction_id=request.transaction_id + 5000))

    _, (_, links), _ = run(answer, units=1, ticks=3, every_ms=100)
    assert links["late"].tolist() == [3]
    assert links["foreign"][0] in (2, 3)  # the last may come after the end


def test_two_dead_units_do_not_take_the_link_from_the_others():
    def behave(request):
        return None if request.unit_id in (2, 3) else request.reply()

    seen, (_, links), connections = run(by_unit(behave), units=6, ticks=8, every_ms=200, timeout_ms=30)
    assert connections == 1
    assert links["connects"].tolist() == [1]
    assert all(tick[0] == tick[3] == tick[4] == tick[5] == "good" for tick in seen)
