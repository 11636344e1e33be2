"""``fluxfast top`` before a real station: what it shows at which size, its keys, its mouse, its ends."""

import asyncio
import re
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from fluxfast.poller import Poller
from fluxfast.running import running_stations
from fluxfast.view_socket import ViewSocket
from tests.support.command import PATIENCE_S
from tests.support.fleets import device, fleet, registers
from tests.support.topped import plant, polled

pytest.importorskip("textual", reason="no Textual here: pip install 'fluxfast[top]'")

from textual.widgets import Input

from fluxfast.top.app import TopApp
from fluxfast.top.detail import DetailScreen
from fluxfast.top.grid import Grid
from fluxfast.top.screens import ChoiceScreen, HelpScreen

SMALL, WIDE = (80, 24), (200, 50)


@pytest.fixture(scope="module")
def pid(tmp_path_factory):
    with plant(tmp_path_factory.mktemp("topped"), "127.83.12") as site, polled(site) as pid:
        yield pid


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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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
            await pilot.press("tab", "escape")
            assert not isinstance(app.screen, HelpScreen)
            assert devices(app), "no key reaches what is behind it"

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


@pytest.mark.long
def test_a_station_that_ends_and_comes_again(tmp_path):
    async def test():
        app = TopApp(lambda: running_stations([tmp_path]), 0.1)
        async with app.run_test(size=SMALL) as pilot:
            await until(pilot, lambda: "looking for the station" in lines(app)[0])
            async with looked_on(tmp_path, "one"):
                await until(pilot, lambda: devices(app) == ["of_one"])
                await pilot.press("enter")
                await until(pilot, lambda: "never read" in shown(app))
            await until(pilot, lambda: lines(app)[0].startswith(" the station has ended: trying again "))
            await pilot.press("escape")
            await until(pilot, lambda: "the station has ended: trying again" in lines(app)[0])
            async with looked_on(tmp_path, "one", "other"):
                await until(pilot, lambda: "trying again" not in lines(app)[0])
                assert devices(app) == ["of_one"], "the same, not another"

    run(test)
