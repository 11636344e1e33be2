"""CPU per reading from the journal to Parquet, and bytes, beside other ways to keep the same rows.

    python benchmarks/bench_compaction.py [--ticks 600] [--repeats 5] [--dir DIR]

500 devices with 20 points (telemetry.py), once a second, 0.2 % of the rows bad: 600 ticks are one part. What
was written is read back and compared, outside of what is measured. A contender is a function of (source,
folder) that returns its `Cost`: seconds of CPU of all threads, seconds, and bytes.

- `fluxfast`: a whole pass over a journal of one tick a frame: read, checked, unpacked, sorted by device,
  encodings chosen, encoded, summed up, synced, renamed, and in the manifest
- `fluxfast_encode`: that part of it that the others do: rows in memory, already in our order, to a file
- `pyarrow`: `write_table` with its defaults; `pandas`: `to_parquet` with its own
- `csv`: pyarrow's writer; `sqlite`: the sqlite3 module, one transaction, WAL

All but ours begin with the rows in memory, in the order of time, as an Arrow table, and do not sync; pandas
with a DataFrame. What it does not show: other data (noise does not compress); merging, retention and copies,
which come later; and the process that a station starts for each pass, 0.3 s.
"""

import argparse
import shutil
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))
from bench_link import machine
from feed import DEVICES, Cost, Feed, Stopwatch, end

from fluxfast import open_log
from fluxfast.log import segment
from fluxfast.log.compactor import compact
from fluxfast.log.encoder import PartEncoder
from fluxfast.log.rows import Rows


class Source(NamedTuple):
    """The same rows as a journal, as they are in memory in the order of time, and in ours."""

    feed: Feed
    journal: Path
    frame: pd.DataFrame
    by_device: pa.Table


def source(feed: Feed, folder: Path) -> Source:
    """Write the journal; it is copied for each pass, for a pass removes it."""
    log = feed.writer(folder, 1, "os")
    feed.log(log)
    end(log)
    (wanted,) = segment.find(folder / segment.FOLDER)
    read = segment.read(wanted)
    (day,) = Rows(read.datasets[0], wanted.name.run).days([frame.payload() for frame in read.messages[0]])
    return Source(feed, folder, feed.table.to_pandas(), day.table)


def fluxfast(source: Source, folder: Path) -> Cost:
    log = folder / "log"
    shutil.copytree(source.journal, log)
    with Stopwatch() as watch:
        compact(log, sys.exit, merge=False)
    (file,) = (log / source.feed.dataset.name).rglob("*.parquet")
    with open_log(log) as opened:
        compare(opened.dataset(source.feed.dataset.name).to_table(), source.feed)
    return watch.cost(file.stat().st_size)


def fluxfast_encode(source: Source, folder: Path) -> Cost:
    file = folder / "rows.parquet"
    ticks = len(source.by_device) // DEVICES
    with Stopwatch() as watch:
        data = PartEncoder(source.by_device.schema).encode(source.by_device, [ticks] * DEVICES)
        file.write_bytes(data)
    compare(pq.read_table(file), source.feed)
    return watch.cost(file.stat().st_size)


def pyarrow(source: Source, folder: Path) -> Cost:
    file = folder / "rows.parquet"
    with Stopwatch() as watch:
        pq.write_table(source.feed.table, file)
    compare(pq.read_table(file), source.feed)
    return watch.cost(file.stat().st_size)


def pandas(source: Source, folder: Path) -> Cost:
    file = folder / "rows.parquet"
    with Stopwatch() as watch:
        source.frame.to_parquet(file)
    compare(pa.Table.from_pandas(pd.read_parquet(file)), source.feed)
    return watch.cost(file.stat().st_size)


def csv(source: Source, folder: Path) -> Cost:
    file, schema = folder / "rows.csv", source.feed.table.schema
    with Stopwatch() as watch:
        pa.csv.write_csv(source.feed.table, file)
    types = {f.name: pa.string() if f.name == "device" else f.type for f in schema}
    compare(pa.csv.read_csv(file, convert_options=pa.csv.ConvertOptions(column_types=types)), source.feed)
    return watch.cost(file.stat().st_size)


def sqlite(source: Source, folder: Path) -> Cost:
    file, names = folder / "rows.db", source.feed.table.column_names
    base = sqlite3.connect(file, isolation_level=None)
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA synchronous = OFF")
    with Stopwatch() as watch:
        base.execute(f"CREATE TABLE battery ({', '.join(names)})")
        base.execute("BEGIN")
        table = source.feed.table.set_column(0, "time", source.feed.table["time"].cast(pa.int64()))
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        base.executemany(f"INSERT INTO battery VALUES ({', '.join('?' * len(names))})", rows)
        base.execute("COMMIT")
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    read = base.execute("SELECT * FROM battery").fetchall()
    base.close()
    compare(pa.table([pa.array(c) for c in zip(*read, strict=True)], names=names), source.feed)
    return watch.cost(file.stat().st_size)


CONTENDERS: dict[str, Callable[[Source, Path], Cost]] = {
    "fluxfast": fluxfast,
    "fluxfast_encode": fluxfast_encode,
    "pyarrow": pyarrow,
    "pandas": pandas,
    "csv": csv,
    "sqlite": sqlite,
}


def compare(written: pa.Table, feed: Feed) -> None:
    """Stop if these are not the rows that were logged, in whichever order."""
    time = written["time"].cast(
        pa.timestamp("us", tz="UTC") if written["time"].type != pa.int64() else pa.int64()
    )
    devices = written["device"].cast(pa.string())
    order = np.lexsort((devices.to_numpy(zero_copy_only=False), time.cast(pa.int64()).to_numpy()))
    rows = pa.array(order)
    wanted = feed.table
    if not devices.take(rows).equals(wanted["device"].cast(pa.string())):
        sys.exit("device: something else came back")
    if not time.cast(pa.int64()).take(rows).equals(wanted["time"].cast(pa.int64())):
        sys.exit("time: something else came back")
    for column in feed.dataset.columns:
        cells = written[column.name].take(rows).cast(wanted[column.name].type)
        if not cells.equals(wanted[column.name]):
            sys.exit(f"{column.name}: something else came back")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--ticks", type=int, default=600, help="of data, one a second")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dir", type=Path, help="where to write; by default a temporary folder")
    asked = parser.parse_args()
    feed = Feed(asked.ticks)
    print(machine())
    print(f"{feed.readings:,} readings, pyarrow {pa.__version__}, pandas {pd.__version__}")
    print(f"medians of {asked.repeats}\n")
    costs: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory(dir=asked.dir) as journal:
        rows = source(feed, Path(journal))
        for _ in range(asked.repeats):
            for name, contender in CONTENDERS.items():
                with tempfile.TemporaryDirectory(dir=asked.dir) as folder:
                    costs.setdefault(name, []).append(contender(rows, Path(folder)))
    print(
        f"{'':16} {'ns CPU/reading':>15} {'x pyarrow':>10} {'M/s of CPU':>11} {'ns/reading':>11} "
        f"{'bytes/reading':>14}"
    )
    for name, found in costs.items():
        cpu_ns, wall_ns = (
            statistics.median(times) / feed.readings * 1e9
            for times in ([c.cpu_s for c in found], [c.wall_s for c in found])
        )
        ratio = statistics.median(c.cpu_s / p.cpu_s for c, p in zip(found, costs["pyarrow"], strict=True))
        print(
            f"{name:16} {cpu_ns:15.1f} {ratio:10.2f} {1e3 / cpu_ns:11.1f} {wall_ns:11.1f} "
            f"{found[0].bytes / feed.readings:14.3f}"
        )


if __name__ == "__main__":
    main()
