"""Rows for other programs: as they are, in bounded memory, whole or not at all."""

import builtins
import datetime
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxfast import open_log
from fluxfast.errors import FluxfastError, MissingExtraError
from fluxfast.log import Column
from fluxfast.log import export as export_module
from fluxfast.log.export import FORMATS, Selection, export
from tests.support.logs import NOON_US
from tests.support.numbered import X, append, until_logged, writer

COLUMNS = [
    X,
    Column("f", "float32"),
    Column("n", "int64"),
    Column("u", "uint64"),
    Column("b", "bool"),
    Column("t", "S16"),
    Column("state", "int64", [{1: "ON"}]),
]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory):
    """Return a log with a part of an older life without most columns, and the rest in the journal."""
    path = tmp_path_factory.mktemp("export") / "log"
    with writer(path, [X]) as station:
        append(station, 0)
    with writer(path, COLUMNS) as station:
        values = [
            [230.1, -0.5],
            [np.inf, np.nan],
            [2**53 + 1, -1],
            [2**64 - 1, 0],
            [1, 0],
            ["=1", 'a "b", c'],
            [1, 2],
        ]
        arrays = [
            np.array([v.encode() for v in value] if isinstance(value[0], str) else value, column.dtype)
            for value, column in zip(values, COLUMNS, strict=True)
        ]
        for k, valid in enumerate((1, 0)):
            times, latency = NOON_US + (k + 1) * 1_500_000, np.ones(2, np.float32)
            station.append(
                0, times, latency, np.zeros(2, np.uint8), arrays, np.full((len(arrays), 2), valid, np.uint8)
            )
        station.end_tick()
        until_logged(station)
        yield open_log(path)


def test_csv(log, tmp_path):
    out = tmp_path / "x.csv"
    assert (
        export(log, Selection("d", columns=["time", "device", *(c.name for c in COLUMNS)]), out, "csv") == 6
    )
    assert sorted(out.read_text().splitlines()[1:]) == sorted([
        '"2026-09-22T00:00:00.000000Z","b1",0,,,,,,',
        '"2026-09-22T00:00:00.000000Z","b2",0,,,,,,',
        '"2026-09-22T00:00:01.500000Z","b1",-0.5,nan,-1,0,false,"a ""b"", c","2"',
        '"2026-09-22T00:00:01.500000Z","b2",230.1,inf,9007199254740993,18446744073709551615,true,"=1","ON"',
        '"2026-09-22T00:00:03.000000Z","b1",,,,,,,',
        '"2026-09-22T00:00:03.000000Z","b2",,,,,,,',
    ])  # fmt: skip


def test_arrow_and_csv_say_the_same(log, tmp_path):
    for format_ in ("csv", "arrow"):
        export(log, Selection("d", devices=["b1"]), tmp_path / f"x.{format_}", format_)
    arrow = pd.read_feather(tmp_path / "x.arrow")
    text = pd.read_csv(tmp_path / "x.csv", parse_dates=["time"])
    assert list(arrow.columns) == list(text.columns) == log.schema("d").names
    assert arrow["x"].equals(text["x"])
    assert (arrow["time"] == text["time"]).all()
    assert (
        log.schema("d").field("x").metadata
        == pa.ipc.open_file(tmp_path / "x.arrow").schema.field("x").metadata
    )


def test_excel(log, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    export(log, Selection("d"), tmp_path / "x.xlsx", "xlsx", units=True)
    header, *rows = openpyxl.load_workbook(tmp_path / "x.xlsx").active.values
    assert header[0] == "time (UTC)"
    assert "x [kW]" in header
    by_name = [dict(zip(header, row, strict=True)) for row in rows]
    (row,) = [row for row in by_name if row["x [kW]"] == 230.1]
    assert row["time (UTC)"] == datetime.datetime(2026, 9, 22, 0, 0, 1, 500_000)
    assert row["date"] == datetime.datetime(2026, 9, 22)
    assert (row["f"], row["n"], row["u"], row["b"]) == ("inf", "9007199254740993", str(2**64 - 1), True)
    assert (row["t"], row["state"]) == ("=1", "ON")


def test_an_excel_file_is_one(log, tmp_path):
    assert export(log, Selection("d"), tmp_path / "x.xlsx", "xlsx") == 6
    with zipfile.ZipFile(tmp_path / "x.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert sheet.count("<row ") == 7
    assert ">230.1<" in sheet


def test_a_time_is_from_and_not_to(log, tmp_path):
    second = NOON_US + 1_500_000
    for from_us, to_us, rows in (
        (second, None, 4),
        (None, second, 2),
        (second, second + 1, 2),
        (second + 1, second + 2, 0),
    ):
        assert export(log, Selection("d", from_us, to_us), tmp_path / "x.csv", "csv") == rows


def test_what_excel_does_not_take_is_told_before(log, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "EXCEL_ROWS", 6)
    with pytest.raises(FluxfastError, match=r"6 rows, 15 columns: a sheet of Excel takes 6 rows"):
        export(log, Selection("d"), tmp_path / "x.xlsx", "xlsx")
    assert list(tmp_path.iterdir()) == []
    assert export(log, Selection("d", devices=["b1"]), tmp_path / "x.xlsx", "xlsx") == 3


@pytest.mark.parametrize("format_", FORMATS)
def test_a_failure_leaves_the_old_file(log, tmp_path, format_):
    out = tmp_path / f"x.{format_}"
    out.write_text("old")

    def fail(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(log, Selection("d"), out, format_, progress=fail)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert out.read_text() == "old"
    with pytest.raises(FluxfastError, match="No such file or directory"):
        export(log, Selection("d"), tmp_path / "no/x", format_)
    with pytest.raises(FluxfastError, match="d has no column 'y'; it has time, site"):
        export(log, Selection("d", columns=["y"]), out, format_)


def test_what_is_not_installed_is_told_with_its_cure(log, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] in ("xlsxwriter", "polars", "duckdb") or name.startswith("fluxfast.log.in_"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for work, extra in (
        (lambda: export(log, Selection("d"), tmp_path / "x.xlsx", "xlsx"), "excel"),
        (lambda: log.polars("d"), "polars"),
        (lambda: log.duckdb(), "query"),
    ):
        with pytest.raises(MissingExtraError, match=rf"^[\w ]+: pip install 'fluxfast\[{extra}\]'$"):
            work()


def test_memory_does_not_grow_with_the_log(tmp_path):
    rows, files = 200_000, 8
    folder = tmp_path / "log/d/date=2026-09-22"
    folder.mkdir(parents=True)
    times = pa.array(np.arange(rows) * 1_000_000 + NOON_US, pa.timestamp("us", tz="UTC"))
    table = pa.table({"time": times, "x": np.arange(rows, dtype=float), "y": np.ones(rows)})
    for k in range(files):
        pq.write_table(table, folder / f"{k}.parquet", row_group_size=20_000)
    size = table.nbytes
    del table, times
    log, pool, held = open_log(tmp_path / "log"), pa.default_memory_pool(), []
    before = pool.bytes_allocated()
    done = export(
        log, Selection("d"), tmp_path / "x.arrow", "arrow",
        progress=lambda *_: held.append(pool.bytes_allocated() - before),
    )  # fmt: skip
    assert done == rows * files
    assert max(held) < 3 * size  # of 8
