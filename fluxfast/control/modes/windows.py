"""Windows of the week: which of many hold at a minute, each in its own time zone."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np

from fluxfast.config.times import DAY_MINUTES, DAYS, zone
from fluxfast.control.modes.family import Booleans


class Window(NamedTuple):
    """Times of day (minutes) and days; none: all of them."""

    between: tuple[int, int] | None
    days: tuple[str, ...] | None
    time_zone: str | None  # none: UTC


class Windows:
    """A row for each window, evaluated together.

    A window that crosses midnight belongs to the day on which it begins. Times are those that a clock on the
    wall shows: what lies in an hour that is skipped does not come, what lies in a repeated one comes twice.
    """

    def __init__(self, windows: Sequence[Window]) -> None:
        """Make columns of them."""
        names = sorted({window.time_zone or "UTC" for window in windows})
        self._zones = [zone(name) for name in names]
        self._zone = np.array([names.index(window.time_zone or "UTC") for window in windows], np.intp)
        times = np.array([window.between or (0, DAY_MINUTES) for window in windows], np.int64).reshape(-1, 2)
        self._start, self._end = times.T
        self._crosses = self._end <= self._start
        days = [[day in (window.days or DAYS) for day in DAYS] for window in windows]
        self._days = np.array(days, np.bool_).reshape(-1, len(DAYS))

    def hold(self, minute: int) -> Booleans:
        """Return which hold in a minute, counted from 1970 in UTC: bool [rows]."""
        local = [datetime.fromtimestamp(minute * 60, zone) for zone in self._zones]
        now = np.array([at.hour * 60 + at.minute for at in local], np.int64)[self._zone]
        today = np.array([at.weekday() for at in local], np.intp)[self._zone]
        row = np.arange(len(self._zone))
        since_today = self._days[row, today] & (self._start <= now) & (self._crosses | (now < self._end))
        since_yesterday = self._days[row, today - 1] & self._crosses & (now < self._end)
        return since_today | since_yesterday
