"""A decision for ever more units, a hundred on each site: how the cost of the kernel grows.

The units and what is decided are those of bench_kernel.py. What it does not show: the memory that everything
else pushes out of the cache between two ticks.
"""

import pytest
import stages

TICKS = 4


@pytest.mark.parametrize("units", [100, 1_000, 10_000, 100_000])
def test_units(contend, units):
    stage = stages.kernel(units, units // 100, TICKS)
    columns = contend(f"kernel_units/{units}", "fluxfast", stage.items, "unit", stage.run)
    assert columns.units.setpoint_kw.any()
