"""Random columns of battery units, and what happens to them from tick to tick."""

import copy

import numpy as np

from fluxfast.control import reasons
from fluxfast.control.columns import Columns

QUANTA = [0, 0.1, 1, 5]


def make_columns(rng, counts, wild=True):
    """Return columns of units at any state of energy. ``wild``: all parameters differ, all stages in use."""
    columns = Columns.make(list(counts))
    units, sites = columns.units, columns.sites
    n, s = units.rows, sites.rows
    units.capacity_kwh[:] = rng.integers(1, 9, n) * 100
    units.charge_kw[:] = units.discharge_kw[:] = rng.integers(1, 5, n) * 50
    units.soe_min_pct[:], units.soe_max_pct[:] = 10, 90
    units.soe_pct[:] = rng.integers(0, 101, n)
    sites.split[:] = rng.integers(0, 3, s)
    if wild:
        units.discharge_kw[:] = rng.choice([0, 30, 100, 212.5], n)
        units.reserve_pct[:] = rng.choice([0, 0, 20], n)
        units.efficiency[:] = rng.choice([0.9, 0.96, 1], n)
        units.ramp_kw_per_s[:] = rng.choice([0, 0.3, 7, 50, np.inf], n, p=[0.05, 0.2, 0.25, 0.25, 0.25])
        units.rise_kw_per_s[:] = rng.choice([2, 20, np.inf], n)
        site_quantum = rng.choice(QUANTA, s)[np.repeat(np.arange(s), counts)]
        units.quantum_kw[:] = np.where(rng.random(n) < 0.1, rng.choice(QUANTA, n), site_quantum)
        if rng.random() < 0.7:
            units.quantum_kw[:] = site_quantum
        sites.horizon_s[:] = rng.choice([0, 60, 900], s)
        sites.hold_off_s[:] = rng.choice([0, 2, 10], s)
        sites.deadband_kw[:] = rng.choice([0, 3, 50], s)
        sites.resplit_s[:] = rng.choice([1, 10], s)
        sites.efficient_kw[:] = rng.choice([0, 40], s)
        sites.rotate_s[:] = rng.choice([3, 900], s)
        sites.balance_kw_per_pct[:] = rng.choice([0, 2], s)
    return columns


def next_inputs(rng, columns, wild=True):
    """Change targets, states of energy and what is usable, a little."""
    units, sites = columns.units, columns.sites
    n, s = units.rows, sites.rows
    reach = (
        np.bincount(
            np.repeat(np.arange(s), np.diff(columns.first)),
            np.clip(np.nan_to_num(units.discharge_kw), 0, 1e3),
            s,
        )
        + 50.0
    )
    fresh = rng.choice([-1.2, -0.5, -0.05, 0, 0.05, 0.3, 0.5, 1.2], s) * reach + rng.choice(
        [0, 0, 0.5, 1 / 3], s
    )
    sites.target_kw[:] = np.where(rng.random(s) < 0.4, fresh, sites.target_kw + rng.choice([0, 1, -1], s))
    units.soe_pct[:] = np.clip(units.soe_pct - np.sign(units.setpoint_kw) * (rng.random(n) < 0.2), 0, 100)
    if wild:
        limited = rng.random(s) < 0.2
        sites.lower_kw[:] = np.where(limited, rng.integers(-300, 50, s), -np.inf)
        sites.upper_kw[:] = np.where(limited, rng.integers(-50, 300, s), np.inf)
        change = rng.random(n)
        units.usable[change < 0.02] = reasons.STALE
        units.usable[change > 0.9] = reasons.NONE
        units.available[change > 0.97] = 0.5
        units.available[change < 0.1] = 1


def spoil(rng, columns, share=0.05):
    """Put numbers that mean nothing into any cells; return the units and the sites that have one."""
    touched = []
    for rows in (columns.units, columns.sites):
        bad = np.zeros(rows.rows, bool)
        for name, dtype in rows.dtypes().items():
            if dtype == "f8":
                cells = rng.random(rows.rows) < share / 10
                getattr(rows, name)[cells] = rng.choice(
                    [np.nan, np.inf, -np.inf, 1e300, -1e300, 1e20], cells.sum()
                )
                bad |= cells
        touched.append(bad)
    return touched


def copy_of(columns):
    return copy.deepcopy(columns)


def differences(one, other, tolerance=1e-6):
    """Return a line for each column in which the two differ."""
    found = []
    for rows, others in ((one.units, other.units), (one.sites, other.sites)):
        for name, dtype in rows.dtypes().items():
            a, b = getattr(rows, name), getattr(others, name)
            near = np.isclose(a, b, rtol=1e-9, atol=tolerance, equal_nan=True) if dtype == "f8" else a == b
            if not near.all():
                at = np.flatnonzero(~near)
                found.append(
                    f"{type(rows).__name__}.{name} at {at[:5]} ({len(at)}): {a[at[:5]]} != {b[at[:5]]}"
                )
    return found
