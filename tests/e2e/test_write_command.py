"""``fluxfast write``: bounds, the question, frames, reading back, and never two writers."""

import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fluxfast.access.guard import refuse_commanded
from fluxfast.access.target import Unit
from fluxfast.errors import FluxfastError
from fluxfast.running import Running
from fluxfast.watchdog import SiteLocks
from tests.support.command import FLUXFAST, started
from tests.support.memory import Memory
from tests.support.scripted import ScriptedServer, Servers
from tests.support.tool import tool

HOST = "127.33.23.1"
PROFILE = """\
name: odd
points:
  power: {address: 10, type: int16, unit: kW, access: rw, limits: [-100, 100]}
  tenths: {address: 11, type: uint16, scale: 0.1, access: rw}
  mode: {address: 12, type: uint16, access: rw, states: {0: OFF, 3: ISLAND}}
  secret: {address: 13, type: uint16, access: wo}
  kept: {address: 14, type: uint16, access: rw, storage: flash}
  flags: {address: 15, type: uint16, bits: [0, 3], access: rw}
  soe: {address: 16, type: uint16}
  energy: {address: 20, type: uint32, access: rw}
  rare: {address: 22, type: int16, access: rw, not_implemented: [-32768]}
  relay: {register: coil, address: 3, type: bool, access: rw}
"""


@contextmanager
def serving(memory: Memory) -> Iterator[str]:
    server = ScriptedServer(memory, HOST)
    with Servers([server]):
        yield f"{HOST}:{server.port}"


@contextmanager
def a_site(folder: Path, memory: Memory, control: str = "") -> Iterator[Path]:
    server = ScriptedServer(memory, HOST)
    with Servers([server]):
        (folder / "odd.yaml").write_text(PROFILE)
        modbus = f"{{host: {HOST}, port: {server.port}, timeout: 1s}}"
        (folder / "site.yaml").write_text(
            f"site: access-{os.getpid()}\n{control}devices:\n  bess:\n"
            f"    - {{id: o1, name: Odd, type: ./odd.yaml, modbus: {modbus}}}\n"
            f"    - {{id: b1, name: BESS-01, type: powerpack, capacity_kwh: 400, rated_power_kw: 200,\n"
            f"       modbus: {{host: {HOST}, port: {server.port}, address: 2, timeout: 1s}}}}\n"
        )
        yield folder / "site.yaml"


@pytest.mark.parametrize(
    ("args", "pdu"),
    [
        (["2008=50"], "06 07 d8 00 32"),
        (["2008=-50"], "06 07 d8 ff ce"),
        (["0x7D8=0x32"], "06 07 d8 00 32"),
        (["2009=50", "--base", "1"], "06 07 d8 00 32"),
        (["2008=50", "--fc", "16"], "10 07 d8 00 01 02 00 32"),
        (["8=1,2,-3"], "10 00 08 00 03 06 00 01 00 02 ff fd"),
        (["8=1.5,-2", "--type", "float32", "--order", "CDAB"], "10 00 08 00 04 08 00 00 3f c0 00 00 c0 00"),
        (["8=12.3", "--scale", "0.1"], "06 00 08 00 7b"),
        (["8=Ab, c", "--type", "string", "--length", "3"], "10 00 08 00 03 06 41 62 2c 20 63 00"),
        (["7=on", "--table", "coil"], "05 00 07 ff 00"),
        (["7=1,0,1", "--table", "coil"], "0f 00 07 00 03 01 05"),
        (["7=0", "--table", "coil", "--fc", "15"], "0f 00 07 00 01 01 00"),
    ],
)
def test_what_goes_over_the_wire_and_is_read_back(args: list[str], pdu: str) -> None:
    memory = Memory()
    with serving(memory) as place:
        dry = tool("write", place, *args, "--dry-run")
        assert memory.writes == []
        done = tool("write", place, *args, "--yes")
    frame = bytes.fromhex(pdu)
    assert (dry.code, done.code) == (0, 0)
    assert f"would be sent: 00 01 00 00 00 {len(frame) + 1:02x} 01 {pdu}\n" in dry.out
    assert memory.writes == [frame]
    assert "now" in done.out


def test_a_point_by_name_shows_old_and_new(tmp_path: Path) -> None:
    memory = Memory()
    memory.cells["holding"] = {10: 7}
    with a_site(tmp_path, memory) as site:
        done = tool(
            "write", site, "Odd", "power=-50", "mode=ISLAND", "secret=5", "kept=1", "relay=on", "--yes"
        )
        as_json = tool("write", site, "o1", "tenths=12.3", "--yes", "--json")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "power: 7 kW → -50 kW   Odd, holding address 10, reference 40011, function code 6"
    assert lines[2].startswith("secret: unknown (it is only written) → 5")
    assert "kept in flash" in lines[4]
    assert lines[-5:] == [
        "power (holding address 10, reference 40011): reads -50 kW now",
        "mode (holding address 12, reference 40013): reads ISLAND now",
        "secret (holding address 13, reference 40014): written; it cannot be read back",
        "kept (holding address 14, reference 40015): reads 1 now",
        "relay (coil address 3, reference 00004): reads 1 now",
    ]  # fmt: skip
    (row,) = as_json.rows
    assert [row[key] for key in ("old", "new", "reads", "outcome")] == [0.0, 12.3, 12.3, "held"]


@pytest.mark.parametrize(
    ("device", "item", "says"),
    [
        (
            "Odd",
            "power=101",
            "holding address 10, reference 40011: power cannot be '101': it may be -100 to 100",
        ),
        ("Odd", "power=0x7FFF", "it may be -100 to 100 kW"),
        ("Odd", "power=nan", "no finite number"),
        ("Odd", "power=inf", "no finite number"),
        ("Odd", "power=1e400", "it may be"),
        ("Odd", "power=1e-99999999", "no finite number"),
        ("Odd", "rare=-32768", "stands for no value"),
        ("Odd", "power=５", "no number"),
        ("Odd", "power=1_0", "no number"),
        ("Odd", "power=1.5", "write 1 or 2"),
        ("Odd", "tenths=-1", "uint16 holds 0 to"),
        ("Odd", "tenths=0.25", "steps of 0.1"),
        ("Odd", "mode=ISLA", "did you mean 'ISLAND'"),
        ("Odd", "flags=1", "write the whole register by its address"),
        ("Odd", "soe=1", "access: ro"),
        ("Odd", "pwr=1", "no point 'pwr'"),
        ("Odd", "power", "nothing to write"),
        ("Odd", "power=", "nothing to write"),
        ("Odd", "10=500", "write power=…"),
        ("Odd", "9=1,500", "write power=…"),
        ("Odd", "energy=1", ""),
        ("Od", "power=1", "did you mean 'Odd'"),
        ("BESS-01", "target_power=201", "rated ±200 kW"),
        ("BESS-01", "target_power=-200.5", "steps of 1"),
    ],
)
def test_what_must_not_be_written_is_refused_before_anything_is_sent(
    tmp_path: Path, device: str, item: str, says: str
) -> None:
    memory = Memory()
    with a_site(tmp_path, memory) as site:
        done = tool("write", site, device, item, "--yes")
    if not says:
        assert (done.code, memory.writes) == (0, [bytes.fromhex("10 00 14 00 02 04 00 00 00 01")])
        return
    assert done.code == 2
    assert says in done.err
    assert memory.requests == []


@pytest.mark.parametrize(
    "args",
    [
        ["5=1", "--table", "input"], ["5=1", "--table", "discrete"], ["5=1", "--unit", "0"],
        ["5=1,2", "--fc", "6"], ["5=1", "--fc", "5"], ["5=1", "--bit", "3"],
        ["65535=1,2"], ["5=" + ",".join(["1"] * 124)], ["soe=1"],
        ["5=2", "--table", "coil"], ["5=40000,-1"], ["5"], ["5=1", "5=2"],
        ["4=1,2", "5=2"], ["5=ä", "--type", "string", "--length", "2"],
    ],
)  # fmt: skip
def test_plain_addresses_are_refused_likewise(args: list[str]) -> None:
    memory = Memory()
    with serving(memory) as place:
        done = tool("write", place, *args, "--yes")
    assert (done.code, memory.requests) == (2, [])
    assert len(done.err.splitlines()) == 1


def test_without_anybody_to_ask_it_needs_yes() -> None:
    memory = Memory()
    with serving(memory) as place:
        done = tool("write", place, "5=1")
        command = [*FLUXFAST, "write", place, "5=1"]
        closed = subprocess.run(
            ["sh", "-c", 'exec "$@" <&-', "sh", *command], capture_output=True, text=True, timeout=20
        )
    assert (done.code, closed.returncode, memory.requests) == (2, 2, [])
    assert "--yes" in done.err
    assert done.err == closed.stderr


@pytest.mark.parametrize(("answer", "code", "writes"), [("y", 0, 1), ("", 1, 0)])
def test_on_a_terminal_it_asks_and_no_is_the_default(answer: str, code: int, writes: int) -> None:
    memory = Memory()
    with serving(memory) as place:
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [*FLUXFAST, "write", place, "5=9"], stdin=theirs, stdout=subprocess.PIPE
        ) as process:
            os.close(theirs)
            os.write(ours, f"{answer}\n".encode())
            out = process.communicate(timeout=20)[0].decode()
        os.close(ours)
    assert process.returncode == code
    assert "holding_5: 0 → 9" in out
    assert "Write? [y/N]" in out
    assert len(memory.writes) == writes


def test_a_unit_that_holds_something_else_is_a_finding() -> None:
    memory = Memory()
    memory.obeys = lambda word: min(word, 50)
    with serving(memory) as place:
        done = tool("write", place, "5=100", "--yes")
        as_json = tool("write", place, "5=100", "--yes", "--json")
    assert (done.code, as_json.code) == (1, 1)
    assert "holding_5 (holding address 5, reference 40006): told 100, and now it is 50" in done.out
    assert (as_json.rows[0]["outcome"], as_json.rows[0]["reads"]) == ("differs", 50)


def test_a_write_without_an_answer_is_sent_once_and_said_to_be_uncertain() -> None:
    memory = Memory()
    memory.answers_writes = False
    with serving(memory) as place:
        done = tool("write", place, "5=100", "6=7", "--yes", "--timeout", "300ms")
    assert done.code == 3
    assert len(memory.writes) == 1
    assert "may have been carried out" in done.err
    assert "now it is 100" in done.out
    assert "holding_6 (holding address 6, reference 40007): not written" in done.err


def test_what_the_unit_refuses_ends_the_rest() -> None:
    memory = Memory(holes={6})
    with serving(memory) as place:
        done = tool("write", place, "5=1", "6=7", "7=7", "--yes", "--json")
    assert done.code == 3
    assert [row["outcome"] for row in done.rows] == ["held", "failed", "left out"]
    assert memory.cells["holding"] == {5: 1}


def test_a_peer_that_closes_after_each_answer_is_written_to() -> None:
    memory = Memory()
    memory.closes_after_each = True
    with serving(memory) as place:
        assert tool("write", place, "5=1", "6=7", "--yes").code == 0
    assert memory.cells["holding"] == {5: 1, 6: 7}


def test_nobody_there_is_told_before_any_question() -> None:
    done = tool("write", f"{HOST}:1", "5=1", "--yes")
    assert done.code == 3
    assert done.err == (
        f"{HOST}:1 unit 1, holding address 5, reference 40006: connection refused; nothing was written "
        "(nothing listens there: check host and port, 502 is usual)\n"
    )
    assert "would be sent" in tool("write", f"{HOST}:1", "5=1", "--dry-run").out


ACT = "control: {action: act, modes: [{type: fixed_power, power_kw: 0}]}\n"


def test_a_site_that_a_station_controls_is_not_written_to(tmp_path: Path) -> None:
    memory = Memory()
    with a_site(tmp_path, memory, ACT) as site:
        (tmp_path / "odd.yaml").unlink()
        text = site.read_text()
        site.write_text("".join(line + "\n" for line in text.splitlines() if "id: o1" not in line))
        locks = SiteLocks([f"access-{os.getpid()}"], "plant.yaml")
        done = tool("write", site, "b1", "target_power=5", "--yes")
        locks.close()
        assert (done.code, memory.requests) == (3, [])
        assert f"is controlled by process {os.getpid()}" in done.err
        assert tool("write", site, "b1", "target_power=5", "--yes").code == 0
        assert memory.cells["holding"][2008] == 5


def test_a_unit_that_a_station_commands_is_not_written_to_under_any_name_of_its_host() -> None:
    station = Running(
        7,
        "plant.yaml",
        ("plant",),
        Path("s"),
        frozenset({("localhost", 502)}),
        frozenset({("localhost", 502, 1)}),
    )
    for host in ("localhost", "LOCALHOST", "127.0.0.1"):
        with pytest.raises(FluxfastError, match=r"commanded by the station of plant.yaml \(process 7\)"):
            refuse_commanded(Unit(host, 502, 1), [station])
    refuse_commanded(Unit("127.0.0.1", 502, 2), [station])
    refuse_commanded(Unit("127.0.0.1", 503, 1), [station])
    refuse_commanded(Unit("127.0.0.2", 502, 1), [station])


def test_ctrl_c_in_the_middle_of_a_write_says_what_nobody_knows() -> None:
    memory = Memory()
    memory.answers_writes = False
    with serving(memory) as place, started("write", place, "5=1", "--yes", "--timeout", "60s") as process:
        while not memory.writes:
            time.sleep(0.01)
        code, _, err, _ = process.end(signal.SIGINT)
    assert code == 3
    assert err.startswith("interrupted: the write may have been carried out")
    assert len(memory.writes) == 1
