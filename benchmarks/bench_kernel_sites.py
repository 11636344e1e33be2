"""A decision for 10,000 units on ever more sites: what a site costs beside its units.

The units and what is decided are those of bench_kernel.py. What it does not show: sites of different sizes.
"""

import pytest
import stages

UNITS, TICKS = 10_000, 4


@pytest.mark.parametrize("sites", [1, 10, 100, 1_000])
def test_sites(contend, sites):
    stage = stages.kernel(UNITS, sites, TICKS)
    columns = contend(f"kernel_sites/{sites}", "fluxfast", sites * TICKS, "site", stage.run)
    assert columns.units.setpoint_kw.any()
