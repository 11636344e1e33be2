"""What the tick pays for its log: one copy of every column; encoding is on a thread of its own."""

import itertools

import numpy as np
import pytest

from fluxfast.log import Column, Dataset, LogWriter
from fluxfast.table.quality import QUALITY_NAMES, REASONS

NOON_US = 1_790_000_000_000_000
COLUMNS = 30


@pytest.mark.parametrize("rows", [500, 10_000])
def test_append_one_tick(tmp_path, benchmark, rows):
    dataset = Dataset("d", ["s"] * rows, [""] * rows, [Column(f"c{i}", "float64") for i in range(COLUMNS)])
    values = [np.arange(rows) + i / 10 for i in range(COLUMNS)]
    valid = np.ones((COLUMNS, rows), np.uint8)
    latency, quality, ticks = np.zeros(rows, np.float32), np.zeros(rows, np.uint8), itertools.count()
    with LogWriter(
        tmp_path, [dataset], tick_seconds=0.5, quality_names=QUALITY_NAMES, reasons=REASONS
    ) as log:
        benchmark.pedantic(
            lambda: log.append(0, NOON_US + next(ticks) * 500_000, latency, quality, values, valid), rounds=50
        )
