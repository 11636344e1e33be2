"""What modes see of the sites."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One moment of all sites: float64 arrays with a row per site, nan where something is not known.

    Powers are kW; battery power is positive when discharging, grid power when importing.
    """

    time_s: float  # UTC, seconds since 1970; the only clock that a mode has
    dt_s: float  # since the decision before
    grid_kw: Floats
    load_kw: Floats  # what the grid would give if the batteries rested: grid_kw + their power
    battery_kw: Floats  # sum of the last setpoints
    target_kw: Floats  # the last target
    soe_pct: Floats
    energy_kwh: Floats
    capacity_kwh: Floats
    charge_kw: Floats  # the most that all units could charge now, as a positive number
    discharge_kw: Floats  # the most that they could discharge
    frequency_hz: Floats

    def of(self, sites: NDArray[np.intp]) -> Self:
        """Return some rows of it, as arrays of their own that cannot be written to."""
        rows = {name: getattr(self, name).take(sites) for name in ARRAYS}
        for array in rows.values():
            array.flags.writeable = False
        return replace(self, **rows)


ARRAYS = tuple(field.name for field in fields(View) if field.type is not float)
