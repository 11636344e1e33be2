"""``run --trace unit=ID`` and Station.trace: the frames of one device, decoded."""

import asyncio
import json
import struct

import pytest

from fluxfast.errors import FluxfastError
from fluxfast.station import Station
from tests.support.command import device_rows, fluxfast, free_port, invoked, simulating, started
from tests.support.fleets import device, fleet, registers
from tests.support.scripted import serving, well_behaved

SITE = """
poll: {every: 200ms}
devices:
  bess:
    - {id: "b{n}", count: 50, type: powerpack, modbus: {host: 127.0.61.1, port: PORT}}
  meters:
    - {id: m1, type: acuvim2, modbus: {host: 127.0.62.1, port: PORT, address: 2}}
"""


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(SITE.replace("PORT", str(free_port("127.0.61.1"))))
    return path


def test_each_frame_of_the_device_and_of_no_other(site, tmp_path):
    with simulating(site):
        done = fluxfast("run", site, "--duration", "1s", "--log", tmp_path / "log", "--trace", "unit=b7",
                        "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    frames = [o for o in objects if o.get("event") == "frame"]
    assert {frame["device"] for frame in frames} == {"b7"}
    assert frames[0]["kind"] == "up"
    sent = [frame for frame in frames if frame["kind"] == "sent"]
    replies = [frame for frame in frames if frame["kind"] == "reply"]
    ticks = objects[-1]["ticks"]
    assert len(sent) == len(replies) == ticks >= 4
    for request, reply in zip(sent, replies, strict=True):
        number = request["transaction_id"]
        assert request["text"] == "read holding registers 2000 to 2028"
        assert request["adu"] == struct.pack(">HHHBBHH", number, 0, 6, 1, 3, 2000, 29).hex()
        assert reply["transaction_id"] == number
        assert reply["round_trip_ms"] >= 0
        adu = bytes.fromhex(reply["adu"])
        (soe,) = struct.unpack_from(">H", adu, 9 + 2 * 26)
        assert reply["values"]["soe"] == soe
        assert reply["values"]["status"] == "READY"


def test_two_devices_as_lines(site, tmp_path):
    with simulating(site):
        done = fluxfast("run", site, "--duration", "400ms", "--log", tmp_path / "log",
                        "--trace", "unit=b2", "--trace", "unit=m1")  # fmt: skip
    lines = done.stdout.splitlines()
    assert any(" b2 ─▶ #" in line and "read holding registers 2000 to 2028  [" in line for line in lines)
    assert any(" m1 ◀─ #" in line and " ms  132 bytes: voltage_l1_n=" in line for line in lines)
    assert "ticks in" in lines[-3]


@pytest.mark.parametrize(("trace", "code", "said"), [
    ("unit=b77", 2, "no device b77"), ("b7", 2, "'b7' is not unit=ID"), ("unit=", 2, "is not unit=ID"),
])  # fmt: skip
def test_a_wrong_trace_is_refused_in_one_line(site, tmp_path, trace, code, said):
    done = invoked("run", site, "--duration", "1s", "--log", tmp_path / "log", "--trace", trace)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_who_does_not_read_stops_no_tick(site, tmp_path):
    """The pipe fills up with the frames of 50 devices, and nobody takes them."""
    traces = [part for n in range(1, 51) for part in ("--trace", f"unit=b{n}")]
    log = tmp_path / "log"
    with simulating(site), started("run", site, "--log", log, "--json", *traces, "--duration", "4s") as run:
        run.popen.wait(timeout=30)
    rows = device_rows(log, "powerpack")["b1"]
    assert len(rows) == 20
    assert {row["quality"] for row in rows} == {"good"}


def kinds(answer, seconds=0.5, **quirks):
    """Return [(kind, text, values)] that a station's trace of one device shows."""

    async def run(port):
        profile = registers(2000, 2, **quirks)
        station = Station(fleet(device("d", profile, port, timeout_ms=150), every_ms=200))
        trace = station.trace(["d"])
        async with station:
            async for _ in station.ticks(seconds):
                pass
            await asyncio.sleep(0.2)
            return [(f.kind, f.text, f.values) for f in trace.take()]

    with serving(answer) as server:
        return asyncio.run(run(server.port))


def test_what_goes_wrong_is_shown_too():
    async def odd(peer):
        first = await peer.request()
        await peer.send(first.reply(pdu=b"\x83\x04"))
        second = await peer.request()
        await peer.send(second.reply(transaction_id=second.transaction_id + 999) + second.reply() * 2)
        third = await peer.request()
        await asyncio.sleep(0.25)
        await peer.send(third.reply() + b"SSH-2.0-OpenSSH\r\n")
        await peer.reader.read()

    found = kinds(odd, 1.0)
    assert found[0] == ("up", "connected", {})
    found = found[: found.index(("down", "not Modbus", {})) + 1]
    assert ("failed", "exception 4 server device failure", {}) in found
    assert ("failed", "timeout", {}) in found
    assert [kind for kind, _, _ in found if kind in ("foreign", "late")] == ["foreign", "late", "late"]
    (broken,) = [text for kind, text, _ in found if kind == "broken"]
    assert broken == "not Modbus: b'SSH-2.0-OpenSSH\\r\\n'"


def test_a_device_that_is_not_there():
    async def run():
        Station(fleet(device("d", registers(2000, 2), 1), every_ms=200)).trace(["x"])

    with pytest.raises(FluxfastError, match="no device x"):
        asyncio.run(run())


def test_good_frames_carry_values():
    found = kinds(well_behaved)
    values = [v for kind, _, v in found if kind == "reply"]
    assert values
    assert all(list(v.values()) == [2000, 2001] for v in values)


def test_an_answer_with_identifier_0_is_shown_with_its_request():
    async def zero(peer):
        while True:
            await peer.send((await peer.request()).reply(transaction_id=0))

    found = kinds(zero, transaction_id="zero")
    assert [list(values.values()) for kind, _, values in found if kind == "reply"] == [[2000, 2001]] * 2
