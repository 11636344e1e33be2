"""The dead man before devices of every kind: what arrives there, and what it says about it."""

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from fluxfast.errors import FluxfastError
from fluxfast.watchdog import StopUnit, Watchdog
from fluxfast.watchdog.sidecar.stopper import Job, Line, Stopper
from fluxfast.watchdog.sidecar.task import EXIT_GOODBYE, EXIT_NOT_STOPPED, EXIT_SOURCE_KEPT, EXIT_STOPPED
from tests.support.batteries import POWER, SOURCE, STOP, Battery, exception
from tests.support.scripted import Servers

PATIENCE_S = 40.0
LONG_S = 30.0  # a bound for hanging that no busy machine reaches


def handed_over(batteries, report, *, units=None, sources=7, armed=slice(None), within_s=20.0):
    """Arm all units of running batteries and let the sidecar stop them; return its exit code and report."""
    units = units or [battery.unit() for battery in batteries]
    watchdog = Watchdog(units, LONG_S, report, stop_within_s=within_s)
    if sources is not None:
        watchdog.release(slice(None), sources)
    watchdog.arm(armed)
    watchdog.close(clean=False)
    code = watchdog.wait(PATIENCE_S)
    return code, [json.loads(line) for line in report.read_text().splitlines()]


def first(times, misbehave):
    """Misbehave on the first requests only."""

    async def bad(peer, request, number):
        if number > times:
            return False
        await misbehave(peer, request)
        return True

    return bad


async def busy(peer, request):
    await peer.send(exception(request, 6))


async def refusing_function(peer, request):
    await peer.send(exception(request, 1))


async def half_a_frame(peer, request):
    await peer.send(request.reply(pdu=bytes(5))[:9])
    peer.writer.close()


async def wrong_echo(peer, request):
    await peer.send(request.reply(pdu=struct.pack(">BHH", 6, request.address, 50)))


async def not_modbus(peer, request):
    await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def another_transaction(peer, request):
    await peer.send(request.reply(pdu=struct.pack(">BHH", 6, request.address, 0), transaction_id=77))


async def reset(peer, request):
    peer.reset()


async def close(peer, request):
    peer.writer.close()


async def silent(peer, request):
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    "misbehave",
    [
        busy,
        refusing_function,
        half_a_frame,
        wrong_echo,
        not_modbus,
        another_transaction,
        reset,
        close,
        silent,
    ],
)
def test_a_device_that_misbehaves_at_first_is_stopped(tmp_path, misbehave):
    battery = Battery("127.55.0.1", first(2, misbehave))
    with Servers([battery.server]):
        code, report = handed_over([battery], tmp_path / "watchdog.jsonl")
    assert code == EXIT_STOPPED
    assert [(w.address, w.value) for w in battery.writes] == [(POWER, 0), (SOURCE, 7)]
    assert [(line["unit"], line["what"], line["outcome"]) for line in report[:2]] == [
        ("127.55.0.1/1", "0 kW", "done, tries: 3"),
        ("127.55.0.1/1", "give Command Source back", "done, tries: 1"),
    ]
    assert report[2]["what"] == f"station {os.getpid()} handed over"
    assert report[2]["outcome"].startswith("1 of 1 units at 0 kW within ")


async def byte_by_byte(peer, request, number):
    for byte in request.reply(pdu=struct.pack(">BHH", 6, request.address, request.quantity)):
        await peer.send(bytes([byte]))
        await asyncio.sleep(0.01)
    return True


async def zero_transaction(peer, request, number):
    pdu = struct.pack(">BHH", 6, request.address, request.quantity)
    await peer.send(request.reply(pdu=pdu, transaction_id=0, unit_id=9))
    return True


async def slow(peer, request, number):
    await asyncio.sleep(1.2)  # longer than what is waited for at first
    return False


@pytest.mark.parametrize("odd", [byte_by_byte, zero_transaction, slow])
def test_a_device_that_is_odd_for_ever_is_stopped(tmp_path, odd):
    battery = Battery("127.55.0.2", odd)
    with Servers([battery.server]):
        assert handed_over([battery], tmp_path / "watchdog.jsonl")[0] == EXIT_STOPPED


@pytest.mark.parametrize(
    ("misbehave", "why"),
    [
        (busy, "exception 6"),
        (wrong_echo, "it answers a write by something else than its echo"),
        (not_modbus, "it answers something else than Modbus"),
        (another_transaction, "it answers what was not asked"),
        (close, "it closes the connection"),
        (reset, "Connection reset by peer"),
        (silent, "it does not answer"),
    ],
)
def test_what_cannot_be_stopped_is_told(tmp_path, capfd, misbehave, why):
    ill, well = Battery("127.55.0.3", first(1000, misbehave)), Battery("127.55.0.4")
    with Servers([ill.server, well.server]):
        code, report = handed_over([ill, well], tmp_path / "watchdog.jsonl", within_s=1.5)
    assert code == EXIT_NOT_STOPPED
    assert well.values(POWER) == [0]
    assert well.values(SOURCE) == [7]
    assert [line["unit"] for line in report] == ["127.55.0.3/1", "127.55.0.4/1", "127.55.0.4/1", None]
    assert report[0]["outcome"].startswith("failed, tries: ")
    assert report[0]["outcome"].endswith(f": {why}")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == f"fluxfast watchdog: unit 127.55.0.3/1 COULD NOT BE STOPPED: {why}"
    assert lines[1].startswith(
        f"fluxfast watchdog: station {os.getpid()} handed over: 1 of 2 units at 0 kW within "
    )


def test_a_device_that_keeps_our_command_source_is_told(tmp_path, capfd):
    async def bad(peer, request, number):
        if request.address != SOURCE:
            return False
        await busy(peer, request)
        return True

    battery = Battery("127.55.0.5", bad)
    with Servers([battery.server]):
        code, report = handed_over([battery], tmp_path / "watchdog.jsonl", within_s=1)
    assert code == EXIT_SOURCE_KEPT
    assert battery.values(POWER) == [0]
    assert report[1]["what"] == "give Command Source back"
    line = capfd.readouterr().err.splitlines()[0]
    assert line == "fluxfast watchdog: unit 127.55.0.5/1 is at 0 kW but keeps our Command Source: exception 6"


def test_a_device_that_comes_back_is_stopped(tmp_path):
    battery = Battery("127.55.0.6")
    with socket.create_server(("127.55.0.6", 0)) as place:
        battery.server.port = place.getsockname()[1]
    watchdog = Watchdog([battery.unit()], LONG_S, tmp_path / "watchdog.jsonl")
    watchdog.arm(0)
    watchdog.close(clean=False)
    time.sleep(0.5)  # it is refused meanwhile
    with Servers([battery.server]):
        assert watchdog.wait(PATIENCE_S) == EXIT_STOPPED
    assert battery.values(POWER) == [0]


def test_units_behind_one_endpoint_take_turns_and_a_silent_one_does_not_stop_the_others(tmp_path):
    async def third_is_silent(peer, request, number):
        return request.unit_id == 3

    gateway = Battery("127.55.0.7", third_is_silent, slots=1)
    with Servers([gateway.server]):
        units = [gateway.unit(number, request_gap_s=0.01, connect_delay_s=0.02) for number in range(1, 9)]
        sources = np.arange(100, 108)
        code, report = handed_over([], tmp_path / "watchdog.jsonl", units=units, sources=sources, within_s=5)
    assert code == EXIT_NOT_STOPPED
    well = [number for number in range(1, 9) if number != 3]
    for number in well:
        assert gateway.values(POWER, number) == [0]
        assert gateway.values(SOURCE, number) == [99 + number]
    stops = [w.address for w in gateway.writes[: len(well)]]
    assert stops == [POWER] * len(well)  # nobody's Command Source before the last 0 kW
    assert [line["unit"] for line in report if "failed" in line["outcome"]] == ["127.55.0.7/3"]


def test_who_was_silent_goes_last_behind_a_gateway(tmp_path):
    async def most_are_silent(peer, request, number):
        return request.unit_id < 7

    gateway = Battery("127.55.0.9", most_are_silent, slots=1)
    with Servers([gateway.server]):
        watchdog = Watchdog([gateway.unit(number) for number in range(1, 9)], LONG_S, tmp_path / "report")
        watchdog.release(slice(None), 7)
        watchdog.arm(slice(None))
        watchdog.silent[:6] = True
        began = time.monotonic()
        watchdog.close(clean=False)
        while not (gateway.values(SOURCE, 7) and gateway.values(SOURCE, 8)):
            assert time.monotonic() - began < PATIENCE_S
            time.sleep(0.01)
        assert gateway.server.connections == 1  # nobody was waited for before
        gateway.bad = None
        assert watchdog.wait(PATIENCE_S) == EXIT_STOPPED
    assert all(gateway.values(POWER, number) == [0] for number in range(1, 9))


def test_an_endpoint_that_is_off_the_network_does_not_delay_the_others(tmp_path):
    batteries = [Battery(f"127.55.1.{n}") for n in range(1, 21)]
    with socket.create_server(("127.55.1.200", 0), backlog=0) as hole, socket.socket() as filler:
        filler.connect(hole.getsockname())  # the queue is full: a SYN gets no answer
        dead = StopUnit("dead", *hole.getsockname(), STOP)
        with Servers([battery.server for battery in batteries]):
            units = [dead, *(battery.unit() for battery in batteries)]
            began = time.monotonic()
            code, report = handed_over([], tmp_path / "watchdog.jsonl", units=units, within_s=3)
    assert code == EXIT_NOT_STOPPED
    assert all(battery.values(POWER) == [0] for battery in batteries)
    assert all(battery.stopped_at() - began <= 2 for battery in batteries)
    assert "20 of 21 units" in report[-1]["outcome"]
    assert report[0]["outcome"].endswith("it does not take the connection")


def test_only_what_was_commanded_is_written_to(tmp_path):
    batteries = [Battery(f"127.55.0.{n}") for n in range(10, 14)]
    with Servers([battery.server for battery in batteries]):
        watchdog = Watchdog([b.unit() for b in batteries], LONG_S, tmp_path / "watchdog.jsonl")
        watchdog.release(np.array([0, 1]), np.array([0, 0xFFFE]))
        watchdog.arm(np.array([True, True, True, False]))
        watchdog.disarm(0)
        watchdog.arm(3)
        watchdog.close(clean=False)
        assert watchdog.wait(PATIENCE_S) == EXIT_STOPPED
    assert [b.values(POWER) for b in batteries] == [[], [0], [0], [0]]
    assert [b.values(SOURCE) for b in batteries] == [[], [0xFFFE], [], []]  # the others' was never known


def test_more_endpoints_than_descriptors_go_in_waves():
    before = len(os.listdir("/proc/self/fd"))
    batteries = [Battery(f"127.55.2.{n}") for n in range(1, 31)]
    with Servers([battery.server for battery in batteries]):
        lines = []
        for unit in [StopUnit("refuses", "127.55.2.100", 9, STOP), *(b.unit() for b in batteries)]:
            lines.append(Line((socket.AF_INET, (unit.host, unit.port))))
            lines[-1].jobs.append(Job(unit.name, "0 kW", unit.stop, None))
        Stopper(lines, room=4).run(2)
    assert all(battery.values(POWER) == [0] for battery in batteries)
    assert [job.why for line in lines for job in line.jobs] == ["Connection refused"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_write_of_several_registers_is_answered_by_address_and_quantity(tmp_path):
    written = []

    async def serve(reader, writer):
        adu = await reader.readexactly(15)
        written.append(adu[2:])
        writer.write(adu[:4] + b"\0\6" + adu[6:12])
        await reader.read()
        writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.55.0.20", 0)
        stop = bytes.fromhex("0000 0000 0009 01 10 07d8 0001 02 0000")
        unit = StopUnit("b", *server.sockets[0].getsockname(), stop)
        watchdog = Watchdog([unit], LONG_S, tmp_path / "watchdog.jsonl")
        watchdog.arm(0)
        watchdog.close(clean=False)
        code = await asyncio.to_thread(watchdog.wait, PATIENCE_S)
        server.close()
        await server.wait_closed()
        return code, stop

    code, stop = asyncio.run(run())
    assert code == EXIT_STOPPED
    assert written == [stop[2:]]


def test_ipv6(tmp_path):
    battery = Battery("::1")
    with Servers([battery.server]):
        assert handed_over([battery], tmp_path / "watchdog.jsonl")[0] == EXIT_STOPPED
    assert battery.values(POWER) == [0]


def test_a_goodbye_writes_nothing(tmp_path):
    battery = Battery("127.55.0.21")
    report = tmp_path / "watchdog.jsonl"
    with Servers([battery.server]):
        watchdog = Watchdog([battery.unit()], LONG_S, report)
        watchdog.arm(0)
        watchdog.beat()
        assert watchdog.alive
        watchdog.close()
        assert watchdog.wait(0) == EXIT_GOODBYE
    assert not watchdog.alive
    assert battery.server.connections == 0
    assert not report.exists()


def test_a_station_that_commands_nothing_may_be_slow(tmp_path):
    watchdog = Watchdog([Battery("127.55.0.22").unit()], 0.2, None)
    time.sleep(1)
    assert watchdog.alive
    watchdog.close()
    assert watchdog.wait(0) == EXIT_GOODBYE


def test_signals_for_the_station_do_not_end_it():
    watchdog = Watchdog([], LONG_S, None)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(watchdog.pid, number)
    time.sleep(0.3)
    assert watchdog.alive
    assert os.getsid(watchdog.pid) != os.getsid(0)
    watchdog.close()
    assert watchdog.wait(0) == EXIT_GOODBYE


def until_not_alive(watchdog):
    end = time.monotonic() + PATIENCE_S
    while watchdog.alive:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_watchdog_that_watches_no_more_is_noticed(number):
    watchdog = Watchdog([Battery("127.55.0.23").unit()], 1.0, None)
    assert watchdog.alive
    os.kill(watchdog.pid, number)
    until_not_alive(watchdog)
    watchdog.close()  # it must not wake up later and take the station along
    assert watchdog.wait(0) == -signal.SIGKILL


def test_it_has_nothing_of_the_station():
    with socket.create_server(("127.55.0.24", 0)) as server, open(__file__) as file:
        os.set_inheritable(server.fileno(), True)
        os.set_inheritable(file.fileno(), True)
        watchdog = Watchdog([], LONG_S, None)
        folder = f"/proc/{watchdog.pid}/fd"
        held = [os.readlink(f"{folder}/{n}") for n in sorted(os.listdir(folder), key=int)[3:]]
        with open(f"/proc/{watchdog.pid}/maps") as maps:
            assert "site-packages" not in maps.read()
        watchdog.close()
    assert sum(name.startswith("socket:") for name in held) == 1  # its pipe
    assert all(name.startswith(("socket:", "anon_inode:", "/memfd:", "pidfd:")) for name in held), held


@pytest.mark.parametrize("host", ["battery.example", "127.0.0.1:502", ""])
def test_names_are_resolved_beforehand(host):
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        Watchdog([StopUnit("b", host, 502, STOP)], LONG_S, None)


@pytest.mark.parametrize("frame", [b"", STOP[:-1], STOP + b"\0", STOP[:4] + b"\0\2\1\6"])
@pytest.mark.parametrize("which", ["stop", "release"])
def test_a_frame_that_is_none_is_refused_at_once(which, frame):
    frames = {"stop": STOP, which: frame}
    with pytest.raises(ValueError, match=r"unit b: .* is no whole write"):
        Watchdog([StopUnit("b", "127.55.0.1", 502, **frames)], LONG_S, None)


@pytest.mark.parametrize(("program", "why"), [("/bin/false", "does not start"), ("/none", "No such file")])
def test_one_that_does_not_start_is_an_error(monkeypatch, program, why):
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(FluxfastError, match=why):
        Watchdog([], LONG_S, None)


def test_process_1_of_a_container_has_no_watchdog(monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(FluxfastError, match="below an init"):
        Watchdog([], LONG_S, None)


def test_a_report_that_cannot_be_written_is_told(tmp_path, capfd):
    battery = Battery("127.55.0.25")
    with Servers([battery.server]):
        watchdog = Watchdog([battery.unit()], LONG_S, tmp_path / "none" / "watchdog.jsonl")
        watchdog.arm(0)
        watchdog.close(clean=False)
        assert watchdog.wait(PATIENCE_S) == EXIT_STOPPED
    assert capfd.readouterr().err.endswith("/none/watchdog.jsonl: No such file or directory\n")


def test_a_full_pipe_at_its_stderr_does_not_keep_it(tmp_path):
    # A station whose stderr nobody reads: the sidecar inherits it.
    code = (
        "import os, sys\n"
        "from fluxfast.watchdog import StopUnit, Watchdog\n"
        "units = [StopUnit('b', '127.55.0.26', 9, bytes.fromhex(sys.argv[1]))]\n"
        "os.set_blocking(2, False)\n"
        "try:\n"
        "    while True: os.write(2, bytes(4096))\n"
        "except BlockingIOError: os.set_blocking(2, True)\n"
        "w = Watchdog(units, 30, None, stop_within_s=0.2)\n"
        "w.arm(0); w.close(clean=False); print(w.wait(30))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, STOP.hex()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{EXIT_NOT_STOPPED}\n"
