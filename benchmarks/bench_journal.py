"""CPU per reading into the journal, beside the floor in C and what others would do with the same ticks.

500 devices with 20 points (telemetry.py), 0.2 % of the rows bad; one tick a frame, as when polls are half a
second apart or more, and five. Who writes hands over a tick at a time. Nobody syncs: all leave it to the
operating system. What was written is read back and compared, outside of what is measured. CPU is that of all
threads of the process. The floor is one fwrite and one fflush a frame, of the ticks' arrays as they are in
memory. `tick pays` is what `append` and `end_tick` take of the thread that calls them, ten milliseconds
apart.
What it does not show: a disk that is waited for, values that compress better or worse, other datasets beside
this one; and it logs as fast as it can, so memory is colder than that of a station.
"""

import csv
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.csv
from apart import Apart, python, say
from feed import Cost, Feed, Stopwatch, end
from floors import floors

from fluxfast.log import batches, segment

TICKS = 300
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def fluxfast(feed: Feed, folder: Path, ticks_a_frame: int) -> Cost:
    log = feed.writer(folder, ticks_a_frame, "os")
    with Stopwatch() as watch:
        feed.log(log)
        end(log)
    journal = folder / segment.FOLDER
    read = [segment.read(wanted) for wanted in segment.find(journal)]
    schema = batches.schema(feed.dataset)
    written = pa.Table.from_batches(
        [pa.ipc.read_record_batch(frame.payload(), schema) for one in read for frame in one.messages[0]]
    )
    compare(written, feed)
    assert sum(len(one.messages[0]) for one in read) == -(-len(feed.ticks) // ticks_a_frame)
    return watch.cost(sum(file.stat().st_size for file in journal.iterdir()))


def c_floor(feed: Feed, folder: Path, ticks_a_frame: int) -> Cost:
    packed = [
        b"".join(
            (
                tick_us.to_bytes(8, "little"),
                *(array.tobytes() for array in (latency, quality, *values, valid)),
            )
        )
        for tick_us, latency, quality, values, valid in feed.ticks
    ]
    data, frames = b"".join(packed), len(packed) // ticks_a_frame
    file = folder / "floor"
    with Stopwatch() as watch:
        failed = floors().floor_write(str(file).encode(), data, len(packed[0]) * ticks_a_frame, frames)
    assert not failed
    assert file.read_bytes() == data
    return watch.cost(len(data))


def pyarrow(feed: Feed, folder: Path, ticks_a_frame: int, codec: str | None = None) -> Cost:
    file, schema = folder / "ticks.arrows", feed.table.schema.remove(1)
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with (
        Stopwatch() as watch,
        pa.OSFile(str(file), "wb") as sink,
        pa.ipc.new_stream(sink, schema, options=options) as stream,
    ):
        for first in range(0, len(feed.ticks), ticks_a_frame):
            stream.write_batch(batch(feed.ticks[first : first + ticks_a_frame], schema))
            sink.flush()
    compare(pa.ipc.open_stream(pa.OSFile(str(file))).read_all(), feed)
    return watch.cost(file.stat().st_size)


def batch(ticks: list, schema: pa.Schema) -> pa.RecordBatch:
    times_us, latency, quality, values, valid = zip(*ticks, strict=True)
    rows = len(latency[0])
    masks = ~np.concatenate(valid, axis=1).astype(bool)
    columns = [
        pa.array(np.repeat(np.array(times_us), rows), schema.field(0).type),
        pa.array(np.concatenate(quality)),
        pa.array(np.concatenate(latency)),
        *(pa.array(np.concatenate(v), mask=m) for v, m in zip(zip(*values, strict=True), masks, strict=True)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def pyarrow_lz4(feed: Feed, folder: Path, ticks_a_frame: int) -> Cost:
    return pyarrow(feed, folder, ticks_a_frame, "lz4")


def csv_module(feed: Feed, folder: Path, ticks_a_frame: int) -> Cost:
    file = folder / "ticks.csv"
    names = feed.table.column_names
    with Stopwatch() as watch, file.open("w", newline="") as sink:
        writer = csv.writer(sink)
        writer.writerow(names)
        for number, tick in enumerate(feed.ticks, 1):
            writer.writerows(rows(tick, feed.devices, (EPOCH + timedelta(microseconds=tick[0])).isoformat()))
            if number % ticks_a_frame == 0:
                sink.flush()
    types = {name: pa.string() if name == "device" else feed.table.schema.field(name).type for name in names}
    options = pa.csv.ConvertOptions(column_types=types)
    compare(pa.csv.read_csv(file, convert_options=options).drop(["device"]), feed)
    return watch.cost(file.stat().st_size)


def sqlite(feed: Feed, folder: Path, ticks_a_frame: int) -> Cost:
    file, names = folder / "ticks.db", feed.table.column_names
    base = sqlite3.connect(file, isolation_level=None)
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA synchronous = OFF")
    with Stopwatch() as watch:
        base.execute(f"CREATE TABLE battery ({', '.join(names)})")
        insert = f"INSERT INTO battery VALUES ({', '.join('?' * len(names))})"
        for first in range(0, len(feed.ticks), ticks_a_frame):
            base.execute("BEGIN")
            for tick in feed.ticks[first : first + ticks_a_frame]:
                base.executemany(insert, rows(tick, feed.devices, tick[0]))
            base.execute("COMMIT")
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    read = base.execute("SELECT * FROM battery").fetchall()
    base.close()
    columns = [pa.array(column) for column in zip(*read, strict=True)]
    compare(pa.table(columns, names=names).drop(["device"]), feed)
    return watch.cost(file.stat().st_size)


def rows(tick: tuple, devices: list[str], time: object) -> list:
    """Return a tick as rows of Python objects, None where there is no value."""
    _, latency, quality, values, valid = tick
    columns = [
        v.tolist() if v_valid.all() else np.where(v_valid, v, None).tolist()
        for v, v_valid in zip(values, valid, strict=True)
    ]
    return list(
        zip([time] * len(devices), devices, quality.tolist(), latency.tolist(), *columns, strict=True)
    )


def compare(written: pa.Table, feed: Feed) -> None:
    """Stop if this is not what was to be logged: all of it, in its order."""
    for name in feed.table.column_names:
        if name == "device":  # the order says it
            continue
        wanted = feed.table[name]
        cells = written[name]
        if pa.types.is_timestamp(wanted.type):
            wanted, cells = wanted.cast(pa.int64()), cells.cast(pa.int64())
        if not cells.cast(wanted.type).equals(wanted):
            sys.exit(f"{name}: something else came back")


CONTENDERS: dict[str, Callable[[Feed, Path, int], Cost]] = {
    "C floor": c_floor,
    "fluxfast": fluxfast,
    "pyarrow": pyarrow,
    "pyarrow, LZ4": pyarrow_lz4,
    "CSV": csv_module,
    "sqlite": sqlite,
}


def tick_pays_us(feed: Feed, folder: Path, ticks_a_frame: int) -> list[float]:
    """Return what `append` and `end_tick` take of the calling thread, for each tick but the first ones."""
    _, latency, quality, values, valid = (
        [v.copy() for v in part] if isinstance(part, list) else np.copy(part) for part in feed.ticks[0]
    )
    log = feed.writer(folder, ticks_a_frame, "os")
    paid = []
    for tick_us, *of_tick in feed.ticks:
        time.sleep(0.01)
        for into, new in zip(
            (latency, quality, valid, *values), (*of_tick[:2], of_tick[3], *of_tick[2]), strict=True
        ):
            into[...] = new  # as decoding does, just before
        began_ns = time.thread_time_ns()
        log.append(0, tick_us, latency, quality, values, valid)
        log.end_tick()
        paid.append((time.thread_time_ns() - began_ns) / 1e3)
    end(log)
    return paid[len(paid) // 4 :]


def run_client(name: str, ticks_a_frame: int) -> None:
    """Write, check, and say the CPU a reading."""
    pa.set_cpu_count(1)
    feed = Feed(TICKS)
    with TemporaryDirectory() as folder:
        cost = CONTENDERS[name](feed, Path(folder), ticks_a_frame)
    said = {"bytes a reading": cost.bytes / feed.readings}
    if name == "fluxfast":
        with TemporaryDirectory() as folder:
            said["tick pays µs"] = statistics.median(tick_pays_us(feed, Path(folder), ticks_a_frame))
    say(cost.cpu_s * 1e9 / feed.readings, True, said=said)


@contextmanager
def writers(ticks_a_frame: int, _: Path) -> Iterator[Mapping[str, list[str]]]:
    """Return the command of every contender."""
    yield {name: python(__file__, name, ticks_a_frame) for name in CONTENDERS}


CASES = [
    Apart("journal/1 tick a frame", "ns CPU a reading", partial(writers, 1)),
    Apart("journal/5 ticks a frame", "ns CPU a reading", partial(writers, 5)),
]

if __name__ == "__main__":
    run_client(sys.argv[1], int(sys.argv[2]))
