"""What a machine holds, found out: the trials of a search, each in processes of its own.

``OwnBench`` looks for the most devices at a period, ``SiteBench`` for the shortest period of a site file's.
"""

import os
import resource
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from fluxfast.bench.child import Child, OutOfMemoryError, Waiting
from fluxfast.bench.environment import busy_s, cores
from fluxfast.bench.fleet import MOST_DEVICES
from fluxfast.bench.job import Job
from fluxfast.bench.measure import Measured, Window
from fluxfast.bench.search import Range, search
from fluxfast.bench.trial import Result, Trial
from fluxfast.config import Fleet
from fluxfast.errors import FluxfastError
from fluxfast.running import running_stations

FIRST_DEVICES: Final = 250
FIRST_PORT: Final = 15020
PORTS: Final = 500
BESIDE_LINKS: Final = 65  # open files of either process: its own, and one that listens
SLOWEST_FIRST_US: Final = 5_000_000  # a site that is polled every hour is tried at that first
SLOWER: Final = 8  # so many times the first period is tried, at the most
PAUSE_S: Final = 1.0  # between two trials: devices in the field have to notice that a connection has gone
READY_S, ANSWERS_S = 120.0, 30.0
CONNECTS_S: Final = 2.0  # what a trial takes beside its ticks, about

TRIED: Final = Window(ticks=10, seconds=5)
LONGER: Final = Window(ticks=20, seconds=35)  # after 30 s the log makes its first Parquet
QUICK: Final = Window(ticks=5, seconds=1, warm_ticks=1, warm_s=0.3)
QUICK_LONGER: Final = Window(ticks=10, seconds=2, warm_ticks=1, warm_s=0.3)

Progress = Callable[[float, float], None]  # seconds done, of all
Seen = tuple[Measured, float | None, float | None]  # by the station, of the simulator, of others: see Trial


class Bench(ABC):
    """A search, and how one of its trials is done."""

    range: Range
    every_us: int  # the period that was asked for

    def __init__(self, quick: bool) -> None:
        """``quick``: shorter windows."""
        self._windows = (QUICK, QUICK_LONGER) if quick else (TRIED, LONGER)

    def run(self, tell: Callable[[Trial], None], progress: Callable[[int, bool], Progress]) -> Result:
        """Search; each trial is told when it is done. Raises FluxfastError for what keeps it from being done.

        ``progress(x, longer)`` is called when a trial begins, and what it returns ten times a second.
        """
        trials: list[Trial] = []

        def attempt(x: int, longer: bool) -> bool:
            trial = self._trial(x, longer, progress(x, longer))
            trials.append(trial)
            tell(trial)
            return trial.held

        limit = search(self.range, attempt)
        held = [trial for trial in trials if trial.longer and trial.held]
        failed = [trial for trial in trials if self._x(trial) == limit.failed and not trial.held]
        return Result(trials, held[-1] if held else None, failed[-1] if failed else None)

    def lasts_s(self) -> tuple[float, float]:
        """Return how long the first trial takes about, and a longer one, in seconds."""
        every_s = self._every_us(self.range.first) / 1e6
        shorter, longer = (window.lasts_s(every_s) + CONNECTS_S for window in self._windows)
        return shorter, longer

    def _trial(self, x: int, longer: bool, progress: Progress) -> Trial:
        every_us, window = self._every_us(x), self._windows[longer]
        began, lasts_s = time.monotonic(), window.lasts_s(every_us / 1e6) + CONNECTS_S

        def waiting() -> None:
            progress(min(time.monotonic() - began, lasts_s), lasts_s)

        try:
            measured, simulator, others = self._measure(x, window, waiting)
        except OutOfMemoryError as error:
            return Trial(self._devices(x), every_us, longer, None, None, None, str(error))
        return Trial(measured.devices, every_us, longer, measured, simulator, others, measured.why)

    @abstractmethod
    def _measure(self, x: int, window: Window, waiting: Waiting) -> Seen:
        """Do one trial."""

    @abstractmethod
    def _x(self, trial: Trial) -> int:
        """Return what is searched for."""

    @abstractmethod
    def _every_us(self, x: int) -> int:
        """Return a trial's period."""

    @abstractmethod
    def _devices(self, x: int) -> int:
        """Return a trial's devices."""


class OwnBench(Bench):
    """The most devices of a simulated fleet that are polled at a period, and logged where asked for."""

    def __init__(self, registers: int, every_us: int, most: int | None, log: bool, quick: bool) -> None:
        """``most``: devices; None: as many as this process may have open files."""
        super().__init__(quick)
        self.every_us = every_us
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.open_files = None if hard == resource.RLIM_INFINITY else hard
        possible = MOST_DEVICES if self.open_files is None else min(hard - BESIDE_LINKS, MOST_DEVICES)
        if possible < 1:
            raise FluxfastError(f"{hard} open files are too few for one device (raise it: ulimit -n 20000)")
        self.is_bound_by_files = (most or MOST_DEVICES) > possible
        hardest = min(most or MOST_DEVICES, possible)
        self.range = Range(min(FIRST_DEVICES, hardest), 1, hardest)
        ours = cores()
        self.shares_core = len(ours) < 2
        self._cores: tuple[int | None, int | None] = (None, None) if self.shares_core else (ours[0], ours[-1])
        self._job = Job(every_us, TRIED, registers=registers, log=log, port=_free_port())

    def _measure(self, x: int, window: Window, waiting: Waiting) -> Seen:
        ours, its = (replace(self._job, devices=x, window=window, core=core) for core in self._cores)
        with (
            Child("fluxfast.bench.devices", "the simulator") as simulator,
            Child("fluxfast.bench.station", "the station") as station,
        ):
            simulator.begin(its)
            simulator.hear(waiting, READY_S)
            return _watch(station, simulator, ours, READY_S, waiting)

    def _x(self, trial: Trial) -> int:
        return trial.devices

    def _every_us(self, x: int) -> int:
        return self.every_us

    def _devices(self, x: int) -> int:
        return x


class SiteBench(Bench):
    """The shortest period at which a site file's devices are read; nothing is written, locked or logged."""

    def __init__(self, site: Path, fleet: Fleet, fastest_us: int, quick: bool) -> None:
        """``fleet`` is what ``site`` holds."""
        super().__init__(quick)
        self.every_us = fleet.poll.every_ns // 1000
        first = min(self.every_us, SLOWEST_FIRST_US)
        self.range = Range(first, SLOWER * first, min(fastest_us, first))
        self._site = site
        self._fleet = fleet
        self._left_out: list[str] = []
        self._is_connected_to = False  # once a trial was done

    def refuse_polled(self) -> None:
        """Raise FluxfastError if a station of this machine polls one of the devices."""
        ends = {(str(device.modbus.host), device.modbus.port) for device in self._fleet.devices}
        for station in running_stations():
            if both := ends & station.endpoints:
                host, port = min(both)
                raise FluxfastError(
                    f"{host}:{port} is polled by the station of site {', '.join(station.sites)} (process"
                    f" {station.pid}), which a bench would disturb (stop it, or add --include-polled)"
                )

    def survey(self, progress: Progress) -> Sequence[Sequence[str]]:
        """Ask all devices at the first period; leave out and return those that never answer, and why.

        Raises FluxfastError if that is all of them.
        """
        survey = self._trial(self.range.first, False, progress).measured
        silent = survey.silent if survey is not None else ()
        self._left_out = [id_ for id_, _ in silent]
        if len(silent) == len(self._fleet.devices):
            id_, why = silent[0]
            cure = f"see `fluxfast doctor {self._site}`"
            raise FluxfastError(f"none of the devices answers; {id_}: {why} ({cure})")
        return silent

    def _measure(self, x: int, window: Window, waiting: Waiting) -> Seen:
        job = Job(every_us=x, window=window, site=str(self._site), left_out=self._left_out)
        connects = self._fleet.poll.connects_per_s
        ready_s = READY_S + (len(self._fleet.devices) / connects if connects else 0)
        if self._is_connected_to:
            time.sleep(PAUSE_S)
        self._is_connected_to = True
        with Child("fluxfast.bench.station", "the station") as station:
            return _watch(station, None, job, ready_s, waiting)

    def _x(self, trial: Trial) -> int:
        return trial.every_us

    def _every_us(self, x: int) -> int:
        return x

    def _devices(self, x: int) -> int:
        return len(self._fleet.devices) - len(self._left_out)


def _watch(station: Child, simulator: Child | None, job: Job, ready_s: float, waiting: Waiting) -> Seen:
    """See a station through its trial, and what else worked during its window."""

    def clocks() -> tuple[float, float | None, float | None]:
        used_s = None if simulator is None else float(simulator.ask(waiting, ANSWERS_S)["cpu_s"])
        return time.monotonic(), used_s, busy_s()

    lasts_s = job.window.lasts_s(job.every_us / 1e6)
    station.begin(job)
    station.hear(waiting, ready_s)  # links are up
    station.hear(waiting, lasts_s + ANSWERS_S)  # the window begins
    before = clocks()
    station.hear(waiting, lasts_s + ANSWERS_S)  # and ends
    after = clocks()
    measured = Measured(**station.hear(waiting, ANSWERS_S)["measured"])
    took_s, used, busy = (
        None if a is None or b is None else b - a for a, b in zip(before, after, strict=True)
    )
    assert took_s is not None
    simulator_percent = None if used is None else 100 * used / took_s
    ours = measured.cpu_percent + (simulator_percent or 0)
    return measured, simulator_percent, None if busy is None else max(100 * busy / took_s - ours, 0)


def _free_port() -> int:
    """Return a port that is free on all addresses, below those that the system gives to connections."""
    for n in range(PORTS):
        port = FIRST_PORT + (os.getpid() + n) % PORTS  # so that two that start together do not meet
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise FluxfastError(f"no port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} is free for the simulator")
