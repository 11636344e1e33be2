"""Logs whose every value proves itself: by its dataset, its tick and its row, and nothing else.

So what is found after a crash tells by itself whether it is right, there once, and what is missing.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fluxfast.log import Column, Dataset, LogWriter
from fluxfast.log.manifest import Manifest, sha256

FIRST_US = 1_790_035_200_000_000
TICK_US = 100_000
ROWS = (6, 1)  # of the two datasets
NAMES = ("pack", "meter")
LABELS = {0: "OFF", 1: "READY", 2: "RUN"}


def datasets(rows: tuple[int, int] = ROWS) -> list[Dataset]:
    """Return the datasets of such a log."""
    columns = [
        Column("x", "float64"),
        Column("f", "float32"),
        Column("n", "int64"),
        Column("state", "int64", [LABELS]),
        Column("on", "bool"),
        Column("text", "S6"),
    ]
    return [
        Dataset(name, ["s"] * n, [f"{name}{i:05}" for i in range(n)], columns)
        for name, n in zip(NAMES, rows, strict=True)
    ]


def open_log(path: Path, *, rows: tuple[int, int] = ROWS, **options: Any) -> LogWriter:
    """Open such a log; what it tells is forgotten unless ``on_event`` is given."""
    options = {"tick_seconds": TICK_US / 1e6, "on_event": lambda text: None} | options
    names = {"quality_names": ["good"] * 256, "reasons": [None] * 256}
    return LogWriter(Path(path), datasets(rows), **names, **options)


def number(dataset: int, tick: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of a cell, 40 bits, well mixed."""
    x = (tick.astype(np.uint64) << np.uint64(20)) ^ (row.astype(np.uint64) << np.uint64(2))
    x = (x ^ np.uint64(dataset)) * np.uint64(0x9E3779B97F4A7C15)
    return (x >> np.uint64(24)).astype(np.int64)


def cells(dataset: int, tick: NDArray[np.int64], row: NDArray[np.int64]) -> list[NDArray[Any]]:
    """Return the columns of these rows."""
    n = number(dataset, tick, row)
    return [
        n / 8,
        (n & 0xFFFF).astype(np.float32),
        n,
        n % 5,  # 3 and 4 have no label
        n % 2 == 0,
        np.char.encode((n % 100_000).astype("U6"), "ascii"),
    ]


def is_null(dataset: int, tick: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which cells of these rows are null."""
    return number(dataset, tick, row) % 11 == 0


def append_tick(log: LogWriter, tick: int, rows: tuple[int, int] = ROWS) -> None:
    """Log a tick of both datasets."""
    for d, n in enumerate(rows):
        ticks, row = np.full(n, tick), np.arange(n)
        valid = np.broadcast_to(~is_null(d, ticks, row), (6, n))
        latency = np.full(n, tick % 50, np.float32)
        time_us = FIRST_US + tick * TICK_US
        log.append(d, time_us, latency, np.zeros(n, np.uint8), cells(d, ticks, row), valid)
    log.end_tick()


@dataclass
class Found:
    """What a log holds: the ticks of each dataset, each once, and the texts of its events."""

    ticks: list[NDArray[np.int64]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> list[int]:
        """The ticks, which both datasets must have."""
        assert np.array_equal(self.ticks[0], self.ticks[1])
        return self.ticks[0].tolist()  # type: ignore[no-any-return]


def read(root: Path, rows: tuple[int, int] = ROWS) -> Found:
    """Read and check all Parquet files of a log: every row is right, and there once."""
    found = Found()
    for d, (name, n) in enumerate(zip(NAMES, rows, strict=True)):
        keys = [key for table in tables(root, name) for key in _check(table, d)]
        key = np.concatenate([np.empty(0, np.int64), *keys])
        tick, count = np.unique(key >> 20, return_counts=True)
        assert (count == n).all(), f"{name}: not each row of each tick is there once"
        assert len(np.unique(key)) == len(key), f"{name}: rows that are there twice"
        found.ticks.append(tick)
    found.events = [text for table in tables(root, "events") for text in table["text"].to_pylist()]
    assert len(set(found.events)) == len(found.events), "events that are there twice"
    return found


def tables(root: Path, dataset: str) -> Iterator[pa.Table]:
    """Read all files of a dataset; each must be whole."""
    for file in sorted(root.glob(f"{dataset}/date=*/*.parquet")):
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            yield parquet.read()


def _check(table: pa.Table, dataset: int) -> Iterator[NDArray[np.int64]]:
    tick = (table["time"].cast(pa.int64()).to_numpy() - FIRST_US) // TICK_US
    places = table["device"].combine_chunks()
    numbers = [int(device[len(NAMES[dataset]) :]) for device in places.dictionary.to_pylist()]
    row = np.array(numbers, np.int64)[places.indices.to_numpy()]
    null = is_null(dataset, tick, row)
    expected = cells(dataset, tick, row)
    expected[3] = np.array([*LABELS.values(), "3", "4"])[expected[3]]
    expected[5] = expected[5].astype("U6")
    for name, values in zip(("x", "f", "n", "state", "on", "text"), expected, strict=True):
        column = table[name].combine_chunks()
        assert np.array_equal(column.is_null().to_numpy(zero_copy_only=False), null), name
        if pa.types.is_dictionary(column.type):
            texts = np.array([*column.dictionary.to_pylist(), ""], "U6")
            found = texts[column.indices.fill_null(len(texts) - 1).to_numpy()]
        else:
            found = column.fill_null(False if name == "on" else 0).to_numpy(zero_copy_only=False)
        assert np.array_equal(found[~null], values[~null]), name
    assert np.array_equal(table["latency_ms"].to_numpy(), tick % 50)
    yield tick << 20 | row


def check_manifest(root: Path) -> None:
    """The manifest lists all files, and each as it is; nothing else is left."""
    manifest = Manifest(root)
    assert manifest.damaged == []
    there = {str(file.relative_to(root)) for file in root.glob("*/date=*/*.parquet")}
    assert {name for name, record in manifest.files.items() if record["op"] != "put"} == there
    for name in there:
        data = (root / name).read_bytes()
        record = manifest.files[name]
        assert (record["sha256"], record["bytes"]) == (sha256(data), len(data)), name
        assert record["rows"] == pq.read_metadata(root / name).num_rows
    assert list(root.glob(".tmp-*")) == []


def wait_until(condition: Callable[[], object], within_s: float = 10) -> None:
    """Wait for something that takes a moment."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.005)
