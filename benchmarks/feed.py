"""Ticks for the benchmarks of the log: 500 batteries with 20 points, once a second (telemetry.py)."""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from telemetry import DECIMALS, generate

from fluxfast.log import Column, Dataset, LogWriter
from fluxfast.log.journal import BLOCK_S
from fluxfast.table.quality import GOOD, QUALITY_NAMES, REASONS, TIMEOUT

DEVICES, POINTS = 500, 20
BAD = 0.002  # of the rows


class Cost(NamedTuple):
    """What it took to log some ticks, or to convert them: of all threads of this process, and on the disk."""

    cpu_s: float
    wall_s: float
    bytes: int


class Stopwatch:
    """``with Stopwatch() as watch: …``, then ``watch.cost(n_bytes)``."""

    def __enter__(self) -> "Stopwatch":
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self._cpu_s = time.process_time() - self._cpu_s
        self._wall_s = time.perf_counter() - self._wall_s

    def cost(self, n_bytes: int) -> Cost:
        return Cost(self._cpu_s, self._wall_s, n_bytes)


class Feed:
    """Ticks to log, made once.

    ``ticks[t]`` is what ``LogWriter.append`` takes; ``table`` all of them as the rows that an analyst wants,
    in the order tick, device.
    """

    def __init__(self, ticks: int = 600) -> None:
        tick_us, arrival_us, columns = generate(DEVICES, ticks)
        latency_ms = ((arrival_us - tick_us[:, None]) / 1000).astype(np.float32)
        for name, decimals in DECIMALS.items():
            columns[name] = np.round(columns[name].astype(np.float64), decimals)
        bad = np.random.default_rng(2).random((ticks, DEVICES)) < BAD
        points = [Column(name, str(values.dtype)) for name, values in columns.items()]
        self.devices = [f"b{n:03}" for n in range(DEVICES)]
        self.dataset = Dataset("battery", ["site"] * DEVICES, self.devices, points)
        self.readings = ticks * DEVICES * POINTS
        self.ticks = [
            (
                int(tick_us[t]),
                latency_ms[t],
                np.where(bad[t], TIMEOUT, GOOD).astype(np.uint8),
                [values[t] for values in columns.values()],
                np.tile(~bad[t], (POINTS, 1)).astype(np.uint8),
            )
            for t in range(ticks)
        ]
        missing = bad.reshape(-1)
        self.table = pa.table(
            {
                "time": pa.array(np.repeat(tick_us, DEVICES), pa.timestamp("us", tz="UTC")),
                "device": pa.DictionaryArray.from_arrays(
                    np.tile(np.arange(DEVICES, dtype=np.int32), ticks), self.devices
                ),
                "quality": pa.array(np.where(missing, TIMEOUT, GOOD).astype(np.uint8)),
                "latency_ms": pa.array(latency_ms.reshape(-1)),
                **{name: pa.array(v.reshape(-1), mask=missing) for name, v in columns.items()},
            }
        )

    def writer(self, root: Path, ticks_a_frame: int, sync: str) -> LogWriter:
        """Return a log that takes as many ticks a frame, and makes no Parquet beside what is measured."""
        log = LogWriter(
            root, [self.dataset], tick_seconds=BLOCK_S / ticks_a_frame,
            quality_names=QUALITY_NAMES, reasons=REASONS, sync=sync, segment_seconds=86_400,
        )  # fmt: skip
        log._job.start = lambda: None
        return log

    def log(self, log: LogWriter) -> None:
        """Log all ticks as fast as nothing is dropped."""
        for tick in self.ticks:
            log.append(0, *tick)
            log.end_tick()
            while log.busy:
                time.sleep(0.0005)


def end(log: LogWriter) -> None:
    """Write what is left, and leave the journal as it is."""
    assert log.rows_dropped == 0
    log._journal.put(log._block)
    log._journal.close(60)
    log._job.close(10)
    log._directory.close()
