"""One decision for all units of all sites: the kernel beside its NumPy twin, convex solvers and a copy.

``kernel/10000x100`` are 10,000 units of 100 sites; and so on. Every stage is on:
state-of-energy window with taper, slow rise, ramp, direction hold-off, deadband, split by energy, whole
kilowatts, efficiency stage with rotation, reasons. Units differ; targets move by more than the deadband
every tick, so that nothing is held; a percent of the units is stale. How each does it:

- C floor, memcpy: of the units' columns of numbers, all read, those written that a decision writes.
- fluxfast: the kernel.
- NumPy: reference.py, the readable twin; it must come to the same setpoints.
- OSQP, Clarabel: the split alone, of all these stages: the least sum of (P - λw)²/w with each site's sum
  given and each unit's bounds. OSQP keeps its factors and starts from the last result; only totals change.
  Both must come within half a kilowatt of the twin's split. Left out where they take more than a second.

What it does not show: the memory that everything else pushes out of the cache between two ticks.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import pytest
import stages
from floors import addresses, floor
from stages import DT_S

from fluxfast.control import reference
from fluxfast.control.columns import Columns
from fluxfast.control.kernel import Kernel

SIZES = [(400, 1), (10_000, 100), (100_000, 1_000), (100_000, 1)]
SOLVED = [(400, 1), (10_000, 100)]
TICKS = 4
Run = Callable[[], Any]
Solve = Callable[[np.ndarray], np.ndarray]  # totals of the sites into powers of the units


@dataclass(frozen=True)
class Split:
    """The split of some ticks: the units that take part, and what each site must come to in each tick."""

    site: np.ndarray
    weight: np.ndarray
    low: np.ndarray
    high: np.ndarray
    totals: np.ndarray  # [ticks, sites], of these units alone
    powers: np.ndarray  # what the twin comes to, [ticks, units]


def split(columns: Columns) -> Split:
    """Return what is left to a solver once the kernel has found out bounds and weights."""
    units, sites, segments = columns.units, columns.sites, reference.Segments(columns.first)
    units.ramp_kw_per_s[:] = units.rise_kw_per_s[:] = np.inf  # else the first tick is all ramp
    site, every = segments.site, np.ones(sites.rows, bool)
    bounds = reference.unit_bounds(units, sites, site, DT_S)
    low, high = bounds.lower, bounds.upper
    neutral = segments.sum(np.clip(0, low, high))
    totals, powers = [], []
    for wanted in stages.targets(columns, TICKS):
        total = np.clip(wanted, segments.sum(low), 0.98 * segments.sum(high))
        weight = reference.weights(units, sites, site, bounds, low, high, total - neutral)
        powers.append(reference.split(segments, weight, low, high, total, total - neutral, every))
        totals.append(total)
    free = weight > 0
    fixed = [segments.sum(np.where(free, 0, power)) for power in powers]
    return Split(
        site[free], weight[free] / weight[free].mean(), low[free], high[free],
        np.array(totals) - np.array(fixed), np.array(powers)[:, free],
    )  # fmt: skip


def osqp(asked: Split) -> Solve:
    osqp = pytest.importorskip("osqp")
    from scipy import sparse

    units, sites = len(asked.site), asked.totals.shape[1]
    part = np.sqrt(sites / units)  # makes the rows of sums as long as the others
    sums = sparse.csc_matrix((np.full(units, part), (asked.site, np.arange(units))), (sites, units))
    solver = osqp.OSQP()
    solver.setup(
        sparse.diags(1 / asked.weight, format="csc"), np.zeros(units),
        sparse.vstack([sums, sparse.eye(units)], format="csc"),
        np.r_[part * asked.totals[0], asked.low], np.r_[part * asked.totals[0], asked.high],
        verbose=False, warm_starting=True, eps_abs=1e-3, eps_rel=1e-5, scaling=0, rho=1.0, polishing=False,
    )  # fmt: skip

    def solve(total: np.ndarray) -> np.ndarray:
        solver.update(l=np.r_[part * total, asked.low], u=np.r_[part * total, asked.high])
        return solver.solve(raise_error=True).x

    return solve


def clarabel(asked: Split) -> Solve:
    clarabel = pytest.importorskip("clarabel")
    from scipy import sparse

    units, sites = len(asked.site), asked.totals.shape[1]
    sums = sparse.csc_matrix((np.ones(units), (asked.site, np.arange(units))), (sites, units))
    one = sparse.eye(units, format="csc")
    matrix = sparse.vstack([sums, one, -one], format="csc")
    cones = [clarabel.ZeroConeT(sites), clarabel.NonnegativeConeT(2 * units)]
    settings = clarabel.DefaultSettings()
    settings.verbose, settings.presolve_enable = False, False
    bounds = np.r_[asked.high, -asked.low]
    solver = clarabel.DefaultSolver(
        sparse.diags(1 / asked.weight, format="csc"), np.zeros(units), matrix,
        np.r_[asked.totals[0], bounds], cones, settings,
    )  # fmt: skip

    def solve(total: np.ndarray) -> np.ndarray:
        solver.update(b=np.r_[total, bounds])
        return np.array(solver.solve().x)

    return solve


def copying(units: int, sites: int) -> Run:
    columns = stages.make_columns(units, sites).units
    names = [name for name, dtype in columns.dtypes().items() if dtype == "f8"]
    here, there = [np.ones(units) for _ in names], [np.zeros(units) for _ in names]
    read = names.index("setpoint_kw")  # those before it are never written: their copies go to one place
    to, of = addresses([there[0]] * read + there[read:]), addresses(here)
    return floor("floor_copy_columns", to, of, len(names), 8 * units, result=there[-1], keep=(here, there))


def name(size: tuple[int, int]) -> str:
    return f"kernel/{size[0]}x{size[1]}"


@pytest.mark.parametrize("size", SIZES, ids=name)
def test_c_floor(contend, size):
    assert contend(name(size), "C floor, memcpy", size[0], "unit", copying(*size)).all()


@pytest.mark.parametrize("size", SIZES, ids=name)
def test_fluxfast(contend, size):
    columns = contend(name(size), "fluxfast", size[0] * TICKS, "unit", stages.kernel(*size, TICKS).run)
    assert abs(columns.units.setpoint_kw.sum()) > 0


@pytest.mark.parametrize("size", SIZES, ids=name)
def test_numpy(contend, size):
    twin = stages.make_columns(*size)
    ours, theirs = copy.deepcopy(twin), copy.deepcopy(twin)
    stages.deciding(ours, Kernel(ours).decide, TICKS)()
    stages.deciding(theirs, lambda dt_s: reference.decide(theirs, dt_s), TICKS)()
    np.testing.assert_array_equal(ours.units.setpoint_kw, theirs.units.setpoint_kw)
    run = stages.deciding(twin, lambda dt_s: reference.decide(twin, dt_s), 1)
    contend(name(size), "NumPy", size[0], "unit", run)


@pytest.mark.parametrize("size", SOLVED, ids=name)
@pytest.mark.parametrize("contender", ["OSQP", "Clarabel"])
def test_solver(contend, size, contender):
    asked = split(stages.make_columns(*size))
    solve, totals = {"OSQP": osqp, "Clarabel": clarabel}[contender](asked), cycle(asked.totals)
    contend(name(size), f"{contender}, split only", size[0], "unit", lambda: solve(next(totals)))
    for total, power in zip(asked.totals, asked.powers, strict=True):
        np.testing.assert_allclose(solve(total), power, rtol=0, atol=0.5)
