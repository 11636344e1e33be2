"""Every state in which a crash may leave the disk: what was promised is there once, and all can be read.

A life of a log is recorded: segments, conversions, merges, a sync that fails, a write for which there is no
room, a kill; recovery from that, and another life. Then the disk is laid out as a crash at any moment might
have left it, and recovered.
"""

import errno
import os
import shutil
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxfast.log import journal
from fluxfast.log.compactor import compact
from fluxfast.log.job import CompactionJob
from fluxfast.log.manifest import NAME
from tests.support.crash_disk import RecordingDisk, crash_states, lay_out, snapshot
from tests.support.proved_log import append_tick, check_manifest, open_log, read

pytestmark = pytest.mark.long

ROWS = (40, 1)  # frames of several sectors, and some that cross pages
TICK_ROWS = sum(ROWS)
STATES = 250


class Life:
    """What was promised by all lives so far."""

    def __init__(self):
        self.acked = 0  # ticks of lives that are over
        self.log = None
        self.events = 0

    def __call__(self):
        if self.log is None:
            return self.acked
        return self.acked + max(self.log.rows_logged - self.events, 0) // TICK_ROWS


def record(patch, root):
    """Live two lives; return the recorded calls, and how many ticks were appended."""
    patch.setattr(CompactionJob, "start", lambda self: None)  # passes are made here, where they are recorded
    patch.setattr(journal, "GROUP_S", 0.02)
    patch.setattr(journal, "RETRY_S", 0.005)
    patch.setattr(journal, "FIRST_SEGMENT_S", 0.06)
    promised, told = Life(), []
    recorder = RecordingDisk(patch, root, promised)
    once = {}

    def fail(name):
        return once.pop(name, 0)

    recorder.fail = fail
    tick = 0

    def live(ticks, upsets, passes):
        nonlocal tick
        promised.events = 0
        promised.log = log = open_log(
            root, rows=ROWS, tick_seconds=1, segment_seconds=0.06, on_event=told.append
        )
        for _ in range(ticks):
            if tick in upsets:
                once.update(upsets[tick])
            if tick % 5 == 0:
                promised.events += 1
                log.add_event(tick, "kind", str(tick))
            append_tick(log, tick, ROWS)
            time.sleep(0.008)
            if tick in passes:
                compact(root, told.append)
            tick += 1
        return log

    log = live(24, {7: {"sync": errno.EIO}, 15: {"write": errno.ENOSPC}}, (10, 18, 22))
    recorder.dead = True  # killed: what it has not written is lost
    promised.acked, promised.log = promised(), None
    log._job.close(1)
    log._journal.close(10)
    log._directory.close()
    recorder.dead = False

    def die_over_the_manifest(name):
        manifests = [call.file for call in recorder.calls if call.path == NAME]
        recorder.dead = name == "sync" and recorder.calls[-1].file in manifests
        return errno.EIO if recorder.dead else 0

    recorder.fail = die_over_the_manifest  # so does the first recovery, with lines that are not synced
    with pytest.raises(OSError, match="Input/output"):
        compact(root, told.append)
    assert recorder.dead
    recorder.dead, recorder.fail = False, fail
    compact(root, told.append)
    log = live(12, {30: {"sync": errno.EIO}}, (29, 33))
    log.close()
    promised.acked, promised.log = promised(), None
    recorder._note("end")
    recorder.close()
    print(*told, sep="\n")
    return recorder.calls, tick


@pytest.fixture(scope="module")
def recorded():
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        calls, ticks = record(patch, Path(folder) / "log")
        found = read(Path(folder) / "log", ROWS).seconds
        assert found[-12:] == list(range(24, 36))
    return calls, ticks


@pytest.fixture
def folder():
    """Return a folder in memory, if there is such a place: thousands of states are laid out in it."""
    memory, threads = Path("/dev/shm"), pa.cpu_count()
    pa.set_cpu_count(1)  # for files of a few kilobytes they only wait for each other
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)
    pa.set_cpu_count(threads)


def check(root, promised, ticks, merge):
    for file in root.rglob("*.parquet"):
        if not file.name.startswith("."):
            with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
                parquet.read(use_threads=False)  # a reader comes before the recovery
    told = []
    compact(root, told.append, merge=merge)
    for found in read(root, ROWS).ticks:
        assert set(found) <= set(range(ticks))
        assert set(found) >= set(range(promised)), "what was promised is lost"
    check_manifest(root)
    assert list((root / ".journal").glob("*.ffj")) == [] or not (root / ".journal").exists()
    after = snapshot(root)
    compact(root, told.append, merge=merge)
    assert snapshot(root) == after, "the second recovery changes something"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(4))
def test_all_that_was_promised_is_there_once_after_any_crash(recorded, folder, seed):
    calls, ticks = recorded
    n = 0
    for what, promised, state in crash_states(calls, STATES, seed):
        root = folder / str(n)
        lay_out(state, root)
        try:
            check(root, promised, ticks, merge=n % 4 == 0)
        except BaseException as error:
            error.add_note(what)
            shutil.copytree(root, Path(tempfile.gettempdir()) / "crash-state", dirs_exist_ok=True)
            raise
        shutil.rmtree(root)
        n += 1
    print(f"{n} states of {len(calls)} calls")
