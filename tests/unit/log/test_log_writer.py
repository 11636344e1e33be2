"""What LogWriter writes: every type, nulls, names, order, metadata, and one folder per UTC day."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxfast.errors import FluxfastError
from fluxfast.log import Column, Dataset, LogWriter
from tests.support.proved_log import wait_until

QUALITY = ["good", "uncertain", *["bad"] * 254]
REASONS = [None, "late", *["timeout"] * 254]
NOON_US = 1_790_000_000_000_000 // 86_400_000_000 * 86_400_000_000 + 43_200_000_000
SITES, DEVICES = ["Nord", "Nord", "Süd"], ["b1", "b2", "b1"]


def writer(path, datasets, **options):
    options = {"tick_seconds": 0.5, "quality_names": QUALITY, "reasons": REASONS} | options
    return LogWriter(Path(path), datasets, **options)


def one_column(name="x", dtype="float64", rows=3, **options):
    return Dataset("d", ["s"] * rows, [f"b{i}" for i in range(rows)], [Column(name, dtype, **options)])


def append(log, tick_us, values, valid=None, *, quality=None, latency_ms=None):
    rows = len(values[0])
    log.append(
        0,
        tick_us,
        np.ones(rows, np.float32) if latency_ms is None else latency_ms,
        np.zeros(rows, np.uint8) if quality is None else quality,
        values,
        [np.ones(rows, bool)] * len(values) if valid is None else valid,
    )


def files(path):
    return sorted(Path(path).rglob("date=*/*.parquet"))


def read(path):
    return pa.concat_tables(
        [pq.ParquetFile(f, page_checksum_verification=True).read() for f in files(path)],
        promote_options="none",
    )


@pytest.mark.parametrize(
    ("dtype", "ticks"),
    [
        ("float64", [[1.5, -2.25, 230.1], [math.inf, 1e300, -0.0]]),
        ("float32", [[1.5, -2.25, 0.0], [3.0, math.inf, 7.5]]),
        ("int64", [[-(2**63), 2**63 - 1, 0], [1, 2, 3]]),
        ("uint64", [[2**64 - 1, 0, 1], [1, 2, 3]]),
        ("bool", [[True, False, True], [False, False, True]]),
        ("S8", [[b"PP-1", b"", "Süd".encode()], [b"PP-1", b"12345678", b"x"]]),
    ],
)
def test_values_come_back_and_invalid_cells_are_null(tmp_path, dtype, ticks):
    valid = [[1, 1, 1], [0, 1, 2]]
    with writer(tmp_path, [one_column("x", dtype)]) as log:
        for i, values in enumerate(ticks):
            append(log, NOON_US + i, [np.array(values, dtype)], [np.array(valid[i], np.uint8)])
    table = read(tmp_path)
    expected = [ticks[t][row] if valid[t][row] else None for row in range(3) for t in range(2)]
    if dtype.startswith("S"):
        expected = [v if v is None else v.decode() for v in expected]
    assert table["x"].to_pylist() == expected
    assert table["time"].cast(pa.int64()).to_pylist() == [NOON_US, NOON_US + 1] * 3
    assert log.rows_logged == table.num_rows == 6
    assert log.rows_waiting == log.rows_dropped == log.failures == 0


def test_nan_that_a_device_sent_is_not_null(tmp_path):
    with writer(tmp_path, [one_column("x", "float32", 2)]) as log:
        append(log, NOON_US, [np.full(2, np.nan, np.float32)], [np.array([True, False])])
    (kept, null) = read(tmp_path)["x"].to_pylist()
    assert math.isnan(kept)
    assert null is None


def test_bool_column_takes_any_number(tmp_path):
    with writer(tmp_path, [one_column("x", "bool")]) as log:
        append(log, NOON_US, [np.array([0, 1, 256])])
    assert read(tmp_path)["x"].to_pylist() == [False, True, True]


def test_states_are_text_and_unknown_codes_their_digits(tmp_path):
    labels = {0: "OFF", 1: "READY", 2: "READY"}
    with writer(tmp_path, [one_column("state", "int64", 5, labels=[labels])]) as log:
        append(log, NOON_US, [np.array([0, 1, 2, 99, 1])], [np.array([1, 1, 1, 1, 0], bool)])
    column = read(tmp_path)["state"]
    assert pa.types.is_dictionary(column.type)
    assert column.to_pylist() == ["OFF", "READY", "READY", "99", None]


def test_each_row_has_the_states_of_its_variant(tmp_path):
    column = Column("state", "int64", [{1: "READY"}, {1: "OFF", 3: "READY"}])
    dataset = Dataset("d", ["s"] * 3, ["a", "b", "c"], [column], variants=[0, 1, 1])
    with writer(tmp_path, [dataset]) as log:
        append(log, NOON_US, [np.array([1, 1, 3])])
        append(log, NOON_US + 1, [np.array([3, 3, 1])])
    states = read(tmp_path)["state"].to_pylist()
    assert states == ["READY", "3", "OFF", "READY", "READY", "OFF"]


def test_row_columns(tmp_path):
    dataset = Dataset("d", SITES, DEVICES, [Column("x", "int64")])
    with writer(tmp_path, [dataset]) as log:
        append(
            log,
            NOON_US,
            [np.arange(3)],
            quality=np.array([0, 1, 7], np.uint8),
            latency_ms=np.array([1.26, 0.04, np.nan], np.float32),
        )
    table = read(tmp_path)
    assert table.column_names == ["time", "site", "device", "quality", "reason", "latency_ms", "run", "x"]
    assert table["time"].to_pylist() == [datetime.fromtimestamp(NOON_US / 1e6, UTC)] * 3
    assert table["device"].to_pylist() == ["b1", "b1", "b2"]  # in their order, then in that of their sites
    assert table["site"].to_pylist() == ["Nord", "Süd", "Nord"]
    assert table["quality"].to_pylist() == ["good", "bad", "uncertain"]
    assert table["reason"].to_pylist() == [None, "timeout", "late"]
    assert table["latency_ms"].to_pylist() == pytest.approx([1.3, None, 0.0])
    assert table["x"].to_pylist() == [0, 2, 1]


def test_each_life_of_a_station_has_a_run_of_its_own(tmp_path):
    for _ in range(3):
        with writer(tmp_path, [one_column()]) as log:
            append(log, NOON_US, [np.zeros(3)])
            log.add_event(NOON_US, "kind", "text")
    runs = read(tmp_path / "d")["run"].to_pylist()
    assert len(set(runs)) == 3
    assert set(runs) == set(read(tmp_path / "events")["run"].to_pylist())
    assert set(runs) == {file.stem.split("-")[1] for file in files(tmp_path)}


def test_metadata_is_on_the_field_and_in_the_file(tmp_path):
    column = Column("soe", "float64", metadata={"unit": "%", "address": "2026"})
    with writer(tmp_path, [Dataset("d", ["s"], ["b1"], [column], {"profile": "powerpack"})]) as log:
        append(log, NOON_US, [np.array([50.0])])
    schema = read(tmp_path).schema
    assert schema.field("soe").metadata[b"unit"] == b"%"
    assert schema.metadata[b"profile"] == b"powerpack"
    assert schema.metadata[b"dataset"] == b"d"
    assert json.loads(schema.metadata[b"columns"])["soe"] == {"unit": "%", "address": "2026"}


def test_each_utc_day_has_its_file(tmp_path):
    midnight_us = NOON_US + 43_200_000_000
    with writer(tmp_path, [one_column()]) as log:
        for second in range(-4, 4):
            append(log, midnight_us + second * 1_000_000, [np.full(3, second, float)])
    days = {f.parent.name: pq.read_table(f, partitioning=None)["x"].to_pylist() for f in files(tmp_path)}
    day = f"date={datetime.fromtimestamp(NOON_US / 1e6, UTC):%Y-%m-%d}"
    next_day = f"date={datetime.fromtimestamp(midnight_us / 1e6, UTC):%Y-%m-%d}"
    assert set(days) == {day, next_day}
    assert max(days[day]) == -1
    assert min(days[next_day]) == 0
    assert read(tmp_path).num_rows == 8 * 3


def test_a_clock_set_back_an_hour_over_midnight_leaves_each_day_in_order(tmp_path):
    midnight_us, hour_us = NOON_US + 43_200_000_000, 3_600_000_000
    steps = [midnight_us - 2, midnight_us + 5, midnight_us - hour_us, midnight_us - hour_us + 1, midnight_us]
    with writer(tmp_path, [one_column(rows=1)]) as log:
        for k, tick_us in enumerate(steps):
            append(log, tick_us, [np.array([float(k)])])
    day, next_day = (pq.read_table(f, partitioning=None) for f in files(tmp_path))
    assert day["x"].to_pylist() == [2, 3, 0]
    assert next_day["x"].to_pylist() == [4, 1]
    for table in (day, next_day):
        times = table["time"].to_pylist()
        assert times == sorted(times)


def test_the_same_time_twice_is_two_rows(tmp_path):
    with writer(tmp_path, [one_column(rows=1)]) as log:
        append(log, NOON_US, [np.array([1.0])])
        append(log, NOON_US, [np.array([2.0])])
    assert read(tmp_path)["x"].to_pylist() == [1, 2]


def test_segments_become_parts_while_the_log_goes_on(tmp_path):
    with writer(tmp_path, [one_column()], segment_seconds=0.05) as log:
        append(log, NOON_US, [np.full(3, 0.0)])
        log.end_tick()
        wait_until(lambda: files(tmp_path))
        append(log, NOON_US + 500_000, [np.full(3, 1.0)])
    assert len(files(tmp_path)) == 2
    assert read(tmp_path)["x"].to_pylist() == [0, 0, 0, 1, 1, 1]
    assert list((tmp_path / ".journal").iterdir()) == []


def test_what_waits_for_its_block_to_be_full_is_written_when_the_loop_is_held_up(tmp_path):
    with writer(tmp_path, [one_column()], tick_seconds=0.001) as log:
        append(log, NOON_US, [np.zeros(3)])  # one of 500 of a block
        log.end_tick()
        wait_until(lambda: log.rows_logged == 3)
        append(log, NOON_US + 1, [np.zeros(3)])
    assert log.rows_logged == 6


def test_a_dataset_without_rows_is_no_file(tmp_path):
    with writer(tmp_path, [Dataset("d", [], [], [Column("x", "float64")])]) as log:
        log.append(0, NOON_US, np.empty(0, "f4"), np.empty(0, "u1"), [np.empty(0)], np.ones((1, 0), bool))
    assert files(tmp_path) == []


def test_several_datasets_and_names_are_unique_over_restarts(tmp_path):
    pair = [
        Dataset("powerpack", ["s"] * 4, list("abcd"), [Column("soe", "float64")]),
        Dataset("acuvim2", ["s"], ["m"], [Column("power_total", "float32")]),
    ]
    for _ in range(3):
        with writer(tmp_path, pair) as log:
            for tick in range(2):
                for i, rows in ((0, 4), (1, 1)):
                    ones = np.ones(rows)
                    log.append(
                        i, NOON_US + tick, ones.astype("f4"), np.zeros(rows, np.uint8), [ones], [ones > 0]
                    )
    assert len(files(tmp_path / "powerpack")) == len(files(tmp_path / "acuvim2")) == 3
    assert read(tmp_path / "powerpack").num_rows == 24
    assert len({f.name for f in files(tmp_path / "powerpack")}) == 3
    assert log.bytes_written > 0


def test_rows_are_in_the_order_device_then_time(tmp_path):
    rows, ticks = 500, 60
    with writer(tmp_path, [one_column(rows=rows)]) as log:
        for i in range(ticks):
            append(log, NOON_US + i * 500_000, [np.arange(rows) + i / 100])
    (file,) = files(tmp_path)
    table = pq.ParquetFile(file).read()
    names = sorted(f"b{d}" for d in range(rows))
    devices = table["device"].combine_chunks().dictionary_decode().to_pylist()
    assert devices == [name for name in names for _ in range(ticks)]
    expected = [int(name[1:]) + i / 100 for name in names for i in range(ticks)]
    assert table["x"].to_pylist() == expected


def test_duckdb_reads_the_log_with_its_dates(tmp_path):
    midnight_us = NOON_US + 43_200_000_000
    with writer(tmp_path, [Dataset("powerpack", SITES, DEVICES, [Column("soe", "float64")])]) as log:
        for i in range(-2, 2):
            append(log, midnight_us + i * 500_000, [np.array([1.0, 2.0, 3.0])], [np.array([1, 1, 0], bool)])
    (tmp_path / ".tmp-half").write_bytes(b"PAR1")
    rows = duckdb.sql(
        f"SELECT date, count(*), sum(soe), count(soe) FROM '{tmp_path}/powerpack/**/*.parquet' "
        "GROUP BY date ORDER BY date"
    ).fetchall()
    day = datetime.fromtimestamp(NOON_US / 1e6, UTC).date()
    assert [r[1:] for r in rows] == [(6, 6.0, 4), (6, 6.0, 4)]
    assert rows[0][0] == day


def test_memory_limit_is_computed_from_the_datasets(tmp_path):
    with writer(tmp_path, [one_column(rows=100)]) as log:
        small = log.memory_limit_bytes
    rows = 40_000
    huge = Dataset("d", ["s"] * rows, [""] * rows, [Column(f"c{i}", "float64") for i in range(30)])
    with writer(tmp_path, [huge], tick_seconds=0.1) as log:
        large = log.memory_limit_bytes
    assert small == 128 << 20
    assert 128 << 20 < large < 4 * (64 << 20)


def test_a_wrong_array_is_refused_and_nothing_of_its_tick_is_kept(tmp_path):
    with writer(tmp_path, [one_column()]) as log:
        with pytest.raises(ValueError, match="array 0 of a tick has 3 bytes, not 2"):
            append(log, NOON_US, [np.zeros(3)], quality=np.zeros(2, np.uint8))
        with pytest.raises(ValueError, match=r"\(2, 3\), not \(1, 3\)"):
            append(log, NOON_US, [np.zeros(3), np.zeros(3)])
        append(log, NOON_US + 60_000_000, [np.ones(3)])
    assert read(tmp_path)["x"].to_pylist() == [1.0, 1.0, 1.0]
    assert log.rows_waiting == 0
    with pytest.raises(ValueError, match="closed"):
        append(log, NOON_US, [np.zeros(3)])
    log.close()


@pytest.mark.parametrize("name", ["time", "site", "device", "quality", "reason", "latency_ms", "run", "date"])
def test_a_point_must_not_take_the_name_of_a_log_column(name):
    with pytest.raises(FluxfastError, match=f"'{name}'"):
        Column(name, "float64")


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "/tmp"])
def test_a_dataset_must_be_a_folder_name(name):
    with pytest.raises(FluxfastError, match="folder"):
        Dataset(name, [], [], [])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Column("x", "float16"),
        lambda: Column("x", "S0"),
        lambda: Column("x", "float64", labels=[{1: "ON"}]),
        lambda: Dataset("d", ["s"], [], []),
        lambda: Dataset("d", [], [], [Column("x", "bool"), Column("x", "bool")]),
    ],
)
def test_what_cannot_be_logged_is_refused(make):
    with pytest.raises(ValueError, match=r"dtype|labels|sites|same name"):
        make()


def test_quality_tables_have_256_entries(tmp_path):
    with pytest.raises(ValueError, match="256"):
        writer(tmp_path, [one_column()], reasons=[None])
