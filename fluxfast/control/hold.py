"""What is left of a target while the meter that it follows from is missing: all of it, then ever less."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TINY = 1e-9


class Hold:
    """How long every site has been blind, ``blind_s``: its meter is needed, and stale. Float64 [sites].

    ``left`` is what is left of the target that was held, 1: all of it.
    """

    def __init__(self, hold_s: Floats, ramp_down_s: Floats) -> None:
        """Hold targets for ``hold_s``, then bring them to 0 in ``ramp_down_s``."""
        self._end_s, self._ramp_down_s = hold_s + ramp_down_s, np.maximum(ramp_down_s, _TINY)
        self.blind_s = np.zeros(len(hold_s))
        self.left = self._whole = self._left()

    def clear(self) -> None:
        """No site is blind."""
        self.blind_s.fill(0.0)
        self.left = self._whole

    def step(self, blind: NDArray[np.bool_], dt_s: float) -> Floats:
        """Return which part of the last target is the next one, 0 to 1, after ``dt_s`` more."""
        before = self.left
        self.blind_s = np.where(blind, self.blind_s + dt_s, 0.0)
        self.left = self._left()
        return self.left / np.maximum(before, _TINY)

    def _left(self) -> Floats:
        return np.minimum(np.maximum((self._end_s - self.blind_s) / self._ramp_down_s, 0.0), 1.0)
