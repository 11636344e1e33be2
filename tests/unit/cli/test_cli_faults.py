"""What users do to commands by mistake: one line and an exit code; no traceback, nothing left behind."""

import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from fluxfast.cli.check import check
from tests.support.command import FLUXFAST, fluxfast, invoked

DEVICE = "devices: {{bess: [{{id: b1, type: {type}, modbus: {{host: 127.77.0.1, port: 5020}}}}]}}\n"


@pytest.mark.parametrize("taken", ["site.yaml", "log", pytest.param("chart.png", marks=pytest.mark.long)])
def test_demo_that_cannot_write(tmp_path: Path, taken: str) -> None:
    if taken == "log":
        (tmp_path / taken).touch()
    else:
        (tmp_path / taken).mkdir()
    result = invoked("demo", "--dir", tmp_path, "--duration", "0s")
    assert result.returncode == 3
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith(f"cannot {'log to' if taken == 'log' else 'write'} ")


def test_demo_in_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = invoked("demo", "--dir", tmp_path / "file" / "demo")
    assert result.returncode == 3
    assert result.stderr == f"cannot write {tmp_path}/file/demo/site.yaml: Not a directory\n"


def test_demo_leaves_the_users_site_file_alone(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("site: mine\n")
    result = invoked("demo", "--dir", tmp_path)
    assert result.returncode == 3
    assert "is not of an earlier demo" in result.stderr
    assert site.read_text() == "site: mine\n"


@pytest.mark.long
def test_demo_ends_its_simulator_when_the_terminal_goes(tmp_path: Path) -> None:
    command = [*FLUXFAST, "demo", "--dir", str(tmp_path / "a b"), "--duration", "25s"]
    demo = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert demo.stdout is not None
    while not demo.stdout.readline().startswith("simulating"):
        assert demo.poll() is None
    time.sleep(1.0)  # until it polls
    os.killpg(demo.pid, signal.SIGHUP)
    out, err = demo.communicate(timeout=15)  # returns only when the simulator has closed our stderr too
    assert demo.returncode in (0, 3)
    assert "Traceback" not in err
    assert demo.returncode == 3 or "simulate '" in out  # commands to copy quote the blank in the path


def test_a_negative_seed(tmp_path: Path) -> None:
    result = invoked("simulate", tmp_path / "s.yaml", "--seed", "-1")
    assert result.returncode == 2
    assert result.stderr.endswith("'--seed': -1 is not in the range x>=0.\n")


def test_nothing_to_poll(tmp_path: Path) -> None:
    (tmp_path / "wo.yaml").write_text("points: {a: {address: 1, type: uint16, access: wo}}\n")
    (tmp_path / "s.yaml").write_text(DEVICE.format(type="./wo.yaml"))
    result = invoked("run", "s.yaml", "--duration", "1s", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (3, "nothing to poll: every point is write-only\n")


def test_a_write_only_device_among_others(tmp_path: Path) -> None:
    (tmp_path / "wo.yaml").write_text("points: {a: {address: 1, type: uint16, access: wo}}\n")
    devices = "{id: b2, type: powerpack, modbus: {host: 127.77.0.2, port: 5020}}, {id: b1, type: ./wo.yaml"
    (tmp_path / "s.yaml").write_text(
        f"devices: {{bess: [{devices}, modbus: {{host: 127.77.0.1, port: 5020}}}}]}}\n"
    )
    result = invoked("run", "s.yaml", "--duration", "0s", cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stdout.splitlines()[-1] == "! b2 at 127.77.0.2:5020: connection refused"


def test_a_terminal_that_cannot_show_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    (tmp_path / "s.yaml").write_text("meter: {type: acuvim2, modbus: {baud: 9600}}\n")
    result = fluxfast("check", "s.yaml", cwd=tmp_path)
    assert result.returncode == 1
    assert "/dev/tty\\u2026" in result.stdout


def test_check_escapes_the_name_it_was_given() -> None:
    assert CliRunner().invoke(check, ["a\nb\x1b[31m"]).output.splitlines() == [
        "problem: a\\nb\\x1b[31m: no such file",
        "a\\nb\\x1b[31m: 1 problem",
    ]


def test_check_prints_json_on_one_line(tmp_path: Path) -> None:
    (line,) = CliRunner().invoke(check, ["--json", str(tmp_path)]).output.splitlines()
    assert json.loads(line)["exit_code"] == 2


@pytest.mark.parametrize(
    ("name", "value", "coloured"),
    [("NO_COLOR", "1", False), ("TERM", "dumb", False), ("TERM", "xterm", True)],
)
def test_terminals_without_colours(tmp_path: Path, name: str, value: str, coloured: bool) -> None:
    ours, theirs = pty.openpty()
    command = [*FLUXFAST, "plan", str(tmp_path / "nowhere.yaml")]
    env = {key: text for key, text in os.environ.items() if key != "NO_COLOR"} | {name: value}
    subprocess.run(command, stderr=theirs, env=env, check=False, timeout=30)
    assert (b"\x1b" in os.read(ours, 4096)) == coloured
    os.close(ours)
    os.close(theirs)
