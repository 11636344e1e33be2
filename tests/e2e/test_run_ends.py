"""However ``fluxfast run`` is ended, what was read is on the disk."""

import json
import os
import pty
import signal
import subprocess
import time

import pytest

from tests.support.command import FLUXFAST, PATIENCE_S, read_log, started
from tests.support.scripted import serving, well_behaved


@pytest.fixture
def site(tmp_path):
    """A site of one device that answers and one that never does: a tick lasts until its deadline."""

    async def mute(peer):
        while True:
            await peer.request()

    with serving(well_behaved) as good, serving(mute) as silent:
        file = tmp_path / "site.yaml"
        file.write_text(
            f"""
poll: {{every: 1s}}
log: {{dir: log}}
devices:
  bess:
    - {{id: a, name: A, type: powerpack, modbus: {{host: 127.0.0.1, port: {good.port}}}}}
    - {{id: b, name: B, type: powerpack, modbus: {{host: 127.0.0.1, port: {silent.port}}}}}
"""
        )
        yield file


def rows_said(output):
    return json.loads(output.splitlines()[-1])["rows_logged"]


def rows_kept(log):
    """Count the rows of the devices and the events; there must be some of the devices."""
    devices = len(read_log(log, "powerpack"))
    assert devices >= 4
    return devices + len(read_log(log, "events"))


def test_a_closed_terminal_ends_it_cleanly(site, tmp_path):
    with started("run", site, "--log", tmp_path / "log", "--json") as process:
        process.wait_for_ticks(2)
        code, out, err, _ = process.end(signal.SIGHUP)
    assert (code, err) == (1, "")
    assert rows_kept(tmp_path / "log") == rows_said(out)


def test_nohup_still_holds(site, tmp_path):
    command = ["nohup", *FLUXFAST, "run", str(site), "--log", str(tmp_path / "log"), "--duration", "2s"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (tmp_path / "log" / ".lock").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGHUP)
    assert len(read_log(tmp_path / "log", "powerpack")) == 4


def test_the_same_signal_twice_at_once_still_ends_it_cleanly(site, tmp_path):
    with started("run", site, "--log", tmp_path / "log", "--json") as process:
        process.wait_for_ticks(2)
        process.popen.send_signal(signal.SIGINT)
        time.sleep(0.02)
        _, out, err, _ = process.end(signal.SIGINT)
    assert err == ""
    assert rows_kept(tmp_path / "log") == rows_said(out)


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_it_needs_no_output(site, tmp_path, closed):
    command = " ".join([*FLUXFAST, "run", str(site), "--log", str(tmp_path / "log"), "--duration", "2s"])
    assert subprocess.run(f"{command} {closed}", shell=True, timeout=PATIENCE_S, check=False).returncode == 1
    assert len(read_log(tmp_path / "log", "powerpack")) == 4


def test_it_outlives_its_terminal(site, tmp_path):
    """The terminal's end closes its output; without a signal, as in a session of its own."""
    ours, terminal = pty.openpty()
    command = [*FLUXFAST, "run", str(site), "--log", str(tmp_path / "log"), "--duration", "3s"]
    with subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    ) as process:
        os.close(terminal)
        assert os.read(ours, 1000)
        os.close(ours)
    assert process.returncode == 1
    assert len(read_log(tmp_path / "log", "powerpack")) == 6
