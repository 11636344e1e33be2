"""The manifest: lines that count, and what a crash or a flipped bit makes of them."""

import errno
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxfast.log.manifest import NAME, Manifest
from tests.support.faulty_disk import FaultyDisk


def part(name, segment=0, **more):
    return {"op": "add", "file": name, "rows": 1, "run": "r", "segment": segment, **more}


def done(sequence, parts):
    return {"op": "segment", "run": "r", "sequence": sequence, "parts": parts}


@pytest.fixture
def written(tmp_path):
    """Return a log whose manifest has two segments, of two parts and of one."""
    Manifest(tmp_path).append([part("Süd/a"), part("b"), done(0, 2)])
    Manifest(tmp_path).append([part("c", 1), done(1, 1)])
    return tmp_path


def test_what_is_said_later_counts(written):
    manifest = Manifest(written)
    assert set(manifest.files) == {"Süd/a", "b", "c"}
    assert manifest.segments == {("r", 0), ("r", 1)}
    merge = {"op": "merge", "file": "m", "of": ["Süd/a", "b"]}
    manifest.append([merge, {"op": "put", "file": "p", "rows": 1}])
    manifest.append([part("c", 1, bytes=9), {"op": "remove", "file": "p", "why": "age"}])
    for one in (manifest, Manifest(written)):
        assert {name: record.get("bytes") for name, record in one.files.items()} == {"m": None, "c": 9}
        assert set(one.gone) == {"Süd/a", "b", "p"}
        assert one.damaged == []


def test_a_segment_counts_only_with_all_its_parts(tmp_path):
    Manifest(tmp_path).append([part("a"), part("a"), part("other", 9), done(0, 2)])
    assert Manifest(tmp_path).segments == set()
    Manifest(tmp_path).append([part("a"), part("b"), done(0, 2)])
    assert Manifest(tmp_path).segments == {("r", 0)}


def test_every_flipped_bit_is_found_and_costs_only_its_line(written):
    data = (written / NAME).read_bytes()
    whole = Manifest(written).files
    ends = [n + 1 for n, byte in enumerate(data) if byte == 10]
    for bit in range(0, 8 * len(data), 11):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        (written / NAME).write_bytes(flipped)
        found = Manifest(written)
        line = sum(end <= bit // 8 for end in ends) + 1
        assert found.damaged or found.ends_torn
        assert set(found.damaged) <= {line, line + 1}
        assert all(whole[name] == record for name, record in found.files.items())


def test_a_torn_line_is_cut_and_is_no_damage(written):
    data = (written / NAME).read_bytes()
    lines = data.splitlines(keepends=True)
    for cut in range(len(data)):
        (written / NAME).write_bytes(data[:cut])
        found = Manifest(written)
        assert found.damaged == []
        n = sum(sum(map(len, lines[: k + 1])) <= cut for k in range(len(lines)))
        assert found.size == sum(map(len, lines[:n]))
        assert found.ends_torn == (found.size < cut)
    (written / NAME).write_bytes(data[:-3])
    Manifest(written).append([part("c", 1), done(1, 1)])
    found = Manifest(written)
    assert (found.damaged, found.ends_torn) == ([], False)
    assert ("r", 1) in found.segments


def test_zeros_of_a_crash_are_no_damage_and_do_not_hide_what_follows(written):
    data = bytearray((written / NAME).read_bytes())
    at = data.index(b"\n") - 20
    data[at : at + 90] = bytes(90)  # the end of the first line, the beginning of the second
    (written / NAME).write_bytes(data)
    found = Manifest(written)
    assert found.damaged == []
    assert set(found.files) == {"c"}
    assert found.segments == {("r", 1)}  # not the one whose lines are not all there


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3), max_size=5), st.data())
def test_any_crash_leaves_a_prefix_of_appends_and_can_be_continued(tmp_path_factory, appends, data):
    root = tmp_path_factory.mktemp("manifest")
    sizes = [0]
    for number, names in enumerate(appends):
        Manifest(root).append([*(part(name, number) for name in names), done(number, len(set(names)))])
        sizes.append((root / NAME).stat().st_size)
    cut = data.draw(st.integers(0, sizes[-1]))
    if appends:
        (root / NAME).write_bytes((root / NAME).read_bytes()[:cut])
    whole = sum(end <= cut for _, end in pairwise(sizes))
    assert Manifest(root).segments == {("r", n) for n in range(whole)}
    Manifest(root).append([done(99, 0)])
    found = Manifest(root)
    assert found.segments == {*(("r", n) for n in range(whole)), ("r", 99)}
    assert (found.damaged, found.ends_torn) == ([], False)


@pytest.mark.parametrize("name", ["write", "sync"])
def test_lines_that_could_not_be_written_do_not_count(written, monkeypatch, name):
    before = (written / NAME).read_bytes()
    faulty = FaultyDisk(monkeypatch)
    faulty.fail(name, errno.ENOSPC)
    manifest = Manifest(written)
    with pytest.raises(OSError, match="No space left"):
        manifest.append([part("d", 2), done(2, 1)])
    assert "d" not in manifest.files
    assert (written / NAME).read_bytes() == before


def test_no_manifest_is_an_empty_one(tmp_path):
    assert Manifest(tmp_path).files == {}
