"""Segments to parts: exactly once, whatever is wrong with one of them, and whatever the disk does."""

import errno
import json

import pytest

from fluxfast.log import convert, disk, journal, segment
from fluxfast.log.compactor import compact, left_over
from fluxfast.log.frame import frames, pack
from tests.support.faulty_disk import FaultyDisk
from tests.support.proved_log import append_tick, check_manifest, open_log, read, wait_until


def crashed(root, *, segments=1, ticks=4):
    """Make a log that a crash has left: so many segments, so many ticks in each. Return them."""
    for number in range(segments):
        log = open_log(root, tick_seconds=1)
        log._job.start = lambda: None
        for tick in range(number * ticks, (number + 1) * ticks):
            append_tick(log, tick)
        log.add_event(number, "kind", str(number))
        log._job.close(10)
        assert log._journal.close(10)
        log._directory.close()
    return sorted((root / ".journal").iterdir(), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture(autouse=True)
def no_job(monkeypatch):
    """Passes are made by the tests."""
    monkeypatch.setattr("fluxfast.log.writer.left_over", lambda root, run: False)


def test_a_segment_that_somebody_writes_is_left_alone(tmp_path):
    with open_log(tmp_path, tick_seconds=1) as log:
        append_tick(log, 0)
        wait_until(lambda: log.rows_logged)
        compact(tmp_path, print)
        assert not list(tmp_path.glob("pack/*/*"))
        assert len(list((tmp_path / ".journal").iterdir())) == 1
    assert read(tmp_path).seconds == [0]


def test_what_is_torn_off_is_told_and_the_rest_is_recovered(tmp_path):
    (path,) = crashed(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])  # of the last tick of the meter
    told = []
    compact(tmp_path, told.append)
    packs, meters = (found.tolist() for found in read(tmp_path).ticks)
    assert (packs, meters) == ([0, 1, 2, 3], [0, 1, 2])
    assert len(told) == 1
    assert "bytes are torn off; the rest is recovered" in told[0]
    assert list((tmp_path / ".journal").iterdir()) == []


def test_a_damaged_segment_is_recovered_but_for_the_frame_and_kept(tmp_path):
    (path,) = crashed(tmp_path)
    data = bytearray(path.read_bytes())
    hit = [frame for frame in frames(bytes(data)) if frame.kind == 0][-2]
    data[hit.end - 9] ^= 1
    path.write_bytes(data)
    told = []
    compact(tmp_path, told.append)
    assert "are damaged; the rest is recovered" in told[0]
    assert sum(map(len, read(tmp_path).ticks)) == 7
    assert path.with_name(path.name + convert.DAMAGED).read_bytes() == data
    check_manifest(tmp_path)
    compact(tmp_path, told.append)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", None, None),
        (b"ffj1", None, None),
        (bytes(5000), None, None),
        (pack(0, 1, b"frames") * 2, convert.DAMAGED, "its header is damaged"),
        (pack(segment.HEADER, 0, json.dumps({"format": 2}).encode()), "", "newer fluxfast"),
        (pack(segment.HEADER, 0, b"{}"), convert.DAMAGED, "KeyError"),
    ],
)
def test_whatever_a_segment_is_the_others_are_converted(tmp_path, content, name, words):
    crashed(tmp_path, segments=2)
    path = tmp_path / ".journal" / "00000000-0000000000.ffj"  # before all others
    path.write_bytes(content)
    told = []
    compact(tmp_path, told.append)
    assert read(tmp_path).seconds == list(range(8))
    left = list((tmp_path / ".journal").iterdir())
    assert left == ([] if name is None else [path.with_name(path.name + name)])
    assert words is None or words in told[0]
    assert len(told) == (words is not None)


def test_one_that_cannot_be_read_does_not_hold_up_the_others(tmp_path, monkeypatch):
    first, *_ = crashed(tmp_path, segments=3)
    real = segment.read

    def bad_sector(wanted):
        if wanted.name.path == first:
            raise OSError(errno.EIO, "Input/output error")
        return real(wanted)

    monkeypatch.setattr(segment, "read", bad_sector)
    with pytest.raises(OSError, match="Input/output"):
        compact(tmp_path, print)
    assert read(tmp_path).seconds == list(range(4, 12))
    monkeypatch.setattr(segment, "read", real)
    compact(tmp_path, print)
    assert read(tmp_path).seconds == list(range(12))


@pytest.mark.parametrize("nth", range(1, 40, 4))
def test_a_pass_may_fail_anywhere_and_be_made_again(tmp_path, monkeypatch, nth):
    crashed(tmp_path, segments=2)
    faulty = FaultyDisk(monkeypatch)
    faulty.should_fail = lambda number, name: errno.ENOSPC if number >= nth else 0
    with pytest.raises(OSError, match="No space left"):
        compact(tmp_path, print)
    faulty.should_fail = lambda number, name: 0
    compact(tmp_path, print)
    assert read(tmp_path).seconds == list(range(8))
    check_manifest(tmp_path)


def test_the_second_pass_changes_nothing(tmp_path, monkeypatch):
    crashed(tmp_path, segments=2)
    compact(tmp_path, print)
    faulty = FaultyDisk(monkeypatch)
    called = []
    faulty.should_fail = lambda number, name: called.append(name) or 0
    compact(tmp_path, print)
    assert set(called) <= {"sync_file", "sync", "sync_folder"}


def test_a_writer_that_goes_on_elsewhere_while_a_pass_looks(tmp_path, monkeypatch):
    """What follows a segment is asked when it is held: it was still written when the pass began."""
    monkeypatch.setattr(journal, "RETRY_S", 0.01)
    monkeypatch.setattr(journal, "GROUP_S", 0.01)
    with open_log(tmp_path, tick_seconds=1) as log:
        append_tick(log, 0)
        wait_until(lambda: log.rows_logged)
        real, syncs = disk.sync, []

        def failing(file):
            syncs.append(file)
            if len(syncs) == 1:
                raise OSError(errno.EIO, "Input/output error")
            real(file)

        found = segment.find(tmp_path / ".journal")
        monkeypatch.setattr(disk, "sync", failing)
        append_tick(log, 1)
        wait_until(lambda: log.rows_waiting == 0)
        monkeypatch.setattr(segment, "find", lambda path, done=(), real=segment.find: (
            found if not done else real(path, done)
        ))  # fmt: skip
        compact(tmp_path, print)
    compact(tmp_path, print)
    assert read(tmp_path).seconds == [0, 1]


def test_only_other_lives_leave_something_over(tmp_path):
    assert not left_over(tmp_path, "00000000")
    (path,) = crashed(tmp_path)
    assert left_over(tmp_path, "00000000")
    assert not left_over(tmp_path, path.name.split("-")[0])


def test_parts_are_named_by_their_first_tick_their_run_and_segment():
    us = 1_790_035_200_000_000 + 123_456
    assert convert.file_name("d", us, "00c0ffee", 7) == (
        "d/date=2026-09-22/20260922T000000Z-00c0ffee-0000000007.parquet"
    )
    assert convert.file_name("d", us, "00c0ffee", 7, 12).endswith("-0000000007-0000000012.parquet")
