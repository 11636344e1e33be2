"""CPU per row from the journal to Parquet, and bytes, beside other ways to keep the same rows.

500 devices with 20 points (telemetry.py), once a second, 0.2 % of the rows bad: 300,000 rows are a part of
ten minutes. What was written is read back and compared, outside of what is measured. CPU is that of all
threads. `fluxfast` is a whole pass over a journal of one tick a frame: read, checked, unpacked, sorted by
device, encodings chosen, encoded, summed up, synced, renamed, and in the manifest; `fluxfast, encode` that
part of it that the others do: rows in memory to a file. They begin with the rows in the order of time, as an
Arrow table, pandas with a DataFrame, and do not sync.
What it does not show: other data (noise does not compress); merging, retention and copies, which come later;
and the process that a station starts for each pass, 0.3 s.
"""

import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from apart import Apart, python, say
from feed import DEVICES, POINTS, Cost, Feed, Stopwatch, end

from fluxfast import open_log
from fluxfast.log import segment
from fluxfast.log.compactor import compact
from fluxfast.log.encoder import PartEncoder
from fluxfast.log.rows import Rows

SIZES = (30_000, 100_000, 300_000)  # rows


class Source:
    """The same rows as a journal in a folder, as they are in memory in the order of time, and in ours."""

    def __init__(self, feed: Feed, folder: Path) -> None:
        self.feed, self._folder = feed, folder

    @cached_property
    def journal(self) -> Path:
        """A log that is only a journal; it is copied for a pass, for that removes it."""
        log = self.feed.writer(self._folder, 1, "os")
        self.feed.log(log)
        end(log)
        return self._folder

    @cached_property
    def frame(self) -> pd.DataFrame:
        """In the order of time."""
        return self.feed.table.to_pandas()

    @cached_property
    def by_device(self) -> pa.Table:
        """In the order of devices."""
        (wanted,) = segment.find(self.journal / segment.FOLDER)
        read = segment.read(wanted)
        messages = [frame.payload() for frame in read.messages[0]]
        (day,) = Rows(read.datasets[0], wanted.name.run).days(messages)
        return day.table


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
    rows = source.by_device
    with Stopwatch() as watch:
        data = PartEncoder(rows.schema).encode(rows, [len(rows) // DEVICES] * DEVICES)
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
    file, frame = folder / "rows.parquet", source.frame
    with Stopwatch() as watch:
        frame.to_parquet(file)
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
    "fluxfast, encode": fluxfast_encode,
    "pyarrow": pyarrow,
    "pandas": pandas,
    "CSV": csv,
    "sqlite": sqlite,
}


def compare(written: pa.Table, feed: Feed) -> None:
    """Stop if these are not the rows that were logged, in whichever order."""
    time = written["time"]
    time = (time if time.type == pa.int64() else time.cast(pa.timestamp("us", tz="UTC"))).cast(pa.int64())
    devices = written["device"].cast(pa.string())
    order = np.lexsort((devices.to_numpy(zero_copy_only=False), time.to_numpy()))
    rows = pa.array(order)
    wanted = feed.table
    if not devices.take(rows).equals(wanted["device"].cast(pa.string())):
        sys.exit("device: something else came back")
    if not time.take(rows).equals(wanted["time"].cast(pa.int64())):
        sys.exit("time: something else came back")
    for column in feed.dataset.columns:
        cells = written[column.name].take(rows).cast(wanted[column.name].type)
        if not cells.equals(wanted[column.name]):
            sys.exit(f"{column.name}: something else came back")


def run_client(name: str, rows: int) -> None:
    """Convert, check, and say the CPU a row."""
    pa.set_cpu_count(1)
    feed = Feed(rows // DEVICES)
    with TemporaryDirectory() as before, TemporaryDirectory() as folder:
        cost = CONTENDERS[name](Source(feed, Path(before)), Path(folder))
    readings = rows * POINTS
    said = {"M readings/s": readings / cost.cpu_s / 1e6, "bytes a reading": cost.bytes / readings}
    say(cost.cpu_s * 1e9 / rows, True, said=said)


@contextmanager
def ways(rows: int, _: Path) -> Iterator[Mapping[str, list[str]]]:
    """Return the command of every contender."""
    yield {name: python(__file__, name, rows) for name in CONTENDERS}


CASES = [Apart(f"compaction/{rows} rows", "ns CPU a row", partial(ways, rows)) for rows in SIZES]

if __name__ == "__main__":
    run_client(sys.argv[1], int(sys.argv[2]))
