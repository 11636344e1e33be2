"""Hostile peers: no value is ever credited that the device did not send for that request."""

import asyncio
import itertools
import struct

import pytest

from fluxfast.station import Station
from fluxfast.table import quality
from tests.support.fleets import device, fleet, registers
from tests.support.scripted import Peer, serving, well_behaved

FIRST, COUNT = 2000, 10
GOOD = list(range(FIRST, FIRST + COUNT))


def poll(answer, *, ticks=2, every_ms=200, timeout_ms=1000, **quirks):
    """Poll one device that behaves as ``answer``; return [(reason or 'good', values or None)] per tick."""

    async def run(port):
        seen = []
        profile = registers(FIRST, COUNT, **quirks)
        async with Station(
            fleet(device("d", profile, port, timeout_ms=timeout_ms), every_ms=every_ms)
        ) as station:
            async for _ in station.ticks(ticks * every_ms / 1000):
                table = station["plain"]
                values = [int(column[0]) for column in table.values] if table.valid[:, 0].all() else None
                assert values is None or values == GOOD
                seen.append((quality.reason(int(table.row_quality[0])) or "good", values))
        return seen

    with serving(answer) as server:
        outcome = asyncio.run(run(server.port))
    return [reason for reason, _ in outcome], server.connections


def replies(make, *, then=None):
    """Answer every request with ``make(request)``: bytes, or a list of chunks sent one by one."""

    async def answer(peer: Peer):
        while True:
            made = make(await peer.request())
            for chunk in made if isinstance(made, list) else [made]:
                await peer.send(chunk)
                await asyncio.sleep(0.002)
            if then == "fin":
                return
            if then == "rst":
                peer.reset()
                return

    return answer


def split(request, at):
    data = request.reply()
    return [data[:at], data[at:]]


def raw(pdu):
    return lambda request: request.reply(pdu=pdu)


def data_pdu(count, byte_count=None):
    data = struct.pack(f">{count}H", *range(count))
    return bytes([3, len(data) if byte_count is None else byte_count]) + data


STAYS = 1  # connections: the link was kept
KEPT_FAILURES = {
    "22 wrong unit": (lambda r: r.reply(unit_id=9), "response does not match"),
    "23 exception without code": (raw(b"\x83"), "malformed response"),
    "24 exception code 0": (raw(b"\x83\x00"), "unknown exception"),
    "25 exception code 255": (raw(b"\x83\xff"), "unknown exception"),
    "26 exception for another function": (raw(b"\x84\x02"), "response does not match"),
    "27 exception with trailing bytes": (raw(b"\x83\x02\x00"), "malformed response"),
    "28 nine registers for ten": (raw(data_pdu(9)), "malformed response"),
    "29 eleven registers for ten": (raw(data_pdu(11)), "malformed response"),
    "30 odd byte count": (raw(bytes([3, 21]) + bytes(21)), "malformed response"),
    "31 byte count 20, data 18": (raw(data_pdu(9, 20)), "malformed response"),
    "32 byte count 20, data 22": (raw(data_pdu(11, 20)), "malformed response"),
    "33 byte count 18, data 20": (raw(data_pdu(10, 18)), "malformed response"),
    "34 byte count 0": (raw(b"\x03\x00"), "malformed response"),
    "35 function code only": (raw(b"\x03"), "malformed response"),
    "47 request echoed": (
        lambda r: struct.pack(">HHHBBHH", r.transaction_id, 0, 6, r.unit_id, 3, r.address, r.quantity),
        "malformed response",
    ),
    "55 function 4 for 3": (lambda r: r.reply(pdu=bytes([4, 20]) + bytes(20)), "response does not match"),
    "56 write echo for a read": (raw(bytes([6]) + struct.pack(">HH", FIRST, 1)), "response does not match"),
    "57 legal exception 2": (raw(b"\x83\x02"), "exception 2 illegal data address"),
    "66 busy": (raw(b"\x83\x06"), "exception 6 server device busy"),
    "67 gateway target": (raw(b"\x83\x0b"), "exception 11 gateway target device failed to respond"),
}
GOOD_REPLIES = {
    "1 byte by byte": lambda r: [bytes([b]) for b in r.reply()],
    "2 split inside the header": lambda r: split(r, 4),
    "2b split inside the body": lambda r: split(r, 15),
    "14 duplicate reply": lambda r: r.reply() * 2,
    "15 second frame foreign": lambda r: r.reply() + r.reply([7] * 10, transaction_id=r.transaction_id + 999),
    "16 foreign frame first": lambda r: r.reply([7] * 10, transaction_id=r.transaction_id + 999) + r.reply(),
    "17 next id pre-played": lambda r: r.reply() + r.reply([7] * 10, transaction_id=r.transaction_id + 1),
    "58 plain": lambda r: r.reply(),
}
BROKEN = {
    "21 protocol id 1": lambda r: b"\x00\x01" + b"\x00\x01" + r.reply()[4:],
    "36 length 0": lambda r: r.reply()[:4] + b"\x00\x00\x01",
    "37 length 1": lambda r: r.reply()[:4] + b"\x00\x01\x01",
    "38 length 65535": lambda r: r.reply()[:4] + b"\xff\xff\x01\x03",
    "39 length 300": lambda r: r.reply()[:4] + struct.pack(">H", 300) + bytes(300),
    "42 random bytes": lambda r: bytes(range(255, 0, -1)) * 4,
    "43 zeros": lambda r: bytes(100_000),
    "44 unsolicited frames": lambda r: b"".join(
        r.reply(transaction_id=r.transaction_id + n) for n in range(1, 999)
    ),
    "45 RTU frame": lambda r: bytes([1, 3, 20]) + bytes(22),
    "46 SSH banner": lambda r: b"SSH-2.0-OpenSSH_9.2\r\n",
}
UNANSWERED = {
    "10 silence": lambda r: b"",
    "18 wrong id only": lambda r: r.reply(transaction_id=r.transaction_id + 1000),
    "19 id 0": lambda r: r.reply(transaction_id=0) if r.transaction_id else b"",
    "9 half a frame": lambda r: r.reply()[:20],
}


@pytest.mark.parametrize("name", GOOD_REPLIES)
def test_whatever_way_a_good_reply_comes_it_counts(name):
    reasons, connections = poll(replies(GOOD_REPLIES[name]))
    assert reasons == ["good", "good"]
    assert connections == STAYS


@pytest.mark.parametrize("name", KEPT_FAILURES)
def test_a_bad_answer_fails_its_request_and_keeps_the_link(name):
    make, reason = KEPT_FAILURES[name]
    reasons, connections = poll(replies(make))
    assert reasons == [reason, reason]
    assert connections == STAYS


@pytest.mark.parametrize("name", BROKEN)
def test_broken_framing_closes_the_link(name):
    reasons, _ = poll(replies(BROKEN[name]), ticks=1)
    assert reasons == ["not Modbus"]


@pytest.mark.parametrize("name", UNANSWERED)
def test_no_answer_is_a_timeout(name):
    reasons, _ = poll(replies(UNANSWERED[name]), ticks=1)
    assert reasons == ["timeout"]


def test_a_device_that_answers_with_id_0_is_read_with_the_quirk():
    reasons, connections = poll(replies(lambda r: r.reply(transaction_id=0)), transaction_id="zero")
    assert reasons == ["good", "good"]
    assert connections == STAYS


ZERO_ID_STRAYS = {
    "late reply": lambda r, held: held.reply([7] * COUNT, transaction_id=0) if held else b"",
    "wrong unit": lambda r, held: r.reply(transaction_id=0, unit_id=9),
    "other length": lambda r, held: r.reply(pdu=data_pdu(9), transaction_id=0),
    "other function": lambda r, held: r.reply(pdu=bytes([4, 20]) + bytes(20), transaction_id=0),
}


@pytest.mark.parametrize("name", ZERO_ID_STRAYS)
def test_with_id_0_whatever_could_be_another_requests_answer_closes_the_link(name):
    """``poll`` asserts that no value but the device's own is ever credited."""

    async def answer(peer):
        held = None
        while True:
            request = await peer.request()
            await peer.send(ZERO_ID_STRAYS[name](request, held))
            held = request

    reasons, connections = poll(answer, ticks=8, every_ms=100, timeout_ms=60, transaction_id="zero")
    assert "good" not in reasons
    assert connections > 1


def test_an_answer_under_an_alias_counts_and_one_under_another_unit_does_not():
    under = replies(lambda r: r.reply(unit_id=255))
    assert poll(under, unit_aliases=[0, 255]) == (["good", "good"], STAYS)
    assert poll(under, unit_aliases=[0]) == (["response does not match"] * 2, STAYS)


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("data", [b"", b"\x00\x01\x00\x00"])
def test_an_end_of_the_connection_is_seen_at_once(end, data):
    """Cases 4 to 8. The tick does not wait for its deadline: the station notices the end before."""
    reasons, _ = poll(replies(lambda r: data, then=end), ticks=1)
    assert reasons == ["connection lost"]


def test_a_reply_and_a_fin_in_one_go():
    """Case 3: the reply counts; the next tick comes after the reconnect, or says why not."""
    reasons, connections = poll(replies(lambda r: r.reply(), then="fin"), ticks=6)
    assert reasons[0] == "connection lost" or reasons[0] == "good"
    assert connections > 1


def test_a_reply_that_comes_after_its_tick_counts_for_the_next_one_as_late():
    async def slow(peer):
        while True:
            request = await peer.request()
            await asyncio.sleep(0.25)
            await peer.send(request.reply())

    reasons, connections = poll(slow, ticks=4, every_ms=200, timeout_ms=2000)
    assert reasons[0] == "timeout"
    assert "late" in reasons[1:]
    assert connections == STAYS


def test_a_late_reply_is_never_credited_to_another_request():
    """Cases 11 to 13: a server that is one reply behind for ever."""

    async def behind(peer):
        held = await peer.request()
        while True:
            request = await peer.request()
            await peer.send(held.reply())
            held = request

    reasons, connections = poll(behind, ticks=14, every_ms=100, timeout_ms=150)
    assert "good" not in reasons
    assert connections > 1  # given up after two timeouts in a row


def test_a_device_that_comes_back_is_polled_again():
    async def once(peer):
        await peer.send((await peer.request()).reply())
        await asyncio.sleep(0.05)
        if server_count[0] == 0:
            server_count[0] += 1
            return
        await well_behaved(peer)

    server_count = [0]
    reasons, connections = poll(once, ticks=8)
    assert reasons[0] == "good"
    assert reasons[-1] == "good"
    assert connections == 2


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
