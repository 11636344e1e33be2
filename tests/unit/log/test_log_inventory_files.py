"""What a log says of itself, as files: written by the pass, read by the next station."""

import time

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from fluxfast.errors import FluxfastError
from fluxfast.log import Column, LogWriter, directory, inventory_files
from fluxfast.log.compactor import compact
from fluxfast.log.inventory import DeviceRow
from fluxfast.log.manifest import Manifest, sha256
from tests.support.journals import NOON_US, WORDS, dataset, minutes, write_segment

FILES = (inventory_files.COLUMNS, inventory_files.DEVICES, inventory_files.VIEWS)


def row(device, host="10.0.0.1"):
    return DeviceRow(
        device=device, name=device, site="s", kind="bess", type="p", profile="p", profile_hash="h",
        role=None, host=host, port=502, unit=1, capacity_kwh=100.0, rated_power_kw=None,
    )  # fmt: skip


def about(*devices):
    return {"devices": [device._asdict() for device in devices]}


def table(root, name):
    return pq.read_table(root / name, partitioning=None).to_pylist()


def validity(root):
    """Return (device, host, minutes from noon, to minutes) of the inventory."""

    def minute(when):
        return None if when is None else (when.timestamp() * 1e6 - NOON_US) / 60e6

    return [
        (r["device"], r["host"], minute(r["valid_from"]), minute(r["valid_to"]))
        for r in table(root, inventory_files.DEVICES)
    ]


def opened(root, on_event=None, *columns, **options):
    return LogWriter(
        root, [dataset(*columns)], tick_seconds=1, quality_names=WORDS.qualities, reasons=WORDS.reasons,
        on_event=on_event, **options,
    )  # fmt: skip


def log_one_tick(log, dtype):
    ones = np.ones(2, np.uint8)
    log.append(0, NOON_US, np.ones(2, np.float32), ones * 0, [np.ones(2, dtype)], [ones])
    log.end_tick()


def test_a_pass_writes_them_and_the_manifest_has_them(tmp_path):
    [times] = minutes(0)
    write_segment(tmp_path, "c0ffee00", 0, dataset(), times, about=about(row("b1"), row("b2")))
    compact(tmp_path, print)
    columns = {(c["dataset"], c["column"]) for c in table(tmp_path, inventory_files.COLUMNS)}
    assert {("d", "x"), ("d", "time"), ("events", "text")} <= columns
    assert validity(tmp_path) == [("b1", "10.0.0.1", 0, None), ("b2", "10.0.0.1", 0, None)]
    files = Manifest(tmp_path).files
    assert {name: files[name]["sha256"] for name in FILES} == {
        name: sha256((tmp_path / name).read_bytes()) for name in FILES
    }
    views = (tmp_path / inventory_files.VIEWS).read_text()
    with duckdb.connect() as sql:
        sql.execute(f"SET file_search_path = '{tmp_path}'")
        for statement in views.split(";\n"):
            if '"events"' not in statement:  # there are none yet
                sql.execute(statement)
        assert sql.sql("SELECT count(*) FROM d JOIN devices USING (device)").fetchall() == [(6,)]


def test_they_are_written_again_only_when_they_change(tmp_path):
    [a, b, c] = minutes(0, 1, 2)
    write_segment(tmp_path, "c0ffee00", 0, dataset(), a, about=about(row("b1")))
    compact(tmp_path, print)
    before = {name: (tmp_path / name).stat().st_ino for name in FILES}
    write_segment(tmp_path, "c0ffee00", 10, dataset(), b, about=about(row("b1")))
    write_segment(tmp_path, "c0ffee01", 0, dataset(), c, about=about(row("b1")))
    compact(tmp_path, print)
    assert {name: (tmp_path / name).stat().st_ino for name in FILES} == before


def test_a_device_that_changes_has_a_row_for_each_time(tmp_path):
    [a, b, c] = minutes(0, 1, 2)
    write_segment(tmp_path, "ffffff00", 0, dataset(), a, about=about(row("b1"), row("b2")))
    write_segment(tmp_path, "00000001", 0, dataset(), b, about=about(row("b1", "10.0.0.9")))
    compact(tmp_path, print)
    wanted = [("b1", "10.0.0.1", 0, 1), ("b2", "10.0.0.1", 0, 1), ("b1", "10.0.0.9", 1, None)]
    assert validity(tmp_path) == wanted
    # Without an inventory nothing is known to have changed.
    write_segment(tmp_path, "00000002", 0, dataset(), c)
    compact(tmp_path, print)
    assert validity(tmp_path) == wanted


def test_headers_that_are_read_again_after_a_crash_count_once(tmp_path, monkeypatch):
    [a, b] = minutes(0, 1)
    write_segment(tmp_path, "ffffff00", 0, dataset(), a, about=about(row("b1")))
    write_segment(tmp_path, "00000001", 0, dataset(), b, about=about(row("b1", "10.0.0.9")))

    def crash(self, records):
        raise OSError("as if killed here")

    with monkeypatch.context() as patched:
        patched.setattr(Manifest, "append", crash)
        with pytest.raises(OSError, match="killed"):
            compact(tmp_path, print)
    wanted = [("b1", "10.0.0.1", 0, 1), ("b1", "10.0.0.9", 1, None)]
    assert validity(tmp_path) == wanted
    assert not Manifest(tmp_path).files
    compact(tmp_path, print)
    assert validity(tmp_path) == wanted
    assert set(FILES) <= set(Manifest(tmp_path).files)


def test_a_clock_set_back_leaves_times_in_order(tmp_path):
    [a, b] = minutes(60, 0)
    write_segment(tmp_path, "c0ffee00", 0, dataset(), a, about=about(row("b1")))
    compact(tmp_path, print)
    write_segment(tmp_path, "c0ffee01", 0, dataset(), b, about=about(row("b2")))
    compact(tmp_path, print)
    assert validity(tmp_path) == [("b1", "10.0.0.1", 60, 60), ("b2", "10.0.0.1", 60, None)]


@pytest.mark.parametrize("damage", ["damaged", "missing"])
def test_one_that_is_damaged_or_missing_is_begun_again_and_told(tmp_path, damage):
    [a, b] = minutes(0, 1)
    write_segment(tmp_path, "c0ffee00", 0, dataset(), a, about=about(row("b1")))
    compact(tmp_path, print)
    file = tmp_path / inventory_files.DEVICES
    if damage == "missing":
        file.unlink()
    else:
        data = bytearray(file.read_bytes())
        data[len(data) // 3 : len(data) // 3 + 100] = bytes(100)
        file.write_bytes(data)
    write_segment(tmp_path, "c0ffee01", 0, dataset(), b, about=about(row("b1")))
    told: list[str] = []
    compact(tmp_path, told.append)
    assert told == [f"{inventory_files.DEVICES} is {damage}; it is begun again"]
    assert validity(tmp_path) == [("b1", "10.0.0.1", 1, None)]
    compact(tmp_path, told.append)
    assert len(told) == 1


@pytest.mark.parametrize("converted", [True, False])
def test_a_column_of_another_type_goes_on_in_a_new_dataset(tmp_path, converted):
    [times] = minutes(0)
    write_segment(tmp_path, "c0ffee00", 0, dataset(Column("x", "float64")), times)
    if converted:
        compact(tmp_path, print)
    told: list[str] = []
    with opened(tmp_path, told.append, Column("x", "int64")) as log:
        log_one_tick(log, "int64")
    news = "d: x was double so far and is int64 now: it goes on as d_v2"
    assert told == [f"log: {news}"]
    assert [len(list((tmp_path / name).rglob("*.parquet"))) for name in ("d", "d_v2")] == [1, 1]
    [event] = tmp_path.glob("events/date=*/*.parquet")
    assert pq.read_table(event, partitioning=None).select(["kind", "text"]).to_pylist() == [
        {"kind": "log", "text": news}
    ]
    # And again it is d_v2, without a word.
    with opened(tmp_path, told.append, Column("x", "int64")) as log:
        log_one_tick(log, "int64")
    assert len(told) == 1
    assert len(list((tmp_path / "d_v2").rglob("*.parquet"))) == 2


def test_a_station_hands_its_devices_over(tmp_path):
    before_us = time.time_ns() // 1000
    with opened(tmp_path, devices=[row("b1")]) as log:
        log_one_tick(log, "float64")
    [device] = table(tmp_path, inventory_files.DEVICES)
    assert (device["device"], device["valid_to"]) == ("b1", None)
    assert device["valid_from"].timestamp() * 1e6 >= before_us


@pytest.mark.parametrize("name", ["events", "columns", "devices"])
def test_a_dataset_cannot_be_called_as_what_the_log_has_anyway(tmp_path, name):
    with pytest.raises(FluxfastError, match=f"two datasets of the log would be called '{name}'"):
        LogWriter(
            tmp_path, [dataset(name=name)], tick_seconds=1,
            quality_names=WORDS.qualities, reasons=WORDS.reasons,
        )  # fmt: skip


def test_two_passes_take_turns(tmp_path):
    with directory.compacting(tmp_path), pytest.raises(FluxfastError, match="another process is compacting"):
        compact(tmp_path, print, wait=False)
