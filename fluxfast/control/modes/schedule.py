"""Powers from schedule files: all files' rows in one sorted array, so that one search serves all sites."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from fluxfast.config.modes import Schedule
from fluxfast.control.modes.family import Family
from fluxfast.control.modes.schedule_file import LAST_MS, ScheduleRows, read_schedule
from fluxfast.control.modes.view import Floats, View
from fluxfast.errors import ConfigError, Problem

_FILE_MS: Final = LAST_MS + 1  # a file's rows are moved into a span of their own, this long


class Schedules(Family[Schedule]):
    """The power of the row that holds; sites with the same file share its rows."""

    def _read(self, modes: Sequence[Schedule]) -> None:
        keys = [(mode.file, mode.time_zone or "UTC") for mode in modes]
        files: dict[tuple[str, str], ScheduleRows] = {}
        problems: list[Problem] = []
        for key in dict.fromkeys(keys):
            try:
                files[key] = read_schedule(*key)
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        spans = {key: index * _FILE_MS for index, key in enumerate(files)}
        self._span = np.array([spans[key] for key in keys], np.int64)
        self._start = np.concatenate([rows.start_ms + spans[key] for key, rows in files.items()])
        self._end = np.concatenate([rows.end_ms + spans[key] for key, rows in files.items()])
        self._power_kw = np.concatenate([rows.power_kw for rows in files.values()])

    def target(self, view: View) -> Floats:
        """T = power_kw of the last row that has begun, until its end."""
        now = self._span + min(max(int(view.time_s * 1000), 0), LAST_MS)
        at = np.searchsorted(self._start, now, side="right") - 1
        # Before the first row of its file `at` is the last row of the file before, or -1.
        holds = (self._start[at] >= self._span) & (self._start[at] <= now) & (now < self._end[at])
        return np.where(holds, self._power_kw[at], np.nan)
