"""Reads one day of a log, once, and has a page's figures for each site."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta, tzinfo
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fluxfast.errors import FluxfastError
from fluxfast.log.reading import Log
from fluxfast.report import source
from fluxfast.report.control import NUMBERS, TEXTS, ControlTally
from fluxfast.report.kinds import columns_of
from fluxfast.report.rows import Names, rows_of
from fluxfast.report.tally import MAX_REASONS, Grid, Tally

POINTS: Final = 750  # of a curve, at most
NICE_US: Final = [
    *(ms * 1000 for ms in (100, 200, 500)),
    *(s * 1_000_000 for s in (1, 2, 5, 10, 15, 30)),
    *(minutes * 60_000_000 for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880)),
]
USUAL_TICK_US: Final = 1_000_000  # of a day with a single one
NEAR_THE_END_US: Final = 600_000_000
MAX_EVENTS: Final = 5000  # of a site, the first ones
DAYS_SHOWN: Final = 5


class Day:
    """One day of a log. ``life_us``: from when to when it was being written on that day."""

    tallies: dict[str, Tally]
    control: ControlTally | None
    events: dict[str, list[dict[str, Any]]]

    def __init__(self, log: Log, day: date | None, zone: tzinfo | None) -> None:
        """Find the day, by default the last one; FluxfastError when the log has none, or not that one."""
        with source.reading():
            self._find(log, day, zone)

    def _find(self, log: Log, day: date | None, zone: tzinfo | None) -> None:
        found = source.extent(log, zone)
        if found is None:
            raise FluxfastError("this log has no rows of devices")
        self.log, self.zone = log, zone
        self.day = found.days[-1] if day is None else day
        if self.day not in found.days:
            raise FluxfastError(f"the log has nothing of {self.day}; it has {_some(found.days)}")
        self.start_us = source.start_us(self.day, zone)
        self.end_us = source.start_us(self.day + timedelta(days=1), zone)
        last_us = min(found.last_us, self.end_us - 1)
        first_tick_us = next(self._ticks(self.start_us, self.end_us), USUAL_TICK_US)
        *_, last_tick_us = first_tick_us, *self._ticks(last_us - NEAR_THE_END_US, last_us + 1)
        first, last = max(self.start_us, found.first_us), min(self.end_us, found.last_us + last_tick_us)
        bin_us = next(
            nice for nice in NICE_US if nice >= max((last - first) / POINTS, first_tick_us, last_tick_us)
        )
        start_us = self.start_us + (first - self.start_us) // bin_us * bin_us
        self.life_us = first, last
        self.grid = Grid(start_us, bin_us, -(-(last - start_us) // bin_us))
        self.roles = source.roles(log, self.end_us)

    def read(self, on_rows: Callable[[int], None] = lambda rows: None) -> None:
        """Read the day; ``on_rows`` hears how many rows each batch had. FluxfastError if there are none."""
        with source.reading():
            self.log.retried(lambda: self._read(on_rows))

    def _read(self, on_rows: Callable[[int], None]) -> None:
        self.tallies, self.control, self.events = {}, None, {}
        for name in source.device_datasets(self.log):
            dataset = self.log.dataset(name)
            columns = columns_of(name, dataset.schema)
            texts = {"quality": Names(8), "reason": Names(MAX_REASONS)}
            tally = Tally(columns, self.grid, texts)
            numbers = ["latency_ms", *(c for c in (columns.power, columns.soe) if c is not None)]
            self._feed(name, tally, texts, numbers, on_rows)
            if len(tally.devices):
                self.tallies[name] = tally
        if not self.tallies:
            raise FluxfastError(f"the log has no rows of {self.day}")
        if source.DECISIONS in self.log.datasets:
            texts = {name: Names(MAX_REASONS) for name in TEXTS}
            control = ControlTally(self.grid, texts)
            self._feed(source.DECISIONS, control, texts, NUMBERS, on_rows)
            self.control = control if len(control.devices) else None
        if source.EVENTS in self.log.datasets:
            self._read_events()

    def rows(self) -> int:
        """Return about how many rows read() will read."""
        names = [*source.device_datasets(self.log), source.DECISIONS]
        return sum(
            source.count_rows(self.log.dataset(name), self.start_us, self.end_us)
            for name in names
            if name in self.log.datasets
        )

    @property
    def sites(self) -> list[str]:
        """Return the names, after read()."""
        return sorted({site for tally in self.tallies.values() for site in tally.sites.names})

    def _feed(
        self,
        name: str,
        tally: Tally | ControlTally,
        texts: dict[str, Names],
        numbers: Sequence[str],
        on_rows: Callable[[int], None],
    ) -> None:
        dataset = self.log.dataset(name)
        lacking = [c for c in ("time", "site", "device", *texts, *numbers) if c not in dataset.schema.names]
        if lacking:
            raise FluxfastError(f"the dataset '{name}' lacks the column '{lacking[0]}'")
        wanted = ["time", "site", "device", *texts, *numbers]
        found = source.batches(dataset, wanted, self.start_us, self.end_us)
        for rows in rows_of(found, tally.devices, texts, numbers):
            tally.add(rows)
            on_rows(len(rows.device))

    def _ticks(self, from_us: int, to_us: int) -> Iterator[int]:
        """Yield how long ticks are, batch by batch."""
        for name in source.device_datasets(self.log):
            for batch in source.batches(self.log.dataset(name), ["time"], from_us, to_us):
                times = source.times_us(batch).to_numpy()
                steps = np.diff(times)
                steps, n = np.unique(steps[steps > 0], return_counts=True)
                if len(steps):
                    yield int(steps[n.argmax()])

    def _read_events(self) -> None:
        dataset = self.log.dataset(source.EVENTS)
        wanted = [c for c in ("time", "site", "device", "kind", "text") if c in dataset.schema.names]
        for batch in source.batches(dataset, wanted, self.start_us, self.end_us):
            time_us = source.times_us(batch)
            table = pa.table({"time_us": time_us, **{c: batch.column(c) for c in wanted[1:]}})
            for row in table.sort_by("time_us").to_pylist():
                of_site = self.events.setdefault(row.get("site") or "", [])
                if len(of_site) < MAX_EVENTS:
                    of_site.append(row)


def _some(days: Sequence[date]) -> str:
    """Return the days that there are, as far as a line has room."""
    if len(days) > DAYS_SHOWN:
        return f"{days[0]}, {days[1]}, … {days[-1]} ({len(days)} days)"
    return ", ".join(map(str, days))
