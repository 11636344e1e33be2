"""The document's sequence: command source first, seen to be taken, then setpoints, and all given back."""

import asyncio
import signal

import pytest

from fluxfast.config import load
from fluxfast.station import Station
from fluxfast.watchdog import SiteLocks
from tests.support.command import PATIENCE_S, started
from tests.support.guarded import BEFORE, POWER, READS, READY, REMOTE, SOE, SOURCE, STATUS, Guarded


def order_of(device):
    """The writes of a device, and its reads of the command source."""
    return [
        one for one in device.seen
        if one.code not in READS or one.address <= SOURCE < one.address + one.values[0]
    ]  # fmt: skip


def check_sequence(unit, power):
    """Source, a poll that began after its answer, setpoints, 0, and the former source: nothing else."""
    seen = order_of(unit)
    writes = [(one.address, one.value) for one in seen if one.code not in READS]
    assert writes[0] == (SOURCE, REMOTE)
    assert writes[-2:] == [(POWER, 0), (SOURCE, BEFORE)]
    assert writes.count((SOURCE, REMOTE)) == writes.count((SOURCE, BEFORE)) == 1
    assert {value for address, value in writes[1:-2] if address == POWER} <= {0, power}
    taken = next(n for n, one in enumerate(seen) if one.code not in READS)
    commanded = next(n for n, one in enumerate(seen) if one.address == POWER and one.code not in READS)
    assert any(one.code in READS for one in seen[taken:commanded])


def test_command_source_is_taken_and_seen_before_the_first_setpoint_and_given_back(tmp_path):
    with Guarded(tmp_path, "127.72.10", units=3, power_kw=90) as site:

        async def script(run):
            await run.until(lambda: all(unit.registers.get(POWER) == 30 for unit in site.units))
            await run.ticks(3)

        run = site.run(script)
        for unit in site.units:
            check_sequence(unit, 30)
        assert site.all_given_back()
        assert run.messages == []


def test_a_source_that_does_not_show_gets_no_setpoint(tmp_path):
    """The write is answered well, and the register stays what it was."""
    with Guarded(tmp_path, "127.72.11", units=2, power_kw=60) as site:
        stubborn, good = site.units
        stubborn.answer = lambda code, address, values: (
            bytes([code, address >> 8, address & 255, 0, values[0]]) if code == 6 else None
        )

        async def script(run):
            await run.until(lambda: run.told("u1", "could not be taken", f"still shows {BEFORE}"))
            assert good.registers[POWER] == 60

        site.run(script)
        assert stubborn.written(POWER) == []
        assert set(stubborn.written(SOURCE)) == {REMOTE, BEFORE}


def test_an_exception_to_the_source_gets_no_setpoint_and_is_told(tmp_path):
    with Guarded(tmp_path, "127.72.12") as site:
        (unit,) = site.units
        unit.answer = lambda code, *_: bytes([0x86, 4]) if code == 6 else None

        async def script(run):
            await run.until(lambda: run.told("u1", "could not be taken", "failure"))
            unit.answer = lambda *_: None

        site.run(script)
        assert unit.written(POWER) == []
        assert len(unit.written(SOURCE)) > 2  # asked again every second, and given back


def test_a_unit_that_is_never_ready_gets_no_write_at_all(tmp_path):
    with Guarded(tmp_path, "127.72.13", units=2, power_kw=60) as site:
        asleep, awake = site.units
        asleep.registers[STATUS] = 3

        async def script(run):
            await run.until(lambda: awake.registers.get(POWER) == 60)
            await run.ticks(5)

        site.run(script)
        assert asleep.writes == []
        assert len(asleep.seen) > 5


def test_a_unit_becomes_ready_and_leaves_it_again(tmp_path):
    """It is told 0, the others take over its share, then it is left in peace until it is ready again."""
    with Guarded(tmp_path, "127.72.14", units=2, power_kw=60) as site:
        tired, other = site.units

        async def script(run):
            await run.until(lambda: tired.registers.get(POWER) == other.registers.get(POWER) == 30)
            tired.registers[STATUS] = 3
            await run.until(lambda: tired.registers[POWER] == 0 and other.registers[POWER] == 60)
            await run.ticks(1)
            before = len(tired.writes)
            await run.ticks(10)
            assert len(tired.writes) == before
            assert tired.writes[-1].value == 0
            tired.registers[STATUS] = READY
            await run.until(lambda: tired.registers[POWER] > 0 and other.registers[POWER] < 60)

        run = site.run(script)
        assert site.all_given_back()
        assert run.messages == []


def test_what_the_unit_itself_resets_is_no_foreign_write(tmp_path):
    with Guarded(tmp_path, "127.72.15") as site:
        (unit,) = site.units

        async def script(run):
            await run.until(lambda: unit.registers.get(POWER) == 30)
            unit.registers[STATUS], unit.registers[POWER] = 3, 0
            await run.ticks(5)
            unit.registers[STATUS] = READY
            await run.until(lambda: unit.registers[POWER] == 30)

        assert site.run(script).messages == []
        assert site.all_given_back()


def test_a_station_that_runs_twice_takes_its_units_twice(tmp_path):
    """``ticks`` may be iterated again; what others did in between is theirs."""
    with Guarded(tmp_path, "127.72.16") as site:
        (unit,) = site.units

        async def script(run):
            station = run.station
            await run.until(lambda: unit.registers.get(POWER) == 30)
            await run.again()
            assert site.all_given_back()
            unit.registers[SOURCE], unit.registers[POWER] = BEFORE + 1, 80
            await run.until(lambda: unit.registers[POWER] == 30)
            assert station.commander.in_charge

        run = site.run(script)
        assert unit.registers[POWER] == 0
        assert unit.registers[SOURCE] == BEFORE + 1
        assert run.messages == []


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGHUP", "duration"])
def test_a_run_gives_back_however_it_ends(tmp_path, how):
    with Guarded(tmp_path, "127.72.17", units=5, power_kw=100) as site:
        more = ["--duration", "4s"] if how == "duration" else []
        with started("run", site.file(), "--log", tmp_path / "log", "--json", *more) as process:
            while not all(unit.registers.get(POWER) == 20 for unit in site.units):
                process.line()
            if how == "duration":
                out, err = process.popen.communicate(timeout=20)
                code = process.popen.returncode
            else:
                code, out, err, _ = process.end(getattr(signal, how))
        assert (code, bytes(err, "utf-8") if isinstance(err, str) else err) == (0, b"")
        assert out
        assert site.all_given_back()
        for unit in site.units:
            check_sequence(unit, 20)
        assert not (tmp_path / "log" / "watchdog.jsonl").exists()


def test_a_unit_that_does_not_confirm_is_left_to_the_watchdog(tmp_path):
    """Its connection is dead at the end: the station does not wait for it, the watchdog goes on."""
    with Guarded(tmp_path, "127.72.18", units=2, power_kw=60) as site:
        deaf, good = site.units
        with started("run", site.file(), "--log", tmp_path / "log", "--json") as process:
            while not all(unit.registers.get(POWER) == 30 for unit in site.units):
                process.line()
            deaf.answer = lambda *_: b""
            process.popen.send_signal(signal.SIGTERM)
            process.popen.wait(PATIENCE_S)
            assert site.all_given_back([good])
            assert deaf.registers[POWER] == 30
            deaf.answer = lambda *_: None
            site.wait_for(lambda: site.all_given_back([deaf]))


def test_whoever_cancels_the_end_leaves_the_units_to_the_watchdog(tmp_path):
    with Guarded(tmp_path, "127.72.19", units=2, power_kw=60) as site:
        deaf, good = site.units
        watchdogs = []

        async def run(deafened):
            async with Station(load(site.file())) as station:
                watchdogs.append(station._watchdog)
                async for _ in station.ticks():
                    if deaf.registers.get(POWER) == good.registers.get(POWER) == 30:
                        deaf.answer = lambda code, *_: None if code in READS else b""
                        deafened.set()
                        break

        async def main():
            deafened = asyncio.Event()
            task = asyncio.create_task(run(deafened))
            await deafened.wait()
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        deaf.answer = lambda *_: None
        assert watchdogs[0].wait(PATIENCE_S) is not None
        assert site.all_given_back()
        SiteLocks([site.name], "test").close()


def test_full_and_empty_units_are_left_at_rest(tmp_path):
    with Guarded(tmp_path, "127.72.19", units=3, power_kw=60) as site:
        empty, full, half = site.units
        empty.registers[SOE], full.registers[SOE] = 4, 100

        async def script(run):
            await run.until(lambda: full.registers.get(POWER, 0) > half.registers.get(POWER, 0) > 0)
            await run.ticks(3)

        site.run(script)
        assert set(empty.written(POWER)) <= {0}
