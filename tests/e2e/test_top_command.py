"""The command ``fluxfast top``: what it prints, on which station, and how it ends on a real terminal."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time

import click
import pytest
from click.testing import CliRunner

from fluxfast.cli.group import cli
from fluxfast.running import running_stations
from tests.support.command import FLUXFAST
from tests.support.operated import eventually
from tests.support.topped import plant, polled


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with plant(tmp_path_factory.mktemp("topped"), "127.83.13") as site:
        yield site


@pytest.fixture(scope="module")
def pid(site):
    with polled(site) as pid:
        yield pid


def top(*arguments):
    return CliRunner().invoke(cli, ["top", *map(str, arguments)])


def test_printed_once(site, pid):
    done = top(site, "--once", "--sort", "quality")
    assert (done.exit_code, done.stderr) == (0, "")
    head, first, *rest = done.stdout.splitlines()
    assert head.split()[:3] == ["device", "site", "profile"]
    assert re.fullmatch(r"! gone +top-south powerpack 127\.83\.13\.99:502 .* connection refused", first)
    assert len(rest) == 15


def test_printed_as_json(site, pid):
    done = top(site, "--json", "--filter", "n1 north")
    assert (done.exit_code, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["station"]["pid"] == pid
    assert told["status"]["devices"] == 16
    assert [device["device"] for device in told["devices"]] == ["n1", "n10", "n11", "n12"]
    some = {"latency_ms": 1, "age_s": 1, "setpoint_kw": 1}
    assert told["devices"][0] | some == {
        "device": "n1", "name": "n1", "site": "top-north", "profile": "powerpack", "kind": "bess",
        "endpoint": "127.83.13.1:15020", "unit": 1, "quality": "good", "reason": None, "latency_ms": 1,
        "age_s": 1, "soe_pct": 21, "power_kw": None, "shown_kw": 0, "setpoint_kw": 1, "in_use": True,
        "out_reason": None,
    }  # fmt: skip


def own_stations():
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return {int(line.split()[0]) for line in listed.splitlines() if "fluxfast.top.own" in line}


def test_where_none_runs_one_is_started_that_only_reads(site, tmp_path):
    file = tmp_path / "own.yaml"
    text = site.read_text().replace("top-", "own-").replace("action: shadow", "action: act")
    file.write_text(text.replace("every: 200ms", "every: 1s"))  # patient: a machine may be busy
    before = own_stations()
    done = top(file, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    devices = json.loads(done.stdout)["devices"]
    assert [device["quality"] for device in devices] == ["good"] * 15 + ["bad"]
    assert {device["shown_kw"] for device in devices[:15]} == {0}, "nothing was written"
    assert {device["setpoint_kw"] for device in devices} == {None}
    assert not (tmp_path / "log").exists()
    assert own_stations() <= before


def test_where_nothing_runs_and_nothing_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr("fluxfast.cli.top.running_stations", lambda: running_stations([tmp_path]))
    done = top("--once")
    assert done.exit_code == 3
    assert done.stderr.count("\n") == 1
    assert "no station of yours runs here" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "this is no terminal: give --once for a table, or --json"),
        (["--every", "10ms"], "100ms to 30s"),
        (["--sort", "colour"], "'colour' is not one of"),
    ],
)
def test_wrong_arguments(site, pid, arguments, said):
    done = top(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def test_without_any_input_it_is_no_terminal(site, pid, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)  # as after `<&-`
    with pytest.raises(click.UsageError, match="no terminal"):
        cli.main(["top", str(site)], standalone_mode=False)


def test_a_site_file_that_is_wrong(tmp_path):
    done = top(tmp_path / "none.yaml", "--once")
    assert done.exit_code == 2
    assert "none.yaml" in done.stderr


class Terminal:
    """A command on a terminal of its own, 80 × 24."""

    def __init__(self, *arguments, env=None):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.popen = subprocess.Popen(
            [*FLUXFAST, *map(str, arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", **(env or {})},
        )
        os.close(slave)
        os.set_blocking(self.master, False)
        self.seen = b""

    def read(self):
        try:
            self.seen += os.read(self.master, 1 << 16)
        except (BlockingIOError, OSError):
            time.sleep(0.02)
        return self.seen.decode(errors="replace")

    def wait_for(self, text):
        eventually(lambda: text in self.read())

    def end(self):
        """Return its exit code; what it writes meanwhile is read."""
        eventually(lambda: (self.read(), self.popen.poll() is not None)[1])
        os.close(self.master)
        return self.popen.returncode


# The screen of before, a cursor, and a mouse that is the terminal's.
AS_IT_WAS = {"\x1b[?1049l", "\x1b[?25h", "\x1b[?1000l"}


@pytest.mark.long
def test_on_a_terminal_in_black_and_white(site, pid):
    terminal = Terminal("top", site, env={"NO_COLOR": "1"})
    terminal.wait_for("n12")
    os.write(terminal.master, b"?")
    terminal.wait_for("Nothing here writes")
    os.write(terminal.master, b"\x03")
    assert terminal.end() == 0
    text = terminal.seen.decode(errors="replace")
    codes = {code for found in re.findall(r"\x1b\[([\d;]*)m", text) for code in found.split(";")}
    assert codes <= {"", "0", "1", "2", "4", "7", "39", "49"}
    assert set(re.findall(r"\x1b\[\?\w+", text)) >= AS_IT_WAS


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=LONG), pytest.param(signal.SIGHUP, marks=LONG)],
)
@pytest.mark.long
def test_a_station_of_its_own_ends_with_the_view(site, tmp_path, number):
    file = tmp_path / "own.yaml"
    file.write_text(site.read_text().replace("top-", "ended-"))
    before = own_stations()
    terminal = Terminal("top", file)
    terminal.wait_for("n12")
    (own,) = own_stations() - before
    terminal.popen.send_signal(number)
    ended = terminal.end()
    if number == signal.SIGTERM:
        assert ended == 0
        assert set(re.findall(r"\x1b\[\?\w+", terminal.seen.decode(errors="replace"))) >= AS_IT_WAS
    eventually(lambda: own not in own_stations())
    assert not any(one.pid == own for one in running_stations())


@LONG
def test_a_station_of_its_own_that_is_killed_is_told(site, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(site.read_text().replace("top-", "dead-"))
    before = own_stations()
    terminal = Terminal("top", file)
    terminal.wait_for("n12")
    (own,) = own_stations() - before
    os.kill(own, signal.SIGKILL)
    terminal.wait_for("the station has ended")
    os.write(terminal.master, b"q")
    assert terminal.end() == 0


def test_without_textual_the_command_says_what_to_install(site, pid):
    program = (
        "import sys; sys.modules['textual'] = None; sys.argv = ['fluxfast', 'top', sys.argv[1]]\n"
        "from fluxfast.cli import main; main()"
    )
    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", program, str(site)], stdin=slave, stdout=slave, stderr=slave, check=False
    )
    text = os.read(master, 65536).decode()
    os.close(master)
    os.close(slave)
    assert done.returncode == 3
    assert "pip install 'fluxfast[top]'" in text
    assert "Traceback" not in text
