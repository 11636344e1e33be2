"""``fluxfast simulate`` as a user runs it: lines, exit codes, signals, and mbpoll on the other end."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fluxfast.config import Fleet
from tests.support.command import invoked
from tests.support.raw_modbus import Raw

Start = Callable[..., "subprocess.Popen[str]"]
COMMAND = [sys.executable, "-c", "from fluxfast.cli.simulate import simulate; simulate()"]
SITE = """
site: Plant-7
devices:
  bess:
    - {{id: b1, type: powerpack, modbus: {{host: 127.91.4.1, port: {port}}}}}
    - {{id: b2, type: powerpack, modbus: {{host: 127.91.4.2, port: {port}}}}}
  meters:
    - {{id: m1, type: acuvim2, role: grid, modbus: {{host: 127.91.4.3, port: {port}, address: 2}}}}
"""


@pytest.fixture
def start(fleet: Callable[[str], Fleet], port: int, tmp_path: Path) -> Iterator[Start]:
    """Start the command; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*options: str) -> "subprocess.Popen[str]":
        (tmp_path / "site.yaml").write_text(SITE.format(port=port))
        process = subprocess.Popen(
            [*COMMAND, str(tmp_path / "site.yaml"), *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ready_line_and_a_clean_end(start: Start, port: int, number: signal.Signals) -> None:
    process = start("--seed", "7")
    line = first_line(process)
    assert line == "simulating 3 devices (2 powerpack, 1 acuvim2) on 3 addresses, seed 7; Ctrl-C ends it\n"
    client = Raw("127.91.4.1", port)
    assert client.ask(bytes.fromhex("03 07D0 0001")).hex() == "03020001"
    process.send_signal(number)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0
    assert client.is_closed()
    client.close()


def test_json_lines(start: Start) -> None:
    process = start("--json", "--duration", "1500ms")
    out, errors = process.communicate(timeout=30)
    ready, *status = map(json.loads, out.splitlines())
    assert (process.returncode, errors) == (0, "")
    assert ready == {
        "event": "ready", "devices": 3, "types": {"powerpack": 2, "acuvim2": 1}, "addresses": 3, "seed": 1,
        "note": "",
    }  # fmt: skip
    assert status[0]["event"] == "status"
    assert status[0]["requests"] == status[0]["connections"] == 0


def told(folder: Path, text: str, *options: str) -> "subprocess.CompletedProcess[str]":
    (folder / "site.yaml").write_text(text)
    return invoked("simulate", folder / "site.yaml", *options)


def test_a_wrong_file_is_exit_2(port: int, tmp_path: Path) -> None:
    text = SITE.format(port=port).replace("127.91.4.2", "192.168.1.100")
    done = told(tmp_path, text.replace("acuvim2", "acuvim"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "acuvim" in done.stderr
    done = told(tmp_path, text)
    assert (done.returncode, done.stdout) == (2, "")
    assert "b2: modbus.host: 192.168.1.100 is not a loopback address" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_taken_port_is_exit_3(port: int, tmp_path: Path) -> None:
    with socket.create_server(("127.91.4.2", port)):
        done = told(tmp_path, SITE.format(port=port))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"cannot listen on 127.91.4.2:{port}: the port is in use")
    assert len(done.stderr.splitlines()) == 1


def test_devices_on_serial_lines_are_left_out(port: int, tmp_path: Path) -> None:
    serial = "    - {id: m2, type: acuvim2, modbus: {address: 1, baud: 9600, device: /dev/ttyS9}}\n"
    done = told(tmp_path, SITE.format(port=port) + serial, "--duration", "10ms")
    assert done.returncode == 0
    assert done.stdout.startswith("simulating 3 devices")
    assert done.stderr.endswith("simulate: 1 device on serial lines not simulated\n")


def test_mbpoll_reads_and_writes(start: Start, port: int) -> None:
    mbpoll = shutil.which("mbpoll")
    if mbpoll is None:
        pytest.skip("mbpoll is not installed (apt-get install mbpoll)")
    first_line(start())

    def run(host: str, *options: str) -> str:
        command = [mbpoll, "-q", "-m", "tcp", "-p", str(port), "-0", "-1", *options[:-1], host, options[-1]]
        command = [word for word in command if word]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    assert "[2000]: \t1" in run("127.91.4.1", "-a", "1", "-r", "2000", "-c", "29", "")
    assert "Written 1 references" in run("127.91.4.1", "-a", "1", "-r", "2008", "65486")
    assert "[2008]: \t65486 (-50)" in run("127.91.4.1", "-a", "1", "-r", "2008", "")
    volts = run("127.91.4.3", "-a", "2", "-r", "0", "-t", "4:float", "-B", "")
    assert 220 < float(volts.split("[0]:")[1].split()[0]) < 240


def test_the_devices_stay_when_nobody_reads_the_output(start: Start, port: int) -> None:
    process = start("--json")
    assert first_line(process)
    assert process.stdout is not None
    process.stdout.close()
    time.sleep(2.5)  # two status lines
    client = Raw("127.91.4.1", port)
    assert client.ask(bytes.fromhex("03 07d0 0001"))
    client.close()
