"""Logs of one dataset ``d`` with two devices, whose values are the number of their tick."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fluxfast.log import Column, Dataset, LogWriter, segment
from tests.support.logs import NOON_US

QUALITY = ["good", *["bad"] * 255]
REASONS = [None, *["timeout"] * 255]
X = Column("x", "float64", metadata={"unit": "kW"})


def writer(path: Path, columns: Sequence[Column] = (X,), **options: Any) -> LogWriter:
    options = {"tick_seconds": 1.0, "sync": "tick"} | options
    dataset = Dataset("d", ["S", "S"], ["b2", "b1"], list(columns))
    return LogWriter(path, [dataset], quality_names=QUALITY, reasons=REASONS, **options)


def append(log: LogWriter, tick: int, n: int = 1, dtypes: Sequence[str] = ("float64",)) -> None:
    """Log n ticks from this one on, a second apart."""
    for k in range(tick, tick + n):
        ones = np.ones((len(dtypes), 2), np.uint8)
        values = [np.full(2, k, dtype) for dtype in dtypes]
        log.append(0, NOON_US + k * 1_000_000, np.ones(2, np.float32), np.zeros(2, np.uint8), values, ones)
        log.end_tick()


def until_logged(log: LogWriter) -> None:
    """Wait until the journal has all."""
    while log.rows_waiting:
        time.sleep(0.001)


def until_closed(log: Path) -> None:
    """Wait until no segment has a writer."""
    while any(_is_written(path) for path in log.glob(f"{segment.FOLDER}/*.ffj")):
        time.sleep(0.01)


def _is_written(path: Path) -> bool:
    with segment.locked(path) as complete:
        return not complete and path.exists()
