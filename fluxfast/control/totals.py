"""What the units of each site are together."""

import numpy as np
from numpy.typing import NDArray

from fluxfast.control import reasons
from fluxfast.control.columns import Columns, places

Floats = NDArray[np.float64]


class Totals:
    """Sums over the units of every site that take part, float64 [sites]."""

    def __init__(self, columns: Columns) -> None:
        """Take the columns; ``update`` sums up what is in them then."""
        self._units = columns.units
        # Only sites with units: to reduceat, no units are the first one of the next site.
        filled = np.flatnonzero(np.diff(columns.first))
        self._filled, self._starts = places(filled), columns.first[filled]
        self._terms = np.zeros((4, columns.units.rows))
        self._sums = np.zeros((4, columns.sites.rows))
        self.energy_kwh, self.capacity_kwh, self.charge_kw, self.discharge_kw = self._sums
        self.soe_pct = np.full(columns.sites.rows, np.nan)  # nan: no unit takes part

    def update(self) -> None:
        """Sum up anew."""
        if not len(self._starts):
            return
        units, terms = self._units, self._terms
        known = np.isfinite(units.soe_pct) & np.isfinite(units.available)
        there = (units.usable == reasons.NONE) & known
        available = np.where(there, units.available, 0.0)
        np.multiply(units.capacity_kwh, np.where(there, units.soe_pct, 0.0) / 100, out=terms[0])
        np.multiply(units.capacity_kwh, there, out=terms[1])
        np.multiply(units.charge_kw, available, out=terms[2])
        np.multiply(units.discharge_kw, available, out=terms[3])
        self._sums[:, self._filled] = np.add.reduceat(terms, self._starts, axis=1)
        self.soe_pct.fill(np.nan)
        np.divide(100 * self.energy_kwh, self.capacity_kwh, out=self.soe_pct, where=self.capacity_kwh > 0)
