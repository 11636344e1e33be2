"""What logging costs: the tick, the journal, and the Parquet that is made of it.

``python benchmarks/bench_log.py``: 500 batteries, 20 points each (``telemetry.py``), CPU and wall time of the
whole way from ``append`` to the synced journal, then of a segment to Parquet: reading, sorting, encoding.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
from telemetry import DECIMALS, generate

from fluxfast.log import Column, Dataset, LogWriter, segment
from fluxfast.log.encoder import PartEncoder
from fluxfast.log.job import CompactionJob
from fluxfast.log.rows import Rows
from fluxfast.table.quality import GOOD, QUALITY_NAMES, REASONS, TIMEOUT

DEVICES, POINTS, TICKS = 500, 20, 600  # ten minutes at one tick a second
BAD = 0.002  # of the rows


class Feed:
    """Ticks to log, made once."""

    def __init__(self) -> None:
        tick_us, arrival_us, columns = generate(DEVICES, TICKS)
        latency_ms = ((arrival_us - tick_us[:, None]) / 1000).astype(np.float32)
        for name, decimals in DECIMALS.items():
            columns[name] = np.round(columns[name].astype(np.float64), decimals)
        bad = np.random.default_rng(2).random((TICKS, DEVICES)) < BAD
        points = [Column(name, str(values.dtype)) for name, values in columns.items()]
        names = [f"b{n:03}" for n in range(DEVICES)]
        self.dataset = Dataset("battery", ["site"] * DEVICES, names, points)
        self.ticks = [
            (
                int(tick_us[t]),
                latency_ms[t],
                np.where(bad[t], TIMEOUT, GOOD).astype(np.uint8),
                [values[t] for values in columns.values()],
                np.tile(~bad[t], (POINTS, 1)).astype(np.uint8),
            )
            for t in range(TICKS)
        ]

    def log(self, log: LogWriter) -> None:
        """Log all ticks as fast as nothing is dropped."""
        for tick in self.ticks:
            log.append(0, *tick)
            log.end_tick()
            while log.busy:
                time.sleep(0.0005)


def journal(feed: Feed, root: Path, tick_s: float, sync: str, rounds: int) -> None:
    """Log for some rounds; print the rates, and what the tick itself pays."""
    log = LogWriter(
        root, [feed.dataset], tick_seconds=tick_s, quality_names=QUALITY_NAMES, reasons=REASONS, sync=sync
    )
    began_s, cpu_s, thread_s = time.perf_counter(), time.process_time(), time.thread_time()
    for _ in range(rounds):
        feed.log(log)
    tick_us = (time.thread_time() - thread_s) / rounds / TICKS * 1e6
    log._journal.put(log._block)
    log._journal.close(60)
    wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    readings = rounds * TICKS * DEVICES * POINTS
    assert log.rows_dropped == 0
    size = sum(file.stat().st_size for file in (root / segment.FOLDER).iterdir())
    per_frame = max(int(0.5 / tick_s), 1) if sync != "tick" else 1
    print(
        f"journal, {per_frame:2} ticks a frame, sync: {sync}: {readings / cpu_s / 1e6:5.1f} M readings a CPU "
        f"second, {readings / wall_s / 1e6:5.1f} M/s; the tick pays {tick_us:.0f} us; "
        f"{size / readings:.2f} bytes a reading"
    )
    log._job.close(10)
    log._directory.close()


def conversion(root: Path, rounds: int) -> None:
    """Make Parquet of the first segment of a log, in memory; print the best rates."""
    wanted = segment.find(root / segment.FOLDER)[0]
    best = [float("inf")] * 3

    def timed(step: int, work: Callable[[], object]) -> object:
        began_s = time.process_time()
        result = work()
        best[step] = min(best[step], time.process_time() - began_s)
        return result

    for _ in range(rounds):
        read = segment.read(wanted)
        messages = timed(0, lambda: [frame.payload() for frame in segment.read(wanted).messages[0]])
        rows = Rows(read.datasets[0], "run")
        (day,) = timed(1, lambda rows=rows, messages=messages: list(rows.days(messages)))
        encoder = PartEncoder(day.table.schema)
        data = timed(2, lambda e=encoder, day=day: e.encode(day.table, [day.ticks] * DEVICES))
    readings = len(day.table) * POINTS
    read_s, sort_s, encode_s = best
    print(
        f"conversion of {readings / 1e6:.1f} M readings: {readings / sum(best) / 1e6:.1f} M a CPU second "
        f"(read {readings / read_s / 1e6:.0f}, sort {readings / sort_s / 1e6:.0f}, "
        f"encode {readings / encode_s / 1e6:.0f}); {data.size / readings:.3f} bytes a reading; "
        f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB in all"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, help="where to log (a disk); by default a temporary folder")
    parser.add_argument("--rounds", type=int, default=4, help="ten minutes each")
    options = parser.parse_args()
    feed = Feed()
    with (
        tempfile.TemporaryDirectory(dir=options.dir) as name,
        patch.object(CompactionJob, "start", lambda self: None),  # not beside what is measured
    ):
        for n, (tick_s, sync) in enumerate(
            [(1.0, "group"), (0.1, "group"), (0.05, "group"), (1.0, "tick"), (1.0, "os")]
        ):
            journal(feed, Path(name) / str(n), tick_s, sync, options.rounds)
        conversion(Path(name) / "0", options.rounds)


if __name__ == "__main__":
    main()
