"""What LogWriter survives: a second writer, a disk that fails, is full, gone, slow or forbidden."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fluxfast.errors import FluxfastError
from fluxfast.log import block, disk, journal, writer
from fluxfast.log.block import Ticks
from tests.support.faulty_disk import FaultyDisk
from tests.support.proved_log import ROWS, append_tick, check_manifest, datasets, open_log, read, wait_until

TICK_ROWS = sum(ROWS)


@pytest.fixture
def faulty(monkeypatch):
    monkeypatch.setattr(journal, "RETRY_S", 0.01)
    return FaultyDisk(monkeypatch)


def at_once(monkeypatch):
    """Each tick is a block, and each block is synced."""
    monkeypatch.setattr(journal, "GROUP_S", 0.0)
    return {"tick_seconds": 1}


def test_half_written_files_of_a_killed_writer_are_removed(tmp_path):
    (tmp_path / ".tmp-d+date=2026-01-01+x.parquet").write_bytes(b"PAR1")
    open_log(tmp_path).close()
    assert not list(tmp_path.glob(".tmp-*"))


def test_second_writer_is_refused_until_the_first_is_closed(tmp_path):
    with open_log(tmp_path), pytest.raises(FluxfastError, match=f"process {os.getpid()} is logging there"):
        open_log(tmp_path)
    open_log(tmp_path).close()


def test_missing_directory_is_created(tmp_path):
    with open_log(tmp_path / "a" / "b") as log:
        append_tick(log, 0)
    assert read(tmp_path / "a" / "b").seconds == [0]


def test_unusable_directory_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "log", Path("/proc/log")):
        with pytest.raises(FluxfastError, match=f"^cannot log to {path}: .+") as caught:
            open_log(path)
        assert "\n" not in str(caught.value)


def test_a_journal_that_cannot_be_written_is_refused_at_the_start_and_the_lock_given_back(tmp_path):
    (tmp_path / ".journal").write_text("in the way")
    with pytest.raises(FluxfastError, match=r"^cannot log to"):
        open_log(tmp_path)
    (tmp_path / ".journal").unlink()
    open_log(tmp_path).close()


def test_removed_directory_comes_back_and_is_locked_again(tmp_path, monkeypatch):
    told = []
    with open_log(tmp_path / "log", on_event=told.append, **at_once(monkeypatch)) as log:
        append_tick(log, 0)
        wait_until(lambda: log.rows_logged == TICK_ROWS)
        shutil.rmtree(tmp_path / "log")
        append_tick(log, 1)
        append_tick(log, 2)
        wait_until(lambda: log.rows_logged == 3 * TICK_ROWS)
        with pytest.raises(FluxfastError, match="is logging there"):
            open_log(tmp_path / "log")
    assert read(tmp_path / "log").seconds == [1, 2]
    assert "somebody has removed its file" in told[0]


def test_a_failing_disk_is_reported_once_and_then_everything_is_written(tmp_path, faulty):
    told = []
    with open_log(tmp_path, on_event=told.append, tick_seconds=1) as log:
        faulty.should_fail = lambda number, name: errno.EIO
        for tick in range(4):
            append_tick(log, tick)
        wait_until(lambda: log.failures > 4)
        assert log.rows_waiting == 4 * TICK_ROWS
        faulty.should_fail = lambda number, name: 0
        wait_until(lambda: log.rows_waiting == 0)
    assert read(tmp_path).seconds == [0, 1, 2, 3]
    assert len(told) == 2
    assert told[0].startswith(f"log: cannot write to {tmp_path}: Input/output error; keeping up to 128 MiB")
    assert told[1] == "log: writing again; 0 rows dropped since the start"
    check_manifest(tmp_path)


@pytest.mark.parametrize("policy", ["group", "tick"])
def test_after_a_failed_sync_all_is_there_once(tmp_path, faulty, monkeypatch, policy):
    monkeypatch.setattr(journal, "GROUP_S", 0.01)
    with open_log(tmp_path, tick_seconds=1, sync=policy) as log:
        for tick in range(30):
            if tick % 7 == 3:
                faulty.fail("sync", errno.EIO)
            append_tick(log, tick)
            log.add_event(tick, "kind", str(tick))
            wait_until(lambda: log.rows_waiting < 3 * TICK_ROWS)
    assert read(tmp_path).seconds == list(range(30))
    assert sorted(map(int, read(tmp_path).events)) == list(range(30))
    assert len(faulty.failed) >= 3
    assert (log.rows_dropped, log.rows_waiting) == (0, 0)
    check_manifest(tmp_path)


def live_with_one_failing_call(path, faulty, nth, error):
    """Return whether a life, and the Parquet that is made of it, have so many calls of the disk."""
    first = faulty.count
    faulty.should_fail = lambda number, name: error if number == first + nth else 0
    try:
        with open_log(path, tick_seconds=1) as log:
            for tick in range(3):
                append_tick(log, tick)
                log.add_event(tick, "kind", str(tick))
    except FluxfastError:  # at the start, one clear line
        return True
    if faulty.count < first + nth:
        return False
    open_log(path).close()  # what the end could not make Parquet of, the next start does
    assert (log.rows_dropped, log.rows_waiting) == (0, 0)
    assert read(path).seconds == [0, 1, 2]
    assert read(path).events == ["0", "1", "2"]
    check_manifest(path)
    return True


@pytest.mark.parametrize("nth", range(3, 40, 5))
def test_a_call_of_the_disk_may_fail_at_any_time(tmp_path, faulty, nth):
    """Whatever fails, at whatever point of a life: after it all is there, once."""
    live_with_one_failing_call(tmp_path, faulty, nth, errno.ENOSPC)


@pytest.mark.long
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_each_call_of_the_disk_may_fail(tmp_path, faulty, error):
    done = next(
        n for n in range(1, 200) if not live_with_one_failing_call(tmp_path / str(n), faulty, n, error)
    )
    assert done > 20


def test_a_write_that_ends_within_a_frame_is_cut_off(tmp_path, faulty):
    with open_log(tmp_path, tick_seconds=1) as log:
        append_tick(log, 0)
        wait_until(lambda: log.rows_logged == TICK_ROWS)
        faulty.fail("write", errno.ENOSPC, times=3)
        append_tick(log, 1)
        wait_until(lambda: len(faulty.failed) == 3)
        append_tick(log, 2)
        (file,) = (tmp_path / ".journal").iterdir()  # still the one that was full
    assert "damaged" not in file.name
    assert read(tmp_path).seconds == [0, 1, 2]


def test_a_write_that_cannot_even_be_cut_off_is_continued_elsewhere(tmp_path, faulty):
    told = []
    with open_log(tmp_path, on_event=told.append, tick_seconds=1) as log:
        append_tick(log, 0)
        faulty.should_fail = lambda _, name: (
            errno.EIO if name in ("write", "truncate") and len(faulty.failed) < 2 else 0
        )
        append_tick(log, 1)
        append_tick(log, 2)
    assert faulty.failed == ["write", "truncate"]
    assert read(tmp_path).seconds == [0, 1, 2]
    assert [text for text in told if "recovered" in text] == []  # what was half written is no loss


def test_a_header_that_could_neither_be_written_nor_removed_is_no_hindrance(tmp_path, faulty, monkeypatch):
    created = []

    def read_only_once_it_is_created(_, name):
        if name == "create":
            created.append(name)
        return errno.EROFS if created and name in ("write", "truncate", "unlink") else 0

    with open_log(tmp_path, **at_once(monkeypatch)) as log:
        append_tick(log, 0)
        wait_until(lambda: log.rows_logged == TICK_ROWS)
        faulty.fail("sync", errno.EIO)
        append_tick(log, 1)
        wait_until(lambda: faulty.failed == ["sync"])
        faulty.should_fail = read_only_once_it_is_created
        append_tick(log, 2)
        wait_until(lambda: log.failures > 3)
        faulty.should_fail = lambda number, name: 0
        wait_until(lambda: log.rows_waiting == 0)
    assert {"write", "truncate", "unlink"} < set(faulty.failed) or not created
    assert read(tmp_path).seconds == [0, 1, 2]


def test_close_tells_what_was_lost_and_tries_more_than_once(tmp_path, faulty):
    told = []
    with open_log(tmp_path, on_event=told.append) as log:
        faulty.fail("write", errno.EIO, times=journal.LAST_ATTEMPTS - 1)
        append_tick(log, 0)
    assert log.rows_dropped == 0
    with open_log(tmp_path, on_event=told.append) as log:
        faulty.should_fail = lambda number, name: errno.EIO
        append_tick(log, 1)
    assert log.rows_dropped == TICK_ROWS
    assert f"log: closed with {TICK_ROWS} rows not written" in told
    faulty.should_fail = lambda number, name: 0
    open_log(tmp_path).close()
    assert read(tmp_path).seconds == [0]


@pytest.fixture
def gate(monkeypatch):
    """Return what lets a sync through, or holds it up."""
    gate, real = threading.Event(), disk.sync
    gate.set()
    monkeypatch.setattr(disk, "sync", lambda file: (gate.wait(), real(file)))
    yield gate
    gate.set()


def small_memory(monkeypatch, ticks):
    """Let the journal's blocks be one tick each, and so many."""
    n_bytes = block.Block.n_bytes([block.Layout(dataset, 1) for dataset in datasets()])
    monkeypatch.setattr(journal, "QUEUE_BYTES", ticks * n_bytes)
    return {"tick_seconds": 1}


def test_slow_disk_holds_up_neither_append_nor_memory(tmp_path, monkeypatch, gate):
    told = []
    log = open_log(tmp_path, on_event=told.append, **small_memory(monkeypatch, 8))
    blocks = []
    monkeypatch.setattr(journal, "Block", lambda *args: blocks.append(0) or block.Block(*args))
    gate.clear()
    for tick in range(100):
        append_tick(log, tick)  # would never return if it waited for the disk
    assert len(blocks) <= 8
    assert log.rows_dropped >= 90 * TICK_ROWS
    assert log.busy
    gate.set()
    log.close()
    kept = read(tmp_path).seconds
    assert kept[-3:] == [97, 98, 99]
    assert len(kept) * TICK_ROWS == log.rows_logged == 100 * TICK_ROWS - log.rows_dropped
    assert told == [
        "log: 0 MiB wait for the disk; dropping the oldest ticks",
        f"log: writing again; {log.rows_dropped} rows dropped since the start",
    ]


def test_a_disk_that_comes_and_goes_is_one_event(tmp_path, faulty, monkeypatch):
    told = []
    with open_log(tmp_path, on_event=told.append, **at_once(monkeypatch)) as log:
        for tick in range(20):
            faulty.fail("write", errno.ENOSPC)
            append_tick(log, tick)
            wait_until(lambda: log.rows_waiting == 0)
        assert len(told) == 1
        monkeypatch.setattr(journal, "CALM_S", 0.0)
        wait_until(lambda: len(told) == 2)
        assert told[1] == "log: writing again; 0 rows dropped since the start"
    assert read(tmp_path).seconds == list(range(20))


def test_hanging_disk_is_given_up_at_the_end(tmp_path, monkeypatch, gate):
    told = []
    log = open_log(tmp_path, on_event=told.append)
    monkeypatch.setattr(writer, "CLOSE_S", 0.05)
    gate.clear()
    append_tick(log, 0)
    log.close()
    assert told == [f"log: the disk hangs; {TICK_ROWS} rows are not written"]
    with pytest.raises(FluxfastError, match="is logging there"):
        open_log(tmp_path)
    gate.set()
    log._journal._thread.join()
    log._directory.close()
    open_log(tmp_path).close()
    assert read(tmp_path).seconds == [0]


def test_ticks_that_cannot_be_packed_do_not_end_the_logging(tmp_path, monkeypatch):
    told, real = [], Ticks.to_message
    with open_log(tmp_path, on_event=told.append, tick_seconds=1) as log:
        append_tick(log, 0)
        wait_until(lambda: log.bytes_written)
        monkeypatch.setattr(Ticks, "to_message", lambda *_: 1 / 0)
        append_tick(log, 1)
        wait_until(lambda: log.rows_dropped)
        monkeypatch.setattr(Ticks, "to_message", real)
        append_tick(log, 2)
    assert read(tmp_path).seconds == [0, 2]
    assert log.rows_dropped == TICK_ROWS
    assert told[0] == "log: ZeroDivisionError: division by zero; dropping the ticks it met"


def test_a_mistake_in_the_thread_does_not_end_the_logging(tmp_path, monkeypatch, caplog):
    told = []
    monkeypatch.setattr(journal, "RETRY_S", 0.01)
    with open_log(tmp_path, on_event=told.append, tick_seconds=1) as log:
        real, log._journal._rotate = log._journal._segment_is_full, None
        log._journal._segment_is_full = lambda: 1 / 0
        append_tick(log, 0)
        wait_until(lambda: log.failures > 2)
        log._journal._segment_is_full = real
        append_tick(log, 1)
    assert read(tmp_path).seconds == [0, 1]
    assert "ZeroDivisionError" in told[0]
    assert "the journal's thread failed" in caplog.text


def test_a_failing_listener_does_not_end_the_logging(tmp_path, faulty, caplog):
    log = open_log(tmp_path, on_event=lambda text: 1 / 0)
    faulty.fail("write", errno.EIO)
    append_tick(log, 0)
    append_tick(log, 1)
    log.close()
    assert read(tmp_path).seconds == [0, 1]
    assert "the listener failed" in caplog.text


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a file system of 300 KB."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting a small disk needs root on Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Fill a disk to its last byte; return the file."""
    ballast = folder / "ballast"
    with open(ballast, "wb", 0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def test_full_disk_is_survived(small_disk, monkeypatch):
    monkeypatch.setattr(journal, "RETRY_S", 0.01)
    told = []
    with open_log(small_disk / "log", on_event=told.append, tick_seconds=1) as log:
        append_tick(log, 0)
        wait_until(lambda: log.rows_logged)
        ballast = fill(small_disk)
        for tick in range(1, 100):
            append_tick(log, tick)
        wait_until(lambda: log.failures > 20)
        assert log.rows_waiting > 0
        assert "No space left on device" in told[0]
        ballast.unlink()
        wait_until(lambda: log.rows_waiting == 0)
    assert log.rows_dropped == 0
    assert read(small_disk / "log").seconds == list(range(100))
    assert len(told) == 2
    check_manifest(small_disk / "log")


def test_a_full_disk_loses_only_the_oldest_that_memory_cannot_hold(small_disk, monkeypatch):
    monkeypatch.setattr(journal, "RETRY_S", 0.01)
    told = []
    options = small_memory(monkeypatch, 8) | at_once(monkeypatch)
    with open_log(small_disk / "log", on_event=told.append, **options) as log:
        append_tick(log, 0)
        wait_until(lambda: log.rows_logged)
        ballast = fill(small_disk)
        full = 1
        while not log.failures:  # what fits behind what is there
            append_tick(log, full)
            full += 1
            wait_until(lambda: log.failures or not log.rows_waiting)
        for tick in range(full, 200):
            append_tick(log, tick)
        wait_until(lambda: log.failures > 5)
        ballast.unlink()
    found = read(small_disk / "log").seconds
    assert found[0] == 0  # what was on the disk is unharmed
    assert found == sorted(set(found))
    # Of those between, one or another may have found the room that an older one, dropped since, had not.
    assert found[-7:] == [*range(193, 200)]
    assert len(found) * TICK_ROWS == log.rows_logged == 200 * TICK_ROWS - log.rows_dropped
    assert "No space left on device" in told[0]
    assert told[1] == "log: 0 MiB wait for the disk; dropping the oldest ticks"


def test_a_full_disk_keeps_no_station_from_starting(small_disk, monkeypatch):
    monkeypatch.setattr(journal, "RETRY_S", 0.01)
    told = []
    open_log(small_disk / "log").close()
    ballast = fill(small_disk)
    with open_log(small_disk / "log", on_event=told.append) as log:
        append_tick(log, 0)
        wait_until(lambda: log.failures > 2)
        ballast.unlink()
    assert read(small_disk / "log").seconds == [0]
    assert "No space left on device" in told[0]


def test_a_disk_that_becomes_read_only_harms_nothing(tmp_path, faulty, monkeypatch):
    told = []
    with open_log(tmp_path, on_event=told.append, **at_once(monkeypatch)) as log:
        append_tick(log, 0)
        wait_until(lambda: log.rows_logged)
        faulty.should_fail = lambda number, name: errno.EROFS
        append_tick(log, 1)
        wait_until(lambda: log.failures > 2)
        faulty.should_fail = lambda number, name: 0
    assert read(tmp_path).seconds == [0, 1]
    assert "Read-only file system" in told[0]


def test_a_read_only_directory_is_refused(small_disk):
    open_log(small_disk / "log").close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(FluxfastError, match=r"cannot log to .*Read-only file system"):
        open_log(small_disk / "log")


def test_unmounted_and_remounted_directory_is_locked_again(small_disk, monkeypatch):
    with open_log(small_disk, **at_once(monkeypatch)) as log:
        append_tick(log, 0)
        wait_until(lambda: log.rows_logged == TICK_ROWS)
        mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(small_disk)]
        subprocess.run(mount, check=True)
        append_tick(log, 1)
        wait_until(lambda: log.rows_logged == 2 * TICK_ROWS)
    assert (small_disk / ".lock").exists()
    assert read(small_disk).seconds == [1]
    subprocess.run(["umount", "-l", str(small_disk)], check=True)
    open_log(small_disk).close()  # what was in the journal below it
    assert read(small_disk).seconds in ([0], [0, 1])  # the tick after it: where it came to first
