"""``fluxfast scan`` and ``mbscan`` as users start them: what they print, save and end with."""

import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fluxfast.cli.scan import scan
from fluxfast.config import load
from tests.support.command import FLUXFAST, Process, device_rows, fluxfast, free_port, simulating, started
from tests.support.registers import held_by
from tests.support.scan_peers import Zoo, closes_at_once, device, exception, identity, silence

PORT = free_port("127.12.10.1")
SITE = f"""\
devices:
  bess:
    - {{id: b1, type: powerpack, modbus: {{host: 127.12.10.1, port: {PORT}}}}}
    - {{id: b2, type: powerpack, modbus: {{host: 127.12.10.2, port: {PORT}, address: 2}}}}
    - {{id: b3, type: powerpack, modbus: {{host: 127.12.10.2, port: {PORT}, address: 7}}}}
  meters:
    - {{id: m1, type: acuvim2, modbus: {{host: 127.12.10.3, port: {PORT}}}}}
    - {{id: m2, type: ./own.yaml, modbus: {{host: 127.12.10.4, port: {PORT}}}}}
"""
OWN = """\
title: Our own meter
points: {power: {address: 0, type: int16, unit: kW}}
"""
FOREIGN_SERVERS = Path(__file__).parents[1] / "support" / "python_server.py"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A simulated site: the folder of its file and of a profile of its own."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "site.yaml").write_text(SITE)
    (folder / "own.yaml").write_text(OWN)
    with simulating(folder / "site.yaml"):
        yield folder


def run(*args: object) -> Result:
    """Run ``fluxfast scan`` in this process."""
    return CliRunner().invoke(scan, list(map(str, args)))


def scanned(*args: object) -> tuple[list[dict[str, Any]], dict[str, Any], int]:
    """Scan with --json; return the results, the summary and the exit code."""
    done = run(*args, "--json")
    *results, summary = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["event"] for result in results] == ["result"] * len(results)
    assert summary["event"] == "summary"
    return results, summary, done.exit_code


def test_a_network_as_text(site: Path) -> None:
    done = run("127.12.10.0/28", "-p", PORT)
    assert done.exit_code == 0
    assert re.fullmatch(
        rf"scanning 16 addresses on port {PORT}, at most 2,000 connects/s: 1 s, up to 3 s where nobody"
        r" answers; only reads, one connection and one question at a time\n",
        done.stderr,
    )
    *rows, closing = done.stdout.splitlines()
    assert rows == [
        f"127.12.10.1:{PORT}  device   1  is PowerPack BESS (says so): profile powerpack",
        f"127.12.10.2:{PORT}  gateway     247 of 247 units asked",
        "                            2  is PowerPack BESS (says so): profile powerpack",
        "                            7  is PowerPack BESS (says so): profile powerpack",
        f"127.12.10.3:{PORT}  device   1  is Acuvim II meter (says so): profile acuvim2",
        f"127.12.10.4:{PORT}  device   1  fluxfast Our own meter 1",
    ]
    assert re.fullmatch(r"5 units at 4 ports, 12 closed; 16 connects, \d+ requests in \d\.\d s", closing)


def test_a_network_as_json(site: Path) -> None:
    results, summary, code = scanned("127.12.10.0/28", "-p", PORT, "--profiles", site)
    assert code == 0
    assert [(r["host"], r["verdict"], [u["unit"] for u in r["units"]]) for r in results] == [
        ("127.12.10.1", "device", [1]),
        ("127.12.10.2", "gateway", [2, 7]),
        ("127.12.10.3", "device", [1]),
        ("127.12.10.4", "device", [1]),
    ]
    assert results[0]["units"][0]["identification"] == {
        "vendor_name": "fluxfast",
        "product_code": "PowerPack BESS",
        "revision": "1",
    }
    assert results[3]["units"][0]["profiles"] == [{"profile": "own", "certain": True, "because": "says so"}]
    assert (summary["hosts"], summary["ports"], summary["done"], summary["units_found"]) == (16, 16, 16, 5)
    assert summary["verdicts"]["closed"] == 12
    assert summary["complete"]


@pytest.mark.long
def test_what_is_saved_is_a_site_that_runs(site: Path, tmp_path: Path) -> None:
    file = tmp_path / "found.yaml"
    done = run("127.12.10.0/28", "-p", PORT, "--profiles", site, "--save", file)
    assert done.exit_code == 0
    assert "saved 5 devices" in done.stderr
    checked = fluxfast("check", file)
    assert (checked.returncode, checked.stderr) == (0, "")
    devices = {(d.modbus.host, d.modbus.unit): (d.kind, d.profile.name) for d in load(file).devices}
    assert devices == {
        ("127.12.10.1", 1): ("bess", "powerpack"),
        ("127.12.10.2", 2): ("bess", "powerpack"),
        ("127.12.10.2", 7): ("bess", "powerpack"),
        ("127.12.10.3", 1): ("meter", "acuvim2"),
        ("127.12.10.4", 1): ("meter", "own"),
    }
    assert {one.control.action for one in load(file).sites} == {"observe"}
    ran = fluxfast("run", file, "--duration", "2s", "--log", tmp_path / "log", "--json")
    assert ran.returncode == 0
    for table, count in (("powerpack", 3), ("acuvim2", 1), ("own", 1)):
        rows = device_rows(tmp_path / "log", table)
        assert len(rows) == count
        assert {row["quality"] for device in rows.values() for row in device} == {"good"}

    before = file.read_text()
    again = run("127.12.10.0/28", "-p", PORT, "--save", file)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert file.read_text() == before
    assert run("127.12.10.1", "-p", PORT, "--save", file, "--force").exit_code == 0
    assert [device.modbus.host for device in load(file).devices] == ["127.12.10.1"]


def test_a_site_file(site: Path, tmp_path: Path) -> None:
    results, summary, code = scanned(site / "site.yaml")
    assert (code, summary["missing"]) == (0, 0)
    assert [r["devices"] for r in results] == [{"1": "b1"}, {"2": "b2", "7": "b3"}, {"1": "m1"}, {"1": "m2"}]

    other = tmp_path / "other.yaml"
    text = SITE
    for old, new in (
        ("./own.yaml", "acuvim2"), ("127.12.10.3", "127.12.10.33"), ("address: 7", "address: 9"),
        ("127.12.10.4", "no-such-host.invalid"),
    ):  # fmt: skip
        text = text.replace(old, new)
    other.write_text(text)
    done = run(other)
    assert done.exit_code == 1
    rows = [re.split(r"\s{2,}", line) for line in done.stdout.splitlines()[:-1]]
    assert rows == [
        [f"no-such-host.invalid:{PORT}", "unreachable", "host not found"],
        ["", "1", "m2", "missing"],
        [f"127.12.10.1:{PORT}", "device", "1", "b1", "is PowerPack BESS (says so): profile powerpack"],
        [f"127.12.10.2:{PORT}", "gateway", "247 of 247 units asked"],
        ["", "2", "b2", "is PowerPack BESS (says so): profile powerpack"],
        ["", "7", "is PowerPack BESS (says so): profile powerpack"],  # unconfigured
        ["", "9", "b3", "missing"],
        [f"127.12.10.33:{PORT}", "closed", "1", "m1", "missing"],
    ]


def test_mbscan_as_the_document_has_it(site: Path) -> None:
    done = fluxfast("mbscan", "-p", PORT, "127.12.10.0/28")
    assert done.returncode == 0
    assert done.stderr.startswith(f"mbscan: as fluxfast scan 127.12.10.0/28 --port {PORT} --timeout 0.4s\n")
    assert done.stdout.splitlines()[0].startswith(f"127.12.10.1:{PORT}  device   1  is PowerPack BESS")


def test_hosts_that_a_station_polls_are_left_alone(site: Path, tmp_path: Path) -> None:
    with started("run", site / "site.yaml", "--log", tmp_path / "log", "--json") as station:
        station.wait_for_ticks(2)
        results, summary, code = scanned("127.12.10.0/28", "-p", PORT)
        assert {r["verdict"] for r in results} == {"polled_here"}
        assert "station of site site" in results[0]["detail"]
        assert (len(results), summary["requests"], code) == (4, 0, 1)
        results, _, code = scanned("127.12.10.0/28", "-p", PORT, "--include-polled")
        assert [r["verdict"] for r in results] == ["device", "gateway", "device", "device"]
        station.end()


def test_nothing_found() -> None:
    with Zoo({("127.12.11.1", PORT): silence, ("127.12.11.2", PORT): closes_at_once}):
        results, summary, code = scanned("127.12.11.0/30", "-p", PORT, "-t", "50ms", "--all")
    assert code == 1
    assert [r["verdict"] for r in results] == ["closed", "silent", "busy", "closed"]
    assert summary["units_found"] == 0
    nothing = run("127.12.11.0/30", "-p", PORT, "--save", "nowhere.yaml")
    assert nothing.exit_code == 3
    assert "nothing to save" in nothing.stderr


@pytest.mark.long
def test_what_is_found_is_shown_when_it_is_interrupted() -> None:
    peers = {("127.12.12.1", PORT): device(identity("A", "B")), ("127.12.12.2", PORT): silence}
    command = [*FLUXFAST, "scan", "127.12.12.1-2", "-p", str(PORT), "-t", "9s", "--json"]
    with Zoo(peers) as zoo, Process(command) as process:
        assert process.popen.stderr is not None
        assert process.popen.stderr.readline().startswith(b"scanning 2 addresses")
        while not zoo.requests["127.12.12.2"]:  # the other one is known by then, or soon after
            time.sleep(0.05)
        time.sleep(0.5)
        code, out, _, took_s = process.end(signal.SIGINT)
    (result, summary) = [json.loads(line) for line in out.splitlines()]
    assert (result["host"], result["verdict"], code) == ("127.12.12.1", "device", 0)
    assert (summary["complete"], summary["done"]) == (False, 1)
    assert took_s < 5


@pytest.mark.parametrize(
    ("args", "cure"),
    [
        (["10.0.0.0/8"], "--large"),
        (["10.0.0.0/20", "-p", "502,503"], "--large"),
        (["10.0.0.1", "-x", "10.0.0.1"], "--exclude"),
        (["10.0.0.300"], "write 192.168.1.0/24"),
        (["10.0.0.1", "-p", "0"], "write 502"),
        (["10.0.0.1", "-u", "256"], "write 1-247"),
        (["10.0.0.1", "-t", "5"], "write one like 5s"),
        (["a.yaml", "10.0.0.1"], "scanned alone"),
        (["a.yaml", "-p", "502"], "leave --port out"),
        (["a.yaml"], "no such file"),
    ],
)
def test_wrong_input_is_a_line_with_its_cure(args: list[str], cure: str) -> None:
    done = run(*args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert cure in done.stderr.splitlines()[-1]


def test_a_name_that_is_none() -> None:
    done = run("no-such-host.invalid")
    assert (done.exit_code, done.stderr) == (
        3,
        "no-such-host.invalid: host not found (check the name, or give its address)\n",
    )


def test_the_last_step_that_is_allowed() -> None:
    asked = []

    def answer(pdu: bytes) -> bytes:
        asked.append(pdu[0])
        return exception(pdu, 1)

    with Zoo({("127.12.13.1", PORT): device(answer)}):
        scanned("127.12.13.1", "-p", PORT, "--max-step", "server-id")
        assert set(asked) == {43, 17}
        asked.clear()
        scanned("127.12.13.1", "-p", PORT, "--no-identify")
        assert set(asked) == {43, 17, 3, 4}
        assert len(asked) < 9


def test_servers_that_others_have_written(libmodbus: dict[str, Path], tmp_path: Path) -> None:
    commands = {
        "127.12.14.1": [sys.executable, str(FOREIGN_SERVERS), "pymodbus"],
        "127.12.14.2": [str(libmodbus["server"])],
        "127.12.14.3": [sys.executable, str(FOREIGN_SERVERS), "pyModbusTCP"],
    }
    with ExitStack() as stack:
        for number, (host, command) in enumerate(commands.items(), start=1):
            spec = tmp_path / f"{number}.txt"
            held_by(number).write_to(spec)
            quiet = ["sh", "-c", 'exec "$@" 2>/dev/null', "sh"]  # pymodbus tells at length what it refuses
            server = stack.enter_context(Process([*quiet, *command, host, str(PORT), str(spec)]))
            assert server.line() == "ready"
        results, _, _ = scanned("127.12.14.0/29", "-p", PORT)
    found = {r["host"]: (r["verdict"], [u["unit"] for u in r["units"]]) for r in results}
    assert found == {  # only the first tells its units apart
        "127.12.14.1": ("gateway", [1, 2, 3, 4]),
        "127.12.14.2": ("device", [1]),
        "127.12.14.3": ("device", [1]),
    }
    for result in results:
        assert result["units"][0]["profiles"][0]["profile"] == "powerpack"
        assert not result["units"][0]["profiles"][0]["certain"]
