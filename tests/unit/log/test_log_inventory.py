"""What a log says of itself: its columns, its devices, its views."""

import shutil
from datetime import UTC, datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxfast.log import Column, Dataset, LogWriter, events
from fluxfast.log.dataset import ROW_FIELDS
from fluxfast.log.inventory import COLUMNS, DEVICES, DeviceRow, devices, settle
from fluxfast.log.views import views_sql
from fluxfast.table import quality

NOON_US = 1_790_035_200_000_000
HOUR_US = 3_600_000_000
NOON, ONE, TWO = (datetime.fromtimestamp(NOON_US / 1e6 + 3600 * hour, UTC) for hour in range(3))
SOE = Column("soe", "float64", metadata={"unit": "%", "address": "2026", "scale": "0.1", "offset": "0"})


def pack(*columns, name="powerpack", **about):
    metadata = {"profile": name, "profile_version": "1", "profile_hash": "ab12", **about}
    return Dataset(name, ["S"], ["b1"], columns, metadata)


def settled(*rounds):
    """Settle one set of datasets after the other, an hour apart; return the table, last names and news."""
    table, names, news = None, [], []
    for hour, datasets in enumerate(rounds):
        table, found, news = settle(table, datasets, NOON_US + hour * HOUR_US)
        names = [dataset.name for dataset in found]
        assert table.schema == COLUMNS
    return table, names, news


def row(table, dataset, column):
    (found,) = [r for r in table.to_pylist() if (r["dataset"], r["column"]) == (dataset, column)]
    return found


def test_a_new_log_lists_every_column():
    power = Column("power", "int64", [{1: "ON"}], {"unit": "", "sign": "positive discharges"})
    table, names, news = settled([pack(SOE, power)])
    assert (names, news) == (["powerpack"], [])
    assert row(table, "powerpack", "soe") == {
        "dataset": "powerpack", "column": "soe", "type": "double", "unit": "%", "description": None,
        "register": None, "address": 2026, "scale": 0.1, "offset": 0.0, "sign": None, "sample": None,
        "profile": "powerpack", "profile_version": "1", "profile_hash": "ab12", "since": NOON,
    }  # fmt: skip
    power = row(table, "powerpack", "power")
    assert (power["type"], power["unit"], power["sign"]) == ("string", None, "positive discharges")
    assert row(table, "powerpack", "latency_ms")["unit"] == "ms"
    assert row(table, "events", "text")["description"] == "one line"


def test_columns_are_added_and_none_is_forgotten():
    first, second = Column("a", "int64"), Column("b", "int64")
    table, names, news = settled([pack(first, SOE)], [pack(second, SOE, profile_version="2")], [pack(SOE)])
    assert (names, news) == (["powerpack"], [])
    assert row(table, "powerpack", "a")["since"] == NOON
    assert row(table, "powerpack", "b")["since"] == ONE
    soe = row(table, "powerpack", "soe")
    assert (soe["since"], soe["profile_version"]) == (NOON, "1")
    assert row(table, "powerpack", "b")["profile_version"] == "2"


def test_another_type_goes_to_another_version_and_the_first_one_back():
    whole, broken, words = (Column("soe", kind) for kind in ("int64", "float64", "S8"))
    table, names, news = settled([pack(whole)], [pack(broken)])
    assert names == ["powerpack_v2"]
    assert news == ["powerpack: soe was int64 so far and is double now: it goes on as powerpack_v2"]
    assert row(table, "powerpack_v2", "soe")["since"] == ONE
    assert row(table, "powerpack_v2", "soe")["profile"] == "powerpack"
    table, names, _ = settled([pack(whole)], [pack(broken)], [pack(words)])
    assert names == ["powerpack_v3"]
    assert settled([pack(whole)], [pack(broken)], [pack(words)], [pack(broken)])[1] == ["powerpack_v2"]
    assert settled([pack(whole)], [pack(broken)], [pack(whole)])[1:] == (["powerpack"], [])


def test_the_datasets_of_a_version_say_so_themselves():
    _, (first,), _ = settle(None, [pack(Column("soe", "int64"))], NOON_US)
    table = settle(None, [first], NOON_US)[0]
    _, (second,), _ = settle(table, [pack(SOE)], NOON_US)
    metadata = second.schema().metadata
    assert (metadata[b"dataset"], metadata[b"profile"]) == (b"powerpack_v2", b"powerpack")


def test_a_column_keeps_its_unit():
    kw, watt, unsaid = (Column("power", "float64", metadata={"unit": unit}) for unit in ("kW", "W", ""))
    assert settled([pack(kw)], [pack(watt)])[2] == [
        "powerpack: power was in kW so far and is in W now: it goes on as powerpack_v2"
    ]
    _, names, _ = settled([pack(unsaid)], [pack(kw)], [pack(unsaid)])
    assert names == ["powerpack"]


def test_names_that_differ_in_capitals_are_one_column_to_engines():
    assert settled([pack(Column("Power", "int64"))], [pack(Column("power", "float64"))])[1] == [
        "powerpack_v2"
    ]


def test_a_version_takes_no_profiles_name():
    whole, own = pack(Column("soe", "int64")), pack(SOE, name="powerpack_v2")
    assert settled([whole], [pack(SOE), own])[1] == ["powerpack_v3", "powerpack_v2"]
    _, names, news = settled([whole], [pack(SOE)], [own])
    assert names == ["powerpack_v2_v2"]
    assert "so far this was the name of a dataset of the profile powerpack" in news[0]


# ---- devices ----

B1 = DeviceRow(
    "b1", "BESS 'ö'\n1", "S", "bess", "powerpack", "powerpack", "ab12", None, "10.0.0.1", 502, 1, 400.0, None
)
M1 = DeviceRow("m1", "m1", "S", "meter", "acuvim2", "acuvim2", "cd34", "grid", "10.0.0.2", 502, 2, None, None)


def lives(table):
    assert table.schema == DEVICES
    return [(r["device"], r["host"], r["valid_from"], r["valid_to"]) for r in table.to_pylist()]


def test_devices_are_valid_from_when_they_came_until_they_changed_or_went():
    first = devices(None, [B1, M1], NOON_US)
    assert lives(first) == [("b1", "10.0.0.1", NOON, None), ("m1", "10.0.0.2", NOON, None)]
    assert devices(first, [M1, B1], NOON_US + HOUR_US).equals(first)
    moved = devices(first, [B1._replace(host="10.0.0.9")], NOON_US + HOUR_US)
    assert lives(moved) == [
        ("b1", "10.0.0.1", NOON, ONE), ("m1", "10.0.0.2", NOON, ONE), ("b1", "10.0.0.9", ONE, None)
    ]  # fmt: skip
    back = devices(moved, [B1], NOON_US + 2 * HOUR_US)
    assert lives(back)[:3] == [*lives(moved)[:2], ("b1", "10.0.0.9", ONE, TWO)]
    assert lives(back)[3:] == [("b1", "10.0.0.1", TWO, None)]
    assert back.to_pylist()[3]["name"] == "BESS 'ö'\n1"


def test_a_table_with_fewer_columns_is_read():
    old = devices(None, [B1], NOON_US).drop_columns(["profile_hash"])
    table = devices(old, [B1], NOON_US + HOUR_US)
    assert lives(table) == [("b1", "10.0.0.1", NOON, None)]
    assert table["profile_hash"].to_pylist() == ["ab12"]


# ---- views ----


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A log of two versions of one profile and its tables; the working folder is its folder."""
    table = None
    versions = [
        [SOE, Column("status", "int64", [{1: "READY"}]), Column("sample_ms_1", "float32")],
        [Column("soe", "int64"), Column("it's", "bool", metadata={"unit": "'"})],
        [SOE, Column("energy", "uint64", metadata={"unit": "Wh"})],
    ]
    for step, columns in enumerate(versions):
        table, settled_now, _ = settle(table, [pack(*columns)], NOON_US)
        writer = LogWriter(
            tmp_path, settled_now, tick_seconds=1.0,
            quality_names=quality.QUALITY_NAMES, reasons=quality.REASONS,
        )  # fmt: skip
        values = [np.array([step + 1]).astype(column.dtype) for column in columns]
        valid = np.ones((len(columns), 1), np.uint8)
        with writer:
            for tick in range(2):
                valid[0] = tick == 0
                writer.append(
                    0,
                    NOON_US + (10 * step + tick) * 1_000_000,
                    np.ones(1, np.float32),
                    np.zeros(1, np.uint8),
                    values,
                    valid,
                )
            writer.add_event(NOON_US, "link", "b1: up")
    for name, content in (("columns", table), ("devices", devices(None, [B1, M1], NOON_US))):
        (tmp_path / name).mkdir(exist_ok=True)
        pq.write_table(content, tmp_path / name / f"{name}.parquet")
    monkeypatch.chdir(tmp_path)
    return table


@pytest.fixture
def engine(log):
    with duckdb.connect() as connection:
        connection.execute(views_sql(log))
        yield connection


def test_views_name_every_dataset(engine):
    def count(view):
        return engine.sql(f"SELECT count(*) FROM {view}").fetchall()[0][0]

    assert count("powerpack") == 4
    assert count("powerpack_v2") == 2
    assert count("events") == 3
    assert count("devices") == 2
    assert count("columns") == 2 * len(ROW_FIELDS) + 4 + 2 + len(events.SCHEMA)
    assert engine.sql("SELECT DISTINCT energy, typeof(date) FROM powerpack ORDER BY ALL").fetchall() == [
        (3, "DATE"), (None, "DATE")
    ]  # fmt: skip


def test_a_dataset_without_files_has_empty_views(log, tmp_path):
    for folder in ("powerpack_v2", "events"):
        shutil.rmtree(tmp_path / folder)
    with duckdb.connect() as connection:
        connection.execute(views_sql(log))
        for view in ("powerpack_v2", "powerpack_v2_long", "events"):
            assert connection.sql(f"SELECT count(*) FROM {view}").fetchall() == [(0,)]
        made = connection.sql("SELECT * FROM powerpack_v2").description
        made = {column[0]: str(column[1]) for column in made}
    assert (made["soe"], made["it's"], made["device"], made["date"]) == (
        "BIGINT",
        "BOOLEAN",
        "VARCHAR",
        "DATE",
    )


def test_the_long_view_has_a_row_for_each_reading(engine):
    long = "SELECT point, value, text, unit, quality FROM {} ORDER BY time, point"
    assert engine.sql(long.format("powerpack_long")).fetchall() == [
        ("soe", 1.0, None, "%", "good"),
        ("status", None, "READY", None, "good"),
        ("status", None, "READY", None, "good"),
        ("energy", 3.0, None, "Wh", "good"),
        ("soe", 3.0, None, "%", "good"),
        ("energy", 3.0, None, "Wh", "good"),
    ]
    assert engine.sql(long.format("powerpack_v2_long")).fetchall() == [
        ("it's", 1.0, None, "'", "good"),
        ("soe", 2.0, None, None, "good"),
        ("it's", 1.0, None, "'", "good"),
    ]
    assert engine.sql("SELECT * FROM powerpack_long LIMIT 0").columns == [
        "time", "site", "device", "quality", "point", "value", "text", "unit", "date"
    ]  # fmt: skip


def test_the_tables_are_plain(log):
    for table in (log, devices(None, [B1], NOON_US)):
        assert not any(pa.types.is_dictionary(field.type) for field in table.schema)
