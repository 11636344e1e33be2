"""Whatever is measured: a target is finite, inside the site's bounds, and those are never crossed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fluxfast.control.columns import Columns
from fluxfast.control.kernel import Kernel
from fluxfast.control.loop import Loop, Measured
from fluxfast.control.modes import Modes
from tests.support.closed_loop import control

WILD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-300, 1e300, -1e300, 1e9]
MODES = (
    "[{type: frequency_droop, droop_pct: 1}, {type: peak_shaving, import_limit_kw: 9, recharge_below_kw: 5}]",
    "[{type: self_consumption}]",
    "[{type: fixed_power, power_kw: -70}]",
    "[]",
)
LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "import_kw": st.floats(0, 200),
        "export_kw": st.floats(0, 200),
        "charge_kw": st.floats(0, 100),
        "discharge_kw": st.floats(0, 100),
        "grid_ramp_kw_per_s": st.floats(0.1, 100),
    },
)


@given(limits=LIMITS, ramp=st.none() | st.floats(0.1, 100), seed=st.integers(0, 2**32 - 1))
def test_targets_are_finite_and_inside_their_bounds(
    limits: dict[str, float], ramp: float | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sites = len(MODES)
    columns = Columns.make([2] * sites)
    columns.units.capacity_kwh[:] = 100
    columns.units.charge_kw[:] = columns.units.discharge_kw[:] = 60
    controls = [control(modes, limits, ramp_kw_per_s=ramp, hold_s=1.0, ramp_down_s=1.0) for modes in MODES]
    loop, kernel = Loop(columns, controls, Modes([one.modes for one in controls]), 0.5), Kernel(columns)

    def any_of(low: float, high: float, size: int) -> np.ndarray:
        return np.where(rng.random(size) < 0.2, rng.choice(WILD, size), rng.uniform(low, high, size))

    for tick in range(40):
        columns.units.usable[:] = 0
        columns.units.soe_pct[:] = any_of(0, 100, 2 * sites)
        measured = Measured(
            any_of(-100, 200, sites),
            np.where(rng.random(sites) < 0.1, np.nan, tick * 0.5 - rng.uniform(0, 1, sites)),
            np.where(rng.random(sites) < 0.8, np.nan, any_of(-100, 100, sites)),
            any_of(49, 51, sites),
        )
        if rng.random() < 0.1:
            loop.stop(rng.integers(sites))
        if rng.random() < 0.1:
            loop.acknowledge(rng.integers(sites))
        loop.decide(tick * 0.5, tick * 0.5, 0.5, measured)
        kernel.decide(0.5)
        target_kw = columns.sites.target_kw
        assert np.isfinite(target_kw).all()
        assert (columns.sites.lower_kw <= target_kw).all()
        assert (target_kw <= columns.sites.upper_kw).all()
        assert (target_kw >= -limits.get("charge_kw", np.inf)).all()
        assert (target_kw <= limits.get("discharge_kw", np.inf)).all()
        assert (target_kw[loop.stopped] == 0).all()
        assert (columns.units.setpoint_kw[np.repeat(loop.stopped, 2)] == 0).all()
