"""``fluxfast top`` before a real station: what it shows at which size, its keys, its mouse, its ends."""

import asyncio
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
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from click.testing import CliRunner

from fluxfast.cli.group import cli
from fluxfast.config import load
from fluxfast.poller import Poller
from fluxfast.running import running_stations
from fluxfast.sim import Simulator
from fluxfast.view_socket import ViewSocket
from tests.support.command import FLUXFAST, PATIENCE_S, started
from tests.support.fleets import device, fleet, registers
from tests.support.operated import eventually

pytest.importorskip("textual", reason="no Textual here: pip install 'fluxfast[top]'")

from textual.widgets import Input

from fluxfast.top.app import TopApp
from fluxfast.top.detail import DetailScreen
from fluxfast.top.grid import Grid
from fluxfast.top.screens import ChoiceScreen, HelpScreen

SMALL, WIDE = (80, 24), (200, 50)
POWERED = """
poll: {{every: 200ms}}
log: {{dir: log}}
control:
  action: shadow
  modes: [{{type: fixed_power, name: some, power_kw: 12}}]
sites:
  - site: top-north
    devices:
      bess:
        - {{id: "n{{n}}", count: 12, type: powerpack, capacity_kwh: 400, rated_power_kw: 100,
           modbus: {{host: 127.83.12.1, port: 15020}}}}
  - site: top-south
    control: {{action: observe}}
    devices:
      bess:
        - {{id: "s{{n}}", count: 3, type: powerpack, capacity_kwh: 400, rated_power_kw: 100,
           modbus: {{host: 127.83.12.101, port: 15020}}}}
        {more}
"""
MORE = """- {id: gone, type: powerpack, capacity_kwh: 400, rated_power_kw: 100,
           modbus: {host: 127.83.12.99}}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site file of 16 devices; the last of them is not there."""
    folder = tmp_path_factory.mktemp("topped")
    simulated, file = folder / "simulated.yaml", folder / "site.yaml"
    simulated.write_text(POWERED.format(more=""))
    file.write_text(POWERED.format(more=MORE))
    simulator = Simulator(load(simulated), seed=1)
    with simulator.running():
        for n in range(1, 13):
            simulator.set_value(f"n{n}", "soe", 20 + n)
        yield file


@pytest.fixture(scope="module")
def pid(site):
    with started("run", site, "--json") as run:
        run.wait_for_ticks(3)
        yield run.popen.pid
        _, out, err, _ = run.end()
        assert err == ""
        assert json.loads(out.splitlines()[-1])["devices_bad"] == 1


@asynccontextmanager
async def watched(pid, size=SMALL, **options):
    """Run the app before a station until its devices are on the screen."""
    app = TopApp(lambda: [one for one in running_stations() if one.pid == pid], 0.1, **options)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: re.search(r"^\+ n1 ", shown(app), re.MULTILINE))
        yield app, pilot


async def until(pilot, holds):
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"that never came:\n{shown(pilot.app)}"
        await pilot.pause(0.05)


def lines(app):
    """Return the screen as its user sees it."""
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip).rstrip() for strip in strips]


def shown(app):
    return "\n".join(lines(app))


def devices(app):
    """Return the ids of the devices on the screen, from the top."""
    below = lines(app)[app.query_one("#devices", Grid).region.y + 1 :]
    return [found[1] for line in below if (found := re.match(r"[+~!] (\w+) ", line))]


def run(test):
    asyncio.run(test())


@pytest.mark.parametrize(("size", "more"), [(SMALL, []), (WIDE, ["profile", "endpoint", "shows kW"])])
def test_what_fits_is_shown(pid, size, more):
    async def test():
        async with watched(pid, size) as (app, _):
            head = next(line for line in lines(app) if "device" in line and "latency" in line)
            for title in ("device", "site", "latency ms", "SOE %", "set kW", "why", *more):
                assert title in head
            assert ("endpoint" in head) == bool(more)
            assert max(map(len, lines(app))) <= size[0]
            assert devices(app) == [*(f"n{n}" for n in range(1, 13)), "s1", "s2", "s3", "gone"]
            assert re.search(r"^! gone +top-south .* connection refused$", shown(app), re.MULTILINE)
            assert re.search(r"^\+ n1 +top-north .* 21\.0 +\d\.0 +0\.0", shown(app), re.MULTILINE)

    run(test)


def test_the_header_counts_the_devices(pid):
    async def test():
        async with watched(pid) as (app, pilot):
            await until(pilot, lambda: "15 good   0 uncertain   1 bad   links 15/16" in shown(app))
            assert f"2 sites   site.yaml   process {pid}" in lines(app)[0]
            assert re.search(r"[1-9]\d* readings/s", shown(app))

    run(test)


def test_sorted_by_key_and_by_mouse_and_back(pid):
    async def test():
        async with watched(pid) as (app, pilot):
            await pilot.press("greater_than_sign")  # by quality: the worst first
            assert devices(app)[0] == "gone"
            await pilot.press("r")
            assert devices(app)[-1] == "gone"
            grid = app.query_one("#devices", Grid)
            at = lines(app)[grid.region.y].index("SOE")
            await pilot.click(offset=(at, grid.region.y))
            await until(pilot, lambda: "▲SOE" in shown(app))
            by_soe = [id_ for id_ in devices(app) if id_.startswith("n")]
            assert by_soe == [f"n{n}" for n in range(1, 13)]
            assert devices(app)[-1] == "gone", "what has no value comes last"
            await pilot.click(offset=(at, grid.region.y))
            await until(pilot, lambda: "▼SOE" in shown(app))
            by_soe = [id_ for id_ in devices(app) if id_.startswith("n")]
            assert by_soe == [f"n{n}" for n in range(12, 0, -1)]
            assert devices(app)[-1] == "gone"

    run(test)


def test_the_cursor_stays_on_its_device(pid):
    async def test():
        async with watched(pid) as (app, pilot):
            grid = app.query_one("#devices", Grid)
            await pilot.press("down", "down", "down")
            assert app.devices.name(grid.row) == "n4"
            await pilot.press("greater_than_sign", "r", "greater_than_sign", "r")  # by device, backwards
            assert devices(app)[0] == "s3"
            await pilot.pause(0.5)
            assert app.devices.name(grid.row) == "n4"
            await pilot.press("home")
            assert app.devices.name(grid.row) == "s3"
            await pilot.press("end", "up")
            assert app.devices.name(grid.row) == "n1"

    run(test)


def test_filtered_as_it_is_typed(pid):
    async def test():
        async with watched(pid) as (app, pilot):
            await pilot.press("slash", *"n1")
            await until(pilot, lambda: devices(app) == ["n1", "n10", "n11", "n12"])
            assert 'filter "n1": 4' in shown(app)
            await pilot.press("space", *"SOU")
            assert devices(app) == []
            await pilot.press("escape")
            await until(pilot, lambda: len(devices(app)) == 16)
            assert not app.query_one(Input).has_class("open")
            await pilot.press("slash", *"fused", "enter")
            await until(pilot, lambda: devices(app) == ["gone"])

    run(test)


def test_a_filter_and_an_order_from_the_start(pid):
    async def test():
        async with watched(pid, filter_="north", sort="soe_pct") as (app, _):
            assert "▲SOE" in shown(app)
            assert devices(app) == [f"n{n}" for n in range(1, 13)]

    run(test)


@pytest.mark.parametrize("size", [SMALL, WIDE])
def test_one_device_and_back(pid, size):
    async def test():
        async with watched(pid, size) as (app, pilot):
            await pilot.press("down", "enter")
            assert isinstance(app.screen, DetailScreen)
            await until(pilot, lambda: "◀─" in shown(app))
            text = shown(app)
            assert text.startswith("n2   127.83.12.2:15020 unit 1")
            assert "shadow: set " in text
            assert re.search(r"\+ soe +22 % .* 2026 +42027", text)
            assert re.search(r"\+ status +READY \(1\)", text)
            assert "read holding registers 2000 to 2028" in text
            assert ("07 d0" in text) == (size == WIDE)
            await pilot.press("tab", "up", "tab")
            await pilot.press("escape")
            await until(pilot, lambda: "n1" in devices(app))
            assert app.devices.name(app.query_one("#devices", Grid).row) == "n2"

    run(test)


def test_a_click_opens_a_device_that_says_why_it_is_bad(pid):
    async def test():
        async with watched(pid) as (app, pilot):
            y = max(y for y, line in enumerate(lines(app)) if line.startswith("! gone"))
            await pilot.click(offset=(5, y))
            await until(pilot, lambda: "link down: connection refused" in shown(app))
            assert "! bad: connection refused" in shown(app)
            assert re.search(r"next try in [\d.]+ s", shown(app))

    run(test)


def test_sites_and_the_devices_of_one(pid):
    async def test():
        async with watched(pid, WIDE) as (app, pilot):
            await pilot.press("tab")
            await until(
                pilot, lambda: re.search(r"\+ top-north +12 +12 +0 +0 some \(shadow\) +12\.0", shown(app))
            )
            assert re.search(r"! top-south +4 +3 +0 +1 observe", shown(app))
            await pilot.press("down", "enter")
            await until(pilot, lambda: devices(app) == ["s1", "s2", "s3", "gone"])
            assert "site top-south" in shown(app)
            await pilot.press("escape")
            await until(pilot, lambda: "top-north" in shown(app))
            await pilot.press("d")
            await until(pilot, lambda: len(devices(app)) == 16)

    run(test)


def test_paused_and_going_on(pid):
    async def test():
        async with watched(pid) as (app, pilot):
            await pilot.press("space")
            await until(pilot, lambda: "PAUSED" in lines(app)[0])
            await pilot.pause(0.3)
            before = shown(app)
            await pilot.pause(0.6)
            assert shown(app) == before
            await pilot.press("space")
            await until(pilot, lambda: shown(app) != before)
            assert "PAUSED" not in shown(app)

    run(test)


def test_resized(pid):
    async def test():
        async with watched(pid) as (app, pilot):
            await pilot.resize_terminal(*WIDE)
            await until(pilot, lambda: "endpoint" in shown(app))
            await pilot.resize_terminal(40, 12)
            await until(pilot, lambda: "endpoint" not in shown(app))
            assert max(map(len, lines(app))) <= 40
            assert devices(app)[0] == "n1"
            await pilot.press("end")
            assert devices(app)[-1] == "gone"

    run(test)


def test_help_and_back(pid):
    async def test():
        async with watched(pid) as (app, pilot):
            await pilot.press("question_mark")
            assert isinstance(app.screen, HelpScreen)
            await pilot.pause()
            assert "Nothing here writes to a device." in shown(app)
            await pilot.press("escape")
            assert not isinstance(app.screen, HelpScreen)

    run(test)


@asynccontextmanager
async def looked_on(folder, *names):
    """Let others look on at pollers that never begin to poll, one for each name of a site."""
    async with AsyncExitStack() as stack:
        for name in names:
            one = fleet(device(f"of_{name}", registers(0, 2), 1))
            one = replace(one, sites=(replace(one.sites[0], name=name),))
            await stack.enter_async_context(ViewSocket(Poller(one), folders=[folder]))
        yield


def test_of_several_stations_one_is_chosen(tmp_path):
    async def test():
        app = TopApp(lambda: running_stations([tmp_path]), 0.1)
        async with looked_on(tmp_path, "one", "other"), app.run_test(size=SMALL) as pilot:
            await until(pilot, lambda: isinstance(app.screen, ChoiceScreen))
            await until(pilot, lambda: "other, 1 endpoints" in shown(app))
            (second,) = (await asyncio.to_thread(running_stations, [tmp_path]))[1].sites
            await pilot.press("down", "enter")
            await until(pilot, lambda: devices(app) == [f"of_{second}"])

    run(test)


def test_a_station_that_ends_and_comes_again(tmp_path):
    async def test():
        app = TopApp(lambda: running_stations([tmp_path]), 0.1)
        async with app.run_test(size=SMALL) as pilot:
            await until(pilot, lambda: "looking for the station" in lines(app)[0])
            async with looked_on(tmp_path, "one"):
                await until(pilot, lambda: devices(app) == ["of_one"])
                await pilot.press("enter")
                await until(pilot, lambda: "never read" in shown(app))
            await pilot.press("escape")
            await until(pilot, lambda: "the station has ended: trying again" in lines(app)[0])
            async with looked_on(tmp_path, "one", "other"):
                await until(pilot, lambda: "trying again" not in lines(app)[0])
                assert devices(app) == ["of_one"], "the same, not another"

    run(test)


# ---- the command ----


def top(*arguments):
    return CliRunner().invoke(cli, ["top", *map(str, arguments)])


def test_printed_once(site, pid):
    done = top(site, "--once", "--sort", "quality")
    assert (done.exit_code, done.stderr) == (0, "")
    head, first, *rest = done.stdout.splitlines()
    assert head.split()[:3] == ["device", "site", "profile"]
    assert re.fullmatch(r"! gone +top-south powerpack 127\.83\.12\.99:502 .* connection refused", first)
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
        "endpoint": "127.83.12.1:15020", "unit": 1, "quality": "good", "reason": None, "latency_ms": 1,
        "age_s": 1, "soe_pct": 21, "power_kw": None, "shown_kw": 0, "setpoint_kw": 1, "in_use": True,
        "out_reason": None,
    }  # fmt: skip


def own_stations():
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return {int(line.split()[0]) for line in listed.splitlines() if "fluxfast.top.own" in line}


def test_where_none_runs_one_is_started_that_only_reads(site, tmp_path):
    file = tmp_path / "own.yaml"
    text = site.read_text().replace("top-", "own-").replace("action: shadow", "action: act")
    file.write_text(text.replace("power_kw: 12", "power_kw: 24"))
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
        (["--every", "10ms"], "100ms or less often"),
        (["--sort", "colour"], "'colour' is not one of"),
    ],
)
def test_wrong_arguments(site, pid, arguments, said):
    done = top(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr


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


def test_on_a_terminal_in_black_and_white(site, pid):
    terminal = Terminal("top", site, env={"NO_COLOR": "1"})
    terminal.wait_for("n12")
    os.write(terminal.master, b"q")
    assert terminal.end() == 0
    text = terminal.seen.decode(errors="replace")
    codes = {code for found in re.findall(r"\x1b\[([\d;]*)m", text) for code in found.split(";")}
    assert codes <= {"", "0", "1", "2", "4", "7", "39", "49"}
    assert text.rstrip().endswith("l") or "\x1b[?1049l" in text, "the terminal is as it was"


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=LONG), pytest.param(signal.SIGHUP, marks=LONG)],
)
def test_a_station_of_its_own_ends_with_the_view(site, tmp_path, number):
    file = tmp_path / "own.yaml"
    file.write_text(site.read_text().replace("top-", "ended-"))
    before = own_stations()
    terminal = Terminal("top", file)
    terminal.wait_for("n12")
    (own,) = own_stations() - before
    terminal.popen.send_signal(number)
    terminal.end()
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
