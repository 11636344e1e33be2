"""One decision for all units of all sites: the kernel beside its NumPy twin, in the same run.

    python benchmarks/bench_kernel.py [--repeats 5] [--ticks 100]

Every stage is on: state-of-energy window with taper, slow rise, ramp, direction hold-off, deadband, split by
energy, whole kilowatts, efficiency stage with rotation, reasons. Units differ; targets move by more than the
deadband every tick, so that nothing is held; a percent of the units is stale. Both see the same targets and
must come to the same setpoints. A figure is the median of ticks; that of all repeats the smallest. What it
does not show: the memory that everything else pushes out of the cache between two ticks.
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fluxfast.control import reasons, reference
from fluxfast.control.columns import Columns
from fluxfast.control.kernel import Kernel

sys.path.insert(0, str(Path(__file__).parent))
from measured import machine

DT_S = 0.5
# (units, sites, budget in µs)
SIZES = [(400, 1, None), (10_000, 100, 100), (100_000, 1000, 1500), (100_000, 1, 1500)]


def make(units_count: int, sites_count: int) -> Columns:
    """Return columns with every stage on."""
    rng = np.random.default_rng(units_count + sites_count)
    columns = Columns.make([units_count // sites_count] * sites_count)
    units, sites = columns.units, columns.sites
    units.capacity_kwh[:] = rng.choice([200, 400, 800], units.rows)
    units.charge_kw[:] = units.discharge_kw[:] = units.capacity_kwh / 2
    units.soe_min_pct[:], units.soe_max_pct[:], units.reserve_pct[:] = 10, 90, 15
    units.soe_pct[:] = rng.integers(5, 95, units.rows)
    units.ramp_kw_per_s[:], units.rise_kw_per_s[:] = 100, 25
    units.usable[rng.random(units.rows) < 0.01] = reasons.STALE
    sites.deadband_kw[:], sites.efficient_kw[:] = 5, 60
    return columns


def targets(columns: Columns, ticks: int) -> np.ndarray:
    """Return targets between 0 and 60 % of what the units are rated: kW [ticks, sites]."""
    rng = np.random.default_rng(1)
    rated = np.add.reduceat(columns.units.discharge_kw, columns.first[:-1])
    swing = np.sin(np.arange(ticks)[:, None] / 9 + rng.random(len(rated)) * 6)
    return (0.3 + 0.3 * swing + 0.02 * rng.random((ticks, len(rated)))) * rated


def measure(columns: Columns, decide: Callable[[float], None], wanted: np.ndarray) -> float:
    """Return the median time of a tick in µs."""
    times = []
    for row in wanted:
        columns.sites.target_kw[:] = row
        begun = time.perf_counter_ns()
        decide(DT_S)
        times.append((time.perf_counter_ns() - begun) / 1000)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--ticks", type=int, default=100)
    options = parser.parse_args()
    print(machine())
    print(
        f"{'units':>8} {'sites':>6} {'kernel, us':>11} {'ns a unit':>10} {'budget, us':>11} {'NumPy, us':>10}"
        f" {'ratio':>6}"
    )
    for units_count, sites_count, budget in SIZES:
        kernel_us, numpy_us = [], []
        for _ in range(options.repeats):
            mine = make(units_count, sites_count)
            twin = copy.deepcopy(mine)
            wanted = targets(mine, options.ticks)
            kernel_us.append(measure(mine, Kernel(mine).decide, wanted))
            few = wanted[: max(10, options.ticks // 10)]
            numpy_us.append(measure(twin, lambda dt_s, twin=twin: reference.decide(twin, dt_s), few))
            again = make(units_count, sites_count)
            measure(again, Kernel(again).decide, few)
            assert np.array_equal(again.units.setpoint_kw, twin.units.setpoint_kw), "the two do not agree"
        mine_us, numpys = min(kernel_us), min(numpy_us)
        print(
            f"{units_count:8} {sites_count:6} {mine_us:11.1f} {mine_us * 1000 / units_count:10.1f}"
            f" {budget or '':>11} {numpys:10.0f} {numpys / mine_us:6.1f}"
        )


if __name__ == "__main__":
    main()
