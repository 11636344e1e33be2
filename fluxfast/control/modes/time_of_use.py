"""Powers by the time of day."""

from collections.abc import Sequence

import numpy as np

from fluxfast.config.modes import TimeOfUse
from fluxfast.control.modes.family import Family, column
from fluxfast.control.modes.view import Floats, View
from fluxfast.control.modes.windows import Window, Windows


class TimesOfUse(Family[TimeOfUse]):
    """A power for each of several windows."""

    def _read(self, modes: Sequence[TimeOfUse]) -> None:
        # Backwards, so that where several hold the first is written last.
        periods = [(row, period) for row, mode in enumerate(modes) for period in reversed(mode.periods)]
        self._row = np.array([row for row, _ in periods], np.intp)
        self._power_kw = column([period.power_kw for _, period in periods])
        self._windows = Windows(
            [Window(period.between, period.days, modes[row].time_zone) for row, period in periods]
        )
        self._minute: int | None = None
        self._target_kw = np.full(len(modes), np.nan)

    def target(self, view: View) -> Floats:
        """T = power_kw of the first period that holds."""
        minute = int(view.time_s // 60)
        if minute != self._minute:
            holds = self._windows.hold(minute)
            self._target_kw.fill(np.nan)
            self._target_kw[self._row[holds]] = self._power_kw[holds]
            self._minute = minute
        return self._target_kw
