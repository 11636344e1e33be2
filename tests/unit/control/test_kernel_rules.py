"""The kernel's rules one by one, each on a handful of units; the twin has to pass them, too."""

import numpy as np
import pytest

from fluxfast.control import reasons, reference
from fluxfast.control.columns import EQUAL, POWER, Columns
from fluxfast.control.kernel import Kernel

KERNEL, PLAIN, TWIN = "kernel", "plain", "twin"


@pytest.fixture(params=[KERNEL, PLAIN, TWIN])
def site(request):
    """Return a function that makes a site of units (100 kW, 200 kWh, 50 %) and one that decides for it."""

    def make(soe_pct, **columns_of_units):
        columns = Columns.make([len(soe_pct)])
        units = columns.units
        units.capacity_kwh[:], units.charge_kw[:], units.discharge_kw[:] = 200, 100, 100
        units.soe_min_pct[:], units.soe_max_pct[:], units.soe_pct[:] = 10, 90, soe_pct
        for name, values in columns_of_units.items():
            getattr(units, name)[:] = values
        kernel = Kernel(columns, plain=request.param == PLAIN)

        def decide(target_kw, dt_s=0.5):
            columns.sites.target_kw[:] = target_kw
            reference.decide(columns, dt_s) if request.param == TWIN else kernel.decide(dt_s)
            return list(units.setpoint_kw)

        return columns, decide

    return make


def test_the_split_is_by_usable_energy_by_power_or_equal(site):
    columns, decide = site([20, 40])
    assert decide(80) == [20, 60]  # 10 and 30 % above the minimum
    columns.sites.split[:] = EQUAL
    assert decide(81) == [41, 40]
    columns.sites.split[:] = POWER
    columns.units.available[:] = [1, 0.5]
    assert decide(60) == [40, 20]
    assert decide(-60) == [0, 0]  # they turn after a rest


def test_what_one_cannot_do_others_do(site):
    columns, decide = site([50, 50, 50], discharge_kw=[10, 100, 100])
    assert decide(150) == [10, 70, 70]
    assert columns.units.reason[0] == reasons.RATED
    assert columns.units.reason[1] == reasons.NONE
    assert columns.sites.unserved_kw[0] == 0


def test_unserved_power_and_its_main_reason(site):
    columns, decide = site([50, 50, 10], usable=[0, reasons.STALE, 0], discharge_kw=[100, 100, 60])
    assert decide(250) == [100, 0, 0]
    assert columns.sites.unserved_kw[0] == 150
    assert list(columns.units.reason) == [reasons.RATED, reasons.STALE, reasons.SOE_MIN]
    assert columns.sites.reason[0] == reasons.STALE
    decide(900)
    assert columns.sites.reason[0] == reasons.RATED  # there is not so much battery


def test_power_that_the_sites_own_bounds_take_is_not_the_units_fault(site):
    columns, decide = site([50, 50])
    columns.sites.upper_kw[:] = 100.5
    assert sum(decide(180)) == 100  # rounded inward
    assert columns.sites.unserved_kw[0] == 80
    assert columns.sites.reason[0] == reasons.NONE


@pytest.mark.parametrize(
    ("lower", "upper", "total"), [(30, 10, 10), (-10, -30, -10), (20, -20, 0), (np.nan, 50, 0)]
)
def test_bounds_that_cross_or_are_not_numbers_leave_the_least_power(site, lower, upper, total):
    columns, decide = site([50, 50])
    columns.sites.lower_kw[:], columns.sites.upper_kw[:] = lower, upper
    assert sum(decide(-100)) == total


def test_power_tapers_towards_the_minimum_and_the_reserve(site):
    columns, decide = site([12, 12], reserve_pct=[0, 11], efficiency=1)
    columns.sites.horizon_s[:] = 360
    assert decide(200) == [40, 20]  # 4 and 2 kWh in a tenth of an hour
    assert list(columns.units.reason) == [reasons.SOE_MIN, reasons.RESERVE]


def test_an_empty_unit_comes_back_two_percent_above_and_a_full_one_below(site):
    columns, decide = site([10, 90])
    columns.sites.hold_off_s[:] = 0
    decide(200)
    for soe, could in ((11, False), (11.9, False), (12, True), (11, True)):
        columns.units.soe_pct[0] = soe
        decide(200)
        assert (columns.units.upper_kw[0] > 0) == could
    for soe, could in ((89, False), (88, True), (89, True)):
        columns.units.soe_pct[1] = soe
        decide(-200)
        assert (columns.units.lower_kw[1] < 0) == could


def test_allowed_power_falls_at_once_and_rises_slowly(site):
    columns, decide = site([50], rise_kw_per_s=10)
    assert decide(100) == [100]
    columns.units.available[:] = 0.5
    assert decide(100) == [50]
    assert columns.units.reason[0] == reasons.BLOCKS
    columns.units.available[:] = 1
    assert [decide(100)[0] for _ in range(3)] == [55, 60, 65]
    assert columns.units.reason[0] == reasons.RISE
    columns.units.usable[:] = reasons.STALE
    assert decide(100) == [0]
    columns.units.usable[:] = 0
    assert decide(100) == [5]


def test_a_ramp_is_kept_but_for_safety(site):
    columns, decide = site([50], ramp_kw_per_s=20)
    assert [decide(100)[0] for _ in range(3)] == [10, 20, 30]
    assert columns.units.reason[0] == reasons.RAMP
    assert decide(0) == [20]
    columns.units.soe_pct[:] = 10
    assert decide(100) == [0]
    columns.units.soe_pct[:] = 50
    assert decide(np.nan) == [0]  # no number: 0, by the ramp
    assert decide(100) == [10]
    assert decide(np.nan) == [0]


def test_a_ramp_slower_than_a_quantum_is_saved_up(site):
    _, decide = site([50], ramp_kw_per_s=0.5)
    assert [decide(100)[0] for _ in range(8)] == [0, 0, 0, 1, 1, 1, 1, 2]


def test_a_unit_turns_after_a_rest(site):
    columns, decide = site([50])
    columns.sites.hold_off_s[:] = 2
    assert decide(50) == [50]
    assert [decide(-50)[0] for _ in range(5)] == [0, 0, 0, 0, -50]
    assert [decide(50)[0] for _ in range(2)] == [0, 0]
    assert columns.units.reason[0] == reasons.HOLD_OFF
    assert decide(-50) == [-50]  # the same way is free


def test_a_small_move_of_the_target_leaves_setpoints_for_a_while(site):
    columns, decide = site([50, 50])
    columns.sites.deadband_kw[:], columns.sites.resplit_s[:] = 5, 2
    assert decide(40) == [20, 20]
    columns.units.soe_pct[:] = [70, 30]
    assert decide(44) == [20, 20]
    assert decide(46) == [35, 11] or decide(46) == [34, 12]
    held = decide(44)
    assert [decide(44) for _ in range(2)] == [held] * 2
    assert sum(decide(44)) == 44
    columns.sites.upper_kw[:] = 42
    assert sum(decide(44)) == 42  # a bound is kept at once


def test_the_largest_fractions_go_up_and_the_first_of_equals(site):
    columns, decide = site([50, 50, 50])
    columns.sites.split[:] = EQUAL
    assert decide(100) == [34, 33, 33]
    assert decide(101) == [34, 34, 33]
    assert decide(-100) == [0, 0, 0]
    columns.sites.hold_off_s[:] = 0
    assert decide(-100) == [-33, -33, -34]
    _, decide = site([20, 30, 50])
    assert decide(10) == [1, 3, 6]  # 1.43, 2.86, 5.71


def test_few_run_at_low_power_and_go_on_with_hysteresis(site):
    columns, decide = site([50, 60, 40, 30])
    columns.sites.efficient_kw[:] = 50
    assert decide(40) == [0, 40, 0, 0]  # the fullest
    assert list(columns.units.resting) == [1, 0, 1, 1]
    assert columns.units.reason[0] == reasons.RESTING
    columns.units.soe_pct[:] = [65, 60, 40, 30]
    assert decide(41) == [0, 41, 0, 0]  # it stays
    running = [np.count_nonzero(decide(target)) for target in (90, 48, 42, 41)]
    assert running == [2, 2, 2, 1]  # 2 × 41.66 would do, but for the hysteresis
    assert sum(decide(350)) == 350
    columns.sites.hold_off_s[:] = 0
    assert decide(-40) == [0, 0, 0, -40]  # the emptiest


def test_a_running_unit_is_relieved(site):
    columns, decide = site([50, 60, 40])
    columns.sites.efficient_kw[:], columns.sites.rotate_s[:] = 100, 2
    columns.sites.resplit_s[:] = 0
    runs = [int(np.argmax(decide(40))) for _ in range(12)]
    assert runs[0] == 1
    assert {0, 1} <= set(runs)
    assert all(np.diff(np.flatnonzero(np.diff(runs))) >= 4)  # each for two seconds at least


def test_at_rest_states_of_energy_come_together(site):
    columns, decide = site([80, 50, 50, 20])
    columns.sites.deadband_kw[:], columns.sites.balance_kw_per_pct[:] = 5, 2
    assert decide(0) == [60, 0, 0, -60]
    columns.units.soe_pct[:] = [70, 66, 30, 30]
    columns.units.charge_kw[2:] = [10, 60]
    columns.sites.resplit_s[:] = 0
    setpoints = decide(0)
    assert sum(setpoints) == 0
    assert min(setpoints[:2]) > 0 > max(setpoints[2:])
    columns.units.soe_pct[:] = 50
    assert decide(0) == [0, 0, 0, 0]


def test_quanta_of_several_sizes_each_keep_their_own(site):
    _, decide = site([50, 50, 50], quantum_kw=[10, 10, 1])
    setpoints = decide(100)
    assert sum(setpoints) == 100
    assert setpoints[0] % 10 == setpoints[1] % 10 == 0
    _, decide = site([50, 50], quantum_kw=0)
    assert decide(0.5) == pytest.approx([0.25, 0.25], abs=1e-8)


def test_units_without_weight_do_what_is_left_by_the_room_they_have(site):
    # The first is forced to 40 to 60 by its ramp; only the second, empty, could charge against it.
    columns, decide = site([50, 10], ramp_kw_per_s=[20, np.inf], setpoint_kw=[50, 0])
    columns.units.charge_kw[0] = 0
    assert decide(10) == [40, -30]


def test_columns_that_are_no_columns_are_refused():
    columns = Columns.make([2, 1])
    columns.units.soe_pct = np.zeros(2)
    with pytest.raises(ValueError, match="column soe_pct"):
        Kernel(columns)
    columns = Columns.make([2, 1])
    columns.first[1] = 5
    with pytest.raises(ValueError, match="does not cut"):
        Kernel(columns)
