"""A meter that fails, freezes or comes back; sites that we do not command; units that do not obey."""

import itertools

import numpy as np
import pytest

from fluxfast.control import reasons
from fluxfast.control.estimate import Estimate
from tests.support.closed_loop import ClosedLoop, Trace, control
from tests.support.plant import STEP_S, Plant

TICK_S = 0.5
PEAK = "{type: peak_shaving, import_limit_kw: 50}"
FIXED = "{type: fixed_power, power_kw: 60}"
FOLLOW = "[{type: self_consumption}]"
OTHER = "{type: fixed_power, name: other, power_kw: 20, enabled: false}"
TIMES = {"max_age_s": 1.0, "hold_s": 3.0, "ramp_down_s": 4.0}


class Load:
    def __init__(self, *power_kw: float) -> None:
        self.power_kw = np.array(power_kw)

    def __call__(self, time_s: float) -> np.ndarray:
        return self.power_kw


def closed_loop(
    load: Load, *controls, response_s: float = 0.001, refresh_s: float = STEP_S, tick_s: float = TICK_S
) -> ClosedLoop:
    sites = len(controls)
    plant = Plant(np.full(sites, response_s), np.zeros(sites), np.full(sites, refresh_s), load)
    return ClosedLoop(plant, controls, tick_s)


def reasons_of(trace: Trace, site: int = 0) -> list[str | None]:
    """Return the reasons one after another, repeats left out."""
    codes = trace.reason[:, site].tolist()
    return [reasons.TEXTS[b] for a, b in zip([None, *codes], codes, strict=False) if a != b]


def test_a_stale_meter_holds_the_target_then_brings_it_to_zero() -> None:
    loop = closed_loop(Load(110.0), control(f"[{PEAK}]", **TIMES))
    loop.run(10)
    loop.meter_answers[0] = False
    trace = loop.run(15)
    # It was last read one tick before: 1 s of age, then 3 s of hold, then 4 s of ramp.
    expected = [60] * 7 + np.linspace(60, 0, 9)[0:].tolist() + [0] * 14
    assert trace.target_kw[:, 0] == pytest.approx(expected)
    assert reasons_of(trace) == [None, "meter stale: holding", "meter stale: ramping to zero"]
    sites = loop.columns.sites
    assert sites.lower_kw[0] == sites.upper_kw[0] == 0
    # It comes back: the load has not changed, the target is there again.
    loop.meter_answers[0] = True
    trace = loop.run(2)
    assert trace.target_kw[:, 0].tolist() == [60] * 4
    assert reasons_of(trace) == [None]


def test_it_returns_without_a_bump() -> None:
    loop = closed_loop(Load(110.0), control(f"[{PEAK}]", **TIMES, ramp_kw_per_s=10.0))
    loop.run(10)
    loop.meter_answers[0] = False
    loop.run(6)
    before = loop.columns.sites.target_kw[0]
    assert 0 < before < 60
    loop.meter_answers[0] = True
    assert loop.run(1.5).target_kw[:, 0] == pytest.approx([before + 5, before + 10, before + 15])


def test_the_grid_ramp_does_not_make_up_for_what_nobody_saw() -> None:
    load = Load(30.0)
    loop = closed_loop(load, control(f"[{PEAK}]", {"grid_ramp_kw_per_s": 2}, **TIMES))
    loop.run(10)
    loop.meter_answers[0] = False
    loop.run(12)
    load.power_kw = np.array([100.0])
    loop.run(1)
    loop.meter_answers[0] = True
    assert loop.run(1.5).target_kw[:, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("modes", "limits", "goes_on"),
    [
        (FIXED, {}, True),
        ("{type: time_of_use, periods: [{between: [00:00, 24:00], power_kw: 60}]}", {}, True),
        (FIXED, {"discharge_kw": 100}, True),
        (FIXED, {"import_kw": 500}, False),
        (FIXED, {"export_kw": 500}, False),
        (FIXED, {"grid_ramp_kw_per_s": 500}, False),
        ("{type: self_consumption}", {}, False),
    ],
)
def test_who_needs_the_meter(modes: str, limits: dict[str, float], goes_on: bool) -> None:
    loop = closed_loop(Load(60.0), control(f"[{modes}]", limits, **TIMES))
    assert loop.run(5).target_kw[-1, 0] == 60
    loop.meter_answers[0] = False
    trace = loop.run(20)
    assert trace.target_kw[-1, 0] == (60 if goes_on else 0)
    assert reasons_of(trace)[-1] == (None if goes_on else "meter stale: ramping to zero")


def test_a_mode_that_needs_no_meter_takes_over_and_leaves_again() -> None:
    loop = closed_loop(Load(110.0), control(f"[{OTHER}, {PEAK}]", **TIMES))
    loop.run(5)
    loop.meter_answers[0] = False
    loop.run(20)
    loop.modes.set_enabled(0, "other", True)
    assert loop.run(2).target_kw[:, 0].tolist() == [20] * 4
    loop.modes.set_enabled(0, "other", False)
    trace = loop.run(10)
    assert trace.target_kw[:5, 0].tolist() == [20] * 5
    assert (trace.target_kw[-1, 0], reasons_of(trace)) == (
        0,
        ["meter stale: holding", "meter stale: ramping to zero"],
    )


def test_a_meter_that_was_never_read_does_not_hand_over_to_the_next_mode() -> None:
    loop = closed_loop(Load(110.0), control(f"[{PEAK}, {FIXED}]", **TIMES))
    loop.meter_answers[0] = False
    trace = loop.run(3)
    assert (trace.target_kw == 0).all()
    assert reasons_of(trace) == ["meter stale: holding"]
    assert loop.loop.mode[0] == 0


def test_a_tick_without_the_meter_changes_nothing() -> None:
    loop = closed_loop(Load(110.0), control(f"[{PEAK}]", **TIMES))
    loop.run(5)
    loop.meter_answers[0] = False
    first = loop.run(TICK_S)
    loop.meter_answers[0] = True
    then = loop.run(TICK_S)
    assert [*first.target_kw[:, 0], *then.target_kw[:, 0]] == [60, 60]
    assert reasons_of(first) == reasons_of(then) == [None]


def test_without_an_age_of_its_own_a_sample_counts_for_two_ticks() -> None:
    loop = closed_loop(Load(110.0), control(f"[{PEAK}]"))
    loop.run(5)
    loop.meter_answers[0] = False
    codes = loop.run(4 * TICK_S).reason[:, 0]
    assert [reasons.TEXTS[code] for code in codes] == [None, None, *["meter stale: holding"] * 2]


@pytest.mark.parametrize("refresh_s", [STEP_S, 1.0, 4.0])
def test_a_frozen_meter_is_not_run_after(refresh_s: float) -> None:
    """It shows 110 for ever: whatever is discharged, it seems not to be enough."""
    load = Load(30.0)
    times = TIMES | {"settle_s": 1.0}
    loop = closed_loop(load, control(f"[{PEAK}]", **times), response_s=0.2, refresh_s=refresh_s)
    for power_kw in (30, 40, 30, 40, 30):
        load.power_kw = np.array([power_kw])
        loop.run(6)
    load.power_kw = np.array([110.0])
    while loop.plant.meter_kw[0] < 100:
        loop.plant.run(np.zeros(1), STEP_S)
    loop.plant.frozen[0] = True
    trace = loop.run(60)
    assert trace.target_kw.max() == pytest.approx(60, abs=0.5)
    assert reasons_of(trace) == [None, "meter stale: holding", "meter stale: ramping to zero"]
    assert trace.target_kw[-1, 0] == 0
    # One value that is another one, and it is trusted again.
    loop.plant.frozen[0] = False
    load.power_kw = np.array([111.0])
    trace = loop.run(30)
    assert trace.target_kw[-1, 0] == pytest.approx(61, abs=0.5)
    assert reasons_of(trace)[-1] is None


def test_a_load_that_stands_still_is_no_frozen_meter() -> None:
    load = Load(110.0)
    loop = closed_loop(load, control(f"[{PEAK}]", **TIMES), response_s=0.2)
    trace = loop.run(120)
    load.power_kw = np.array([130.0])
    after = loop.run(120)
    assert reasons_of(trace) == reasons_of(after) == [None]
    assert (trace.target_kw[-1, 0], after.target_kw[-1, 0]) == (60, 80)


@pytest.mark.parametrize("action", ["shadow", "observe"])
def test_where_nothing_is_written_the_target_does_not_run_away(action: str) -> None:
    loop = closed_loop(Load(110.0), control(f"[{PEAK}]", action=action))
    loop.obeys[0] = False
    assert (loop.run(30).target_kw == 60).all()


def test_in_shadow_what_is_measured_of_the_batteries_counts() -> None:
    loop = closed_loop(Load(110.0), control(f"[{PEAK}]", action="shadow"))
    loop.measures_batteries = True
    assert (loop.run(30).target_kw == 60).all()


@pytest.mark.parametrize(("measured", "most_kw"), [(True, 60), (False, 200)])
def test_units_that_do_not_obey(measured: bool, most_kw: float) -> None:
    """If their power is measured nothing is expected of them; otherwise they are asked for ever more."""
    load = Load(110.0)
    loop = closed_loop(load, control(f"[{PEAK}]"))
    loop.obeys[0] = False
    loop.measures_batteries = measured
    loop.plant.noise_kw = 0.1
    trace = loop.run(60)
    assert trace.setpoint_kw.max() == pytest.approx(most_kw, abs=1)


def test_a_sample_that_is_not_new_says_nothing() -> None:
    estimate = Estimate(np.array([1.0]), np.array([5.0]), np.array([np.inf]), TICK_S)

    def update(now_s: float, battery_kw: float, grid_kw: float, sample_s: float) -> float:
        estimate.update(now_s, np.array([battery_kw]), np.array([grid_kw]), np.array([sample_s]), np.zeros(1))
        return float(estimate.load_kw[0])

    assert np.isnan(update(0.0, 0, np.nan, np.nan))
    assert update(0.5, 0, 80, 0.5) == 80
    assert update(1.0, 0, 999, 0.5) == 80
    assert update(1.5, 0, np.nan, 1.5) == 80
    assert update(2.0, 0, 90, 2.0) == 90
    # Its own action is not taken for the load's; what goes beyond it is, at once.
    assert update(2.5, 40, 90, 2.5) == 90
    assert update(3.0, 40, 50, 3.0) == 90
    assert update(3.5, 40, 95, 3.5) == 95
    assert (estimate.low_kw[0], estimate.high_kw[0]) == (95, 135)
    assert update(4.0, 40, 40, 4.0) == 80


@pytest.mark.parametrize("tick_s", [pytest.param(0.1, marks=pytest.mark.long), 0.5, 1.0])
def test_a_meter_that_returns_never_drives_the_target_past_the_load(tick_s: float) -> None:
    """From where it was held or ramped to it goes to the load, which has changed, and nowhere else.

    A site for each time between the meter's values, time of silence and load after it.
    """
    cases = itertools.product(
        (STEP_S, 1.0, 4.0), (2.0, 6.0, 7.5, 9.0, 30.0), (40.0, 60.0, 100.0, 150.0, 10.0, -40.0, 0.0)
    )
    refresh_s, silent_s, after_kw = np.array(list(cases)).T
    sites = len(after_kw)
    load = Load(*np.full(sites, 60.0))
    plant = Plant(np.full(sites, 0.2), np.zeros(sites), refresh_s, load)
    loop = ClosedLoop(plant, [control(FOLLOW, **TIMES, hold_off_s=0)] * sites, tick_s)
    for power_kw in (60, 140, 60, 100):  # so that the meter's pace is known
        load.power_kw = np.full(sites, float(power_kw))
        loop.run(20)
    loop.meter_answers[:] = False
    loop.run(1.0)
    load.power_kw = after_kw
    back = np.rint(np.where(refresh_s > 1, silent_s + 8.0, silent_s) / tick_s)  # in which tick it returns
    held_kw = np.zeros(sites)
    ticks = round(back.max()) + round(40 / tick_s)
    for tick in range(ticks):
        held_kw = np.where(back == tick, loop.columns.sites.target_kw, held_kw)
        loop.meter_answers |= back == tick
        target_kw = loop.run(tick_s).target_kw[0]
        low_kw, high_kw = np.minimum(held_kw, after_kw) - 0.02, np.maximum(held_kw, after_kw) + 0.02
        past = (back <= tick) & ((target_kw < low_kw) | (target_kw > high_kw))
        assert not past.any(), (tick, refresh_s[past], silent_s[past], after_kw[past], target_kw[past])
        settled = back + round(40 / tick_s) == tick + 1
        assert target_kw[settled] == pytest.approx(after_kw[settled], abs=0.02)


@pytest.mark.parametrize("tick_s", [pytest.param(0.1, marks=pytest.mark.long), 0.5, 1.0])
def test_when_it_returns_after_the_ramp_the_load_starts_anew_from_the_sample(tick_s: float) -> None:
    """The old load of 100 kW is nowhere: neither in the estimate nor, against the limit, in the target."""
    load = Load(100.0)
    loop = closed_loop(load, control(FOLLOW, {"export_kw": 0}, **TIMES), tick_s=tick_s)
    loop.run(20)
    loop.meter_answers[0] = False
    loop.run(8.5)
    assert loop.columns.sites.target_kw[0] == 0
    load.power_kw = np.array([40.0])
    loop.run(1)
    loop.meter_answers[0] = True
    assert (loop.run(10).target_kw == 40).all()
