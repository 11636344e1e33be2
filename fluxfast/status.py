"""A snapshot of a running station: what it knows about itself."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TableStatus:
    """One table: how many of its devices are in which quality, by the last tick."""

    name: str
    good: int
    uncertain: int
    bad: int

    @property
    def devices(self) -> int:
        """All devices of the table."""
        return self.good + self.uncertain + self.bad


@dataclass(frozen=True)
class Status:
    """One moment of a station; counts are since the start, rates since the snapshot before."""

    elapsed_s: float
    tables: Sequence[TableStatus]
    readings_per_s: float
    requests_per_s: float
    # From the tick's start to its last reply or its close; None before the first tick.
    tick_p50_ms: float | None
    tick_p99_ms: float | None
    ticks: int
    overruns: int
    unanswered: int  # reads without an answer by their tick's deadline
    rows_logged: int  # taken by the log, less what it lost
    rows_dropped: int
    log_bytes: int
    links_up: int
    links_total: int
    cpu_percent: float
    messages: Sequence[str] = ()  # recent problems, the latest last
    # From a request to its answer, all units together, since the start; None before the first answer.
    round_trip_p50_ms: float | None = None
    round_trip_p99_ms: float | None = None
    retries: int = 0  # requests sent while an earlier one had found no answer
    reconnects: int = 0  # tries to connect beyond each link's first
    late: int = 0  # answers to requests that had ended
    foreign: int = 0  # frames that answer nothing that was ever asked

    @property
    def devices_good(self) -> int:
        """Devices of good quality in the last tick."""
        return sum(t.good for t in self.tables)

    @property
    def devices_uncertain(self) -> int:
        """Devices of uncertain quality in the last tick."""
        return sum(t.uncertain for t in self.tables)

    @property
    def devices_bad(self) -> int:
        """Devices of bad quality in the last tick."""
        return sum(t.bad for t in self.tables)

    @property
    def devices(self) -> int:
        """All devices."""
        return sum(t.devices for t in self.tables)
