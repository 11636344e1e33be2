"""The dataset ``events``: what happens now and then, beside the ticks."""

import threading

import numpy as np
import pyarrow.parquet as pq
import pytest

from fluxfast.errors import FluxfastError
from fluxfast.log import Column, Dataset, LogWriter, Words, disk, events
from tests.support.proved_log import wait_until

NOON_US = 1_790_035_200_000_000
DAY_US = 86_400_000_000


def open_log(path, told=None, segment_seconds=600, **dataset):
    return LogWriter(
        path,
        [Dataset("d", ["s"], ["b"], [Column("x", "float64")], **dataset)],
        tick_seconds=1,
        segment_seconds=segment_seconds,
        quality_names=["good"] * 256,
        reasons=[None] * 256,
        on_event=(told if told is not None else []).append,
    )


def append(log, second, code=0):
    log.append(
        0, NOON_US + second * 1_000_000, np.ones(1, np.float32), np.full(1, code, np.uint8), [np.ones(1)],
        np.ones((1, 1), np.uint8),
    )  # fmt: skip


def read(path, dataset="events"):
    return pq.read_table(path / dataset).to_pylist()


def test_events_are_rows_in_order(tmp_path):
    with open_log(tmp_path) as log:
        log.add_event(NOON_US, "unit", "b: its setpoint was refused", "s", "b")
        log.add_event(NOON_US + 1, "clock", "set by +1.0 s")
    first, second = read(tmp_path)
    assert {k: first[k] for k in ("site", "device", "kind", "text")} == {
        "site": "s", "device": "b", "kind": "unit", "text": "b: its setpoint was refused",
    }  # fmt: skip
    assert first["time"].timestamp() * 1e6 == NOON_US
    assert (second["site"], second["device"], second["kind"]) == (None, None, "clock")
    assert log.rows_logged == 2
    assert log.rows_waiting == 0


def test_events_need_no_ticks_to_get_to_the_journal_and_on(tmp_path):
    log = open_log(tmp_path, segment_seconds=0.05)
    log.add_event(NOON_US, "unit", "early")
    wait_until(lambda: (tmp_path / "events").exists() and read(tmp_path))
    assert [row["text"] for row in read(tmp_path)] == ["early"]
    assert log.rows_logged == 1
    log.close()
    assert len(read(tmp_path)) == 1


def test_each_day_has_a_file_of_its_own(tmp_path):
    with open_log(tmp_path) as log:
        log.add_event(NOON_US, "a", "today")
        log.add_event(NOON_US + DAY_US, "a", "tomorrow")
    assert [row["text"] for row in read(tmp_path / "events", "date=2026-09-22")] == ["today"]
    assert [row["text"] for row in read(tmp_path / "events", "date=2026-09-23")] == ["tomorrow"]


def test_no_more_than_a_bounded_number_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "MAX_EVENTS", 3)
    gate, real = threading.Event(), disk.sync
    gate.set()
    told = []
    log = open_log(tmp_path, told)
    monkeypatch.setattr(disk, "sync", lambda file: (gate.wait(), real(file)))
    gate.clear()
    log.add_event(NOON_US, "a", "first")
    wait_until(lambda: not log._journal._events)  # the thread is at it, and hangs
    for number in range(5):
        log.add_event(NOON_US, "a", str(number))
    gate.set()
    log.close()
    assert [row["text"] for row in read(tmp_path)] == ["first", "0", "1", "2"]
    assert log.rows_dropped == 2
    assert told == [
        "log: 3 events wait; dropping the newest events",
        "log: writing again; 2 rows dropped since the start",
    ]
    log.add_event(NOON_US, "a", "too late")
    assert len(read(tmp_path)) == 4


def test_threads_may_add_events_together(tmp_path):
    log = open_log(tmp_path)

    def add():
        for _ in range(500):
            log.add_event(NOON_US, "a", "x" * 2000)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert len(read(tmp_path)) == log.rows_logged == 2000
    assert len(read(tmp_path)[0]["text"]) == events.MAX_TEXT


def test_a_dataset_may_have_words_of_its_own(tmp_path):
    words = Words(
        ["fine" if code < 9 else "poor" for code in range(256)], [f"r{code}" for code in range(256)]
    )
    with open_log(tmp_path, words=words) as log:
        append(log, 0, code=7)
        append(log, 1, code=9)
    assert [(row["quality"], row["reason"]) for row in read(tmp_path, "d")] == [
        ("fine", "r7"),
        ("poor", "r9"),
    ]


def test_a_profile_cannot_be_called_like_a_dataset_of_the_log(tmp_path):
    with pytest.raises(FluxfastError, match="two datasets of the log would be called 'events': rename"):
        LogWriter(
            tmp_path, [Dataset("events", [], [], [])], tick_seconds=1, quality_names=["good"] * 256,
            reasons=[None] * 256,
        )  # fmt: skip
