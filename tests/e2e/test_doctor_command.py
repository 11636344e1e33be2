"""`fluxfast doctor` as users start it: what it prints, its JSON, its exit codes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fluxfast.cli.doctor import doctor
from fluxfast.sim import Simulator
from tests.support.command import fluxfast, free_port
from tests.support.examined import BESS, HOST, at, site

PORT = free_port(f"{HOST}.1.1")
KEYS = {
    "object", "id", "name", "site", "type", "host", "port", "unit", "verdict", "points", "good", "address",
    "connect_ms", "round_trip_ms", "tick_ms", "safe_in_flight", "gain", "station", "findings",
}  # fmt: skip


def line(number: int, more: str = "") -> str:
    """Return a device at an address of its own."""
    where = at(number, PORT, timeout="300ms").replace(f"{HOST}.0.", f"{HOST}.1.")
    return f"b{number}: name: BESS-{number:02}, " + ", ".join(filter(None, (BESS, more, where)))


def run(folder: Path, told: str, *args: str, served: str | None = None, head: str = "") -> Result:
    with Simulator(site(folder, served or told, "served.yaml")).running():
        site(folder, told, head=head)
        return CliRunner().invoke(doctor, [str(folder / "site.yaml"), *args])


def test_all_is_well(tmp_path: Path) -> None:
    result = run(tmp_path, line(1) + "\n" + line(2))
    assert result.exit_code == 0
    assert "2 devices: all healthy; this machine is healthy" in result.output
    assert "b1" not in result.output


def test_each_device_with_all(tmp_path: Path) -> None:
    result = run(tmp_path, line(1) + "\n" + line(2), "--all")
    assert f"b1 BESS-01 ({HOST}.1.1:{PORT} unit 1)  healthy, 5 of 5 points, " in result.output
    assert "b2 BESS-02" in result.output


def test_what_many_have_is_told_once(tmp_path: Path) -> None:
    served = "\n".join(line(n, "quirks: {max_gap: 0}") for n in range(1, 8))
    result = run(tmp_path, "\n".join(line(n) for n in range(1, 8)), served=served)
    assert result.exit_code == 1
    assert "b5 BESS-05 and 2 more  ill: readable" in result.output
    assert result.output.count("quirks: {max_gap: 0}") == 1
    assert "7 devices: 0 healthy, 7 ill" in result.output


def test_some_devices_and_some_checks(tmp_path: Path) -> None:
    told, served = line(1) + "\n" + line(2), line(1, "quirks: {max_gap: 0}") + "\n" + line(2)
    assert run(tmp_path, told, "b2", served=served).exit_code == 0
    assert run(tmp_path, told, "BESS-01", served=served).exit_code == 1
    assert run(tmp_path, told, "--only", "scale", served=served).exit_code == 0


def test_json(tmp_path: Path) -> None:
    served = line(1, "quirks: {max_gap: 0}") + "\n" + line(2)
    result = run(tmp_path, line(1) + "\n" + line(2), "--json", served=served)
    objects: list[dict[str, Any]] = [json.loads(text) for text in result.output.splitlines()]
    assert [one["object"] for one in objects] == ["device", "device", "machine", "summary"]
    ill, well, machine, summary = objects
    assert set(ill) == set(well) == KEYS
    assert (ill["verdict"], well["verdict"], well["good"]) == ("ill", "healthy", 5)
    assert set(ill["findings"][0]) == {"check", "severity", "subject", "seen", "cure"}
    assert well["round_trip_ms"]["min"] <= well["round_trip_ms"]["median"] <= well["round_trip_ms"]["max"]
    assert machine["links"] == 2
    assert summary == {
        "object": "summary",
        "devices": 2,
        "healthy": 1,
        "doubtful": 0,
        "ill": 1,
        "exit_code": 1,
    }


def test_warnings_of_the_site_file_count(tmp_path: Path) -> None:
    result = run(tmp_path, line(1).replace("400", "4000"))
    assert result.exit_code == 1
    assert "site-file" in result.output
    assert "this machine is doubtful" in result.output


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["b9"], "no device 'b9'"),
        (["--only", "bite-order"], "did you mean 'byte-order'?"),
    ],
)
def test_wrong_input(tmp_path: Path, args: list[str], says: str) -> None:
    site(tmp_path, line(1))
    result = CliRunner().invoke(doctor, [str(tmp_path / "site.yaml"), *args])
    assert result.exit_code == 2
    assert says in result.output


def test_the_machine_alone_touches_no_device(tmp_path: Path) -> None:
    site(tmp_path, line(1))  # where nothing listens
    result = CliRunner().invoke(doctor, [str(tmp_path / "site.yaml"), "--only", "clock", "--only", "disk"])
    assert result.exit_code == 0
    assert "devices" not in result.output


def test_a_missing_site_file() -> None:
    ended = fluxfast("doctor", "there-is-none.yaml")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "there-is-none.yaml" in ended.stderr


def test_too_few_open_files(tmp_path: Path) -> None:
    site(tmp_path, line(1))
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60));"
        "from fluxfast.cli.doctor import doctor; doctor(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "site.yaml"), "--only", "open-files"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 1
    assert "need 65 open files; 60 are allowed" in ended.stdout
