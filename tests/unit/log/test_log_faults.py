"""What LogWriter survives: kill -9, a second writer, a disk that is full, gone, slow or forbidden."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxfast.errors import FluxfastError
from fluxfast.log import Column, Dataset, LogWriter, directory, writer

ROWS = 200
NOON_US = 1_790_035_200_000_000
DATASETS = [Dataset("d", ["s"] * ROWS, [f"b{i}" for i in range(ROWS)], [Column("x", "float64")])]
VALID = [np.ones(ROWS, bool)]
CODES, LATENCY = np.zeros(ROWS, np.uint8), np.ones(ROWS, np.float32)


def open_log(path, events=None, **options):
    options = {"tick_seconds": 1, "part_seconds": 2} | options
    return LogWriter(
        Path(path),
        DATASETS,
        quality_names=["good"] * 256,
        reasons=[None] * 256,
        on_event=(events if events is not None else []).append,
        **options,
    )


def append(log, second, values=None):
    values = np.full(ROWS, second, float) if values is None else values
    log.append(0, NOON_US + second * 1_000_000, LATENCY, CODES, [values], VALID)


def wait_until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("did not happen within ten seconds")


def seconds_in(path):
    """Return the ticks found in the log, each once per part."""
    parts = [pq.read_table(f, partitioning=None) for f in sorted(Path(path).rglob("date=*/*.parquet"))]
    assert all(p.num_rows % ROWS == 0 for p in parts)
    return sorted(s for p in parts for s in set(p["x"].to_pylist()))


CHILD = f"""
import itertools, sys, time
import numpy as np
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from test_log_faults import append, open_log
log = open_log(sys.argv[1], part_seconds=2)
for second in itertools.count():
    append(log, second)
    print(log.rows_logged, flush=True)
    while log.rows_waiting > 4 * {ROWS}:  # nothing may be dropped, or the hole could not be told
        time.sleep(0.0005)
"""


def kill_after(path, delay_s):
    """Run a writer, kill it ``delay_s`` after its first tick, return the rows it had called logged."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline()
        time.sleep(delay_s)
        child.send_signal(signal.SIGKILL)
        lines = child.stdout.read().split("\n")
        return int(lines[-2] or 0) if len(lines) > 1 else 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def check_killed(path, delay_s):
    logged = kill_after(path, delay_s)
    found = seconds_in(path)
    assert len(found) * ROWS >= logged  # what was called logged is there
    assert found == list(range(len(found)))  # whole ticks, without a hole
    open_log(path).close()
    assert list(path.glob(".tmp-*")) == []


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.2])
def test_kill_9_leaves_only_whole_files(tmp_path, delay_s):
    check_killed(tmp_path, delay_s)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_kill_9_at_many_moments_leaves_only_whole_files(tmp_path):
    rng = np.random.default_rng(9)
    for i in range(60):
        check_killed(tmp_path / str(i), rng.uniform(0, 0.5))


def test_half_written_files_of_a_killed_writer_are_removed(tmp_path):
    (tmp_path / ".tmp-20260101T000000Z-0-1").write_bytes(b"PAR1")
    open_log(tmp_path / "other").close()
    assert (tmp_path / ".tmp-20260101T000000Z-0-1").exists()
    open_log(tmp_path).close()
    assert not (tmp_path / ".tmp-20260101T000000Z-0-1").exists()


def test_second_writer_is_refused_until_the_first_is_closed(tmp_path):
    with open_log(tmp_path), pytest.raises(FluxfastError, match=f"process {os.getpid()} is logging there"):
        open_log(tmp_path)
    open_log(tmp_path).close()


def test_missing_directory_is_created(tmp_path):
    with open_log(tmp_path / "a" / "b") as log:
        append(log, 0)
    assert seconds_in(tmp_path / "a" / "b") == [0]


def test_unusable_directory_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "log", Path("/proc/log")):
        with pytest.raises(FluxfastError, match=f"^cannot log to {path}: .+") as caught:
            open_log(path)
        assert "\n" not in str(caught.value)


def test_removed_directory_comes_back_and_is_locked_again(tmp_path):
    with open_log(tmp_path / "log") as log:
        append(log, 0)
        append(log, 2)
        wait_until(lambda: log.parts_written == 1)
        shutil.rmtree(tmp_path / "log")
        append(log, 4)
        wait_until(lambda: log.parts_written == 2)
        with pytest.raises(FluxfastError, match="is logging there"):
            open_log(tmp_path / "log")
    assert seconds_in(tmp_path / "log") == [2, 4]


def test_unwritable_folder_is_reported_once_and_then_everything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "RETRY_S", 0.01)
    (tmp_path / "d").write_text("in the way")
    events = []
    with open_log(tmp_path, events) as log:
        for second in range(0, 8, 2):
            append(log, second)
        wait_until(lambda: log.failures > 4)
        assert log.rows_waiting == 4 * ROWS
        (tmp_path / "d").unlink()
        wait_until(lambda: log.rows_waiting == ROWS)
    assert seconds_in(tmp_path) == [0, 2, 4, 6]
    assert len(events) == 2
    assert events[0].startswith(f"log: cannot write to {tmp_path}: ")
    assert events[1] == "log: writing again; 0 rows dropped since the start"


def test_one_unusable_folder_does_not_hold_up_the_other_dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "RETRY_S", 0.01)
    (tmp_path / "d").write_text("in the way")
    other = Dataset("e", ["s"], ["m"], [])
    names = {"quality_names": ["good"] * 256, "reasons": [None] * 256, "on_event": lambda text: None}
    log = LogWriter(tmp_path, [*DATASETS, other], tick_seconds=1, part_seconds=1, **names)
    for second in range(3):
        append(log, second)
        log.append(1, NOON_US + second * 1_000_000, LATENCY[:1], CODES[:1], [], np.ones((0, 1), bool))
    wait_until(lambda: log.rows_logged == 2)
    log.close()
    assert log.rows_logged == 3
    assert log.rows_dropped == 3 * ROWS


@pytest.fixture
def collector_off():
    yield gc.disable
    gc.enable()


def test_held_files_are_bounded_and_the_oldest_go_first(tmp_path, monkeypatch, collector_off):
    monkeypatch.setattr(writer, "RETRY_S", 0.01)
    monkeypatch.setattr(writer, "HELD_BYTES", 20_000)
    noise = np.random.default_rng(2)
    collector_off()  # what is dropped must be gone at once, not when the collector comes round
    before = pa.total_allocated_bytes()
    (tmp_path / "d").write_text("in the way")
    events = []
    with open_log(tmp_path, events) as log:
        for second in range(0, 40, 2):
            append(log, second, noise.standard_normal(ROWS))
            wait_until(lambda: not log._queue)
        assert log._held_bytes <= 20_000
        assert pa.total_allocated_bytes() - before <= 4 * 20_000
        dropped = log.rows_dropped
        assert dropped > 0
        (tmp_path / "d").unlink()
        wait_until(lambda: log.rows_waiting == ROWS)
    times = {t for f in tmp_path.rglob("date=*/*.parquet") for t in pq.read_table(f)["time"].to_pylist()}
    assert len(times) == 20 - dropped // ROWS
    assert log.rows_logged + log.rows_dropped == 20 * ROWS
    assert [e.split(";")[0] for e in events][1:] == ["log: 0 MiB wait for the disk", "log: writing again"]


def test_close_tells_what_was_lost(tmp_path):
    (tmp_path / "d").write_text("in the way")
    events = []
    with open_log(tmp_path, events) as log:
        append(log, 0)
    assert events[-1] == f"log: closed with {ROWS} rows not written"
    assert log.rows_dropped == ROWS


def test_slow_disk_holds_up_neither_append_nor_memory(tmp_path, monkeypatch):
    gate = threading.Event()
    real = os.fsync
    monkeypatch.setattr(directory.os, "fsync", lambda fd: (gate.wait(), real(fd)))
    events = []
    gate.set()
    log = open_log(tmp_path, events)
    gate.clear()
    for second in range(0, 200, 2):
        append(log, second)  # would never return if it waited for the disk
    assert log._allocated == [writer.PARTS_PER_DATASET]
    assert log.rows_dropped > 90 * ROWS
    gate.set()
    log.close()
    kept = seconds_in(tmp_path)
    assert kept[-1] == 198
    assert len(kept) * ROWS == log.rows_logged == 100 * ROWS - log.rows_dropped
    assert events[0] == "log: the disk is too slow; dropping the oldest rows"
    assert events[-1] == f"log: writing again; {log.rows_dropped} rows dropped since the start"


def test_hanging_disk_is_given_up_at_the_end(tmp_path, monkeypatch):
    gate = threading.Event()
    events = []
    log = open_log(tmp_path, events)
    monkeypatch.setattr(directory.os, "fsync", lambda fd: gate.wait())
    monkeypatch.setattr(writer, "CLOSE_S", 0.05)
    append(log, 0)
    log.close()
    assert events == [f"log: the disk hangs; {ROWS} rows are not written"]
    gate.set()
    log._thread.join()
    log._directory.close()


def test_part_that_cannot_be_encoded_does_not_end_the_logging(tmp_path, monkeypatch):
    events = []
    with open_log(tmp_path, events) as log:
        real = log._encoders[0].encode
        monkeypatch.setattr(log._encoders[0], "encode", lambda part: 1 / 0)
        append(log, 0)
        append(log, 2)
        wait_until(lambda: log.failures == 1)
        monkeypatch.setattr(log._encoders[0], "encode", real)
    assert seconds_in(tmp_path) == [2]
    assert log.rows_dropped == ROWS
    assert "ZeroDivisionError" in events[0]


def test_a_failing_listener_does_not_end_the_logging(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(writer, "RETRY_S", 0.01)
    (tmp_path / "d").write_text("in the way")
    log = open_log(tmp_path)
    log._on_event = lambda text: 1 / 0
    append(log, 0)
    append(log, 2)
    wait_until(lambda: log.failures)
    (tmp_path / "d").unlink()
    log.close()
    assert seconds_in(tmp_path) == [0, 2]
    assert "the listener failed" in caplog.text


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a file system of 300 KB."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting a small disk needs root on Linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_full_disk_is_survived(small_disk, monkeypatch):
    monkeypatch.setattr(writer, "RETRY_S", 0.01)
    ballast = small_disk / "ballast"
    events = []
    with open_log(small_disk / "log", events) as log:
        ballast.write_bytes(bytes(280 * 1024))
        for second in range(0, 40, 2):
            append(log, second, np.random.default_rng(second).standard_normal(ROWS))
            wait_until(lambda: not log._queue)
        wait_until(lambda: log.failures > 20)
        assert "No space left on device" in events[0]
        ballast.unlink()
        wait_until(lambda: log.rows_waiting == ROWS)
    assert log.rows_dropped == 0
    rows = [pq.read_metadata(f).num_rows for f in (small_disk / "log").rglob("date=*/*.parquet")]
    assert sum(rows) == 20 * ROWS
    assert len(events) == 2
    assert list((small_disk / "log").glob(".tmp-*")) == []


def test_unmounted_and_remounted_directory_is_locked_again(small_disk):
    with open_log(small_disk) as log:
        append(log, 0)
        append(log, 2)
        wait_until(lambda: log.parts_written == 1)
        mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(small_disk)]
        subprocess.run(mount, check=True)
        append(log, 4)
        wait_until(lambda: log.parts_written == 2)
    assert (small_disk / ".lock").exists()
    assert seconds_in(small_disk) == [2, 4]
    subprocess.run(["umount", "-l", str(small_disk)], check=True)
    assert seconds_in(small_disk) == [0]
