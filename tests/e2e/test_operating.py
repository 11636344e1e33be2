"""Operating a station from the program that embeds it, and what `run` shows of control."""

import asyncio

import pytest

from fluxfast import FluxfastError
from fluxfast.cli.run import summary
from fluxfast.station import Station
from tests.support.command import PATIENCE_S, fluxfast
from tests.support.fleets import device, fleet, registers
from tests.support.operated import IDS, OTHER, eventually, operated


def test_an_emergency_stop_does_not_wait_for_the_next_tick(tmp_path):
    async def run(site):
        async with Station(site.file) as station:
            async for _ in station.ticks():
                if site.setpoints() == [2, 2, 2]:
                    break_at = station.ticks_done
                    station.emergency_stop(site.name)  # while the tick's own setpoints are on the wire
                    async with asyncio.timeout(10):
                        while station.commander.unconfirmed.size:
                            await asyncio.sleep(0.01)
                    assert site.setpoints() == [0, 0, 0]
                    assert station.ticks_done == break_at, "it took a tick"
                    break
            station.acknowledge(site.name)
        assert site.sources() == [OTHER] * 3

    with operated(tmp_path, "127.71.13.1", every="1s") as site:
        asyncio.run(run(site))


def test_unknown_names_are_told_with_the_nearest(tmp_path):
    with operated(tmp_path, "127.71.14.1", action="shadow") as site:
        station = Station(site.file)
        near = f"did you mean '{site.name}'"
        for operate in (station.emergency_stop, station.acknowledge):
            with pytest.raises(FluxfastError, match=near):
                operate(site.name + "x")
        with pytest.raises(FluxfastError, match=near):
            station.set_mode(site.name + "x", "some", True)
        with pytest.raises(FluxfastError, match=f"site {site.name}: .*did you mean 'some'"):
            station.set_mode(site.name, "soome", True)
        station.close()


def test_where_nothing_decides_nothing_is_operated():
    station = Station(fleet(device("a", registers(2000, 1), 15020)))
    with pytest.raises(FluxfastError, match="all only observe"):
        station.emergency_stop("site")
    station.close()


def test_a_stopped_shadow_decides_nothing_and_is_told(tmp_path):
    async def run(site):
        seen = []
        async with Station(site.file) as station:
            async for tick in station.ticks(2):
                if tick.number == 3:
                    station.emergency_stop(site.name)
                seen.append(station.status().control[0])
        return seen

    with operated(tmp_path, "127.71.15.1", action="shadow") as site:
        seen = asyncio.run(run(site))
        assert [one.setpoint_kw > 0 for one in seen] == [True] * 4 + [False] * 4
        assert (seen[-1].stopped, seen[-1].out[0].reason, seen[-1].limit) == (
            True,
            "stopped",
            "emergency stop",
        )
        assert site.setpoints() == [0, 0, 0]


def test_run_says_that_a_shadow_writes_nothing(tmp_path):
    with operated(tmp_path, "127.71.16.1", action="shadow") as site:
        done = fluxfast("run", site.file, "--duration", "2s")
        assert done.returncode == 0
        assert "some: target 6.0 kW, served 6.0 kW, unserved 0.0 kW | 3 of 3 units in use" in done.stdout
        assert "shadow: nothing is written" in done.stdout
        assert site.setpoints() == [0, 0, 0]
        assert site.sources() == [OTHER] * 3


def test_run_tells_what_was_given_back(tmp_path):
    with operated(tmp_path, "127.71.17.1") as site:
        done = fluxfast("run", site.file, "--duration", "2s")
        assert done.returncode == 0
        assert "3 units were told 0 and given back" in done.stdout


def test_units_that_do_not_answer_are_left_to_the_watchdog_and_named(tmp_path):
    async def run(site):
        async with Station(site.file) as station:
            async for _ in station.ticks():
                if site.setpoints() == [2, 2, 2]:
                    site.simulator.set_fault(IDS, "hang")
                    break
            watchdog = station._watchdog
        return station.status(), watchdog

    with operated(tmp_path, "127.71.18.1") as site:
        status, watchdog = asyncio.run(run(site))
        told = summary(status, site.log)
        assert "not given back, left to the watchdog, which stops them: b1, b2, b3" in told
        site.simulator.set_fault(IDS, None)
        eventually(lambda: site.setpoints() == [0, 0, 0] and site.sources() == [OTHER] * 3)
        watchdog.wait(PATIENCE_S)
