"""The bounds of each site's target: limits narrow them one after another, and each says which one binds.

The first that narrows wins: a later one goes only as far as those before it leave room. So they are given in
the order of their rank, and the lower bound never exceeds the upper.
"""

import numpy as np
from numpy.typing import NDArray

from fluxfast.control import reasons

Floats = NDArray[np.float64]


class Bounds:
    """Lower and upper bound of every site, float64 [sites], kW, and for each the reason code of its limit."""

    def __init__(self, lower_kw: Floats, upper_kw: Floats) -> None:
        """Take the arrays to fill; bound nothing."""
        self.lower_kw, self.upper_kw = lower_kw, upper_kw
        self._lower_reason = np.empty(len(lower_kw), np.uint8)
        self._upper_reason = np.empty(len(upper_kw), np.uint8)
        self.clear()

    def clear(self) -> None:
        """Bound nothing again."""
        self.lower_kw.fill(-np.inf)
        self.upper_kw.fill(np.inf)
        self._lower_reason.fill(reasons.NONE)
        self._upper_reason.fill(reasons.NONE)

    def at_least(self, power_kw: Floats, reason: int) -> None:
        """Raise the lower bounds to these powers, as far as the upper ones allow; nan: no such limit."""
        raised = np.minimum(power_kw, self.upper_kw)
        np.copyto(self._lower_reason, reason, where=raised > self.lower_kw)
        np.fmax(self.lower_kw, raised, out=self.lower_kw)

    def at_most(self, power_kw: Floats, reason: int) -> None:
        """Lower the upper bounds to these powers, as far as the lower ones allow; nan: no such limit."""
        lowered = np.maximum(power_kw, self.lower_kw)
        np.copyto(self._upper_reason, reason, where=lowered < self.upper_kw)
        np.fmin(self.upper_kw, lowered, out=self.upper_kw)

    def clip(self, wanted_kw: Floats) -> tuple[Floats, NDArray[np.uint8]]:
        """Return the wanted powers inside the bounds, and the reasons of those that had to move."""
        inside = np.minimum(np.maximum(wanted_kw, self.lower_kw), self.upper_kw)
        reason = np.where(inside > wanted_kw, self._lower_reason, self._upper_reason)
        return inside, np.where(inside == wanted_kw, np.uint8(reasons.NONE), reason)
