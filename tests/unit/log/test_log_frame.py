"""Frames: what is whole is found, whatever was cut, flipped or lost around it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxfast.log.frame import HEADER, Damage, Frame, frames, pack

PAYLOADS = [b"", b"a", bytes(300), bytes(range(256)) * 3, b"ffj1" * 20]


def journal(payloads=PAYLOADS):
    packed = [pack(number, 100 + number, payload) for number, payload in enumerate(payloads)]
    ends = [sum(map(len, packed[: number + 1])) for number in range(len(packed))]
    return b"".join(packed), ends


def whole(data):
    return [piece for piece in frames(data) if isinstance(piece, Frame)]


def covers(data):
    """Whether every byte is in exactly one piece."""
    at = 0
    for piece in frames(data):
        assert piece.start == at
        assert piece.end > at
        at = piece.end
    return at == len(data)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 2**64 - 1), st.binary(max_size=2000))))
def test_what_was_packed_comes_back(packed):
    data = b"".join(pack(*one) for one in packed)
    found = list(frames(data))
    assert all(isinstance(piece, Frame) for piece in found)
    assert [(f.kind, f.sequence, f.payload().to_pybytes()) for f in found] == packed
    assert covers(data)


def test_a_cut_anywhere_keeps_all_whole_frames_and_tells_the_rest():
    data, ends = journal()
    for cut in range(len(data)):
        pieces = list(frames(data[:cut]))
        n = sum(end <= cut for end in ends)
        assert [piece.sequence for piece in pieces[:n]] == [100 + number for number in range(n)]
        rest = [(ends[n - 1] if n else 0, cut, True)] if cut not in (0, *ends) else []
        assert [tuple(piece) for piece in pieces[n:]] == rest


def test_every_flipped_bit_is_found_and_costs_only_its_frame():
    data, ends = journal()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        hit = sum(end <= bit // 8 for end in ends)
        assert [frame.sequence - 100 for frame in whole(flipped)] == [
            number for number in range(len(ends)) if number != hit
        ]
        (damage,) = [piece for piece in frames(flipped) if isinstance(piece, Damage)]
        assert (damage.end, damage.at_end) == (ends[hit], hit == len(ends) - 1)


@settings(deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_what_is_whole_is_found_behind_any_garbage(before, between):
    first, second = pack(1, 7, b"first" * 30), pack(2, 8, b"second")
    data = before + first + between + second
    assert [frame.sequence for frame in whole(data)] == [7, 8]
    assert covers(data)


@settings(deadline=None)
@given(st.data())
def test_any_damage_costs_only_the_frames_that_it_touches(data):
    original, ends = journal()
    changed = bytearray(original)
    begin = data.draw(st.integers(0, len(original) - 1))
    garbage = data.draw(st.binary(min_size=1, max_size=len(original) - begin))
    changed[begin : begin + len(garbage)] = garbage
    begins = [0, *ends[:-1]]
    untouched = [
        number
        for number in range(len(ends))
        if changed[begins[number] : ends[number]] == original[begins[number] : ends[number]]
    ]
    assert [frame.sequence - 100 for frame in whole(changed)] == untouched
    assert covers(changed)


@pytest.mark.parametrize("at", range((1 << 16) - 40, (1 << 16) + 5))
def test_a_frame_is_found_across_the_windows_of_the_search(at):
    (found,) = whole(bytes(at) + pack(1, 2, b"x"))
    assert found.start == at


def test_lengths_that_cannot_be_are_damage():
    data = bytearray(pack(1, 2, b"x"))
    for field in (slice(4, 8), slice(16, 20)):  # both lengths
        broken = bytearray(data)
        broken[field] = b"\xff\xff\xff\xff"
        assert list(frames(broken)) == [Damage(0, len(broken), True)]
    assert list(frames(data[: HEADER.size - 1])) == [Damage(0, HEADER.size - 1, True)]
