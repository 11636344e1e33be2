"""Segments: what is in a journal's files, whose they are, and where each ends."""

import fcntl
import json
import os

import numpy as np
import pytest

from fluxfast.errors import FluxfastError
from fluxfast.log import segment
from fluxfast.log.block import Block, Layout
from fluxfast.log.dataset import Column, Dataset, Words
from fluxfast.log.frame import pack
from fluxfast.log.segment import (
    EVENTS,
    Header,
    NewerError,
    NotBegunError,
    SegmentWriter,
    find,
    find_one,
    locked,
    read,
)  # fmt: skip

WORDS = Words(["good"] * 256, [None, *["late"] * 255])
DATASETS = [
    Dataset(
        "d", ["Süd", "s"], ["b1", "b2"],
        [Column("x", "float64", [], {"unit": "W"}), Column("state", "int64", [{1: "ON"}, {-2: "OFF"}])],
        {"profile": "d"}, [1, 0], WORDS,
    ),
    Dataset("e", [], [], [], {}, [], WORDS),
]  # fmt: skip
RUN = "00c0ffee"


def message(tick):
    block = Block([Layout(dataset, 1) for dataset in DATASETS])
    ones = np.ones(2)
    block.ticks[0].append(
        tick, ones.astype("f4"), np.zeros(2, "u1"), [ones * tick, np.array([1, -2])], np.ones((2, 2), "u1")
    )
    return block.ticks[0].to_message()


def written(folder, sequence, frames, about=None):
    """Write a segment of frames (kind, sequence, payload); return its path."""
    header = Header(RUN, DATASETS, about or {}).to_json(5)
    writer = SegmentWriter(folder, RUN, sequence, header)
    for kind, number, payload in frames:
        writer.append(pack(kind, number, payload))
    writer.sync()
    writer.close()
    return writer.path


def sequences(found):
    return [frame.sequence for frame in found.messages[0]]


def test_a_segment_says_all_that_is_needed_to_make_tables_of_it(tmp_path):
    written(tmp_path, 7, [(0, 8, message(1)), (EVENTS, 9, b"e"), (0, 10, message(2))], {"version": "1"})
    (wanted,) = find(tmp_path)
    found = read(wanted)
    assert (found.name.run, found.name.sequence, found.opened_us) == (RUN, 7, 5)
    assert found.datasets == DATASETS
    assert found.about == {"version": "1"}
    assert sequences(found) == [8, 10]
    assert [frame.payload().to_pybytes() for frame in found.events] == [b"e"]
    assert found.messages[0][1].payload().equals(message(2))
    assert found.damage == []


def test_what_was_written_again_counts_in_the_later_file_alone(tmp_path):
    first = written(tmp_path, 0, [(0, n, message(n)) for n in range(1, 6)])
    second = written(tmp_path, 3, [(0, n, message(n)) for n in range(4, 7)])
    assert [sequences(read(wanted)) for wanted in find(tmp_path)] == [[1, 2], [4, 5, 6]]
    second.unlink()
    assert sequences(read(find_one(first))) == [1, 2, 3, 4, 5]
    assert sequences(read(find_one(first, {(RUN, 3), (RUN, 9), ("ffffffff", 1)}))) == [1, 2]
    assert find_one(second) is None


def test_runs_have_nothing_to_do_with_each_other(tmp_path):
    written(tmp_path, 5, [(0, 6, message(6))])
    (tmp_path / f"{RUN}-0000000005.ffj").rename(tmp_path / "00000001-0000000005.ffj")
    written(tmp_path, 0, [(0, 9, message(9))])
    for name in ("x.ffj", f"{RUN}-0000000001.ffj.damaged", f"{RUN}-1.ffj"):
        (tmp_path / name).touch()
    wanted = find(tmp_path)
    assert [(one.name.run, one.before) for one in wanted] == [("00000001", None), (RUN, None)]


def test_what_is_torn_behind_what_was_written_again_is_no_loss(tmp_path):
    first = written(tmp_path, 0, [(0, 1, message(1)), (0, 2, message(2))])
    with first.open("ab") as file:
        file.write(pack(0, 3, message(3))[:-1])
    (torn,) = read(find_one(first)).damage
    assert torn.at_end
    written(tmp_path, 3, [])
    assert read(find_one(first)).damage == []
    data = bytearray(first.read_bytes())
    data[-len(pack(0, 3, message(3))) - 20] ^= 1  # within the frame 2, which counts
    first.write_bytes(data)
    assert read(find_one(first)).damage != []


def test_every_cut_of_a_header_is_a_segment_that_was_never_begun(tmp_path):
    path = written(tmp_path, 0, [])
    data = path.read_bytes()
    for content in [data[:n] for n in range(0, len(data), 3)] + [bytes(n) for n in (1, 600)]:
        path.write_bytes(content)
        with pytest.raises(NotBegunError):
            read(find_one(path))
    path.write_bytes(data[:100] + bytes(len(data) - 100))
    with pytest.raises(NotBegunError):
        read(find_one(path))


def test_a_damaged_header_before_frames_is_damage(tmp_path):
    path = written(tmp_path, 0, [(0, 1, message(1))])
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    with pytest.raises(FluxfastError, match="its header is damaged") as caught:
        read(find_one(path))
    assert not isinstance(caught.value, NotBegunError | NewerError)


def test_a_newer_one_is_told(tmp_path):
    path = tmp_path / f"{RUN}-0000000000.ffj"
    path.write_bytes(pack(segment.HEADER, 0, json.dumps({"format": segment.FORMAT + 1}).encode()))
    with pytest.raises(NewerError, match="newer fluxfast"):
        read(find_one(path))


def test_the_one_that_is_written_is_locked(tmp_path):
    writer = SegmentWriter(tmp_path, RUN, 0, Header(RUN, [], {}).to_json(0))
    with locked(writer.path) as complete:
        assert not complete
    writer.close()
    with locked(writer.path) as complete:
        assert complete
        file = os.open(writer.path, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(file)
    with locked(tmp_path / "gone") as complete:
        assert not complete


def test_it_is_known_when_somebody_has_removed_or_replaced_it(tmp_path):
    writer = SegmentWriter(tmp_path, RUN, 0, Header(RUN, [], {}).to_json(0))
    assert writer.is_there()
    writer.path.unlink()
    assert not writer.is_there()
    writer.path.touch()
    assert not writer.is_there()
    writer.close()
