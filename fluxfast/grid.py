"""When ticks begin: at whole multiples of their length on the wall clock, timed by the monotonic clock."""

import time
from typing import Final

CLOCK_STEP_NS: Final = 100_000_000  # a wall clock that moved by more was set, not slewed
# A tick may begin this much late: timers count whole milliseconds, so one that waits until the next begins
# (`deadline: 100%`) ends a little after that.
LATE_START: Final = 0.1
LATE_START_LEAST_NS: Final = 3_000_000


class Grid:
    """The wall-clock grid: ticks at whole multiples of ``every_ns`` of UTC, timed by the monotonic clock."""

    def __init__(self, every_ns: int) -> None:
        """Anchor the grid to the wall clock as it stands."""
        self.every_ns = every_ns
        self._offset_ns = _wall_offset_ns()
        self._late_start_ns = max(int(every_ns * LATE_START), LATE_START_LEAST_NS)

    def check_clock(self) -> float:
        """Follow the wall clock if it was set since; return by how many seconds it was, or 0."""
        offset_ns = _wall_offset_ns()
        step_ns = offset_ns - self._offset_ns
        if abs(step_ns) < CLOCK_STEP_NS:
            return 0.0
        self._offset_ns = offset_ns
        return step_ns / 1e9

    def next_slot(self) -> int:
        """Return the number (UTC nanoseconds // every_ns) of the next slot, or of one that has just begun."""
        return (time.monotonic_ns() + self._offset_ns - self._late_start_ns) // self.every_ns + 1

    def seconds_until(self, slot: int) -> float:
        """Return the time to a slot; negative when it has passed."""
        return (slot * self.every_ns - self._offset_ns - time.monotonic_ns()) / 1e9

    def time_us(self, slot: int) -> int:
        """Return a slot's UTC microseconds."""
        return slot * self.every_ns // 1000


def _wall_offset_ns() -> int:
    """Return wall clock minus monotonic clock; a pause between the two readings is no step of a clock."""
    while True:
        before_ns = time.monotonic_ns()
        wall_ns = time.time_ns()
        after_ns = time.monotonic_ns()
        if after_ns - before_ns < CLOCK_STEP_NS // 10:
            return wall_ns - before_ns
