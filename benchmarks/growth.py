"""How costs grow: the total of cases whose names end in a size, and the slope of its logarithm.

A slope of 1 is linear, 2 quadratic; below 1 a fixed part is still seen. It is fitted over the larger sizes,
where it matters.
"""

import re
from dataclasses import dataclass

import numpy as np
from measured import Case

LEAST = 3  # sizes that make a curve


@dataclass(frozen=True)
class Growth:
    """What a contender costs in all, by size: in the unit of an item."""

    contender: str
    against: str
    unit: str
    sizes: list[int]
    totals: list[float]

    @property
    def slope(self) -> float:
        """The exponent: total ~ size ** slope, fitted over the LEAST largest sizes."""
        return float(np.polyfit(np.log(self.sizes[-LEAST:]), np.log(self.totals[-LEAST:]), 1)[0])

    @property
    def marginal(self) -> float:
        """What an item more costs between the two largest sizes."""
        return (self.totals[-1] - self.totals[-2]) / (self.sizes[-1] - self.sizes[-2])


def size(case: Case) -> int | None:
    """Return the size that a case's name ends in: 10,000 of ``link/10000`` or ``kernel/10000 units``."""
    found = re.search(r"/(\d+)\b", case.name)
    return int(found[1]) if found else None


def growths(cases: list[Case]) -> list[Growth]:
    """Return the growth of every contender that is there in all sizes; none of cases without sizes."""
    sized = sorted((s, case.name, case) for case in cases if (s := size(case)) is not None)
    if len({s for s, *_ in sized}) < LEAST:
        return []
    shared = [name for name in sized[0][2].contenders if all(name in case.contenders for *_, case in sized)]
    unit = sized[0][2].unit
    cost, of = re.match("(.*) an? (.*)$", unit).groups()  # type: ignore[union-attr]
    return [
        Growth(
            name, of + "s" * (not of.endswith("s")), cost, [s for s, *_ in sized],
            [s * case.contenders[name].cost for s, _, case in sized],
        )
        for name in shared
    ]  # fmt: skip
