"""Modes and limits of a site in a closed loop with units and a meter that answer at once."""

from typing import Any

import numpy as np
import pytest

from fluxfast.config.fleet import Control
from fluxfast.control import reasons
from fluxfast.control.columns import Columns
from fluxfast.control.loop import Loop, Measured
from fluxfast.control.modes import Modes
from tests.support.closed_loop import ClosedLoop, Trace, control
from tests.support.plant import STEP_S, Plant

TICK_S = 0.5
PEAK = "{type: peak_shaving, import_limit_kw: 50}"
FIXED = "{type: fixed_power, power_kw: 60}"
CHARGE = "{type: fixed_power, power_kw: -60}"
FOLLOW = "{type: self_consumption}"


class Load:
    """A load that is set by hand."""

    def __init__(self, *power_kw: float) -> None:
        self.power_kw = np.array(power_kw)

    def __call__(self, time_s: float) -> Any:
        return self.power_kw


def at_once(load: Load, *controls: Control, tick_s: float = TICK_S, rated_kw: float = 100.0) -> ClosedLoop:
    sites = len(controls)
    plant = Plant(np.full(sites, 1e-3), np.zeros(sites), np.full(sites, STEP_S), load)
    return ClosedLoop(plant, controls, tick_s, rated_kw)


def reason(trace: Trace) -> str | None:
    return reasons.TEXTS[trace.reason[-1, 0]]


def test_what_the_mode_wants_is_the_target_in_the_same_tick() -> None:
    load = Load(110.0)
    loop = at_once(load, control(f"[{PEAK}]"))
    assert loop.run(TICK_S).target_kw.tolist() == [[60]]
    assert loop.loop.mode.tolist() == [0]
    assert loop.run(10).target_kw.tolist() == [[60]] * 20
    load.power_kw = np.array([30.0])
    loop.run(TICK_S)
    trace = loop.run(TICK_S)
    assert (trace.target_kw.tolist(), reason(trace)) == ([[0]], None)


def test_without_a_mode_it_rests() -> None:
    loop = at_once(Load(110.0), control("[]"))
    trace = loop.run(TICK_S)
    assert (trace.target_kw[0, 0], reason(trace), loop.loop.mode[0]) == (0, "no mode applies", -1)


@pytest.mark.parametrize(
    ("mode", "limits", "load_kw", "target_kw", "why"),
    [
        (CHARGE, {"import_kw": 50}, 20, -30, "import limit"),
        (CHARGE, {"import_kw": 50}, 80, 30, "import limit"),
        (CHARGE, {"import_kw": 50}, -20, -60, None),
        (FIXED, {"export_kw": 10}, 20, 30, "export limit"),
        (FIXED, {"export_kw": 0}, -40, -40, "export limit"),
        (FIXED, {"discharge_kw": 25}, 20, 25, "discharge limit"),
        (CHARGE, {"charge_kw": 25}, 20, -25, "charge limit"),
        # By rank: what the batteries may do, then import and export, then ramps.
        (FIXED, {"discharge_kw": 25, "import_kw": 50}, 100, 25, "discharge limit"),
        (CHARGE, {"discharge_kw": 25, "import_kw": 50}, 100, 25, "import limit"),
        (CHARGE, {"import_kw": 50, "grid_ramp_kw_per_s": 1}, 80, 30, "import limit"),
    ],
)
def test_limits_narrow_what_the_mode_wants(
    mode: str, limits: dict[str, float], load_kw: float, target_kw: float, why: str | None
) -> None:
    loop = at_once(Load(load_kw), control(f"[{mode}]", limits, ramp_kw_per_s=None))
    trace = loop.run(10)
    assert (trace.target_kw[-1, 0], reason(trace)) == (target_kw, why)
    assert (trace.target_kw == target_kw).all()
    sites = loop.columns.sites
    assert sites.lower_kw[0] <= target_kw <= sites.upper_kw[0]
    if why is not None:  # the kernel is bound by it as well
        assert target_kw in (sites.lower_kw[0], sites.upper_kw[0])


def test_a_limit_without_any_mode() -> None:
    trace = at_once(Load(80.0), control("[]", {"import_kw": 50})).run(5)
    assert (trace.target_kw[-1, 0], reason(trace)) == (30, "import limit")


def test_limits_go_before_the_ramp_of_the_target() -> None:
    loop = at_once(Load(80.0), control(f"[{CHARGE}]", {"import_kw": 50}, ramp_kw_per_s=2.0))
    assert loop.run(TICK_S).target_kw.tolist() == [[30]]


def test_a_switch_of_the_mode_starts_from_the_present_target() -> None:
    modes = (
        "[{type: fixed_power, name: other, power_kw: -40, enabled: false}, {type: fixed_power, power_kw: 60}]"
    )
    loop = at_once(
        Load(0.0, 0.0), control(modes, ramp_kw_per_s=10.0, hold_off_s=0), control(modes, hold_off_s=0)
    )
    trace = loop.run(8)
    assert trace.target_kw[:, 0].tolist() == [*range(5, 60, 5), 60, 60, 60, 60, 60]
    assert (trace.target_kw[:, 1] == 60).all()
    assert reasons.TEXTS[trace.reason[0, 0]] == "target ramp"
    for site in (0, 1):
        loop.modes.set_enabled(site, "other", True)
    trace = loop.run(12)
    assert trace.target_kw[:, 0].tolist() == [*range(55, -40, -5), -40, -40, -40, -40, -40]
    assert (trace.target_kw[:, 1] == -40).all()


def test_a_ramp_slower_than_the_units_steps_still_gets_there() -> None:
    """Setpoints are whole kW, a tick's share of the ramp is a twentieth of one."""
    loop = at_once(
        Load(0.0), control("[{type: fixed_power, power_kw: 5}]", ramp_kw_per_s=0.1, deadband_kw=1.0)
    )
    trace = loop.run(60)
    assert trace.target_kw[-1, 0] == 5
    assert abs(trace.setpoint_kw[-1, 0] - 5) <= 1  # the deadband


def test_what_units_cannot_do_does_not_wind_up() -> None:
    load = Load(300.0)
    loop = at_once(load, control(f"[{PEAK}]", ramp_kw_per_s=20.0), rated_kw=20.0)
    trace = loop.run(60)
    assert trace.setpoint_kw[-1, 0] == 40
    assert trace.target_kw.max() == 50  # what they can do, and one step of the ramp
    load.power_kw = np.array([60.0])
    loop.run(TICK_S)
    assert loop.run(1.5).setpoint_kw[:, 0].tolist() == [30, 20, 10]


def test_the_grid_changes_no_faster_than_its_ramp() -> None:
    load = Load(30.0)
    loop = at_once(
        load, control(f"[{PEAK}]", {"grid_ramp_kw_per_s": 4}, settle_s=0.0, hold_off_s=0), tick_s=0.1
    )
    assert (loop.run(5).target_kw == 0).all()
    load.power_kw = np.array([100.0])
    trace = loop.run(20)
    # The step reaches the grid; at the next look it is taken back, and then let out at the ramp.
    settled = trace.grid_kw[round(0.3 / STEP_S) :, 0]
    assert settled[0] == pytest.approx(30, abs=2)
    moved = np.abs(settled[round(1 / STEP_S) :] - settled[: -round(1 / STEP_S)])
    assert moved.max() <= 4 + 1  # in any second; setpoints are whole kW
    assert moved.max() >= 3
    assert settled[-1] == pytest.approx(50, abs=1)
    assert "grid ramp" in {reasons.TEXTS[code] for code in trace.reason[:, 0]}
    # It is bound in the other direction as well, and where the units have no more, the grid goes.
    load.power_kw = np.array([400.0])
    trace = loop.run(20)
    assert trace.setpoint_kw[-1, 0] == 200
    load.power_kw = np.array([100.0])
    trace = loop.run(3)
    assert trace.grid_kw[-1, 0] > 100


def test_emergency_stop_goes_before_everything_and_stays() -> None:
    limits = {"import_kw": 50.0, "grid_ramp_kw_per_s": 1.0}
    loop = at_once(Load(90.0, 90.0), *[control(f"[{PEAK}]", limits, ramp_kw_per_s=10.0, hold_off_s=0)] * 2)
    loop.run(10)
    assert loop.columns.sites.setpoint_kw.tolist() == [40, 40]
    loop.loop.stop(0)
    trace = loop.run(10)
    assert (trace.setpoint_kw[:, 0] == 0).all()
    assert (trace.setpoint_kw[:, 1] == 40).all()
    assert reason(trace) == "emergency stop"
    assert loop.loop.stopped.tolist() == [True, False]
    sites, units = loop.columns.sites, loop.columns.units
    assert (sites.target_kw[0], sites.lower_kw[0], sites.upper_kw[0]) == (0, 0, 0)
    assert units.usable.tolist() == [reasons.STOPPED, reasons.STOPPED, 0, 0]
    loop.loop.acknowledge(0)
    assert loop.run(TICK_S).target_kw.tolist() == [[40, 40]]  # for the import limit
    assert units.usable.tolist() == [0, 0, 0, 0]


def test_a_stopped_site_goes_on_from_zero() -> None:
    loop = at_once(Load(0.0), control(f"[{FIXED}]", ramp_kw_per_s=10.0))
    loop.run(10)
    loop.loop.stop(0)
    loop.run(1)
    loop.loop.acknowledge(0)
    assert loop.run(1.5).target_kw[:, 0].tolist() == [5, 10, 15]


def test_units_exchange_energy_only_while_the_mode_is_balance() -> None:
    modes = "[{type: fixed_power, name: work, power_kw: 10}, {type: balance}]"
    loop = at_once(Load(0.0, 0.0), control(modes, balance_kw_per_pct=2.5), control(f"[{FIXED}]"))
    rates = loop.columns.sites.balance_kw_per_pct
    loop.run(1)
    assert rates.tolist() == [0, 0]
    loop.modes.set_enabled(0, "work", False)
    loop.run(1)
    assert rates.tolist() == [2.5, 0]
    loop.loop.stop(0)
    loop.run(1)
    assert rates.tolist() == [0, 0]


def test_modes_see_the_units_that_take_part() -> None:
    columns = Columns.make([3, 0, 1])
    units = columns.units
    units.capacity_kwh[:] = [100, 300, 50, 40]
    units.charge_kw[:], units.discharge_kw[:] = 10, 20
    units.soe_pct[:] = [10, 50, 90, np.nan]
    units.available[:] = [1, 0.5, 1, 1]
    units.usable[2] = reasons.NOT_READY
    reserve = "[{type: reserve, soe_pct: 41, charge_kw: 3}]"
    controls = [control(reserve), control(reserve), control(reserve)]
    loop = Loop(columns, controls, Modes([one.modes for one in controls]), TICK_S)
    loop.decide(0.0, 0.0, TICK_S, Measured.make(3))
    # 40 % of 400 kWh; the other sites have none that is known.
    assert columns.sites.target_kw.tolist() == [-3, 0, 0]
    totals = loop._totals
    assert (totals.charge_kw.tolist(), totals.discharge_kw.tolist()) == ([15, 0, 0], [30, 0, 0])


def test_no_sites() -> None:
    Loop(Columns.make([]), [], Modes([]), TICK_S).decide(0.0, 0.0, TICK_S, Measured.make(0))


def test_all_sites_at_once_are_as_each_by_itself() -> None:
    limits = {"import_kw": 50.0, "export_kw": 10.0, "grid_ramp_kw_per_s": 3.0}
    controls = [
        control(f"[{PEAK}]", ramp_kw_per_s=7.0),
        control(f"[{CHARGE}]", limits, settle_s=0.5),
        control(f"[{FIXED}]", {"export_kw": 0}, hold_s=1.0, ramp_down_s=2.0),
        control("[]", {"discharge_kw": 20, "import_kw": 30}),
        control(f"[{FOLLOW}]", hold_off_s=0, deadband_kw=2.0),
        control(f"[{FOLLOW}]", action="shadow"),
    ]
    steps = np.random.default_rng(1).uniform(-80, 120, (40, len(controls)))

    def targets(sites: list[int]) -> np.ndarray:
        load = Load(*np.zeros(len(sites)))
        loop = at_once(load, *[controls[site] for site in sites])
        traces = []
        for number, row in enumerate(steps):
            load.power_kw = row[sites]
            loop.meter_answers[:] = number % 7 != 3  # silent for 4 s
            if number == 20 and 2 in sites:
                loop.loop.stop(sites.index(2))
            traces.append(loop.run(4).target_kw)
        return np.concatenate(traces)

    together = targets([*range(len(controls))])
    assert (np.ptp(together, axis=0) > 10).all()
    for site in range(len(controls)):
        np.testing.assert_array_equal(targets([site])[:, 0], together[:, site])
