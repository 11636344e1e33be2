"""The estimate of the load, whatever the batteries do and whenever the meter looks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fluxfast.control.estimate import Estimate

TICKS = 200


@given(
    seed=st.integers(0, 2**32 - 1),
    tick_s=st.sampled_from([0.1, 0.25, 0.5, 1.0]),
    refresh_s=st.floats(0.1, 5.0),
    jitter=st.floats(0.0, 0.5),
    settle_s=st.floats(0.0, 4.0),
    busy=st.floats(0.0, 1.0),
)
def test_it_never_gets_farther_from_the_truth(
    seed: int, tick_s: float, refresh_s: float, jitter: float, settle_s: float, busy: float
) -> None:
    """A load that stands still, batteries that do anything: nothing they do is taken for the load's."""
    rng = np.random.default_rng(seed)
    estimate = Estimate(np.array([settle_s]), np.array([5.0]), np.array([np.inf]), tick_s)
    load_kw = rng.uniform(-100, 100)
    told_s, told_kw = [-np.inf], [0.0]  # since when which power
    before_s, next_s = -refresh_s, rng.uniform(0, refresh_s)
    meter_kw, error_kw, power_kw = load_kw, np.inf, 0.0
    for tick in range(TICKS):
        now_s = tick * tick_s
        while next_s <= now_s:
            # It may have averaged since the refresh before, over batteries that take settle_s to follow.
            low, high = _range(told_s, told_kw, before_s - settle_s, next_s)
            meter_kw = load_kw - rng.uniform(low, high)
            before_s, next_s = next_s, next_s + refresh_s * rng.uniform(1 - jitter, 1)
        estimate.update(now_s, np.array([power_kw]), np.array([meter_kw]), np.array([now_s]), np.zeros(1))
        (load,), (low,), (high,) = estimate.load_kw, estimate.low_kw, estimate.high_kw
        assert low - 1e-9 <= load_kw <= high + 1e-9
        assert abs(load - load_kw) <= error_kw + 1e-9
        error_kw = abs(load - load_kw)
        if rng.random() < busy:
            power_kw = rng.uniform(-100, 100)
            told_s.append(now_s)
            told_kw.append(power_kw)


@given(
    seed=st.integers(0, 2**32 - 1),
    tick_s=st.sampled_from([0.1, 0.25, 0.5, 1.0]),
    settle_s=st.floats(0.0, 4.0),
    late=st.sampled_from([-0.5, 0.0, 0.5]),
)
def test_a_meter_that_shows_nothing_is_found_before_its_load_moves(
    seed: int, tick_s: float, settle_s: float, late: float
) -> None:
    """Whatever the batteries do from some tick on, under a value that stands; whenever it was sampled."""
    rng = np.random.default_rng(seed)
    settle = np.array([settle_s])
    estimate = Estimate(settle, np.array([5.0]), np.array([10.0]), tick_s)
    start = rng.integers(4, 60)
    paces = rng.integers(1, 4)
    meter_kw, power_kw = 100.0, 0.0
    for tick in range(start + round(20 / tick_s)):
        now_s = 1e5 + (tick + rng.uniform(0, 0.2)) * tick_s
        if tick < start and tick % paces == 0:
            meter_kw = 100.0 + rng.uniform(-1, 1)
        sample_s = now_s + late * rng.uniform(0, tick_s)
        estimate.update(now_s, np.array([power_kw]), np.array([meter_kw]), np.array([sample_s]), np.zeros(1))
        assert abs(estimate.load_kw[0] - 100) <= 1
        if tick >= start:
            power_kw = 60.0
    assert estimate.stale[0]


def _range(told_s: list[float], told_kw: list[float], start_s: float, end_s: float) -> tuple[float, float]:
    """Return the least and the most of what was in force at some time from start to end."""
    until_s = [*told_s[1:], np.inf]
    spans = zip(told_kw, told_s, until_s, strict=True)
    held = [power for power, since, until in spans if since < end_s and until > start_s]
    return min(held), max(held)
