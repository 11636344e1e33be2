"""Small files of a day become few large ones: the same rows, once, whenever it is killed."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from fluxfast.log import Column, disk, segment
from fluxfast.log.compactor import compact
from fluxfast.log.events import Event
from fluxfast.log.manifest import Manifest, sha256
from fluxfast.log.merge import LARGE_BYTES, MANY, MAX_BYTES, Merger, has_room
from tests.support.journals import DAY_US, NOON_US, dataset, minutes, write_segment

X, Y = Column("x", "float64", metadata={"unit": "V"}), Column("y", "bool", metadata={"unit": "A"})


def compacted(root, **options):
    told: list[str] = []
    return compact(root, told.append, **options), told


def files(root, name="d"):
    return sorted(str(f.relative_to(root)) for f in root.glob(f"{name}/date=*/*.parquet"))


def rows(root, name="d"):
    """Return (device, microseconds, x, run) of all rows, sorted."""
    found = []
    for file in files(root, name):
        table = pq.ParquetFile(root / file, page_checksum_verification=True).read()
        times = table["time"].cast(pa.int64()).to_pylist()
        columns = [table[c].to_pylist() for c in ("device", "x", "run")]
        found += zip(columns[0], times, columns[1], columns[2], strict=True)
    return sorted(found)


def expected(times_by_run):
    return sorted(
        (device, t, t % DAY_US // 1_000_000, run)
        for run, times in times_by_run
        for t in times
        for device in ("b1", "b2")
    )


def write_day(root, n_runs=2, n_segments=3):
    """Write segments of some runs, and return the rows they make."""
    written = []
    for r in range(n_runs):
        run = f"{0xC0FFEE00 + r:08x}"
        for s, times in enumerate(minutes(*(r * n_segments + s for s in range(n_segments)))):
            write_segment(root, run, 10 * s, dataset(X), times)
            written.append((run, times))
    return expected(written)


def is_consistent(root):
    """What the manifest says is there, and nothing else."""
    manifest = Manifest(root)
    dated = {name for name, record in manifest.files.items() if "dataset" in record}
    assert dated == {str(f.relative_to(root)) for f in root.glob("*/date=*/*.parquet")}
    for name, record in manifest.files.items():
        data = (root / name).read_bytes()
        assert (len(data), sha256(data)) == (record["bytes"], record["sha256"])
    assert not list(root.glob(".tmp-*"))
    return manifest


def test_a_day_that_is_over_becomes_one_file_with_row_groups_of_one_run_each(tmp_path):
    wanted = write_day(tmp_path)
    seen = []
    done, told = compacted(tmp_path, progress=lambda *state: seen.append(state))
    assert (done.segments, done.parts, done.rows, told) == (6, 6, 36, [])
    assert (done.merged, done.merged_to) == (6, 1)
    assert seen[:6] == [(n, 6, "segments") for n in range(1, 7)]
    assert seen[-1][0] == seen[-1][1] > 0
    [name] = files(tmp_path)
    assert name.endswith("/20260921T120000Z-c0ffee00-0000000000-0000000020.parquet")
    assert rows(tmp_path) == wanted
    file = pq.ParquetFile(tmp_path / name)
    assert file.num_row_groups == 2
    for group, run in enumerate(("c0ffee00", "c0ffee01")):
        table = file.read_row_group(group)
        assert table["run"].unique().to_pylist() == [run]
        assert table["device"].to_pylist() == ["b1"] * 9 + ["b2"] * 9
        times = table["time"].cast(pa.int64()).to_pylist()
        assert times == sorted(times[:9]) * 2
    record = is_consistent(tmp_path).files[name]
    assert (record["rows"], record["run"], len(record["of"])) == (36, None, 6)
    assert record["first_us"], record["last_us"] == (wanted[0][1], wanted[-1][1])


def test_what_is_merged_is_left_alone_until_there_is_more(tmp_path):
    wanted = write_day(tmp_path)
    compacted(tmp_path)
    [name] = files(tmp_path)
    before = (tmp_path / name).stat().st_ino
    done, _ = compacted(tmp_path, all_days=True)
    assert done.merged == 0
    assert (tmp_path / name).stat().st_ino == before
    # A segment that turns up later; its number is that of the last one of the other run.
    [times] = minutes(59)
    write_segment(tmp_path, "c0ffee09", 20, dataset(X), times)
    done, _ = compacted(tmp_path)
    assert done.merged == 2
    assert rows(tmp_path) == sorted(wanted + expected([("c0ffee09", times)]))
    is_consistent(tmp_path)


def test_a_day_that_is_not_over_is_left_but_on_request_or_with_many_files(tmp_path):
    now_us = time.time_ns() // 1000
    today = [now_us - 5_000_000 + k * 1_000_000 for k in range(3)]
    written = []
    for s in range(3):
        write_segment(tmp_path, "c0ffee00", 10 * s, dataset(X), today)
        written.append(("c0ffee00", today))
    assert compacted(tmp_path)[0].merged == 0
    assert compacted(tmp_path, all_days=True)[0].merged in (3, 2)  # 2: over midnight
    for s in range(3, 3 + MANY):
        write_segment(tmp_path, "c0ffee00", 10 * s, dataset(X), today)
        written.append(("c0ffee00", today))
    assert compacted(tmp_path)[0].merged_to >= 1
    assert rows(tmp_path) == expected(written)
    is_consistent(tmp_path)


def test_a_segment_of_the_day_that_is_still_written_holds_the_merge_back(tmp_path):
    write_day(tmp_path)
    header = segment.Header("c0ffee77", [dataset(X)], {}).to_json(NOON_US + 1)
    live = segment.SegmentWriter(tmp_path / segment.FOLDER, "c0ffee77", 0, header)
    assert compacted(tmp_path)[0].merged == 0
    live.close()
    assert compacted(tmp_path)[0].merged == 6


def test_columns_that_were_added_are_null_before(tmp_path):
    [a, b, c] = minutes(0, 1, 2)
    write_segment(tmp_path, "c0ffee00", 0, dataset(X), a)
    write_segment(tmp_path, "c0ffee01", 0, dataset(Column("x", "float64", metadata={"unit": "V"}), Y), b)
    write_segment(tmp_path, "c0ffee02", 0, dataset(Y), c)
    assert compacted(tmp_path)[0].merged == 3
    [name] = files(tmp_path)
    table = pq.read_table(tmp_path / name, partitioning=None)
    assert table.column_names[-2:] == ["y", "x"]  # the newest first
    assert [table["y"].null_count, table["x"].null_count] == [6, 6]
    assert table["y"].to_pylist()[6:] == [s % 2 == 1 for t in (b, b, c, c) for s in map(seconds, t)]
    assert {name: field["unit"] for name, field in described(table).items() if name in "xy"} == {
        "x": "V",
        "y": "A",
    }


def seconds(time_us):
    return time_us % DAY_US // 1_000_000


def described(table):
    return json.loads(table.schema.metadata[b"columns"])


def test_files_whose_types_differ_are_merged_apart(tmp_path):
    for s, times in enumerate(minutes(0, 1, 2, 3)):
        column = Column("x", "float64" if s < 2 else "int64")
        write_segment(tmp_path, f"c0ffee{s:02}", 0, dataset(column), times)
    done, told = compacted(tmp_path)
    assert (done.merged, done.merged_to, told) == (4, 2, [])
    types = [str(pq.read_schema(tmp_path / name).field("x").type) for name in files(tmp_path)]
    assert types == ["double", "int64"]


def test_small_row_groups_are_joined_large_ones_are_not(tmp_path):
    few = [NOON_US + k * 1000 for k in range(3_000)]
    many = [NOON_US + 10_000_000 + k * 1000 for k in range(35_000)]
    more = [NOON_US + 60_000_000 + k * 1000 for k in range(35_000)]
    for s, times in enumerate((few, many, more)):
        write_segment(tmp_path, "c0ffee00", 10 * s, dataset(X), times)
    compacted(tmp_path)
    [name] = files(tmp_path)
    file = pq.ParquetFile(tmp_path / name)
    assert [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)] == [76_000, 70_000]
    table = file.read()
    assert sorted(table["time"].cast(pa.int64()).to_numpy()) == sorted(2 * (few + many + more))


def test_events_of_all_lives_stay_in_their_order(tmp_path):
    for s, times in enumerate(minutes(0, 1, 2)):
        news = [Event(t + 1, "s", None if s else "b1", "link", f"{s}") for t in times]
        write_segment(tmp_path, f"c0ffee0{s // 2}", 10 * s, dataset(X), times, news=news)
    compacted(tmp_path)
    [name] = files(tmp_path, "events")
    table = pq.read_table(tmp_path / name, partitioning=None)
    assert table["text"].to_pylist() == ["0"] * 3 + ["1"] * 3 + ["2"] * 3
    assert table["run"].to_pylist() == ["c0ffee00"] * 6 + ["c0ffee01"] * 3
    times = table["time"].to_pylist()
    assert times == sorted(times)


def test_a_damaged_file_is_left_and_told_once(tmp_path):
    write_day(tmp_path)
    compacted(tmp_path, merge=False)
    bad = files(tmp_path)[1]
    data = bytearray((tmp_path / bad).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / bad).write_bytes(data)
    done, told = compacted(tmp_path)
    assert (done.merged, done.merged_to) == (5, 1)
    assert told == [f"{bad} is damaged: its bytes are not those that were written; it is left as it is"]
    assert (tmp_path / bad).read_bytes() == data
    assert compacted(tmp_path) == (type(done)(), [])


def test_a_file_that_somebody_has_removed_is_told_once(tmp_path):
    write_day(tmp_path)
    compacted(tmp_path, merge=False)
    gone = files(tmp_path)[1]
    (tmp_path / gone).unlink()
    done, told = compacted(tmp_path)
    assert (done.merged, told) == (5, [f"{gone} is gone: somebody has removed it"])
    is_consistent(tmp_path)


def test_files_are_filled_up_and_large_ones_stay(tmp_path):
    manifest = Manifest(tmp_path)

    def add(name, size, first_us):
        manifest.append(
            [
                {
                    "op": "add", "file": name, "dataset": "d", "rows": 1, "bytes": size, "sha256": "",
                    "first_us": first_us, "last_us": first_us, "run": "c0ffee00", "segment": 0,
                }
            ]
        )  # fmt: skip

    for n in range(7):
        add(f"small{n}", MAX_BYTES // 3, NOON_US + n)
    add("large", LARGE_BYTES, NOON_US + 3)
    add("other day", 1, NOON_US - DAY_US)
    merger = Merger(tmp_path, manifest, print, lambda n: None)
    groups = merger.groups(NOON_US + DAY_US, NOON_US + DAY_US)
    assert [[record["file"] for record in group] for group in groups] == [
        ["small0", "small1", "small2"],
        ["small3", "small4", "small5"],
    ]
    midnight = NOON_US + DAY_US // 2
    assert merger.groups(midnight + 899_999_999, midnight + 899_999_999) == []
    assert merger.groups(midnight + DAY_US, midnight - 1) == []
    assert not has_room(tmp_path, [{"bytes": 1 << 60}])


KILLER = """
import os, pathlib, shutil, signal, sys
from fluxfast.log import disk
from fluxfast.log.compactor import compact

root, n = pathlib.Path(sys.argv[1]), 0
while True:
    copy = root.with_name(f"{root.name}-{n}")
    shutil.copytree(root, copy)
    pid = os.fork()
    if pid == 0:
        left = n

        def killing(function):
            def killed(*arguments):
                global left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return function(*arguments)

            return killed

        for name in ("create", "write", "sync", "sync_folder", "rename", "unlink", "truncate"):
            setattr(disk, name, killing(getattr(disk, name)))
        compact(copy, print)
        os._exit(0)
    if os.waitpid(pid, 0)[1] == 0:
        break
    n += 1
print(n)
"""


@pytest.mark.long
def test_killed_at_any_change_of_the_disk_the_next_pass_ends_it(tmp_path):
    root = tmp_path / "log"
    wanted = write_day(root, n_segments=1)
    compacted(root, merge=False)
    ended = subprocess.run(
        [sys.executable, "-c", KILLER, root], stdout=subprocess.PIPE, check=True, text=True
    )
    deaths = int(ended.stdout.split()[-1])
    assert deaths > 10
    half_done = 0
    for n in range(deaths):
        copy = tmp_path / f"log-{n}"
        half_done += len(Manifest(copy).merges)
        _, told = compacted(copy)
        assert told == []
        assert rows(copy) == wanted
        is_consistent(copy)
        assert len(files(copy)) == 1
    assert half_done > 3


@pytest.mark.long
def test_killed_while_it_writes_a_large_file(tmp_path):
    root = tmp_path / "log"
    times = [NOON_US + k * 1000 for k in range(40_000)]
    columns = [X, *(Column(f"c{c}", "float64") for c in range(20))]
    for s in range(8):
        write_segment(root, "c0ffee00", 10 * s, dataset(*columns), [t + s * 60_000_000 for t in times])
    compacted(root, merge=False)
    before = ds.dataset([root / f for f in files(root)]).count_rows()
    for n in range(6):
        copy = tmp_path / f"copy{n}"
        shutil.copytree(root, copy)
        process = subprocess.Popen([sys.executable, "-m", "fluxfast.log", copy])
        while process.poll() is None and not list(copy.glob(".tmp-*")):
            time.sleep(0.01)
        time.sleep(0.15 * n)
        process.send_signal(signal.SIGKILL)
        process.wait()
        compacted(copy)
        assert ds.dataset([copy / f for f in files(copy)]).count_rows() == before
        assert len(files(copy)) == 1
        is_consistent(copy)


def test_a_full_disk_while_merging_leaves_all_as_it_was(tmp_path, monkeypatch):
    wanted = write_day(tmp_path)
    compacted(tmp_path, merge=False)
    names = files(tmp_path)
    (tmp_path / "full").touch()

    def full(file, data, at):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(disk, "write", full)
        with pytest.raises(OSError, match="No space"):
            compacted(tmp_path)
    assert files(tmp_path) == names
    assert not list(tmp_path.glob(".tmp-*"))
    assert compacted(tmp_path)[0].merged == 6
    assert rows(tmp_path) == wanted
