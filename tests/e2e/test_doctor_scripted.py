"""A doctor before devices with manners of their own: what a station would only know as timeouts."""

import asyncio
import contextlib
import http.server
import itertools
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fluxfast import modbus
from fluxfast.doctor import Report
from tests.support.command import Process, free_port
from tests.support.examined import BESS, POWERPACK, cures, examined, found, site, values_of
from tests.support.fleets import device as plain_device
from tests.support.fleets import fleet as plain_fleet
from tests.support.fleets import registers
from tests.support.hostile import FIRST, FORGED, MODES, SIZE, serving_cases
from tests.support.hostile_reads import AT_ONCE, AT_THE_DEADLINE
from tests.support.scripted import Peer, Request, serving

HOST = "127.0.0.1"
M = "type: acuvim2, role: grid"
Answer = Callable[[Peer], Awaitable[None]]
COUNT = itertools.count()
CONNECTED: list[Peer] = []


def reply(request: Request, **how: int) -> bytes:
    return request.reply(values_of(POWERPACK, request.address, request.quantity), **how)


def device(port: int, more: str = "", head: str = "", timeout: str = "400ms") -> tuple[str, str]:
    where = f"modbus: {{host: {HOST}, port: {port}, timeout: {timeout}}}"
    return ", ".join(filter(None, (f"b: {BESS}", more, where))), head


def diagnose(folder: Path, answer: Answer, more: str = "", head: str = "", **how: bool) -> Report:
    with serving(answer) as server:
        line, head = device(server.port, more, head)
        (report,) = examined(site(folder, line, head=head), **how).values()
    return report


async def good(peer: Peer) -> None:
    while True:
        await peer.send(reply(await peer.request()))


async def without_ids(peer: Peer) -> None:
    while True:
        await peer.send(reply(await peer.request(), transaction_id=0))


async def as_unit_255(peer: Peer) -> None:
    while True:
        await peer.send(reply(await peer.request(), unit_id=255))


async def ten_registers(peer: Peer) -> None:
    while True:
        request = await peer.request()
        refusal = bytes([request.function_code | 0x80, 3])
        await peer.send(reply(request) if request.quantity <= 10 else request.reply(pdu=refusal))


async def ten_registers_silently(peer: Peer) -> None:
    while True:
        request = await peer.request()
        if request.quantity <= 10:
            await peer.send(reply(request))


async def never_more_than_ten(peer: Peer) -> None:
    while True:
        request = await peer.request()
        await peer.send(request.reply(values_of(POWERPACK, request.address, min(request.quantity, 10))))


async def closes_each_time(peer: Peer) -> None:
    await peer.send(reply(await peer.request()))


async def needs_a_gap(peer: Peer) -> None:
    answered_s = 0.0
    while True:
        request = await peer.request()
        if time.monotonic() - answered_s >= 0.04:
            await peer.send(reply(request))
            answered_s = time.monotonic()


async def is_busy_right_after(peer: Peer) -> None:
    answered_s = 0.0
    while True:
        request = await peer.request()
        in_time = time.monotonic() - answered_s >= 0.04
        await peer.send(reply(request) if in_time else request.reply(pdu=bytes([0x83, 6])))
        answered_s = time.monotonic()


async def needs_a_moment(peer: Peer) -> None:
    opened_s = time.monotonic()
    while True:
        request = await peer.request()
        if time.monotonic() - opened_s >= 0.15:
            await peer.send(reply(request))


async def one_at_a_time(peer: Peer) -> None:
    while True:
        request = await peer.request()
        await asyncio.sleep(0.002)
        peer.reader._buffer.clear()  # what came meanwhile is lost, as in a device with one buffer
        await peer.send(reply(request))


async def swaps_answers(peer: Peer) -> None:
    while True:
        requests = [await peer.request()]
        await asyncio.sleep(0.002)
        while len(peer.reader._buffer) >= 12:
            requests.append(await peer.request())
        for asked, answered in zip(requests, reversed(requests), strict=True):
            await peer.send(reply(answered, transaction_id=asked.transaction_id))


async def late(peer: Peer) -> None:
    while True:
        request = await peer.request()
        await asyncio.sleep(0.45)
        await peer.send(reply(request))


async def exception_4(peer: Peer) -> None:
    while True:
        await peer.send((await peer.request()).reply(pdu=bytes([0x83, 4])))


async def loses_every_third(peer: Peer) -> None:
    while True:
        request = await peer.request()
        if next(COUNT) % 3:
            await peer.send(reply(request))


async def ends_the_older(peer: Peer) -> None:
    for other in CONNECTED:
        other.writer.close()
    CONNECTED[:] = [peer]
    await good(peer)


async def four_at_once(peer: Peer) -> None:
    while True:
        requests = [await peer.request()]
        await asyncio.sleep(0.002)
        while len(peer.reader._buffer) >= 12:
            requests.append(await peer.request())
        for request in requests[:4]:
            await peer.send(reply(request))


async def no_function_3(peer: Peer) -> None:
    while True:
        await peer.send((await peer.request()).reply(pdu=bytes([0x83, 1])))


async def swallows(peer: Peer) -> None:
    while True:
        await peer.request()


async def hangs_up(peer: Peer) -> None:
    return


async def rtu_only(peer: Peer) -> None:
    splitter = modbus.RtuSplitter("server")
    while data := await peer.reader.read(256):
        try:
            frames = splitter.feed(data)
        except modbus.FramingError:
            splitter = modbus.RtuSplitter("server")
            continue
        for frame in frames:
            unit, pdu = modbus.parse_rtu(frame)
            request = modbus.parse_request(pdu)
            assert isinstance(request, modbus.ReadHoldingRegisters)
            answer = request.build_response(values_of(POWERPACK, request.starting_address, request.quantity))
            await peer.send(modbus.build_rtu(unit, answer))


async def ssh(peer: Peer) -> None:
    await peer.send(b"SSH-2.0-OpenSSH_9.6\r\n")
    await peer.reader.read(1)


def every_fifth_is(code: int) -> Answer:
    count = itertools.count()

    async def answer(peer: Peer) -> None:
        while True:
            request = await peer.request()
            refused = next(count) % 5 == 4
            await peer.send(request.reply(pdu=bytes([0x83, code])) if refused else reply(request))

    return answer


def loses_a_fifth() -> Answer:
    chance = random.Random(1)

    async def answer(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if chance.random() >= 0.2:
                await peer.send(reply(request))

    return answer


async def queues(peer: Peer) -> None:
    """Later than its timeout, one request after the other."""
    while True:
        request = await peer.request()
        await asyncio.sleep(0.9)
        await peer.send(reply(request))


MANNERS = {
    "good": (good, [], ""),
    "transaction identifier 0": (without_ids, ["transaction-id"], "quirks: {transaction_id: zero}"),
    "answers as another": (as_unit_255, ["unit-echo"], "quirks: {unit_aliases: [255]}"),
    "ten registers": (ten_registers, ["length"], "quirks: {max_registers: 10}; then 5 of 5"),
    "ten registers or silence": (ten_registers_silently, ["length"], "quirks: {max_registers: 10}"),
    "ten registers at most": (never_more_than_ten, ["length"], "quirks: {max_registers: 10}"),
    "closes": (closes_each_time, ["closes"], "keep-alive"),
    "gap": (needs_a_gap, ["pause"], "quirks: {request_gap: "),
    "busy": (is_busy_right_after, ["pause"], "quirks: {request_gap: "),
    "moment": (needs_a_moment, ["pause"], "quirks: {connect_delay: "),
    "one buffer": (one_at_a_time, [], ""),  # no harm with max_in_flight: 1
    "swaps": (swaps_answers, [], ""),
    "late": (late, ["time", "time"], "timeout: "),
    "exception 4": (exception_4, ["exception"], "look at the device"),
    "exception 1": (no_function_3, ["function"], "function code"),
    "4 now and then": (every_fifth_is(4), ["exception"], "look at the device"),
    "6 now and then": (every_fifth_is(6), ["exception"], "poll it less often"),
    "11 now and then": (every_fifth_is(11), ["exception"], "the gateway lives"),
    "loses": (loses_every_third, ["loss"], "cable"),
    "loses by chance": (loses_a_fifth(), ["loss"], "cable"),
    "queues": (queues, ["time", "time"], "timeout: 2s"),
    "newest wins": (ends_the_older, ["connections"], "quirks: {max_connections: 1}"),
    "silent": (swallows, ["unit"], "unit address"),
    "hangs up": (hangs_up, ["connect"], "allow list"),
    "RTU": (rtu_only, ["protocol"], "RTU frames"),
    "SSH": (ssh, ["protocol"], "another service"),
}


async def floods(peer: Peer) -> None:
    request = await peer.request()
    while True:
        await peer.send(reply(request, transaction_id=request.transaction_id + 999) * 50)


async def drips(peer: Peer) -> None:
    while True:
        for byte in reply(await peer.request()):
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.003)


async def garbage(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(bytes(range(1, 200)))


async def shorter_each_time(peer: Peer) -> None:
    while True:
        request = await peer.request()
        await peer.send(request.reply([0] * (request.quantity - 1)))


async def resets(peer: Peer) -> None:
    await peer.request()
    peer.reset()


HOSTILE = (floods, garbage, shorter_each_time, resets, drips)  # beside those above


def test_manners_are_found_out_and_hostile_devices_hold_up_nobody(tmp_path: Path) -> None:
    # All in one fleet: most of the time is spent on waiting for those that are silent.
    with contextlib.ExitStack() as stack:
        answers = [*(answer for answer, _, _ in MANNERS.values()), *HOSTILE]
        servers = [stack.enter_context(serving(answer)) for answer in answers]
        lines = [device(server.port)[0].replace("b:", f"b{n}:", 1) for n, server in enumerate(servers)]
        reports = list(examined(site(tmp_path, "\n".join(lines))).values())
    told = dict(zip(MANNERS, reports, strict=False))
    assert {name: found(report) for name, report in told.items()} == {
        name: checks for name, (_, checks, _) in MANNERS.items()
    }
    for name, (_, _, cure) in MANNERS.items():
        assert cure in cures(told[name]), told[name].findings
    assert all(found(report) and report.good == 0 for report in reports[len(MANNERS) : -1])


CURED = {
    "transaction identifier 0": (without_ids, "quirks: {transaction_id: zero}"),
    "answers as another": (as_unit_255, "quirks: {unit_aliases: [255]}"),
    "ten registers": (ten_registers, "quirks: {max_registers: 10}"),
    "gap": (needs_a_gap, "quirks: {request_gap: 60ms}"),
    "moment": (needs_a_moment, "quirks: {connect_delay: 300ms}"),
}


@pytest.mark.parametrize("name", CURED)
def test_with_its_cure_a_device_is_healthy(tmp_path: Path, name: str) -> None:
    answer, quirks = CURED[name]
    report = diagnose(tmp_path, answer, quirks)
    assert report.findings == ()
    assert report.good == 5


@pytest.mark.parametrize("answer", [one_at_a_time, swaps_answers])
def test_more_at_once_than_it_stands(tmp_path: Path, answer: Answer) -> None:
    report = diagnose(tmp_path, answer, "quirks: {max_in_flight: 4}")
    assert found(report) == ["pipelining"]
    assert "quirks: {max_in_flight: 1}" in cures(report)
    assert report.link is not None
    assert report.link.depth is not None
    assert report.link.depth.safe == 1


def test_the_depth_that_it_stands(tmp_path: Path) -> None:
    report = diagnose(tmp_path, four_at_once, "quirks: {max_in_flight: 16}")
    assert found(report) == ["pipelining"]
    assert "quirks: {max_in_flight: 4}" in cures(report)
    assert diagnose(tmp_path, four_at_once, "quirks: {max_in_flight: 4}").findings == ()


def test_the_safe_depth_and_what_it_gains(tmp_path: Path) -> None:
    report = diagnose(tmp_path, good, "quirks: {max_in_flight: 16}")
    assert report.findings == ()
    assert report.link is not None
    assert report.link.depth is not None
    assert report.link.depth.safe == 16


def test_gently_it_sends_one_request_at_a_time_on_one_connection_at_a_time(tmp_path: Path) -> None:
    together = peers = most = 0

    async def alone(peer: Peer) -> None:
        nonlocal together, peers, most
        peers += 1
        most = max(most, peers)
        try:
            while True:
                request = await peer.request()
                together = max(together, len(peer.reader._buffer))
                await peer.send(reply(request))
        finally:
            peers -= 1

    with serving(alone) as server:
        line, _ = device(server.port)
        (report,) = examined(site(tmp_path, line), gentle=True).values()
    assert (report.findings, together, most) == ((), 0, 1)


@pytest.mark.long
def test_where_many_units_are_silent_others_are_asked_once(tmp_path: Path) -> None:
    asked: Counter[int] = Counter()

    async def only_unit_1(peer: Peer) -> None:
        while True:
            request = await peer.request()
            asked[request.unit_id] += 1
            if request.unit_id == 1:
                await peer.send(reply(request))

    with serving(only_unit_1) as server:
        where = f"modbus: {{host: {HOST}, port: {server.port}, timeout: 50ms, address: "
        lines = [f"b{unit}: {BESS}, {where}{unit}}}" for unit in (1, 21, 22, 23)]
        reports = examined(site(tmp_path, "\n".join(lines)), gentle=True)
    assert [found(report) for report in reports.values()] == [[], ["unit"], ["unit"], ["unit"]]
    assert [asked[unit] for unit in (255, 0, 2, 10)] == [1, 1, 1, 1]
    assert [asked[unit] for unit in (21, 22, 23)] == [3, 3, 3]


def test_a_web_server(tmp_path: Path) -> None:
    server = http.server.HTTPServer((HOST, 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign]
    server.RequestHandlerClass.timeout = 1  # it reads until a line ends, and ours has none
    thread.start()
    try:
        line, _ = device(server.server_port)
        (report,) = examined(site(tmp_path, line)).values()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert found(report) == ["protocol"], report.findings
    assert "HTTP" in report.findings[0].seen


def test_nothing_listens(tmp_path: Path) -> None:
    (report,) = examined(site(tmp_path, device(free_port(HOST))[0])).values()
    assert found(report) == ["connect"]
    assert "refuses" in report.findings[0].seen


def test_a_name_that_does_not_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    line = f"b: {BESS}, modbus: {{host: bess-01.plant.invalid}}"
    (report,) = examined(site(tmp_path, line)).values()
    assert found(report) == ["name"]


def test_a_serial_line(tmp_path: Path) -> None:
    (report,) = examined(site(tmp_path, f"m: {M}, modbus: {{device: /dev/ttyUSB0}}")).values()
    assert found(report) == ["serial"]


@pytest.mark.long
@pytest.mark.timeout(400)  # a link may be examined for LIMIT_S, and some cases use that up
def test_no_hostile_case_ends_it_or_brings_a_forged_value() -> None:
    with serving_cases([*AT_ONCE, *AT_THE_DEADLINE], net=64) as hostile:
        profiles = {
            mode: registers(FIRST, reads * SIZE, name=mode, max_registers=SIZE)
            for mode, (reads, _) in MODES.items()
        }
        devices = [
            plain_device(f"d{n}", profiles[one.mode], one.server.port, host=one.server.host, timeout_ms=200)
            for n, one in enumerate(hostile)
        ]
        reports = list(examined(plain_fleet(*devices), gentle=True).values())
        for report, one in zip(reports, hostile, strict=True):
            assert report.unit is not None
            values = [struct.unpack(f">{len(read.data) // 2}H", read.data) for read in report.unit.reads]
            told = {"unit-echo", "transaction-id"} & set(found(report))  # then it is shown, and why
            assert told or tuple(FORGED) not in values, one.case
    assert len(reports) == len(hostile)


@pytest.mark.parametrize("library", ["pymodbus", "pyModbusTCP"])
def test_a_server_of_another_library_is_healthy(tmp_path: Path, library: str) -> None:
    spec, port = tmp_path / "spec", free_port(HOST)
    spec.write_text("".join(f"1 h {address} {value}\n" for address, value in POWERPACK.items()))
    script = Path(__file__).parents[1] / "support" / "python_server.py"
    with Process([sys.executable, str(script), library, HOST, str(port), str(spec)]) as server:
        assert server.line() == "ready"
        (report,) = examined(site(tmp_path, device(port)[0])).values()
    assert report.findings == ()
    assert report.good == 5
