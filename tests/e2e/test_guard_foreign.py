"""The guard and others who command the same units: a unit that shows their word is left to them."""

import struct

import pytest

from fluxfast.control import reasons
from tests.support.guarded import BEFORE, LOST, POWER, READY, REMOTE, SOURCE, STATUS, Guarded


def kw(unit):
    return unit.registers.get(POWER, 0)


@pytest.mark.parametrize(
    ("address", "value", "code", "words"),
    [
        (SOURCE, 3, reasons.FOREIGN_SOURCE, "another has set its command source to 3"),
        (POWER, 80, reasons.FOREIGN_TARGET, "another has set its target power to 80 kW where we had 30"),
        (POWER, 0, reasons.FOREIGN_TARGET, "another has set its target power to 0 kW where we had 30"),
        (POWER, 0x10000 - 80, reasons.FOREIGN_TARGET, "target power to -80 kW where we had 30"),
    ],
)
def test_a_foreign_command_is_yielded_to_until_acknowledged(tmp_path, address, value, code, words):
    with Guarded(tmp_path, "127.72.30", units=2, power_kw=60, unit_control=", refresh: 1s") as site:
        taken, other = site.units

        async def script(run):
            columns = run.station.controller.columns.units
            await run.until(lambda: kw(taken) == kw(other) == 30)
            await run.ticks(7)  # nothing of ours changes meanwhile
            before = len(taken.writes)
            taken.registers[address] = value
            await run.until(lambda: run.told("u1", words))
            assert columns.usable[0] == code
            assert len(taken.writes) == before
            await run.until(lambda: kw(other) == 60)
            await run.ticks(12)  # longer than the refresh
            assert len(taken.writes) == before
            assert taken.registers[address] == value
            assert len(run.messages) == 1

            run.station.commander.acknowledge(0)
            await run.until(lambda: kw(taken) == kw(other) == 30 and taken.registers[SOURCE] == REMOTE)
            await run.ticks(5)
            assert len(run.messages) == 1

        site.run(script)
        assert kw(taken) == kw(other) == 0
        # Back to whom it was taken from: the one before us, or the one who came in between.
        assert taken.registers[SOURCE] == (value if address == SOURCE else BEFORE)


def test_what_was_yielded_stays_the_others_at_the_end(tmp_path):
    with Guarded(tmp_path, "127.72.31", units=2, power_kw=60) as site:
        taken, other = site.units

        async def script(run):
            await run.until(lambda: kw(taken) == kw(other) == 30)
            taken.registers.update({SOURCE: 3, POWER: 80})
            await run.until(lambda: run.told("u1", "command source"))

        site.run(script)
        assert (taken.registers[SOURCE], kw(taken)) == (3, 80)
        assert site.all_given_back([other])


def test_a_unit_that_was_ours_and_cannot_be_taken_again_is_not_told_0(tmp_path):
    """It has restarted for another, who commands it: its setpoint is that one's, also at the end."""
    with Guarded(tmp_path, "127.72.35") as site:
        (taken,) = site.units

        async def script(run):
            await run.until(lambda: kw(taken) == 30)
            taken.answer = lambda *_: LOST
            await run.ticks(7)
            taken.registers.update({SOURCE: BEFORE, POWER: 0})
            taken.answer = lambda code, address, values: (
                struct.pack(">BHH", code, address, *values) if (code, address) == (6, SOURCE) else None
            )
            await run.until(lambda: run.told("u1", "restarted"))
            taken.registers[POWER] = 55
            await run.until(lambda: run.told("u1", "could not be taken", f"still shows {BEFORE}"))
            await run.ticks(10)

        site.run(script)
        assert kw(taken) == 55


def test_a_unit_that_another_takes_while_it_restarts_is_left_to_that_one(tmp_path):
    """It comes up again, is not ready yet, and somebody sets it to local: no hand may come in between."""
    with Guarded(tmp_path, "127.72.36") as site:
        (unit,) = site.units

        async def script(run):
            await run.until(lambda: kw(unit) == 30)
            unit.answer = lambda *_: LOST
            await run.ticks(7)
            unit.registers.update({SOURCE: BEFORE, POWER: 0, STATUS: 0})
            unit.answer = lambda *_: None
            await run.until(lambda: run.told("u1", "restarted"))
            await run.ticks(3)
            unit.registers[SOURCE] = 3
            await run.until(lambda: run.told("u1", "another has set its command source to 3"))
            unit.registers[STATUS] = READY
            await run.ticks(5)
            assert unit.written(SOURCE) == [REMOTE]

        site.run(script)
        assert unit.written(SOURCE) == [REMOTE]


def test_a_foreign_setpoint_beyond_our_own_limits_is_seen_too(tmp_path):
    limits = "points: {target_power: {limits: [-100, 100]}}"
    with Guarded(tmp_path, "127.72.32") as site:
        text = site.file().read_text().replace("control: {rise", f"{limits}, control: {{rise")
        site.file = lambda: tmp_path / "limited.yaml"
        site.file().write_text(text)
        (unit,) = site.units

        async def script(run):
            await run.until(lambda: kw(unit) == 30)
            unit.registers[POWER] = 150
            await run.until(lambda: run.told("u1", "target power to 150 kW"))

        site.run(script)
        assert kw(unit) == 150


def test_a_unit_that_shows_its_setpoints_late_is_not_another(tmp_path):
    """What it shows lags by three ticks, and the setpoint moves with every tick."""
    with Guarded(
        tmp_path, "127.72.33", power_kw=150, control=", limits: {unit_ramp_kw_per_s: 20}", poll="every: 100ms"
    ) as site:
        (unit,) = site.units
        history = [0]

        def late(code, address, values):
            if code != 3:
                history.append(values[0] if address == POWER else history[-1])
                return None
            shown = {**unit.registers, POWER: history[-4] if len(history) > 3 else 0}
            if address <= POWER:
                history.append(history[-1])
            held = b"".join(shown.get(address + n, 0).to_bytes(2, "big") for n in range(values[0]))
            return bytes([3, len(held)]) + held

        unit.answer = late

        async def script(run):
            await run.until(lambda: kw(unit) > 60)

        assert [message for message in site.run(script).messages if "another" in message] == []
        assert len(unit.written(POWER)) > 15


def test_a_unit_that_confirms_and_does_not_do_is_no_other_but_a_failure(tmp_path):
    with Guarded(tmp_path, "127.72.34", units=2, power_kw=60) as site:
        stubborn, good = site.units
        stubborn.answer = lambda code, address, values: (
            bytes([6, 7, 216, *values[0].to_bytes(2, "big")]) if (code, address) == (6, POWER) else None
        )

        async def script(run):
            await run.until(lambda: run.told("u1", "confirmed a setpoint of 30 kW and still shows 0"))
            await run.until(lambda: kw(good) == 60)
            assert not run.told("another")

        site.run(script)
        assert kw(stubborn) == kw(good) == 0
