"""The guard and several stations: one commands a site, others may look; and what follows a violent death."""

import os
import signal

from tests.support.command import fluxfast, started
from tests.support.guarded import LOST, POWER, READS, Guarded


def kw(unit):
    return unit.registers.get(POWER, 0)


def running(site, folder, file=None):
    return started("run", file or site.file(), "--log", folder, "--json")


def until_commanded(process, site, power=30):
    while not all(kw(unit) == power for unit in site.units):
        process.line()


def test_the_second_station_of_a_site_refuses_with_one_line(tmp_path):
    with Guarded(tmp_path, "127.72.60", units=2, power_kw=60) as site:
        file = site.file()
        with running(site, tmp_path / "first", file) as first:
            until_commanded(first, site)
            before = [len(unit.writes) for unit in site.units]
            second = fluxfast("run", file, "--log", tmp_path / "second", "--duration", "1s")
            assert second.returncode == 3
            assert second.stdout == ""
            (line,) = second.stderr.splitlines()
            assert f"site {site.name} is controlled by process {first.popen.pid} (since " in line
            assert line.endswith("site.yaml); stop it first")
            assert [len(unit.writes) for unit in site.units] == before
            assert first.end(signal.SIGTERM)[0] == 0
        assert site.all_given_back()


def test_others_may_look_while_one_acts(tmp_path):
    with Guarded(tmp_path, "127.72.61", units=2, power_kw=60) as site:
        with running(site, tmp_path / "acts") as acts:
            until_commanded(acts, site)
            for action in ("observe", "shadow"):
                file = site.file(f"{action}.yaml", action)
                looks = fluxfast("run", file, "--log", tmp_path / action, "--duration", "2s", "--json")
                assert (looks.returncode, looks.stderr) == (0, "")
            assert all(kw(unit) == 30 for unit in site.units)
            assert acts.end(signal.SIGTERM)[0] == 0
        assert site.all_given_back()


def test_after_a_kill_the_next_station_waits_for_the_watchdog(tmp_path):
    """One unit does not hear that: until it does, or it is given up, nobody else may command the site."""
    with Guarded(tmp_path, "127.72.62", units=3, power_kw=90) as site:
        deaf, *good = site.units
        file = site.file()
        with running(site, tmp_path / "log", file) as first:
            until_commanded(first, site)
            deaf.answer = lambda code, *_: None if code in READS else LOST
            os.kill(first.popen.pid, signal.SIGKILL)
            first.popen.wait()
            site.wait_for(lambda: site.all_given_back(good))
            second = fluxfast("run", file, "--log", tmp_path / "log", "--duration", "1s")
            assert second.returncode == 3
            assert f"site {site.name}: the watchdog of process {first.popen.pid} (since " in second.stderr
            assert second.stderr.endswith("is still stopping its units; try again in half a minute\n")
            deaf.answer = lambda *_: None
            site.wait_for(lambda: site.all_given_back())
        third = fluxfast("run", file, "--log", tmp_path / "log", "--duration", "2s", "--json")
        assert (third.returncode, third.stderr) == (0, "")
        assert site.all_given_back()
        assert all(unit.written(POWER).count(0) >= 2 for unit in site.units)


def test_a_station_whose_watchdog_dies_stops_its_units_and_says_so(tmp_path):
    with (
        Guarded(tmp_path, "127.72.63", units=2, power_kw=60) as site,
        running(site, tmp_path / "log") as process,
    ):
        until_commanded(process, site)
        children = f"/proc/{process.popen.pid}/task/{process.popen.pid}/children"
        with open(children) as file:
            (sidecar,) = map(int, file.read().split())
        os.kill(sidecar, signal.SIGKILL)
        site.wait_for(lambda: site.all_given_back())
        while "the watchdog has died: control ends, the units are told 0" not in process.line():
            pass
        before = [len(unit.writes) for unit in site.units]
        reads = len(site.units[0].seen)
        site.wait_for(lambda: len(site.units[0].seen) > reads + 10)  # it goes on reading
        assert [len(unit.writes) for unit in site.units] == before
        process.end(signal.SIGTERM)


def test_a_station_that_hangs_is_killed_and_its_units_are_stopped(tmp_path):
    with (
        Guarded(tmp_path, "127.72.64", units=2, power_kw=60, control=", hang: 1s") as site,
        running(site, tmp_path / "log") as process,
    ):
        until_commanded(process, site)
        os.kill(process.popen.pid, signal.SIGSTOP)
        assert process.popen.wait(20) == -signal.SIGKILL
        site.wait_for(lambda: site.all_given_back())


PCS = """\
name: pcs
points:
  status: {address: 2000, type: uint16, states: {1: READY}}
  target_power: {address: 2008, type: int16, unit: kW, access: rw}
  command_source: {address: 2010, type: int32, byte_order: DCBA, access: rw, states: {1: REMOTE}}
  soe: {address: 2026, type: uint16, unit: "%"}
control:
  {setpoint: target_power, soe: soe, ready: {status: READY}, source: {command_source: REMOTE}}
"""


def test_the_watchdog_gives_back_a_source_of_any_size_and_byte_order(tmp_path):
    (tmp_path / "pcs.yaml").write_text(PCS)
    with Guarded(tmp_path, "127.72.65", profile="./pcs.yaml") as site:
        (unit,) = site.units
        before = {2010: 0x0706, 2011: 0x05F4}  # little-endian: -0x0BFAF8F9
        unit.registers |= before
        with running(site, tmp_path / "log") as process:
            until_commanded(process, site)
            assert (unit.registers[2010], unit.registers[2011]) == (0x0100, 0)
            os.kill(process.popen.pid, signal.SIGKILL)
            site.wait_for(lambda: before.items() <= unit.registers.items())
            assert kw(unit) == 0


def test_the_site_that_may_hang_least_counts(tmp_path):
    with Guarded(tmp_path, "127.72.66", units=2, control=", hang: 1s") as site:
        text = site.file().read_text()
        unit = next(line for line in text.splitlines() if "id: u2" in line)
        (tmp_path / "patient.yaml").write_text(
            "control: {action: act, hang: 1m, modes: [{type: fixed_power, power_kw: 30}]}\n"
            f"devices:\n  bess:\n{unit}\n"
        )
        site.file().write_text(text.replace(f"{unit}\n", ""))
        with running(site, tmp_path / "log", tmp_path) as process:
            until_commanded(process, site)
            os.kill(process.popen.pid, signal.SIGSTOP)
            assert process.popen.wait(20) == -signal.SIGKILL
            site.wait_for(lambda: site.all_given_back())
