"""``fluxfast bench``: tiny searches, on devices of its own and on a site's; and how it ends early."""

import json
import signal
import subprocess
import sys

import pytest

from fluxfast.cli.words import plural
from tests.support.command import invoked, started
from tests.support.operated import eventually
from tests.support.topped import plant, polled

METER = "devices: {meters: [{id: m1, type: acuvim2, modbus: {host: 127.83.23.1}}]}\n"
QUICK = ("--quick", "--every", "200ms", "--no-log")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Sixteen devices, of which one is not there."""
    with plant(tmp_path_factory.mktemp("benched"), "127.83.21") as site:
        text = site.read_text().replace("top-", "bench-").replace("action: shadow", "action: act")
        site.write_text(text)
        yield site


def told(done):
    """Return the trials and the summary of ``--json``."""
    *trials, summary = map(json.loads, done.stdout.splitlines())
    assert {trial["event"] for trial in trials} == {"trial"}
    assert summary["event"] == "summary"
    return trials, summary


def test_devices_of_its_own(tmp_path):
    done = invoked("bench", "--quick", "--every", "200ms", "--registers", 7, "--most", 8, "--json",
                   "--chart", tmp_path / "chart.png")  # fmt: skip
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        0,
        "trials of 3 s each, the last of 4 s; Ctrl-C ends it",
    )
    trials, summary = told(done)
    assert (trials[0]["devices"], trials[0]["registers"]) == (8, 7.0)
    holds = summary["holds"]
    assert {"event": "trial", **holds} in trials
    assert (holds["longer"], holds["held"], holds["every_ms"], holds["ticks"]) == (True, True, 200, 10)
    assert holds["links_up"] == holds["links"] == holds["devices"] <= 8
    assert 0 < holds["tick_p50_ms"] <= holds["tick_p99_ms"] <= holds["tick_max_ms"] < 200
    assert 0 < holds["cpu_percent"] < 100
    assert 0 < holds["simulator_percent"] < 100
    assert 20 < holds["memory_mb"] < 1000
    devices = plural(holds["devices"], "devices")
    cpu = f"{holds['cpu_percent']:.0f} % CPU"
    assert summary["sentence"] == f"this machine holds {devices} at 200 ms with 7 registers, at {cpu}"
    assert summary["complete"]
    assert summary["environment"]["cores"] > 0
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def source(site):
    return invoked("read", site, "n1", "command_source", "--json").stdout.split('"value"')[1].split(",")[0]


def test_a_sites_devices_are_only_read(site, tmp_path, monkeypatch):
    monkeypatch.setattr("fluxfast.bench.bench.PAUSE_S", 0.1)
    before = source(site)
    done = invoked("bench", site, "--quick", "--fastest", "200ms", cwd=tmp_path)
    assert done.returncode == 1, done.stderr  # one is left out
    lines = done.stdout.splitlines()
    assert lines[0] == "left out, as they do not answer: gone (connection refused)"
    assert lines[1].split()[:4] == ["devices", "period", "ms", "tick"]
    assert lines[2].split()[:2] == ["15", "200"]
    assert lines[-1].startswith("this machine holds 15 devices at "), done.stdout
    assert "chart: bench.png" in lines
    assert source(site) == before
    assert [file.name for file in tmp_path.iterdir()] == ["bench.png"]
    assert not (site.parent / "log").exists()


def test_what_a_station_polls_is_left_alone(tmp_path):
    with plant(tmp_path, "127.83.22") as site, polled(site) as pid:
        done = invoked("bench", site)
    assert done.returncode == 3
    assert f"is polled by the station of site top-north, top-south (process {pid})" in done.stderr
    assert "--include-polled" in done.stderr


def test_a_site_that_does_not_answer(tmp_path):
    site = tmp_path / "site.yaml"
    site.write_text(f"poll: {{every: 50ms}}\n{METER}")
    done = invoked("bench", site, "--quick", cwd=tmp_path)
    assert done.returncode == 3
    assert "none of the devices answers; m1: connection refused (see `fluxfast doctor" in done.stderr


def processes(parent):
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()[1:]]
    return {int(pid) for pid, ppid, args in rows if int(ppid) == parent and "fluxfast.bench." in args}


def is_running(pid):
    return subprocess.run(["ps", "-p", str(pid)], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(number):
    with started("bench", *QUICK, "--most", 2, "--no-chart") as bench:
        eventually(lambda: len(processes(bench.popen.pid)) == 2)
        children = processes(bench.popen.pid)
        code, out, err, _ = bench.end(number)
        eventually(lambda: not any(map(is_running, children)))
    if number != signal.SIGKILL:
        assert code == 1
        assert "interrupted: the limit is not known" in out
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--every", "1ms"], "a period is 10ms to 60s"),
        (["--registers", "0"], "0 is not in the range"),
        (["--most", "0"], "0 is not in the range"),
        (["--fastest", "50ms"], "--fastest and --include-polled are for a SITE"),
        (["SITE", "--most", "3"], "--most and --no-log are for a fleet of its own"),
        (["SITE", "--fastest", "1ms"], "a period is 10ms to 60s"),
        (["SITE", "--chart", "nowhere/x.png"], "there is no folder nowhere"),
        (["--chart", "x.png", "--no-chart"], "contradict each other"),
        (["missing.yaml"], "missing.yaml: no such file"),
        (["wrong.yaml"], "wrong.yaml:2: not valid YAML"),
    ],
)
def test_bad_input(tmp_path, arguments, message):
    (tmp_path / "SITE").write_text(METER)
    (tmp_path / "wrong.yaml").write_text("devices: [\n")
    done = invoked("bench", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_picture_of_the_users_own_stays(tmp_path):
    (tmp_path / "bench.png").write_bytes(b"mine")
    done = invoked("bench", cwd=tmp_path)
    assert done.returncode == 2
    assert "bench.png is not of an earlier bench (name another with --chart FILE)" in done.stderr
    assert (tmp_path / "bench.png").read_bytes() == b"mine"


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = invoked("bench", "--chart", "x.png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (3, "charts need matplotlib: pip install 'fluxfast[charts]'\n")
