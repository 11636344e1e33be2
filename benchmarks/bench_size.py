"""Bytes a reading: our Parquet beside what others write of the same.

500 devices with 20 points, ten minutes of every second (telemetry.py); 0.2 % of the rows are bad. Every
format holds every reading, its tick, site, device and quality; the wide ones also the reason, the latency and
the run. Scaled integers are float64 with exact decimals, a device's own floats float32. An Arrow table of the
rows is what each starts from; ours includes choosing the encodings, and has page checksums and a page index.
All are read back and compared. Beside the bytes stands the CPU that writing a reading took.
What it does not show: other data. Noise does not compress: a real fleet may be twice as large, or half.
"""

import io
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from apart import Apart, python, say
from telemetry import DECIMALS, generate

from fluxfast.log.dataset import TEXT
from fluxfast.log.encoder import PartEncoder

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


def wide(order: Callable[[np.ndarray], np.ndarray]) -> pa.Table:
    """Return the rows as the log has them; ``order`` flattens ``[ticks, devices]``."""
    tick_us, arrival_us, columns = generate(DEVICES, BLOCK)
    bad = np.random.default_rng(7).random((BLOCK, DEVICES)) < BAD
    ticks = np.broadcast_to(tick_us[:, None], bad.shape)
    device = order(np.broadcast_to(np.arange(DEVICES), ticks.shape))
    is_bad = order(bad)
    latency = np.rint(order(arrival_us - ticks) / 100).astype(np.float32) / np.float32(10)
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
        flat = order(values)
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


def by_time(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).reshape(-1)


def by_device(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values.T).reshape(-1)


def as_csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pyarrow.csv.write_csv(table, sink)
    return sink.getvalue()


def from_csv(data: bytes, schema: pa.Schema) -> pa.Table:
    types = {field.name: pa.string() if field.type == TEXT else field.type for field in schema}
    options = pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=True)
    return pyarrow.csv.read_csv(io.BytesIO(data), convert_options=options)


def as_sqlite(table: pa.Table) -> bytes:
    """Return a database whose rows are keyed by device and time, written in one transaction."""
    with sqlite3.connect(":memory:") as base:
        names = ", ".join(table.column_names)
        base.execute(f"CREATE TABLE log ({names}, PRIMARY KEY (device, time)) WITHOUT ROWID")
        columns = [column.to_pylist() for column in in_numbers(table).columns]
        base.executemany(
            f"INSERT INTO log VALUES ({', '.join('?' * len(columns))})", zip(*columns, strict=True)
        )
        base.commit()
        return base.serialize()


def from_sqlite(data: bytes, schema: pa.Schema) -> pa.Table:
    with sqlite3.connect(":memory:") as base:
        base.deserialize(data)
        rows = base.execute("SELECT * FROM log ORDER BY device, time").fetchall()
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows])


def in_numbers(table: pa.Table) -> pa.Table:
    return table.set_column(0, "time", table["time"].cast(pa.int64()))


def as_telegraf(table: pa.Table) -> bytes:
    """Write as Telegraf's output ``parquet``: whole nanoseconds, text, dictionaries, no compression."""
    nanoseconds = pa.array(table["time"].cast(pa.int64()).to_numpy() * 1000)
    return as_parquet(table.set_column(0, "timestamp", nanoseconds), compression="none")


def from_telegraf(data: bytes, schema: pa.Schema) -> pa.Table:
    table = from_parquet(data, schema)
    return table.set_column(0, "time", pa.array(table["timestamp"].to_numpy() // 1000))


def as_parquet(table: pa.Table, **options: object) -> bytes:
    """Write with pyarrow; without options as pandas does."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def from_parquet(data: bytes, schema: pa.Schema) -> pa.Table:
    return pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True).read()


def as_ours(table: pa.Table) -> bytes:
    return PartEncoder(table.schema).encode(table, [BLOCK] * DEVICES).to_pybytes()


# How each writes, how it is read, and the rows in the order that suits it.
WAYS: dict[
    str, tuple[Callable[[pa.Table], bytes], Callable[[bytes, pa.Schema], pa.Table], Callable[[], pa.Table]]
]
WAYS = {
    "fluxfast": (as_ours, from_parquet, partial(wide, by_device)),
    "wide Parquet, pandas' defaults": (as_parquet, from_parquet, partial(wide, by_time)),
    "long Parquet, pandas' defaults": (as_parquet, from_parquet, lambda: long(wide(by_time))),
    "long Parquet, as Telegraf": (as_telegraf, from_telegraf, lambda: long(wide(by_time))),
    "CSV": (as_csv, from_csv, partial(wide, by_time)),
    "sqlite": (as_sqlite, from_sqlite, partial(wide, by_device)),
}


def same(back: pa.Table, table: pa.Table) -> bool:
    """Whether the same values came back, whatever their types."""

    def plain(column: pa.ChunkedArray) -> list[object]:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        return column.to_pylist()

    step = 97  # of the rows: all would be a minute of Python objects
    return back.num_rows == table.num_rows and all(
        plain(a.take(rows)) == plain(b.take(rows))
        for rows in [pa.array(np.arange(0, table.num_rows, step))]
        for a, b in zip(back.columns, table.columns, strict=True)
    )


def run_client(way: str) -> None:
    """Write, read back, and say the bytes a reading."""
    pa.set_cpu_count(1)
    encode, decode, make = WAYS[way]
    table = make()
    begun = time.process_time()
    data = encode(table)
    used_s = time.process_time() - begun
    readings = BLOCK * DEVICES * POINTS
    right = same(decode(data, table.schema), table)
    say(len(data) / readings, right, said={"ns CPU a reading": used_s * 1e9 / readings})


@contextmanager
def formats(_: Path) -> Iterator[Mapping[str, list[str]]]:
    """Return each format's command."""
    yield {way: python(__file__, way) for way in WAYS}


CASES = [Apart("size/20 points", "bytes a reading", formats)]

if __name__ == "__main__":
    run_client(sys.argv[1])
