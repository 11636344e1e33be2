"""What is done with a table of 500 devices and 30 float32 columns once a tick, beside NumPy and a copy of it.

``table/close`` sums up the quality of all cells: of each row, with its reason, and which values may be
used; and the time of each row. ``table/ages`` says how old each cell of each column is. ``table/arrow``
makes an Arrow record batch over the same memory. How each does it:

- C floor, memcpy: of the bytes that must be read or written.
- NumPy: the same results by whole-array functions.
- pyarrow: ``pa.array`` of each column with a mask, which copies.

What it does not show: memory that is not in the cache.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import stages
from floors import addresses, floor
from stages import DEVICES, POINTS

from fluxfast.table import quality

CELLS = DEVICES * POINTS
Run = Callable[[], Any]


def copying(columns: int, size: int) -> Run:
    """Return what copies so many columns of so many bytes each."""
    here, there = np.ones((columns, size), np.uint8), np.zeros((columns, size), np.uint8)
    to, of = addresses(list(there)), addresses(list(here))
    return floor("floor_copy_columns", to, of, columns, size, result=there, keep=here)


def numpy_close() -> Run:
    codes = np.zeros((POINTS, DEVICES), np.uint8)
    received_ns = np.full(DEVICES, 2_000_000, np.int64)
    valid, latency_ms = np.zeros((POINTS, DEVICES), np.uint8), np.zeros(DEVICES, np.float32)

    def run() -> tuple[np.ndarray, ...]:
        np.less(codes, quality.BAD, out=valid, casting="unsafe")
        worst = np.where(codes == quality.ABSENT, quality.GOOD, codes).max(axis=0)
        best = codes.min(axis=0)
        row = worst | np.where((worst >= quality.BAD) & (best < quality.BAD), quality.PARTIAL, 0)
        is_bad = (row >= quality.BAD) & (row < quality.PARTIAL)
        latency_ms[:] = np.where(is_bad, np.nan, (received_ns - 1_000_000) / 1e6)
        return row, valid, latency_ms

    return run


def closed(result: Any) -> tuple[np.ndarray, ...]:
    return result if isinstance(result, tuple) else (result.row_quality, result.valid, result.latency_ms)


def numpy_ages() -> Run:
    requested_ns = np.full(DEVICES, 1_500_000, np.int64)
    out = np.zeros((POINTS, DEVICES), np.int64)

    def run() -> np.ndarray:
        for column in out:
            np.subtract(5_000_000, requested_ns, out=column)
        return out[-1]

    return run


def pyarrow() -> Run:
    table = stages.closed_table()
    ids = [f"d{n}" for n in range(DEVICES)]
    device = pa.array(ids)
    qualities, reasons = pa.array(quality.QUALITY_NAMES), pa.array(quality.REASONS)

    def run() -> pa.RecordBatch:
        codes = pa.array(table.row_quality)
        columns = {
            "device": device,
            "quality": pa.DictionaryArray.from_arrays(codes, qualities),
            "reason": pa.DictionaryArray.from_arrays(codes, reasons),
            "latency_ms": pa.array(table.latency_ms),
        }
        for name, values, valid in zip(table.names, table.values, table.valid, strict=True):
            columns[name] = pa.array(values, mask=valid == 0)
        return pa.record_batch(columns)

    return run


CLOSE = {
    "C floor, memcpy": lambda: copying(POINTS, DEVICES),
    "fluxfast": lambda: stages.close().run,
    "NumPy": numpy_close,
}
AGES = {
    "C floor, memcpy": lambda: copying(POINTS, 8 * DEVICES),
    "fluxfast": lambda: stages.ages().run,
    "NumPy": numpy_ages,
}
ARROW = {
    "C floor, memcpy": lambda: copying(POINTS, DEVICES // 8),
    "fluxfast": lambda: stages.arrow().run,
    "pyarrow": pyarrow,
}


@pytest.mark.parametrize("contender", CLOSE)
def test_close(contend, contender):
    result = contend("table/close", contender, CELLS, "cell", CLOSE[contender]())
    if contender == "C floor, memcpy":
        assert result.all()
        return
    row_quality, valid, latency_ms = closed(result)
    assert not row_quality.any()
    assert valid.all()
    assert (latency_ms == 1).all()


@pytest.mark.parametrize("contender", AGES)
def test_ages(contend, contender):
    ages = contend("table/ages", contender, CELLS, "cell", AGES[contender]())
    assert (ages == 3_500_000).all() or (contender == "C floor, memcpy" and ages.all())


@pytest.mark.parametrize("contender", ARROW)
def test_arrow(contend, contender):
    batch = contend("table/arrow", contender, CELLS, "cell", ARROW[contender]())
    if contender == "C floor, memcpy":
        assert batch.all()
    else:
        assert batch.equals(stages.arrow().run())
