"""The guard and the writes themselves: what became of them, how often they come, what they may hold."""

import asyncio
import itertools
import struct

import numpy as np
import pytest

from fluxfast.link import outcomes
from tests.support.guarded import BEFORE, LOST, POWER, REMOTE, SOURCE, Guarded


def kw(unit):
    return unit.registers.get(POWER, 0)


def lose_echo(unit, code, address, values):
    unit.registers[address] = values[0]
    return LOST


def exception(code):
    return lambda unit, *_: bytes([0x86, code])


BAD_ANSWERS = {
    **{f"exception {code}": exception(code) for code in (1, 2, 3, 4, 5, 6, 10, 11)},
    "another value": lambda unit, code, address, values: struct.pack(">BHH", code, address, values[0] + 1),
    "another address": lambda unit, code, address, values: struct.pack(">BHH", code, address + 1, *values),
    "no answer": lambda *_: LOST,
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_setpoint_without_a_good_answer_is_no_setpoint(tmp_path, name):
    """Two in a row and it is out of control: told 0, its share taken over, tried again after 10 s."""
    with Guarded(tmp_path, "127.72.40", units=2, power_kw=60) as site:
        bad, good = site.units

        def answer(code, address, values):
            if (code, address) == (6, POWER) and values[0] != 0:
                return BAD_ANSWERS[name](bad, code, address, values)
            return None

        async def script(run):
            bad.answer = answer
            await run.until(lambda: run.told("u1", "could not be written") and kw(good) == 60)
            assert 2 <= sum(value != 0 for value in bad.written(POWER)) <= 4
            before = len(bad.writes)
            await run.ticks(10)
            assert set(bad.written(POWER)[before:]) <= {0}
            assert kw(bad) == 0
            if name == "exception 4":  # once is enough: this takes 10 s
                bad.answer = lambda *_: None
                await run.until(lambda: kw(bad) == kw(good) == 30)
                assert bad.written(SOURCE) == [REMOTE, REMOTE]

        site.run(script)
        assert site.all_given_back()


def test_an_echo_that_is_lost_is_read_back_and_counts(tmp_path):
    """The unit has done it; reading its register shows that, so it stays in control."""
    with Guarded(
        tmp_path, "127.72.41", power_kw=60, poll="every: 500ms", timeout="100ms", unit_control=", refresh: 1s"
    ) as site:
        (unit,) = site.units
        unit.answer = lambda code, address, values: (
            lose_echo(unit, code, address, values) if (code, address) == (6, POWER) else None
        )

        async def script(run):
            states = run.station._write_states
            entry = run.station.controller.plan.setpoints[0]
            await run.until(lambda: states[entry]["n_ended"] >= 3)
            assert states[entry]["outcome"] == outcomes.CONFIRMED
            assert states[entry]["held"] == 60
            assert not run.told("could not be written")
            unit.answer = lambda *_: None

        site.run(script)
        assert site.all_given_back()


def test_an_unchanged_setpoint_is_written_again_every_refresh_and_only_by_ticks(tmp_path):
    with Guarded(tmp_path, "127.72.42", unit_control=", refresh: 1s") as site:
        (unit,) = site.units

        async def script(run):
            await run.until(lambda: len(unit.written(POWER)) >= 4, ticks=40)
            await asyncio.sleep(0.1)  # what was sent arrives
            count = len(unit.written(POWER))
            await asyncio.sleep(1.6)  # whoever iterates does something else: no tick, no decision, no write
            assert len(unit.written(POWER)) == count

        site.run(script)
        times = [one.time_s for one in unit.writes if one.address == POWER and one.value]
        assert len(set(unit.written(POWER)[:4])) == 1
        assert all(later - earlier > 0.75 for earlier, later in itertools.pairwise(times))


PCS = """\
name: pcs
points:
  status: {{address: 2000, type: uint16, states: {{1: READY}}}}
  target_power: {{address: 2008, type: {type}, unit: kW, access: rw}}
  command_source: {{address: 2012, type: uint16, states: {{1: REMOTE}}, access: rw, storage: flash}}
  soe: {{address: 2026, type: uint16, unit: "%"}}
  life: {{address: 3000, type: uint16, access: wo}}
control:
  setpoint: target_power
  soe: soe
  ready: {{status: [READY]}}
{control}
"""


def pcs(tmp_path, network, profile_control="", type_="float32", **how):
    (tmp_path / "pcs.yaml").write_text(PCS.format(type=type_, control=profile_control))
    return Guarded(tmp_path, network, profile="./pcs.yaml", **how)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("kind: count", [65533, 65534, 65535, 0, 1]),
        ("kind: toggle", [0, 1, 0, 1]),
        ("kind: constant, value: 7", [7, 7, 7]),
    ],
)
def test_heartbeats_come_from_decisions_only(tmp_path, kind, values):
    control = f"  heartbeat: {{point: life, {kind}, every: 100ms}}"
    with pcs(tmp_path, "127.72.43", control) as site:
        (unit,) = site.units

        async def script(run):
            run.station.commander._beats[:] = values[0]  # where 65,535 decisions would have brought it
            await run.until(lambda: len(unit.written(3000)) >= len(values))
            unit.registers[2000] = 3
            await run.until(lambda: run.station.controller.columns.units.usable[0] != 0)
            count = len(unit.written(3000))
            await run.ticks(4)
            assert len(unit.written(3000)) == count  # no decision for it, no heartbeat
            unit.registers[2000] = 1
            await run.until(lambda: len(unit.written(3000)) > count)
            await asyncio.sleep(0.1)  # what was sent arrives
            count = len(unit.written(3000))
            await asyncio.sleep(0.8)
            assert len(unit.written(3000)) == count  # no tick, no heartbeat

        site.run(script)
        beats = [one.values[0] for one in unit.writes if one.address == 3000]
        assert beats[: len(values)] == values
        first = next(n for n, one in enumerate(unit.writes) if one.address == 3000)
        assert any(one.address == POWER for one in unit.writes[:first])


SLOW = """\
import time

import numpy as np


def slow(view):
    if view.soe_pct[0] < 40:
        time.sleep(0.6)
    return np.full(len(view.soe_pct), 30.0)
"""


def test_a_mode_that_takes_too_long_leaves_no_setpoint_behind(tmp_path):
    """What it decides can never be sent: its units are told 0, and nothing feeds their own watchdogs."""
    (tmp_path / "mode.py").write_text(SLOW)
    control = "  heartbeat: {point: life, every: 100ms}"
    how = {"modes": "[{type: python, function: 'mode.py:slow'}]", "control": ", hang: 10s"}
    with pcs(tmp_path, "127.72.53", control, "int16", **how) as site:
        (unit,) = site.units

        async def script(run):
            await run.until(lambda: kw(unit) == 30 and unit.written(3000))
            unit.registers[2026] = 39
            await run.until(lambda: kw(unit) == 0)
            count = len(unit.written(3000))
            await run.ticks(3)
            assert (kw(unit), len(unit.written(3000))) == (0, count)
            (out,) = run.station.status().control[0].out
            assert out.reason == "stale"
            unit.registers[2026] = 50
            await run.until(lambda: kw(unit) == 30)

        site.run(script)


def test_a_float_setpoint_that_no_float_holds_is_written_once(tmp_path):
    """33.3 is not a float32; nor is a rated power of 200.1, which must not make full power impossible."""
    with pcs(tmp_path, "127.72.44", power_kw=33.3) as site:
        (unit,) = site.units

        async def script(run):
            await run.until(lambda: unit.written(POWER))
            await run.ticks(10)
            assert len(unit.written(POWER)) == 1

        assert site.run(script).messages == []
    with pcs(tmp_path, "127.72.45", power_kw=5000) as site:
        (unit,) = site.units
        text = site.file().read_text().replace("rated_power_kw: 200", "rated_power_kw: 200.1")
        site.file = lambda: tmp_path / "rated.yaml"
        site.file().write_text(text)

        async def script(run):
            await run.until(lambda: unit.written(POWER))
            await run.ticks(3)
            assert site.power_kw(unit) == pytest.approx(200.1, rel=1e-6)
            assert site.power_kw(unit) <= 200.1

        assert site.run(script).messages == []


def test_a_register_in_flash_is_written_a_few_times_in_a_run(tmp_path):
    """Command source, when it cannot be taken: not once a second for a year."""
    control = "  source: {command_source: REMOTE}\n  refresh: 1s"
    with pcs(tmp_path, "127.72.46", control) as site:
        (unit,) = site.units
        unit.registers[2012] = BEFORE

        async def script(run):
            reactor = run.station.reactor
            entry = np.array([run.station.controller.plan.sources[0]], np.int32)
            await run.until(lambda: unit.written(POWER))
            for _ in range(20):
                reactor.write(entry, np.ones(1), np.full(1, reactor.now_ns() + 10**9))
                await run.ticks(1)

        site.run(script)
        ours = [value for value in unit.written(2012) if value == REMOTE]
        assert len(ours) == 10
        assert unit.registers[2012] == BEFORE  # by the watchdog


def test_setpoints_come_no_faster_than_ticks_but_a_0_at_once(tmp_path):
    with Guarded(tmp_path, "127.72.47") as site:
        (unit,) = site.units

        async def script(run):
            reactor, states = run.station.reactor, run.station._write_states
            entry = run.station.controller.plan.setpoints[:1]
            await run.until(lambda: kw(unit) == 30)
            await run.ticks(2)

            def write(value):
                accepted = reactor.write(entry, np.array([value]), np.full(1, reactor.now_ns() + 10**9))
                return accepted, outcomes.REFUSALS[states[entry[0]]["refusal"]]

            assert write(40.0) == (1, "")
            assert write(50.0) == (0, "too soon after the last one")
            assert write(0.0) == (1, "")
            for value, why in ((np.nan, "not a number"), (np.inf, "not a number"), (200.6, "its bounds")):
                accepted, refusal = write(value)
                assert accepted == 0
                assert why in refusal
            accepted, refusal = (
                reactor.write(entry, np.array([5.0]), np.array([reactor.now_ns()])),
                states[entry[0]]["refusal"],
            )
            assert (accepted, outcomes.REFUSALS[refusal]) == (0, "its readings are too old")

        site.run(script)
        assert 50 not in unit.written(POWER)


MODE = """\
import numpy as np

calls = 0


def wild(view, kind):
    global calls
    calls += 1
    if calls < 5:
        return np.zeros(len(view.soe_pct))
    wild = {{"huge": 1e9, "negative": -1e300, "nan": np.nan, "inf": np.inf}}[kind]
    return np.full(len(view.soe_pct), wild)
"""


@pytest.mark.parametrize(
    ("kind", "power"), [("huge", [200, 150]), ("negative", [-200, -100]), ("nan", [0, 0]), ("inf", [0, 0])]
)
def test_whatever_a_users_mode_wants_units_stay_inside_their_bounds(tmp_path, kind, power):
    (tmp_path / "mode.py").write_text(MODE.format())
    modes = f"[{{type: python, function: 'mode.py:wild', kind: {kind}}}]"
    with Guarded(tmp_path, "127.72.48", units=2, modes=modes) as site:
        text = site.file().read_text()
        at = text.index("- {id: u2")
        narrow = text[at:].replace("control:", "points: {target_power: {limits: [-100, 150]}}, control:", 1)
        site.file = lambda: tmp_path / "narrow.yaml"
        site.file().write_text(text[:at] + narrow)

        async def script(run):
            def shown():
                return [unit.written(POWER)[-1:] for unit in site.units]

            await run.until(lambda: shown() == [[value] for value in power])
            await run.ticks(10)
            assert shown() == [[value] for value in power]
            told = [text for text in run.messages if "mode python does not apply: wild()" in text]
            assert len(told) == (kind == "inf")  # once; nan is how a mode says so itself

        site.run(script)
        assert site.all_given_back()


def test_a_users_mode_that_fails_is_told_once_and_its_units_rest(tmp_path):
    (tmp_path / "mode.py").write_text(
        MODE.replace("    wild = ", "    raise ValueError(kind)\n    wild = ").format()
    )
    modes = "[{type: python, function: 'mode.py:wild', kind: broken}]"
    with Guarded(tmp_path, "127.72.52", modes=modes) as site:

        async def script(run):
            await run.until(lambda: run.told("mode python does not apply", "wild(): ValueError: broken"))
            await run.ticks(5)
            assert sum("does not apply" in message for message in run.messages) == 1

        site.run(script)
        assert set(site.units[0].written(POWER)) == {0}


def test_a_setpoint_that_waits_past_its_inputs_age_is_not_sent(tmp_path):
    """The unit answers one request at a time, slowly: what is behind it in the queue expires."""
    with Guarded(
        tmp_path, "127.72.49", power_kw=150, control=", max_age: 500ms, limits: {unit_ramp_kw_per_s: 20}"
    ) as site:
        (unit,) = site.units

        async def script(run):
            states = run.station._write_states
            entry = run.station.controller.plan.setpoints[0]
            await run.until(lambda: kw(unit) >= 10)
            count = len(unit.written(POWER))
            unit.delay_s = 0.9
            await run.until(lambda: states[entry]["n_ended"] and states[entry]["sent_ns"] == 0)
            assert states[entry]["outcome"] == outcomes.FAILED
            unit.delay_s = 0.0
            await run.ticks(10)
            late = [value for value in unit.written(POWER)[count:] if value]
            assert len(late) <= 2

        site.run(script)
        check_ages(unit, 0.5)


def check_ages(unit, max_age_s):
    """No setpoint but 0 came later after the newest answered read than inputs may be old."""
    read_s = 0.0
    for one in unit.seen:
        if one.code == 3:
            read_s = one.time_s
        elif one.address == POWER and one.value:
            assert one.time_s - read_s < max_age_s + 0.2
