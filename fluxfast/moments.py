"""When each stage of a tick ended: where a tick's time goes.

::

    due ─start─▶ begun ─read─▶ answered ─close─▶ closed ─decide─▶ decided ─write─▶ written ─log─▶ logged
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

STAGES: Final = ("start", "read", "close", "decide", "write", "log")
START, READ, CLOSE, DECIDE, WRITE, LOG = range(len(STAGES))
KEPT: Final = 2048  # ticks


class Moments:
    """The moments of the newest ticks, on the reactor's clock (nanoseconds).

    ``start``: how much later than its place on the grid a tick began. ``read``: until the last answer had
    been decoded, or the deadline. ``close``: until the tables were summed up. ``decide``: until every unit
    had its setpoint. ``write``: until the last of these had been handed to the kernel. ``log``: until the
    log had its copy. What a station does not do is no stage of its ticks.
    """

    def __init__(self) -> None:
        """Before the first tick."""
        self._ns = np.zeros((KEPT, 1 + len(STAGES)), np.int64)
        self._newest = self._ns[0]
        self._ticks = 0

    def begin(self, due_ns: int, began_ns: int) -> None:
        """From now on it is the next tick's ends that are noted."""
        self._newest = self._ns[self._ticks % KEPT]
        self._newest[:] = 0
        self._newest[:2] = due_ns, began_ns
        self._ticks += 1

    def end(self, stage: int, now_ns: int) -> None:
        """A stage of the newest tick has ended."""
        self._newest[1 + stage] = now_ns

    @property
    def ns(self) -> NDArray[np.int64]:
        """When each of the newest ticks was due, and then when each of its stages ended; oldest first.

        A copy, int64 [ticks, 1 + stages]; 0 for a stage that there was not.
        """
        if self._ticks < KEPT:
            return self._ns[: self._ticks].copy()
        return np.roll(self._ns, -self._ticks, axis=0)

    def durations_ms(self) -> dict[str, NDArray[np.float64]]:
        """Return by stage how long it took in each of the newest ticks that had it, oldest first."""
        ns = self.ns
        before = np.maximum.accumulate(ns, axis=1)
        return {
            stage: (ns[had, 1 + k] - before[had, k]) / 1e6
            for k, stage in enumerate(STAGES)
            if (had := ns[:, 1 + k] > 0).any()
        }
