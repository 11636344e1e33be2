"""A station that dies or hangs, in every way we can think of: its batteries are at 0 kW within 2 s.

The time is that of the battery's own record, and a promise (issue 4), so it is asserted.
"""

import os
import signal
import time

import pytest

from fluxfast.errors import FluxfastError
from fluxfast.watchdog import SiteLocks
from tests.support.batteries import POWER, SOURCE, Battery, echo, exception
from tests.support.fake_station import FakeStation, check_stopped
from tests.support.scripted import Servers


def batteries(network, **how):
    return [Battery(f"127.55.{network}.{number}", **how) for number in range(1, 6)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGTERM])
def test_a_station_that_is_killed(tmp_path, number):
    units = batteries(
        10, slots=1
    )  # there is no room for the sidecar before the station's connection is closed
    with Servers([unit.server for unit in units]), FakeStation(units, tmp_path) as station:
        began = time.monotonic()
        os.kill(station.popen.pid, number)
        assert station.wait() == -number
        station.await_sidecar()
        what = f"station {station.popen.pid} ended without a goodbye"
        assert station.outcomes()[-1]["what"] == what
    check_stopped(units, began)


@pytest.mark.parametrize("word", ["raise", "memory", "cpu", "close"])
def test_a_station_that_ends_by_itself(tmp_path, word):
    units = batteries(11, slots=1)
    with Servers([unit.server for unit in units]), FakeStation(units, tmp_path) as station:
        station.say(word)
        assert station.wait() != 0
        ended = time.monotonic()
        station.await_sidecar()
    check_stopped(units, ended)


@pytest.mark.parametrize("word", ["raise", "close", "hang"])
def test_a_system_without_pidfds(tmp_path, word):
    units = batteries(19, slots=1)
    with (
        Servers([unit.server for unit in units]),
        FakeStation(units, tmp_path, hang_s=1, pidfd=False) as station,
    ):
        began = time.monotonic()
        station.say(word)
        assert station.wait() != 0
        station.await_sidecar()
    check_stopped(units, began)


def test_ill_devices_do_not_delay_the_others(tmp_path):
    async def silent(peer, request, number):
        return True

    async def busy(peer, request, number):
        await peer.send(exception(request, 6))
        return True

    async def reset(peer, request, number):
        peer.reset()
        return True

    async def half(peer, request, number):
        await peer.send(echo(request)[:8])
        return True

    well = batteries(18, slots=1)
    ill = [Battery(f"127.55.18.{100 + number}", slots=1) for number in range(20)]
    with Servers([unit.server for unit in (*ill, *well)]), FakeStation([*ill, *well], tmp_path) as station:
        for number, unit in enumerate(ill):
            unit.bad = (silent, busy, reset, half)[number % 4]
        began = time.monotonic()
        os.kill(station.popen.pid, signal.SIGKILL)
        while not all(unit.values(SOURCE) for unit in well):
            time.sleep(0.01)
        for unit in ill:
            unit.bad = None
        station.await_sidecar()
        assert station.outcomes()[-1]["outcome"].startswith("25 of 25 units at 0 kW")
    check_stopped(well, began)
    check_stopped(ill, began, within_s=30)


def test_a_station_that_hangs(tmp_path):
    units = batteries(12, slots=1)
    with Servers([unit.server for unit in units]), FakeStation(units, tmp_path, hang_s=0.5) as station:
        began = time.monotonic()
        station.say("hang")
        assert station.wait() == -signal.SIGKILL
        station.await_sidecar()
        assert " gave no sign of life for " in station.outcomes()[-1]["what"]
    check_stopped(units, began)


def test_a_station_that_is_suspended(tmp_path):
    units = batteries(13)
    with Servers([unit.server for unit in units]), FakeStation(units, tmp_path, hang_s=0.5) as station:
        began = time.monotonic()
        os.kill(station.popen.pid, signal.SIGSTOP)
        assert station.wait() == -signal.SIGKILL
        station.await_sidecar()
    check_stopped(units, began)


def test_both_suspended_and_woken_again_go_on(tmp_path):
    units = batteries(14)
    with Servers([unit.server for unit in units]), FakeStation(units, tmp_path, hang_s=1.5) as station:
        os.kill(station.popen.pid, signal.SIGSTOP)
        time.sleep(0.5)
        station.signal_sidecar(signal.SIGSTOP)
        time.sleep(2)
        station.signal_sidecar(signal.SIGCONT)
        time.sleep(0.3)
        os.kill(station.popen.pid, signal.SIGCONT)
        time.sleep(0.5)
        station.say("goodbye")
        assert station.wait() == 0
        station.await_sidecar()
        assert not station.report.exists()
    assert all(0 not in unit.values(POWER) for unit in units)


def test_a_goodbye_leaves_the_batteries_to_the_next_station(tmp_path):
    units = batteries(15)
    with Servers([unit.server for unit in units]), FakeStation(units, tmp_path) as station:
        station.say("goodbye")
        assert station.wait() == 0
        station.await_sidecar()
        SiteLocks(["Plant-7"], "plant.yaml", [tmp_path / "locks"]).close()
    assert all(0 not in unit.values(POWER) and unit.values(SOURCE) == [] for unit in units)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_station_that_loses_its_watchdog_stops_by_itself(tmp_path, number):
    units = batteries(16)
    with Servers([unit.server for unit in units]), FakeStation(units, tmp_path, hang_s=0.5) as station:
        station.signal_sidecar(number)
        assert station.line() == "watchdog lost"
        assert station.wait() == 0
        station.signal_sidecar(signal.SIGKILL)
    assert all(unit.values(POWER)[-1] == 0 for unit in units)


def refusal(folders):
    with pytest.raises(FluxfastError) as refused:
        SiteLocks(["Plant-7"], "other.yaml", folders)
    return str(refused.value)


def test_the_site_is_taken_until_its_units_are_stopped(tmp_path):
    async def silent_after_a_while(peer, request, number):
        return request.quantity == 0

    units = batteries(17)
    units.append(Battery("127.55.17.99", silent_after_a_while))
    with Servers([unit.server for unit in units]), FakeStation(units, tmp_path) as station:
        pid = station.popen.pid
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        station.wait()
        folders = [tmp_path / "locks"]
        line = refusal(folders)
        while line.startswith("site Plant-7 is controlled by"):  # at first its station is still named
            line = refusal(folders)
        assert line.startswith(f"site Plant-7: the watchdog of process {pid} (since ")
        units[-1].bad = None
        station.await_sidecar()
        SiteLocks(["Plant-7"], "other.yaml", folders).close()
    check_stopped(units[:-1], began)
    assert units[-1].values(POWER)[-1] == 0
