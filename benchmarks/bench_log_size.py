"""Bytes a reading, and readings encoded a second on one core: our files beside what others write of the same.

    python benchmarks/bench_log_size.py [--minutes 60]

500 devices with 20 points, once a second (telemetry.py), in blocks of 10 minutes; 0.2 % of the rows are bad.
Every format holds every reading, its tick, site, device and quality; the wide ones also the reason, the
latency and the run. Scaled integers are float64 with exact decimals, a device's own floats float32. An Arrow
table of the rows is what each starts from, and a buffer in memory what it ends with; a second is one of
processor time. Ours includes choosing the encodings, has page checksums and a page index, and is read back
and compared. What it does not show: other data. Noise does not compress: a real fleet may be twice as large,
or half.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from fluxfast.log.dataset import TEXT
from fluxfast.log.encoder import PartEncoder

sys.path.insert(0, str(Path(__file__).parent))
from measured import machine
from telemetry import DECIMALS, generate

DEVICES, BLOCK = 500, 600
POINTS = 20
BAD = 0.002
FIRST = [
    pa.field("time", pa.timestamp("us", tz="UTC"), False),
    *(pa.field(name, TEXT, name == "reason") for name in ("site", "device", "quality", "reason")),
    pa.field("latency_ms", pa.float32()),
    pa.field("run", TEXT, False),
]


def words(texts: list[str], index: np.ndarray, missing: np.ndarray | None = None) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32), mask=missing), pa.array(texts))


def wide(block: slice, order: Callable[[np.ndarray], np.ndarray], data: tuple, bad: np.ndarray) -> pa.Table:
    """Return the rows of a block as the log has them; ``order`` flattens ``[ticks, devices]``."""
    tick_us, arrival_us, columns = data
    ticks = np.broadcast_to(tick_us[block, None], bad[block].shape)
    device = order(np.broadcast_to(np.arange(DEVICES), ticks.shape))
    is_bad = order(bad[block])
    latency = np.rint(order(arrival_us[block] - ticks) / 100).astype(np.float32) / np.float32(10)
    arrays = [
        pa.array(order(ticks), FIRST[0].type),
        words([f"site{i}" for i in range(5)], device * 5 // DEVICES),
        words([f"battery-{i:03}" for i in range(DEVICES)], device),
        words(["good", "bad"], is_bad),
        words(["timeout"], np.zeros(len(device)), ~is_bad),
        pa.array(latency, mask=is_bad),
        words(["5eed1e55"], np.zeros(len(device))),
    ]
    points = []
    for name, values in columns.items():
        flat = order(values[block])
        if name in DECIMALS:
            flat = np.round(flat.astype(np.float64), DECIMALS[name]) + 0.0  # no -0.0: an integer has none
        arrays.append(pa.array(flat, mask=is_bad))
        points.append(pa.field(name, arrays[-1].type))
    return pa.Table.from_arrays(arrays, schema=pa.schema([*FIRST, *points]))


def long(table: pa.Table) -> pa.Table:
    """Return a row for each reading, in the order of time."""
    names = table.column_names[len(FIRST) :]
    n = table.num_rows
    values = np.stack([table[name].to_numpy() for name in names], axis=1).reshape(-1)
    row = np.repeat(np.arange(n), len(names))
    shared = table.select(["time", "site", "device", "quality"]).take(pa.array(row))
    return shared.append_column("metric", words(names, np.tile(np.arange(len(names)), n))).append_column(
        "value", pa.array(values, from_pandas=True)
    )


def as_csv(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink)
    return sink.getvalue()


def as_telegraf(table: pa.Table) -> pa.Buffer:
    """Write as Telegraf's output ``parquet``: whole nanoseconds, text, dictionaries, no compression."""
    nanoseconds = pa.array(table["time"].cast(pa.int64()).to_numpy() * 1000)
    table = table.set_column(0, "timestamp", nanoseconds)
    return write(table, compression="none")


def write(table: pa.Table, **options: object) -> pa.Buffer:
    """Write with pyarrow; without options as pandas does."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


class Ours:
    """One PartEncoder for all blocks."""

    def __init__(self) -> None:
        self.encoder: PartEncoder | None = None

    def __call__(self, table: pa.Table) -> pa.Buffer:
        self.encoder = self.encoder or PartEncoder(table.schema)
        return self.encoder.encode(table, [BLOCK] * DEVICES)


class Figure:
    """Bytes and seconds of one format."""

    def __init__(self, encode: Callable[[pa.Table], pa.Buffer]) -> None:
        self.encode = encode
        self.bytes = 0
        self.seconds = 0.0

    def add(self, table: pa.Table) -> pa.Buffer:
        start = time.process_time()
        data = self.encode(table)
        self.seconds += time.process_time() - start
        self.bytes += data.size
        return data


def same(data: pa.Buffer, table: pa.Table) -> bool:
    back = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()
    # The same texts may have other numbers in their dictionary.
    return all(
        a.cast(pa.string()) == b.cast(pa.string()) if a.type == TEXT else a == b
        for a, b in zip(back.columns, table.columns, strict=True)
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--minutes", type=int, default=60, help="of data; whole blocks of 10")
    options = arguments.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    ticks = max(options.minutes // 10, 1) * BLOCK
    data = generate(DEVICES, ticks)
    bad = np.random.default_rng(7).random((ticks, DEVICES)) < BAD
    readings = ticks * DEVICES * POINTS
    figures = {
        "CSV, wide": Figure(as_csv),
        "long rows, as Telegraf's parquet": Figure(as_telegraf),
        "long rows, pandas' defaults": Figure(write),
        "wide, pandas' defaults": Figure(write),
        "wide, ours": Figure(Ours()),
    }
    for first in range(0, ticks, BLOCK):
        block = slice(first, first + BLOCK)
        by_time = wide(block, lambda a: np.ascontiguousarray(a).reshape(-1), data, bad)
        by_device = wide(block, lambda a: np.ascontiguousarray(a.T).reshape(-1), data, bad)
        in_rows = long(by_time)
        for name, figure in figures.items():
            table = by_device if "ours" in name else in_rows if "long" in name else by_time
            encoded = figure.add(table)
            if name == "wide, ours" and not same(encoded, table):
                sys.exit(f"{name}: other values came back")
    print(machine())
    print(f"{readings:,} readings, pyarrow {pa.__version__}\n")
    print(f"{'':36} {'bytes/reading':>13} {'M readings/s':>13}")
    for name, figure in figures.items():
        print(f"{name:36} {figure.bytes / readings:13.3f} {readings / figure.seconds / 1e6:13.1f}")


if __name__ == "__main__":
    main()
