"""The columns that control works on: a row per unit, a row per site. Made once, filled in place every tick.

Units stand site by site: those of site s are ``first[s]`` to ``first[s + 1]``. Powers are kW; positive
discharges. State columns carry over from tick to tick; so columns are all that the kernel depends on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, ClassVar, Final, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

Float = Annotated[NDArray[np.float64], "f8"]
Code = Annotated[NDArray[np.uint8], "u1"]
Sign = Annotated[NDArray[np.int8], "i1"]

ENERGY, POWER, EQUAL = 0, 1, 2  # what a split is weighted by: usable energy, available power, nothing
LINE, PAGE, APART = 64, 4096, 192  # bytes: of a cache line, after which caches repeat, between columns
SPLITS: Final = {"energy": ENERGY, "power": POWER, "equal": EQUAL}

Rows = slice | NDArray[np.integer]


class _Columns:
    """Arrays of one length, one for each annotation that has a dtype."""

    DEFAULTS: ClassVar[Mapping[str, float]] = {}  # of columns that do not start at 0

    def __init__(self, rows: int) -> None:
        """Allocate every column: one after the other, as processors like it.

        Each begins at a cache line, and not a multiple of 4 KiB after another: else the same row of all of
        them would want the same few places of the cache.
        """
        self.rows = rows
        dtypes = self.dtypes()
        begins, at = {}, 0
        for index, (name, dtype) in enumerate(dtypes.items()):
            at += -(at - index * APART) % PAGE
            begins[name] = at
            at += rows * np.dtype(dtype).itemsize
        memory = np.zeros(at + LINE, np.uint8)
        memory = memory[-memory.ctypes.data % LINE :]
        for name, dtype in dtypes.items():
            column = memory[begins[name] : begins[name] + rows * np.dtype(dtype).itemsize].view(dtype)
            column[:] = self.DEFAULTS.get(name, 0)
            setattr(self, name, column)

    @classmethod
    @cache
    def dtypes(cls) -> dict[str, str]:
        """Return the name and the dtype of each column."""
        hints = get_type_hints(cls, include_extras=True)
        return {name: get_args(hint)[1] for name, hint in hints.items() if hint in (Float, Code, Sign)}


class Units(_Columns):
    """A row per battery unit."""

    DEFAULTS: ClassVar = {
        "soe_max_pct": 100,
        "efficiency": 0.96,
        "ramp_kw_per_s": np.inf,
        "rise_kw_per_s": np.inf,
        "quantum_kw": 1,
        "available": 1,
        "allowed_charge_kw": np.inf,
        "allowed_discharge_kw": np.inf,
        "idle_s": np.inf,
    }

    # Parameters
    capacity_kwh: Float  # energy between 0 and 100 %
    charge_kw: Float  # the most it charges, as a positive number
    discharge_kw: Float  # the most it discharges
    soe_min_pct: Float  # not discharged below
    soe_max_pct: Float  # not charged above
    reserve_pct: Float  # kept for a purpose of its own: not discharged below
    efficiency: Float  # each way, 0 to 1
    ramp_kw_per_s: Float  # how fast its setpoint may move; inf: at once
    rise_kw_per_s: Float  # how fast what it is allowed may rise; it falls at once
    quantum_kw: Float  # setpoints are multiples of it; 0: any number (of 2^-30 kW, a microwatt)
    # Inputs
    usable: Code  # NONE, or the reason (reasons.UNUSABLE and up) why it takes no part
    soe_pct: Float  # state of energy
    available: Float  # part of its power that is there, 0 to 1
    # State
    setpoint_kw: Float  # before: the last one; after: the new one
    ramp_left_kw: Float  # of its ramp, not used yet: less than a quantum, saved until it makes one
    allowed_charge_kw: Float  # what the slow rise has come to; inf: not limited yet
    allowed_discharge_kw: Float  # likewise
    at_min: Code  # 1: discharged to its minimum (or reserve), until 2 % above it
    at_max: Code  # 1: charged to its maximum, until 2 % below it
    direction: Sign  # of its last setpoint that was not 0: 1, -1; 0: never
    idle_s: Float  # since it had a setpoint that was not 0
    resting: Code  # 1: the efficiency stage has put it to rest
    run_s: Float  # how long it has run or rested, for rotation
    # Outputs
    lower_kw: Float  # what it could have been told at least
    upper_kw: Float  # at most
    reason: Code  # what keeps it from more in the target's direction


class Sites(_Columns):
    """A row per site."""

    DEFAULTS: ClassVar = {
        "horizon_s": 60,
        "hold_off_s": 10,
        "resplit_s": 10,
        "rotate_s": 900,
        "lower_kw": -np.inf,
        "upper_kw": np.inf,
        "split_target_kw": np.nan,
    }

    # Parameters
    split: Code  # ENERGY, POWER or EQUAL
    horizon_s: Float  # an SOE bound tapers power so that it is not reached in less
    hold_off_s: Float  # rest at 0 before a unit turns from charging to discharging or back
    deadband_kw: Float  # a target that has moved by less leaves the setpoints as they are
    resplit_s: Float  # even so, they are split anew this often
    efficient_kw: Float  # per unit: no more units run than have this much each; 0: all
    rotate_s: Float  # a running unit is relieved by a resting one after this long
    balance_kw_per_pct: Float  # at rest, for each % of SOE from the mean; 0: nothing is moved
    # Inputs
    target_kw: Float  # what its mode wants, inside the site's limits
    lower_kw: Float  # the site's own bounds of the sum, of limits
    upper_kw: Float  # likewise
    # State
    split_target_kw: Float  # the target that was last split; nan: none
    split_s: Float  # since then
    # Outputs
    units_lower_kw: Float  # sum of the units' lower bounds
    units_upper_kw: Float  # of their upper bounds
    setpoint_kw: Float  # sum of the setpoints
    unserved_kw: Float  # target minus that, beyond rounding
    reason: Code  # why some is unserved: the units' most common reason, by power


@dataclass(frozen=True)
class Columns:
    """All units of all sites. ``first``: int32 [sites + 1]."""

    first: NDArray[np.int32]
    units: Units
    sites: Sites

    @classmethod
    def make(cls, units_of_site: list[int]) -> "Columns":
        """Allocate columns for sites of so many units each."""
        first = np.concatenate([[0], np.cumsum(units_of_site)]).astype(np.int32)
        return cls(first, Units(int(first[-1])), Sites(len(units_of_site)))


def places(rows: NDArray[np.integer]) -> Rows:
    """Return rows that follow each other as a slice, which NumPy takes without a copy."""
    if not len(rows) or (np.diff(rows) != 1).any():
        return rows
    return slice(int(rows[0]), int(rows[-1]) + 1)
