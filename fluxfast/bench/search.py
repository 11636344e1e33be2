"""The search for a limit: how far something can be made harder while it still holds.

Doubled while it holds, halved until it does, then bisected to within a tenth. What was found is tried once
more, for longer, and if it does not hold then, what is easier, until again two are within a tenth. Nothing is
extrapolated: every number was tried.

A machine has its moments, so one failure says little: what failed is tried a second time before it counts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

WITHIN: Final = 0.1
TRIES: Final = 2
DIGITS: Final = 2  # of what is tried between two others: 1,700, not 1,682
BACK: Final = 0.1  # of what did not hold for longer; twice as much each time, half at the most

Attempt = Callable[[int, bool], bool]


@dataclass(frozen=True)
class Range:
    """Where a limit is looked for, in whole numbers: devices get harder upwards, periods downwards.

    ``first`` is tried first; ``easiest`` and ``hardest`` are the ends, on both sides of it.
    """

    first: int
    easiest: int
    hardest: int

    def harder(self, x: int) -> int | None:
        """Return twice as hard, the hardest at the most; None at the hardest."""
        return self._towards(self.hardest, x)

    def easier(self, x: int) -> int | None:
        """Return half as hard, the easiest at the most; None at the easiest."""
        return self._towards(self.easiest, x)

    def between(self, a: int, b: int) -> int | None:
        """Return a round number in the middle of two, by ratio; None if they are as near as need be."""
        low, high = sorted((a, b))
        middle = rounded(math.sqrt(low * high))
        return middle if high > low * (1 + WITHIN) and low < middle < high else None

    def eased(self, x: int, by: float) -> int | None:
        """Return what is easier by a part of it; None at the easiest."""
        if x == self.easiest:
            return None
        if self.easiest < x:
            return max(min(rounded(x * (1 - by)), x - 1), self.easiest)
        return min(max(rounded(x / (1 - by)), x + 1), self.easiest)

    @staticmethod
    def _towards(end: int, x: int) -> int | None:
        if x == end:
            return None
        return min(2 * x, end) if end > x else max(x // 2, end)


@dataclass(frozen=True)
class Limit:
    """The hardest that held, also for longer, and the easiest beyond it that did not; None: there is none."""

    held: int | None
    failed: int | None


def search(within: Range, attempt: Attempt) -> Limit:
    """Find the limit; ``attempt(x, longer)`` tries one and says whether it held."""

    def holds(x: int, longer: bool = False) -> bool:
        return any(attempt(x, longer) for _ in range(TRIES))

    held: int | None = None
    failed: int | None = None
    following: int | None = within.first
    while following is not None:
        x = following
        if holds(x):
            held = x
            following = within.harder(x) if failed is None else within.between(x, failed)
        else:
            failed = x
            following = within.easier(x) if held is None else within.between(held, x)
    # Once more, for longer: where that does not hold, back in growing steps, and near to it again.
    following, held, back = held, None, BACK
    while following is not None:
        x = following
        if holds(x, True):
            held = x
            following = None if failed is None else within.between(x, failed)
        else:
            failed = x
            following = within.eased(x, back) if held is None else within.between(held, x)
            back = min(2 * back, 0.5)
    return Limit(held, failed)


def rounded(x: float) -> int:
    """Return the number with two digits that are not 0."""
    unit = 10 ** max(math.floor(math.log10(x)) + 1 - DIGITS, 0) if x >= 1 else 1
    return round(x / unit) * unit
