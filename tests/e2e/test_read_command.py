"""``fluxfast read``: by address and by name, in every form, what goes wrong, and again and again."""

import csv
import io
import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fluxfast.config import load
from fluxfast.sim import Simulator
from tests.support.command import started
from tests.support.memory import Memory
from tests.support.scripted import Answer, Peer, ScriptedServer, Servers
from tests.support.tool import tool

HOST = "127.33.21.1"
SITE = """\
site: access
devices:
  bess:
    - {id: b1, name: Site-BESS-01, type: powerpack, rated_power_kw: 200,
       modbus: {host: 127.33.22.1, port: 5020}}
  meters:
    - {id: m1, name: Grid, type: acuvim2, role: grid, modbus: {host: 127.33.22.2, port: 5020, address: 2}}
    - {id: m2, name: Sub, type: acuvim2_vendor, modbus: {host: 127.33.22.2, port: 5020, address: 3}}
    - {id: m3, name: Old, type: acuvim2, modbus: {device: /dev/ttyS0}}
"""


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    server = ScriptedServer(answer, HOST)
    with Servers([server]):
        yield f"{HOST}:{server.port}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = tmp_path_factory.mktemp("site") / "site.yaml"
    file.write_text(SITE)
    with Simulator(load(file)).running():
        yield file


def test_addresses_show_value_quality_and_reference() -> None:
    memory = Memory()
    memory.cells["holding"] = {2008: 0xFFCE, 2009: 7}
    with serving(memory) as place:
        done = tool("read", place, "2008:2", "0x7D8", "--type", "int16")
    assert done.code == 0
    assert [line.split() for line in done.out.splitlines()] == [
        ["value", "quality", "address", "reference", "raw"],
        ["-50", "good", "2008", "42009", "FFCE"],
        ["7", "good", "2009", "42010", "0007"],
    ]
    assert len(memory.requests) == 1


def test_json_and_csv_hold_the_same_with_all_digits() -> None:
    memory = Memory()
    memory.cells["input"] = {8: 0x4996, 9: 0xB438, 10: 0x7FC0, 11: 0}
    with serving(memory) as place:
        asked = ["read", place, "8:2", "--table", "input", "--type", "float32", "--scale", "0.001"]
        as_json, as_csv = tool(*asked, "--json"), tool(*asked, "--csv")
    assert (as_json.code, as_csv.code) == (1, 1)
    first, second = as_json.rows
    assert (first["value"], first["raw"], first["reference"]) == (1234.567, "4996b438", "30009")
    assert (second["value"], second["quality"], second["reason"]) == (None, "bad", "not a number")
    assert [first[key] for key in ("device", "unit_id", "point", "type")] == [None, 1, "input_8", "float32"]
    rows = list(csv.DictReader(io.StringIO(as_csv.out)))
    assert list(rows[0]) == list(first)
    assert [(row["value"], row["reason"], row["raw"]) for row in rows] == [
        ("1234.567", "", "4996b438"), ("", "not a number", "7fc00000"),
    ]  # fmt: skip


def test_bits_of_tables_and_of_registers() -> None:
    memory = Memory()
    memory.cells["discrete"] = {17: 1}
    memory.cells["holding"] = {5: 0x8001}
    with serving(memory) as place:
        done = tool("read", place, "15:4", "--table", "discrete", "--json")
        assert [row["value"] for row in done.rows] == [False, False, True, False]
        assert [tool("read", place, "5", "--bit", bit, "--json").rows[0]["value"] for bit in (0, 1, 15)] == [
            True, False, True,
        ]  # fmt: skip


def test_raw_is_registers_in_hex_with_their_places() -> None:
    memory = Memory()
    memory.cells["holding"] = {address: address for address in range(300)}
    with serving(memory) as place:
        done = tool("read", place, "0:10", "255", "--raw")
    assert done.out.splitlines() == [
        "holding       0   40001  0000 0001 0002 0003 0004 0005 0006 0007",
        "holding       8   40009  0008 0009",
        "holding     255   40256  00FF",
    ]


def test_one_illegal_address_does_not_hide_its_neighbours() -> None:
    memory = Memory(holes={40, 41, 90})
    with serving(memory) as place:
        done = tool("read", place, "0:125", "--json")
    assert done.code == 1
    assert {row["address"] for row in done.rows if row["quality"] == "bad"} == {40, 41, 90}
    assert {row["reason"] for row in done.rows} == {None, "exception 2 illegal data address"}
    assert done.err == ""


def test_a_unit_that_refuses_everything_is_not_asked_for_ever() -> None:
    memory = Memory(holes=range(1000))
    with serving(memory) as place:
        done = tool("read", place, "0:1000", "--json")
    assert (done.code, len(done.rows)) == (3, 1000)
    assert "with --base 1" in done.err
    assert len(memory.requests) < 150


def test_units_behind_a_gateway_each_have_their_row() -> None:
    memory = Memory(units=[1, 11])
    with serving(memory) as place:
        done = tool("read", place, "5", "--unit", "1,3,10-12", "--json")
    assert done.code == 1
    assert {row["unit_id"]: row["reason"] for row in done.rows} == {
        1: None, 11: None,
        **dict.fromkeys((3, 10, 12), "exception 11 gateway target device failed to respond"),
    }  # fmt: skip


def test_units_that_are_silent_do_not_hide_the_next_one() -> None:
    memory = Memory(mute=range(2, 7))
    with serving(memory) as place:
        done = tool("read", place, "5", "400", "900", "--unit", "1-8", "--timeout", "100ms", "--json")
    good = {row["unit_id"] for row in done.rows if row["quality"] == "good"}
    assert good == {1, 7, 8}
    assert {row["reason"] for row in done.rows} == {None, "no answer within 0.1 s"}
    assert len(memory.requests) == 3 * 3 + 5 * 2


def test_a_peer_that_closes_after_each_answer_is_read_to_the_end() -> None:
    memory = Memory()
    memory.closes_after_each = True
    with serving(memory) as place:
        done = tool("read", place, "0:600", "--unit", "1,2", "--json")
    assert (done.code, {row["quality"] for row in done.rows}) == (0, {"good"})


async def _silent(peer: Peer) -> None:
    while True:
        await peer.request()


async def _web(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 400 Bad\r\n\x1b[31m\r\n")


async def _reset(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def _other_unit(peer: Peer) -> None:
    while True:
        await peer.send((await peer.request()).reply(unit_id=77))


async def _too_short(peer: Peer) -> None:
    while True:
        await peer.send((await peer.request()).reply(values=[1]))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_silent, "no answer within 0.2 s"), (_web, "not Modbus"), (_reset, "connection lost"),
        (_other_unit, "response does not match"), (_too_short, "malformed response"),
    ],
)  # fmt: skip
def test_whatever_a_peer_does_each_row_has_its_reason(answer: Answer, reason: str) -> None:
    with serving(answer) as place:
        done = tool("read", place, "0:200", "9", "--timeout", "200ms", "--csv")
    assert done.code == 3
    assert "\x1b" not in done.out
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert len(rows) == 200
    assert {(row["value"], row["quality"]) for row in rows} == {("", "bad")}
    assert all(row["reason"].startswith(reason) for row in rows)


def test_nobody_there() -> None:
    done = tool("read", f"{HOST}:1", "5")
    assert done.code == 3
    assert "bad: connection refused" in done.out
    assert done.err == (
        f"{HOST}:1 unit 1, holding address 5, reference 40006: connection refused "
        "(nothing listens there: check host and port, 502 is usual)\n"
    )


def test_points_by_name_pattern_and_address(site: Path) -> None:
    done = tool("read", site, "Site-BESS-01", "soe", "s*", "2008", "--json")
    assert done.code == 0
    assert [(row["device"], row["point"], row["reference"]) for row in done.rows] == [
        ("b1", "soe", "42027"), ("b1", "status", "42001"), ("b1", "holding_2008", "42009"),
    ]  # fmt: skip
    soe, status, _ = done.rows
    assert 0 <= soe["value"] <= 100 and soe["unit"] == "%"  # noqa: PT018
    assert (status["value"], status["label"]) == (1, "READY")
    table = tool("read", site, "b1", "status").out.splitlines()[1].split()
    assert table == ["Site-BESS-01", "status", "READY", "good", "2000", "42001", "0001"]


def test_a_whole_site_with_every_builtin_profile(site: Path) -> None:
    done = tool("read", site, "--all", "--json")
    assert done.code == 0
    assert "1 device on serial lines left out" in done.err
    fleet = load(site)
    expected = [(d.id, p) for d in fleet.devices[:3] for p in d.profile.points]
    assert [(row["device"], row["point"]) for row in done.rows] == expected
    assert {row["quality"] for row in done.rows} == {"good"}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["read", "SITE"], "which device? One of Site-BESS-01, Grid"),
        (["read", "SITE", "Site-BES-01"], "no device 'Site-BES-01' (did you mean 'Site-BESS-01'?)"),
        (["read", "SITE", "b1", "sow"], "no point 'sow' (did you mean 'soe'?)"),
        (["read", "SITE", "b1", "soe", "--type", "int16"], "--type is for plain addresses"),
        (["read", "SITE", "b1", "--unit", "2"], "the site file says it"),
        (["read", "SITE", "b1", "soe", "--all"], "leave the names out"),
        (["read", "SITE", "m3"], "m3 is on a serial line"),
        (["read", "nowhere.yaml", "b1"], "nowhere.yaml"),
        (["read", "1.2.3.4"], "which addresses?"),
        (["read", "1.2.3.4", "soe"], "'soe' is no address"),
        (["read", "1.2.3.4", "--all"], "--all is for site files"),
        (["read", "1.2.3.4", "402009"], "write 2008"),
        (["read", "1.2.3.4", "5", "--unit", "x"], "unit identifier"),
        (["read", "1.2.3.4", "5", "--json", "--csv"], "one of them"),
        (["read", "1.2.3.4", "5", "--count", "2"], "--count is for --watch"),
        (["read", "1.2.3.4", "5", "--watch", "200"], "write one like 5s, 250ms"),
        (["read", "1.2.3.4", "5", "--timeout", "0s"], "timeout"),
        (["read", "1.2.3.4:x", "5"], "a port is 1 to 65535"),
        (["read", "", "5"], "'' is not a host name"),
        (["read", "a" * 5000, "5"], "is not a host name"),
        (["read", "1.2.3.4", "5", "--unit", ""], "'' is no unit identifier"),
        (["read", "1.2.3.4", "5", "--scale", "1e-400000000"], "out of reach"),
        (["read", "1.2.3.4", "5", "--scale", "1e400000000"], "out of reach"),
        (["read", "1.2.3.4", "5", "--scale", "0." + "1" * 500], "is no number"),
    ],
)
def test_bad_input_is_told_with_its_cure(site: Path, args: list[str], says: str) -> None:
    done = tool(*(str(site) if arg == "SITE" else arg for arg in args))
    assert done.code == 2
    assert says in done.err.replace("\n", " ")
    assert "Traceback" not in done.err


def test_watching_in_a_pipe_is_a_line_a_read() -> None:
    memory = Memory()
    memory.cells["holding"] = {5: 7}
    with serving(memory) as place:
        done = tool("read", place, "5", "--watch", "20ms", "--count", "3")
        as_json = tool("read", place, "5", "--watch", "20ms", "--count", "3", "--json")
        as_csv = tool("read", place, "5", "--watch", "20ms", "--count", "3", "--csv")
    assert (done.code, as_json.code, as_csv.code) == (0, 0, 0)
    lines = done.out.splitlines()
    pattern = r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z  holding_5 \(5, 40006\)=7"
    assert all(re.fullmatch(pattern, line) for line in lines[:3])
    assert [line.split() for line in lines[3:]] == [
        [f"{place}", "unit", "1:", "3", "reads"],
        ["value", "min", "max", "per", "s", "address", "reference"],
        ["7", "7", "7", "0", "5", "40006"],
    ]
    assert [row["value"] for row in as_json.rows] == [7, 7, 7]
    assert [as_json.rows[0][key] for key in ("changed", "min", "max", "per_s")] == [False, 7, 7, None]
    assert as_json.rows[2]["per_s"] == 0
    assert next(csv.reader(io.StringIO(as_csv.out)))[-4:] == ["changed", "min", "max", "per_s"]
    assert len({row["time"] for row in as_json.rows}) == 3
    assert len(as_csv.out.splitlines()) == 4  # one header


def test_a_device_that_vanishes_while_it_is_watched_comes_back() -> None:
    server = ScriptedServer(Memory(), HOST)
    with Servers([server]):
        place = f"{HOST}:{server.port}"
        with started("read", place, "5", "--watch", "50ms", "--json") as process:
            assert json.loads(process.line())["quality"] == "good"
            server.stop_listening()
            server.end_connections()
            while json.loads(process.line())["quality"] == "good":
                pass
            again = ScriptedServer(Memory(), HOST, server.port)
            with Servers([again]):
                while json.loads(process.line())["quality"] != "good":
                    pass
                code, _, err, _ = process.end(signal.SIGINT)
    assert (code, err) == (0, "")
