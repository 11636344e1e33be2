"""The kernel's promises over random sequences of ticks, its NumPy twin, and independent solvers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from fluxfast.control import reasons, reference
from fluxfast.control.columns import ENERGY, EQUAL, POWER, Columns
from fluxfast.control.kernel import Kernel
from tests.property.control_columns import copy_of, differences, make_columns, next_inputs, spoil

SEEDS = st.integers(0, 2**32 - 1)
DT_S = [0.5, 0.5, 0.5, 0.1, 0.0]
FINEST = 2.0**-30
few = settings(max_examples=40, deadline=None)


def counts(rng):
    """Sizes of a few sites: none, one, some, many."""
    return rng.choice([0, 1, 2, 3, 5, 20, 100, 300], rng.integers(1, 6))


def site_of(columns):
    return np.repeat(np.arange(columns.sites.rows), np.diff(columns.first))


def sums(columns, values):
    return np.bincount(site_of(columns), values, columns.sites.rows)


def decided(columns, target_kw, dt_s=0.5):
    """Return what a fresh copy of the columns is told for a target."""
    columns = copy_of(columns)
    columns.sites.target_kw[:] = target_kw
    Kernel(columns).decide(dt_s)
    return columns


@few
@given(seed=SEEDS, spoiled=st.booleans(), plain=st.booleans())
def test_it_decides_as_its_twin_does_tick_after_tick(seed, spoiled, plain):
    rng = np.random.default_rng(seed)
    columns = make_columns(rng, counts(rng))
    twin, kernel = copy_of(columns), Kernel(columns, plain=plain)
    for tick in range(20):
        next_inputs(rng, columns)
        if spoiled and tick == 8:
            spoil(rng, columns)
        for rows, others in ((columns.units, twin.units), (columns.sites, twin.sites)):
            for name in rows.dtypes():
                if (
                    tick == 8
                    or name in ("usable", "soe_pct", "available", "target_kw")
                    or rows is columns.sites
                ):
                    getattr(others, name)[:] = getattr(rows, name)
        dt_s = rng.choice([*DT_S, np.nan, -1, np.inf])
        kernel.decide(dt_s)
        reference.decide(twin, dt_s)
        assert not differences(columns, twin)


@few
@given(seed=SEEDS)
def test_the_code_for_any_processor_decides_as_the_code_for_this_one(seed):
    rng = np.random.default_rng(seed)
    columns = make_columns(rng, counts(rng))
    columns.units.quantum_kw[:] = rng.choice([1, 5])  # sums in another order differ in their last bits only
    kernel = Kernel(columns)
    for _ in range(10):
        next_inputs(rng, columns)
        spoil(rng, columns, share=0.002)
        plainly = copy_of(columns)
        kernel.decide(0.5)
        Kernel(plainly, plain=True).decide(0.5)
        assert not differences(columns, plainly)


@settings(max_examples=6, deadline=None)
@given(seed=SEEDS, size=st.sampled_from([1, 999, 20_000]), plain=st.booleans())
def test_large_sites_decide_as_the_twin_does(seed, size, plain):
    rng = np.random.default_rng(seed)
    columns = make_columns(rng, [size])
    twin, kernel = copy_of(columns), Kernel(columns, plain=plain)
    for _ in range(4):
        next_inputs(rng, columns)
        for name in ("usable", "soe_pct", "available"):
            getattr(twin.units, name)[:] = getattr(columns.units, name)
        for name in ("target_kw", "lower_kw", "upper_kw"):
            getattr(twin.sites, name)[:] = getattr(columns.sites, name)
        kernel.decide(0.5)
        reference.decide(twin, 0.5)
        assert not differences(columns, twin)


@few
@given(seed=SEEDS)
def test_bounds_ramp_hold_off_quanta_and_sums_hold_over_random_ticks(seed):
    rng = np.random.default_rng(seed)
    columns = make_columns(rng, counts(rng))
    units, sites, kernel = columns.units, columns.sites, Kernel(columns)
    quantum = np.maximum(units.quantum_kw, FINEST)
    since_zero = np.full(units.rows, np.inf)  # how long the setpoint has been 0, and what it was before
    side = np.zeros(units.rows)
    for _ in range(30):
        next_inputs(rng, columns)
        last, dt_s, soe = units.setpoint_kw.copy(), rng.choice(DT_S), units.soe_pct.copy()
        kernel.decide(dt_s)
        setpoint, out = units.setpoint_kw, units.usable != 0
        # Within bounds that are safe by themselves; nothing for a unit that takes no part.
        assert (setpoint >= units.lower_kw - 1e-9).all()
        assert (setpoint <= units.upper_kw + 1e-9).all()
        assert (units.lower_kw[out] == 0).all()
        assert (setpoint[out] == 0).all()
        assert (units.reason[out] == units.usable[out]).all()
        assert (setpoint <= units.discharge_kw * units.available + 1e-6).all()
        assert (-setpoint <= units.charge_kw * units.available + 1e-6).all()
        assert (setpoint[soe <= np.maximum(units.soe_min_pct, units.reserve_pct)] <= 0).all()
        assert (setpoint[soe >= units.soe_max_pct] >= 0).all()
        # Whole quanta.
        assert np.allclose(np.rint(setpoint / quantum) * quantum, setpoint, atol=1e-9)
        # The ramp holds towards more power; what is not safe any more falls at once.
        step = np.where(units.ramp_kw_per_s > 1e9, np.inf, np.minimum(units.ramp_kw_per_s, 1e9) * dt_s)
        grows = np.abs(setpoint) > np.abs(last)
        assert (np.abs(setpoint - last) <= np.maximum(step, quantum) + 1e-6)[grows].all()
        # No unit turns before it has rested at 0.
        since_zero = np.where(last == 0, since_zero + dt_s, 0)
        turned = setpoint * side < 0
        assert (since_zero >= sites.hold_off_s[site_of(columns)] - 1e-9)[turned].all()
        side = np.where(setpoint != 0, np.sign(setpoint), side)
        # Sums: the target, inside the site's bounds, inside the units'.
        assert np.allclose(sites.setpoint_kw, sums(columns, setpoint))
        crossed = sites.lower_kw > sites.upper_kw
        least = np.minimum(np.maximum(0, sites.upper_kw), sites.lower_kw)
        low, high = np.where(crossed, least, sites.lower_kw), np.where(crossed, least, sites.upper_kw)
        wanted = np.clip(np.clip(sites.target_kw, low, high), sites.units_lower_kw, sites.units_upper_kw)
        coarsest = np.zeros(sites.rows)
        np.maximum.at(coarsest, site_of(columns), quantum)
        fresh = (sites.split_s == 0) & (dt_s > 0)
        slack = np.where(fresh, coarsest, coarsest + sites.deadband_kw)
        assert (np.abs(sites.setpoint_kw - wanted) <= slack + 1e-6).all()
        missing = sites.target_kw - sites.setpoint_kw
        assert np.allclose(sites.unserved_kw[sites.unserved_kw != 0], missing[sites.unserved_kw != 0])


@few
@given(seed=SEEDS, quantum=st.sampled_from([0, 0.1, 1, 7]))
def test_the_sum_is_the_total_rounded_to_the_quantum(seed, quantum):
    rng = np.random.default_rng(seed)
    columns = make_columns(rng, [int(rng.integers(1, 200))], wild=False)
    columns.units.quantum_kw[:] = quantum
    for target in rng.uniform(-1.2, 1.2, 5) * columns.units.discharge_kw.sum():
        after = decided(columns, target)
        total = np.clip(target, after.units.lower_kw.sum(), after.units.upper_kw.sum())
        assert abs(after.units.setpoint_kw.sum() - total) <= max(quantum / 2, 1e-6) + 1e-6


@few
@given(seed=SEEDS)
def test_coarse_and_fine_units_together_come_as_near_as_the_fine_ones_allow(seed):
    rng = np.random.default_rng(seed)
    columns = make_columns(rng, [int(rng.integers(2, 60))], wild=False)
    units = columns.units
    units.soe_pct[:] = 50
    units.quantum_kw[:] = rng.choice([1, 10], units.rows)
    units.quantum_kw[0] = 1  # at least one that is fine and has room for what a coarse one leaves
    target = rng.uniform(-0.7, 0.7) * units.discharge_kw.sum()
    after = decided(columns, target)
    assert abs(after.units.setpoint_kw.sum() - target) <= 0.5 + 1e-6


@few
@given(seed=SEEDS, plain=st.booleans())
def test_numbers_that_mean_nothing_stop_their_own_unit_and_no_other(seed, plain):
    rng = np.random.default_rng(seed)
    columns = make_columns(rng, [40, 3, 0, 1])
    clean = copy_of(columns)
    name = rng.choice([name for name, dtype in columns.units.dtypes().items() if dtype == "f8"])
    value = rng.choice([np.nan, -np.inf, 1e300, np.inf])
    victim = int(rng.integers(columns.units.rows))
    at_once = ("ramp_kw_per_s", "rise_kw_per_s", "allowed_charge_kw", "allowed_discharge_kw", "idle_s")
    if name in ("lower_kw", "upper_kw") or (name in at_once and value > 0):
        name, value = "soe_pct", np.nan
    getattr(columns.units, name)[victim] = value
    clean.units.usable[victim] = reasons.BAD
    for each in (columns, clean):
        each.sites.target_kw[:] = 300
        Kernel(each, plain=plain).decide(0.5)
    assert columns.units.setpoint_kw[victim] == 0
    assert columns.units.reason[victim] == reasons.BAD
    assert np.isfinite(columns.units.setpoint_kw).all()
    assert (columns.units.setpoint_kw == clean.units.setpoint_kw).all()
    getattr(columns.units, name)[victim] = getattr(clean.units, name)[victim]  # it comes back by itself
    Kernel(columns).decide(0.5)
    assert columns.units.reason[victim] != reasons.BAD


@few
@given(seed=SEEDS)
def test_the_order_of_units_makes_no_difference_before_ties(seed):
    rng = np.random.default_rng(seed)
    columns = make_columns(rng, [int(rng.integers(1, 100))])
    columns.units.quantum_kw[:] = 0
    columns.sites.efficient_kw[:] = 0
    order = rng.permutation(columns.units.rows)
    mixed = copy_of(columns)
    for name in columns.units.dtypes():
        getattr(mixed.units, name)[:] = getattr(columns.units, name)[order]
    target = rng.uniform(-1, 1) * columns.units.discharge_kw.sum()
    one, other = decided(columns, target).units, decided(mixed, target).units
    assert np.allclose(one.setpoint_kw[order], other.setpoint_kw, atol=1e-6)
    assert (one.upper_kw[order] == other.upper_kw).all()


@few
@given(seed=SEEDS)
def test_more_asked_for_is_more_done_by_each_unit_and_by_all(seed):
    rng = np.random.default_rng(seed)
    columns = make_columns(rng, [int(rng.integers(1, 60))])
    columns.sites.efficient_kw[:], columns.sites.balance_kw_per_pct[:] = 0, 0
    columns.units.setpoint_kw[:] = np.round(rng.uniform(-20, 20, columns.units.rows))
    targets = np.sort(rng.uniform(-1.2, 1.2, 6)) * columns.units.discharge_kw.sum()
    for quantum in (0, 1):
        columns.units.quantum_kw[:] = quantum
        runs = [decided(columns, target).units.setpoint_kw for target in targets]
        for less, more in pairwise(runs):
            assert more.sum() >= less.sum() - 1e-6
            if quantum == 0:
                assert (more >= less - 1e-6).all()


def problem(rng):
    """A small site in mid-run: bounds of every kind. Returns columns and a target."""
    columns = make_columns(rng, [int(rng.integers(1, 8))])
    units = columns.units
    units.quantum_kw[:] = 0
    units.setpoint_kw[:] = rng.uniform(-40, 40, units.rows)
    columns.sites.efficient_kw[:], columns.sites.balance_kw_per_pct[:] = 0, 0
    return columns, rng.uniform(-1.5, 1.5) * units.discharge_kw.sum()


@few
@given(seed=SEEDS)
def test_no_feasible_split_leaves_less_unserved_than_the_kernels(seed):
    rng = np.random.default_rng(seed)
    columns, target = problem(rng)
    after = decided(columns, target)
    low, high = after.units.lower_kw, after.units.upper_kw
    # HiGHS: powers and |target - sum| as two non-negative parts, of which it makes the sum least.
    n = len(low)
    best = linprog(
        np.r_[np.zeros(n), 1, 1],
        A_eq=[np.r_[np.ones(n), 1, -1]],
        b_eq=[target],
        bounds=[*zip(low, high, strict=True), (0, None), (0, None)],
        method="highs",
    )
    assert best.status == 0
    assert abs(after.sites.unserved_kw[0]) == pytest.approx(best.fun, abs=1e-5)


@few
@given(seed=SEEDS, split=st.sampled_from([ENERGY, POWER, EQUAL]))
def test_the_split_is_the_least_of_squares_by_weight(seed, split):
    rng = np.random.default_rng(seed)
    columns, target = problem(rng)
    columns.sites.split[:] = split
    after = decided(columns, target)
    units = after.units
    low, high, got = units.lower_kw, units.upper_kw, units.setpoint_kw
    total = np.clip(target, low.sum(), high.sum())
    up = total > np.clip(0, low, high).sum()
    floor = np.maximum(units.soe_min_pct, units.reserve_pct)
    weight = {
        ENERGY: np.maximum(units.soe_pct - floor, 0) * units.efficiency
        if up
        else np.maximum(units.soe_max_pct - units.soe_pct, 0) / units.efficiency,
        POWER: units.allowed_discharge_kw if up else units.allowed_charge_kw,
        EQUAL: np.ones(units.rows),
    }[split] * (units.capacity_kwh if split == ENERGY else 1)
    # Units without weight, and those without room, do what is next to 0; the others are the problem.
    free = (weight > 0) & (high > low)
    fixed = np.where(free, 0, np.clip(0, low, high))
    rest = total - fixed.sum()
    if not free.any() or not low[free].sum() <= rest <= high[free].sum():
        return  # only what has no weight could do it: by room, another test
    scale = weight[free].mean()
    best = minimize(
        lambda p: (p**2 / (2 * weight[free] / scale)).sum(),
        np.clip(rest / free.sum(), low[free], high[free]),
        jac=lambda p: p / (weight[free] / scale),
        bounds=list(zip(low[free], high[free], strict=True)),
        constraints={"type": "eq", "fun": lambda p: p.sum() - rest, "jac": lambda p: np.ones_like(p)},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    mine = got[free]
    assert mine.sum() == pytest.approx(rest, abs=1e-4)
    cost = (mine**2 / (2 * weight[free] / scale)).sum()
    if best.success and abs(best.x.sum() - rest) < 1e-6:
        assert cost <= best.fun + 1e-4 * (1 + abs(best.fun))
    # And exactly: one lambda, by the conditions of Karush, Kuhn and Tucker.
    slope, at_low, at_high = mine / weight[free], mine <= low[free] + 1e-6, mine >= high[free] - 1e-6
    inner = ~at_low & ~at_high
    least = slope[inner | at_high].max(initial=-np.inf)
    most = slope[inner | at_low].min(initial=np.inf)
    assert least <= most + 1e-5 * (1 + abs(most))


@pytest.mark.parametrize("plain", [False, True])
def test_no_unit_and_no_site_is_no_error(plain):
    for sizes in ([], [0], [0, 0, 2, 0]):
        columns = Columns.make(sizes)
        twin = copy_of(columns)
        Kernel(columns, plain=plain).decide(0.5)
        reference.decide(twin, 0.5)
        assert not differences(columns, twin)
