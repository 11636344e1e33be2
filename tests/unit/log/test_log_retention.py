"""What goes by age and by size, and what stays."""

import pytest

from fluxfast.log.compactor import compact
from fluxfast.log.inventory_files import COLUMNS
from fluxfast.log.manifest import Manifest
from fluxfast.log.merge import tidy
from fluxfast.log.retention import Retention, remove_old
from tests.support.journals import DAY_US, NOON_US, dataset, minutes, write_segment

HOUR_US = 3_600_000_000


@pytest.fixture
def log(tmp_path):
    """Return a log of ten days, a part of 6 rows on each."""
    for day in range(10):
        [times] = minutes(0, first_us=NOON_US + day * DAY_US)
        write_segment(tmp_path, "c0ffee00", 10 * day, dataset(), times)
    compact(tmp_path, print)
    return tmp_path


def days(log):
    return [int(f.parent.name[-2:]) - 21 for f in sorted(log.glob("d/date=*/*.parquet"))]


def removed(log, retention, days_later=10.0, told=None, **options):
    manifest = Manifest(log)
    told = [] if told is None else told
    now_us = NOON_US + int(days_later * DAY_US)
    return [r["file"] for r in remove_old(log, manifest, retention, now_us, told.append, **options)]


def live_bytes(log):
    return sum(record["bytes"] for record in Manifest(log).files.values())


def upload(log, *names):
    manifest = Manifest(log)
    manifest.append(
        {"op": "uploaded", "file": name, "sha256": manifest.files[name]["sha256"]} for name in names
    )


def part(log, day):
    return str(sorted(log.glob("d/date=*/*.parquet"))[day].relative_to(log))


def test_files_go_when_their_newest_row_is_too_old(log):
    wanted = [part(log, day) for day in range(3)]
    assert removed(log, Retention(keep_s=7.5 * 86_400)) == wanted
    assert days(log) == list(range(3, 10))
    assert len(list((log / "d").iterdir())) == 7  # no empty folder stays
    manifest = Manifest(log)
    assert {name: manifest.gone[name]["why"] for name in wanted} == dict.fromkeys(wanted, "age")
    assert removed(log, Retention(keep_s=7.5 * 86_400)) == []


def test_nothing_goes_without_a_limit(log):
    assert removed(log, Retention()) == []
    assert removed(log, Retention(keep_s=11 * 86_400, max_bytes=1 << 30)) == []


def test_the_oldest_go_until_the_rest_fits(log):
    limit = live_bytes(log) - Manifest(log).files[part(log, 0)]["bytes"] - 1
    wanted = [part(log, 0), part(log, 1)]
    assert removed(log, Retention(max_bytes=limit)) == wanted
    assert days(log) == list(range(2, 10))
    assert live_bytes(log) <= limit


def test_the_newest_hour_and_the_small_tables_never_go(log):
    [times] = minutes(0, first_us=NOON_US + 9 * DAY_US - HOUR_US + 60_000_000)
    write_segment(log, "c0ffee01", 0, dataset(), times)
    compact(log, print, merge=False)
    assert len(removed(log, Retention(keep_s=0, max_bytes=0), days_later=1000)) == 9
    assert days(log) == [9, 9]
    assert (log / COLUMNS).exists()


def test_age_comes_first_and_size_takes_what_is_still_too_much(log):
    sizes = [Manifest(log).files[part(log, day)]["bytes"] for day in range(10)]
    limit = live_bytes(log) - sum(sizes[:4]) + 1
    assert len(removed(log, Retention(keep_s=7.5 * 86_400, max_bytes=limit))) == 4
    why = [record["why"] for record in Manifest(log).gone.values()]
    assert why == ["age"] * 3 + ["size"]


def test_what_the_remote_does_not_have_stays_while_the_disk_has_room(log):
    upload(log, part(log, 1), part(log, 2))
    wanted = [part(log, 1), part(log, 2)]
    told: list[str] = []
    assert removed(log, Retention(max_bytes=1, remote=True), told=told, reserve=0.0) == wanted
    assert told == []
    assert days(log) == [0, 3, 4, 5, 6, 7, 8, 9]
    manifest = Manifest(log)
    room_for_six = (
        sum(r["bytes"] for r in manifest.files.values()) - manifest.files[part(log, 0)]["bytes"] - 1
    )
    removed(log, Retention(max_bytes=room_for_six, remote=True), told=told, reserve=1.0)
    assert told == ["the disk is nearly full: 2 old files go that the remote does not have"]
    assert days(log) == [4, 5, 6, 7, 8, 9]


def test_a_pass_removes_and_counts(log):
    size = Manifest(log).files[part(log, 0)]["bytes"]
    done = compact(log, print, retention=Retention(max_bytes=live_bytes(log) - 1))
    assert (done.removed, done.removed_bytes) == (1, size)
    assert days(log) == list(range(1, 10))


def test_what_a_crash_left_behind_its_line_goes_with_the_next_pass(log):
    name = part(log, 0)
    data = (log / name).read_bytes()
    removed(log, Retention(keep_s=9.5 * 86_400))
    (log / name).parent.mkdir()
    (log / name).write_bytes(data)
    tidy(log, Manifest(log))
    assert days(log) == list(range(1, 10))
    assert not (log / name).parent.exists()
