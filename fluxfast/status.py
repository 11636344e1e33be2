"""A snapshot of a running station: what it knows about itself."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StageStatus:
    """How long a stage of the newest ticks took, ms; which there are: moments.py."""

    name: str
    p50_ms: float
    p99_ms: float
    most_ms: float

    @classmethod
    def of(cls, name: str, took_ms: NDArray[np.float64]) -> "StageStatus":
        """Return it of at least one tick."""
        ordered = np.sort(took_ms)  # half of what np.percentile takes: the loop waits for it
        p50, p99, most = (float(ordered[math.ceil(part * len(ordered)) - 1]) for part in (0.5, 0.99, 1))
        return cls(name, p50, p99, most)


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
class UnitsOut:
    """Units of a site that take no part for the same reason: how many, and the ids of the first few."""

    reason: str
    count: int
    ids: Sequence[str]


@dataclass(frozen=True)
class SiteStatus:
    """One site that decides as last decided. kW: positive discharges; positive of the grid imports."""

    name: str
    action: str  # "shadow": nothing is written; "act"
    stopped: bool  # emergency stop, until acknowledged
    mode: str | None  # None: none applies
    target_kw: float
    limit: str | None  # what keeps the target from what the mode wants
    setpoint_kw: float  # of all units together: what of the target is served
    unserved_kw: float
    unserved_why: str | None
    grid_kw: float | None  # None: never read
    meter_stale: bool
    units: int
    in_use: int  # units that take part: where the site acts, those that are ours
    out: Sequence[UnitsOut]  # the others
    unconfirmed: int  # units that have not confirmed the newest setpoint yet

    @property
    def has_findings(self) -> bool:
        """Whether a person should look: it is stopped, or a unit takes no part."""
        return self.stopped or self.in_use < self.units

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SiteStatus":
        """Return the one that ``dataclasses.asdict`` made into ``data``."""
        return cls(**{**data, "out": tuple(UnitsOut(**units) for units in data["out"])})


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
    log_bytes: int  # written to the journal
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
    stages: Sequence[StageStatus] = ()  # of the newest ticks, in their order
    control: Sequence[SiteStatus] = ()  # the sites that decide
    # From the newest answer of a grid meter to the tick's last setpoint in its socket; None: no setpoint yet.
    reaction_p50_ms: float | None = None
    given_back: int = 0  # units that were told 0 and given back
    # Units that were commanded and not given back, and ids of the first few; after the end the watchdog's.
    commanded: int = 0
    commanded_ids: Sequence[str] = ()
    control_ended: bool = False  # because the watchdog died: nothing is commanded any more

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

    def as_dict(self) -> dict[str, Any]:
        """Return the snapshot and its sums, ready for ``json.dumps``."""
        return asdict(self) | {
            "devices": self.devices,
            "devices_good": self.devices_good,
            "devices_uncertain": self.devices_uncertain,
            "devices_bad": self.devices_bad,
            "tables": [asdict(table) | {"devices": table.devices} for table in self.tables],
            "messages": list(self.messages),
        }
