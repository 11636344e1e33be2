"""``open_log``: parts and journal together, every row once, whatever a pass is doing just now."""

import shutil
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from fluxfast import open_log
from fluxfast.errors import FluxfastError
from fluxfast.log import Column
from fluxfast.log.compactor import compact
from fluxfast.log.directory import HIDDEN
from fluxfast.log.follow import Key
from fluxfast.log.manifest import Manifest, sha256
from tests.support.logs import NOON_US
from tests.support.numbered import X, append, until_closed, until_logged, writer


def crashed(live: Path, to: Path) -> Path:
    """Return what a machine that dies now leaves of a log."""
    return Path(shutil.copytree(live, to))


def ticks(log) -> list[tuple[str, int]]:
    """Return (device, number) of each row, by each of the engines, which must agree."""
    arrow = log.dataset("d").to_table(columns=["device", "x"])
    rows = sorted(zip(arrow["device"].to_pylist(), map(int, arrow["x"].to_pylist()), strict=True))
    lazy = log.polars("d").select(pl.col("device").cast(pl.String), pl.col("x").cast(pl.Int64))
    assert sorted(lazy.collect().rows()) == rows
    assert sorted(log.relation("d").project("device, x::INT").fetchall()) == rows
    return rows


def every(*numbers: int) -> list[tuple[str, int]]:
    return sorted((device, k) for device in ("b1", "b2") for k in numbers)


def test_rows_of_the_journal_are_seen_while_it_is_written(tmp_path):
    with writer(tmp_path) as station:
        log = open_log(tmp_path)
        assert (log.datasets, ticks(log)) == (["d"], [])
        for k in range(3):
            append(station, k)
            until_logged(station)
            assert ticks(log.refresh()) == every(*range(k + 1))
    assert ticks(log) == every(0, 1, 2)  # a snapshot stays as it is
    assert log.files("d") == []
    assert ticks(log.refresh()) == every(0, 1, 2)
    assert (len(log.files("d")), len(log.journal("d"))) == (1, 0)


def test_parts_and_journal_are_one_table(tmp_path):
    with writer(tmp_path) as station:
        append(station, 0, 2)
    with writer(tmp_path) as station:
        append(station, 2, 2)
        until_logged(station)
        log = open_log(tmp_path)
        assert ticks(log) == every(0, 1, 2, 3)
        table = log.dataset("d").to_table()
        assert table.schema == log.schema("d")
        assert table.schema.field("x").metadata[b"unit"] == b"kW"
        assert set(table["date"].to_pylist()) == {date(2026, 9, 22)}
        new = ds.field("time") >= pa.scalar(datetime.fromtimestamp(NOON_US / 1e6 + 2, UTC))
        assert log.dataset("d").filter((ds.field("device") == "b1") & new).count_rows() == 2
        assert log.dataset("d").filter(ds.field("date") == date(2026, 9, 21)).count_rows() == 0


def test_a_days_rows_have_its_date(tmp_path):
    with writer(tmp_path) as station:
        append(station, 86_399, 2)
        until_logged(station)
        for log in (open_log(tmp_path), open_log(crashed(tmp_path, tmp_path / "copy"))):
            counted = log.dataset("d").to_table().group_by("date").aggregate([([], "count_all")])
            assert sorted(counted.to_pylist(), key=lambda row: row["date"]) == [
                {"date": date(2026, 9, 22), "count_all": 2},
                {"date": date(2026, 9, 23), "count_all": 2},
            ]


def test_columns_that_are_not_everywhere_are_null_there(tmp_path):
    with writer(tmp_path, [X]) as station:
        append(station, 0)
    newer = [Column("y", "float64"), Column("x", "float64", metadata={"unit": "kW", "sign": "out"})]
    with writer(tmp_path, newer) as station:
        append(station, 1, dtypes=("float64", "float64"))
        until_logged(station)
        log = open_log(tmp_path)
        assert log.schema("d").names[-3:] == ["y", "x", "date"]
        assert log.schema("d").field("x").metadata[b"sign"] == b"out"
        assert ticks(log) == every(0, 1)
        assert pc.sum(log.dataset("d").to_table()["y"]).as_py() == 2
        assert log.duckdb().sql("SELECT count(*), count(y), count(x) FROM d").fetchall() == [(4, 2, 4)]
        assert log.polars("d").select("y").collect()["y"].null_count() == 2


def test_types_that_do_not_go_together_are_told(tmp_path):
    with writer(tmp_path, [X]) as station:
        append(station, 0)
    shutil.rmtree(tmp_path / "columns")  # from which a station knows better
    with writer(tmp_path, [Column("x", "S4")]) as station:
        station.append(0, NOON_US + 1_000_000, np.ones(2, np.float32), np.zeros(2, np.uint8),
                       [np.array([b"a", b"b"])], np.ones((1, 2), np.uint8))  # fmt: skip
    with pytest.raises(FluxfastError, match=r"d: x is dictionary.* in some files and double in others"):
        open_log(tmp_path).dataset("d")


# ---- what a crash, or a copy, may have left ----


def test_a_segment_whose_part_is_there_counts_once(tmp_path):
    with writer(tmp_path / "live") as station:
        append(station, 0, 3)
        until_logged(station)
        before = crashed(tmp_path / "live", tmp_path / "before")
    compact(crashed(before, tmp_path / "after"), print)
    lines = (tmp_path / "after/manifest.jsonl").read_bytes().splitlines(keepends=True)
    for n in range(3):  # the crash came before the manifest's lines, between them, behind them
        left = crashed(tmp_path / "after", tmp_path / f"left{n}")
        shutil.copytree(before / ".journal", left / ".journal", dirs_exist_ok=True)
        (left / "manifest.jsonl").write_bytes(b"".join(lines[:n]))
        assert ticks(open_log(left)) == every(0, 1, 2)
        compact(left, print)
        assert ticks(open_log(left)) == every(0, 1, 2)


@pytest.fixture(scope="module")
def written_once(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("written") / "log"
    with writer(path, segment_seconds=0.01) as station:
        for k in range(2):
            append(station, k)
            until_logged(station)
            until_closed(path)
    return path


@pytest.fixture
def two_parts(written_once, tmp_path) -> Path:
    """Return a log with two parts of one run, of a tick each."""
    return Path(shutil.copytree(written_once, tmp_path / "log"))


def merged(log: Path, *, line: bool, renamed: bool, sources: int) -> None:
    """Merge both parts as far as a crash lets it come."""
    parts = sorted(log.glob("d/*/*.parquet"))
    first, last = (part.stem.rsplit("-", 1)[1] for part in parts)
    name = f"d/{parts[0].parent.name}/{parts[0].stem}-{last}.parquet"
    assert first < last
    hidden = log / (HIDDEN + name.replace("/", "+"))
    pq.write_table(pa.concat_tables([pq.ParquetFile(part).read() for part in parts]), hidden)
    manifest = Manifest(log)
    record = {
        "op": "merge",
        "file": name,
        "of": [str(part.relative_to(log)) for part in parts],
        "dataset": "d",
        "rows": 4,
        "bytes": hidden.stat().st_size,
        "sha256": sha256(hidden.read_bytes()),
    }
    if line:
        manifest.append([record])
    if renamed:
        hidden.rename(log / name)
    for part in parts[sources:]:
        part.unlink()


@pytest.mark.parametrize(
    ("line", "renamed", "sources"),
    [(False, False, 2), (True, False, 2), (True, True, 2), (True, True, 1), (True, True, 0)],
)
def test_a_merge_counts_once_at_each_of_its_steps(two_parts, line, renamed, sources):
    log = open_log(two_parts)
    assert len(log.files("d")) == 2
    merged(two_parts, line=line, renamed=renamed, sources=sources)
    assert ticks(log.refresh()) == ticks(open_log(two_parts)) == every(0, 1)
    assert len(log.files("d")) == (1 if line else 2)


def test_a_merged_file_does_not_hide_the_journal(two_parts):
    # Its name ends with the number of another run's segment, which this run has only in the journal.
    merged(two_parts, line=True, renamed=True, sources=0)
    (file,) = open_log(two_parts).files("d")
    assert file.last is not None
    key = Key("d", file.date, str(file.run), file.last)
    assert not file.has(key)
    assert replace(file, record=None).has(key)  # for all that is known
    assert not replace(file, record=None).has(key._replace(sequence=file.last + 1))


def test_a_merged_file_that_never_appeared_leaves_its_sources(two_parts):
    merged(two_parts, line=True, renamed=False, sources=2)
    for hidden in two_parts.glob(HIDDEN + "*"):
        hidden.unlink()
    assert ticks(open_log(two_parts)) == every(0, 1)


@pytest.mark.parametrize("sources", [0, 1, 2])
def test_a_log_without_manifest_is_what_lies_there(two_parts, sources):
    merged(two_parts, line=True, renamed=True, sources=sources)
    (two_parts / "manifest.jsonl").unlink()
    shutil.rmtree(two_parts / ".journal")
    assert ticks(open_log(two_parts)) == every(0, 1)


def test_files_of_others_count_and_such_as_are_gone_do_not(two_parts):
    parts = sorted(two_parts.glob("d/*/*.parquet"))
    parts[0].rename(parts[0].with_name("mine.parquet"))
    log = open_log(two_parts)
    assert ticks(log) == every(0, 1)
    assert log.snapshot.missing == [str(parts[0].relative_to(two_parts))]


def test_a_file_that_vanishes_while_it_is_read(two_parts):
    log = open_log(two_parts)
    merged(two_parts, line=True, renamed=True, sources=0)
    assert log.retried(lambda: log.dataset("d").to_table().num_rows) == 4


def test_folders_above_the_log_may_be_called_anything(tmp_path):
    folder = tmp_path / "site=north" / "a [1]* it's"
    with writer(folder) as station:
        append(station, 0)
    log = open_log(folder)
    assert ticks(log) == every(0)
    assert log.relation("d").columns[-1] == "date"


def test_a_log_that_may_only_be_read_is_left_as_it_is(tmp_path):
    with writer(tmp_path / "live") as station:
        append(station, 0)
        until_logged(station)
        left = crashed(tmp_path / "live", tmp_path / "left")
        before = sorted((path, path.stat().st_mtime_ns) for path in left.rglob("*"))
        assert ticks(open_log(left)) == every(0)
        assert sorted((path, path.stat().st_mtime_ns) for path in left.rglob("*")) == before


def test_a_torn_end_is_left_out(tmp_path):
    with writer(tmp_path / "live") as station:
        append(station, 0, 2)
        until_logged(station)
        left = crashed(tmp_path / "live", tmp_path / "left")
    (file,) = left.glob(".journal/*.ffj")
    data = file.read_bytes()
    log = open_log(left)
    file.write_bytes(data[:-1])
    assert ticks(log.refresh()) == ticks(open_log(left)) == every(0)
    file.write_bytes(data)
    assert ticks(log.refresh()) == every(0, 1)


def test_no_log(tmp_path):
    with pytest.raises(FluxfastError, match="no such folder"):
        open_log(tmp_path / "nowhere")
    with pytest.raises(FluxfastError, match="there is no log"):
        open_log(tmp_path)
    with writer(tmp_path), pytest.raises(FluxfastError, match=r"no dataset 'e'; it has d$"):
        open_log(tmp_path).dataset("e")


def test_the_long_view_has_a_row_for_each_reading(tmp_path):
    with writer(tmp_path, [X, Column("state", "int64", [{1: "ON"}])]) as station:
        append(station, 1, dtypes=("float64", "int64"))
        until_logged(station)
        rows = open_log(tmp_path).duckdb().sql(
            "SELECT device, point, value, text, unit FROM d_long ORDER BY ALL"
        )  # fmt: skip
        assert rows.fetchall() == [
            ("b1", "state", None, "ON", None), ("b1", "x", 1.0, None, "kW"),
            ("b2", "state", None, "ON", None), ("b2", "x", 1.0, None, "kW"),
        ]  # fmt: skip


def test_the_long_views_of_a_log_can_be_asked_for_one_point(two_parts):
    (((plan),),) = [
        row[1:] for row in open_log(two_parts).duckdb().sql(
            "EXPLAIN SELECT avg(value) FROM d_long WHERE point = 'x' AND device = 'b1'"
        ).fetchall()
    ]  # fmt: skip
    assert "device" in plan
