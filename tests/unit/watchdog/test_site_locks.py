"""One station per site: who is refused, what it is told, and what nobody can be tricked into."""

import os
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from fluxfast.errors import FluxfastError
from fluxfast.watchdog import SiteLocks, Watchdog
from fluxfast.watchdog.lock import FOLDERS
from fluxfast.watchdog.sidecar.task import EXIT_STOPPED, STOPPING

HOLDER = """
import sys
from pathlib import Path
from fluxfast.watchdog import SiteLocks
locks = SiteLocks(sys.argv[2:], "plant.yaml", [Path(sys.argv[1])])
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "locks"


def holder(folder, *sites):
    command = [sys.executable, "-c", HOLDER, str(folder), *sites]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def refusal(folder, *sites):
    with pytest.raises(FluxfastError) as caught:
        SiteLocks(sites, "other.yaml", [folder])
    return str(caught.value)


def test_the_second_process_is_refused_by_one_clear_line(folder):
    before = datetime.now(UTC)
    with holder(folder, "Plant-6", "Plant-7") as process:
        line = refusal(folder, "Plant-7")
        SiteLocks(["Plant-8"], "other.yaml", [folder]).close()
        process.kill()
    moments = {f"{before + timedelta(seconds=n):%H:%M:%S}" for n in range(60)}
    start, _, rest = line.partition("(since ")
    assert start == f"site Plant-7 is controlled by process {process.pid} "
    assert rest[:8] in moments
    assert rest[8:] == " UTC, plant.yaml); stop it first"


def test_a_file_that_was_left_behind_is_no_obstacle(folder):
    with holder(folder, "A") as process:
        process.kill()
    locks = SiteLocks(["A"], "other.yaml", [folder])
    assert f"\n{os.getpid()}\n" in (folder / "A.lock").read_text()
    assert "process" in refusal(folder, "A")
    locks.close()
    SiteLocks(["A"], "other.yaml", [folder]).close()


def test_all_sites_or_none(folder):
    locks = SiteLocks(["B"], "plant.yaml", [folder])
    assert "site B is controlled" in refusal(folder, "A", "B", "C")
    SiteLocks(["A", "C"], "plant.yaml", [folder]).close()
    locks.close()


def test_since_another_day_comes_with_the_date(folder):
    locks = SiteLocks(["A"], "plant.yaml", [folder])
    (folder / "A.lock").write_text("controlled\n4711\n2026-01-02 03:04:05 UTC\nplant.yaml\n")
    assert "process 4711 (since 2026-01-02 03:04:05 UTC, plant.yaml)" in refusal(folder, "A")
    locks.close()


@pytest.mark.parametrize("text", [b"", b"controlled\n", b"\xff\0\n\xff\n", b"controlled\nme\n\n\n"])
def test_a_file_that_says_nothing_is_still_a_lock(folder, text):
    locks = SiteLocks(["A"], "plant.yaml", [folder])
    (folder / "A.lock").write_bytes(text)
    assert refusal(folder, "A") == "site A is controlled by another process; stop it first"
    locks.close()


def test_the_watchdog_holds_the_locks_for_as_long_as_it_lives(folder):
    locks = SiteLocks(["A", "B"], "plant.yaml", [folder])
    watchdog = Watchdog([], 30, None, locks=locks.descriptors)
    locks.close()
    assert "site A is controlled by process" in refusal(folder, "A")
    watchdog.close()
    SiteLocks(["A", "B"], "plant.yaml", [folder]).close()


def test_a_watchdog_that_is_stopping_units_is_named(folder):
    locks = SiteLocks(["A"], "plant.yaml", [folder])
    os.pwrite(locks.descriptors[0], STOPPING, 0)
    line = refusal(folder, "A")
    assert line.startswith(f"site A: the watchdog of process {os.getpid()} (since ")
    assert line.endswith(" UTC, plant.yaml) is still stopping its units; try again in half a minute")
    locks.close()


def test_a_report_that_takes_long_does_not_keep_the_site(folder, tmp_path):
    report = tmp_path / "watchdog.jsonl"
    os.mkfifo(report)  # to open it takes until there is a reader
    locks = SiteLocks(["A"], "plant.yaml", [folder])
    watchdog = Watchdog([], 30, report, locks=locks.descriptors)
    locks.close()
    watchdog.close(clean=False)
    end = time.monotonic() + 30
    while True:
        try:
            SiteLocks(["A"], "plant.yaml", [folder]).close()
            break
        except FluxfastError:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert "0 of 0 units" in report.read_text()
    assert watchdog.wait(30) == EXIT_STOPPED


def test_a_file_that_was_removed_is_made_anew(folder):
    first = SiteLocks(["A"], "plant.yaml", [folder])
    (folder / "A.lock").unlink()
    second = SiteLocks(["A"], "plant.yaml", [folder])
    assert "site A is controlled" in refusal(folder, "A")
    first.close()
    second.close()


def test_everybody_can_use_the_folder_and_its_files(folder):
    before = os.umask(0o077)
    try:
        locks = SiteLocks(["A"], "plant.yaml", [folder])
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE((folder / "A.lock").stat().st_mode) == 0o666
    locks.close()


def test_links_and_other_files_are_not_followed(folder, tmp_path):
    folder.mkdir()
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (folder / "A.lock").symlink_to(precious)
    (folder / "B.lock").hardlink_to(precious)
    os.mkfifo(folder / "C.lock")
    (folder / "D.lock").mkdir()
    assert "cannot lock site A: " in refusal(folder, "A")
    assert "B.lock is not a plain file; remove it" in refusal(folder, "B")
    assert "C.lock is not a plain file; remove it" in refusal(folder, "C")
    assert "cannot lock site D: " in refusal(folder, "D")
    assert precious.read_text() == "precious"


def test_a_folder_that_cannot_be_used_is_passed_over(folder, tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.touch()
    (tmp_path / "elsewhere").mkdir()
    link.symlink_to(tmp_path / "elsewhere")
    bad = [tmp_path / "none" / "fluxfast", file, link]
    locks = SiteLocks(["A"], "plant.yaml", [*bad, folder])
    assert [path.name for path in folder.iterdir()] == ["A.lock"]
    assert list((tmp_path / "elsewhere").iterdir()) == []
    locks.close()
    with pytest.raises(FluxfastError, match="/none/fluxfast: No such file or directory"):
        SiteLocks(["A"], "plant.yaml", bad)


def test_the_folder_of_this_machine():
    locks = SiteLocks([f"test-{os.getpid()}"], "plant.yaml")
    found = [path for path in (folder / f"test-{os.getpid()}.lock" for folder in FOLDERS) if path.exists()]
    locks.close()
    found[0].unlink()
    assert len(found) == 1


def test_no_descriptor_is_left_behind(folder):
    before = len(os.listdir("/proc/self/fd"))
    locks = SiteLocks(["A", "B"], "plant.yaml", [folder])
    refusal(folder, "C", "A")
    locks.close()
    assert len(os.listdir("/proc/self/fd")) == before
