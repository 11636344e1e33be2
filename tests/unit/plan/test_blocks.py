import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxfast.plan import plan_blocks
from fluxfast.profiles import Point, Profile, Quirks, builtin_profiles, load_profile


def blocks_of(points, groups=None, **quirks):
    profile = Profile(
        name="t", points={p.name: p for p in points}, quirks=Quirks(**quirks), groups=groups or {}
    )
    return plan_blocks(profile)


def spans(blocks):
    return [(b.function_code, b.address, b.quantity) for b in blocks]


def u16(name, address, **fields):
    return Point(name=name, address=address, type="uint16", **fields)


def test_the_documents_devices():
    assert spans(plan_blocks(load_profile("powerpack"))) == [(3, 2000, 29)]
    assert spans(plan_blocks(load_profile("acuvim2"))) == [(3, 0, 66), (3, 0x100, 2)]
    fast = [b for b in plan_blocks(load_profile("acuvim2_vendor")) if b.every == 1]
    assert spans(fast) == [(3, 0x4000, 90)]


def test_a_gap_is_read_over_only_as_far_as_the_profile_allows():
    points = [u16("a", 0), u16("b", 5)]
    assert spans(blocks_of(points, max_gap=4)) == [(3, 0, 6)]
    assert spans(blocks_of(points, max_gap=3)) == [(3, 0, 1), (3, 5, 1)]


def test_a_value_is_never_split():
    points = [Point(name=f"p{i}", address=2 * i, type="float32") for i in range(3)]
    assert spans(blocks_of(points, max_registers=5)) == [(3, 0, 4), (3, 4, 2)]


def test_readable_ranges_are_never_crossed():
    points = [u16("a", 0), u16("b", 1), u16("c", 2)]
    assert spans(blocks_of(points, readable=[[0, 1], [2, 9]])) == [(3, 0, 2), (3, 2, 1)]


def test_tables_and_groups_have_reads_of_their_own():
    points = [
        u16("a", 0),
        u16("slow", 1, group="slow"),
        u16("i", 2, register="input"),
        Point(name="c", address=3, register="coil", type="bool"),
        Point(name="d", address=4, register="discrete", type="bool"),
    ]
    made = blocks_of(points, groups={"slow": 10})
    assert [(b.function_code, b.address, b.every) for b in made] == [
        (1, 3, 1),
        (2, 4, 1),
        (3, 0, 1),
        (4, 2, 1),
        (3, 1, 10),
    ]


def test_write_only_points_are_not_read():
    assert spans(blocks_of([u16("a", 0), u16("w", 9, access="wo")])) == [(3, 0, 1)]


def test_bits_are_read_up_to_their_own_limit():
    points = [Point(name=f"c{i}", address=i, register="coil", type="bool") for i in (0, 1999, 2000)]
    assert spans(blocks_of(points, max_gap=2000)) == [(1, 0, 2000), (1, 2000, 1)]


@st.composite
def maps(draw):
    """Points of 1 to 4 registers that do not overlap, in any order, and a limit and a gap."""
    address, points = 0, []
    for i in range(draw(st.integers(1, 30))):
        address += draw(st.integers(0, 12))
        kind = draw(st.sampled_from(["uint16", "int32", "float64"]))
        points.append(Point(name=f"p{i}", address=address, type=kind))
        address += points[-1].size
    random.Random(0).shuffle(points)
    return points, draw(st.integers(4, 40)), draw(st.integers(0, 12))


def fewest(points, longest, gap):
    """Return the least number of reads by trying every way to cut the sorted points (for few points)."""
    points = sorted(points, key=lambda p: p.address)
    best = [0]
    for end in range(1, len(points) + 1):
        options = []
        for start in range(end):
            run = points[start:end]
            length = run[-1].address + run[-1].size - run[0].address
            gaps = [b.address - a.address - a.size for a, b in itertools.pairwise(run)]
            if length <= longest and all(g <= gap for g in gaps):
                options.append(best[start] + 1)
        best.append(min(options))
    return best[-1]


@settings(deadline=None)
@given(maps())
def test_every_point_is_read_once_legally_and_with_the_fewest_reads(made):
    points, longest, gap = made
    blocks = blocks_of(points, max_registers=longest, max_gap=gap)
    read = [p.name for b in blocks for p in b.points]
    assert sorted(read) == sorted(p.name for p in points)
    for block in blocks:
        assert 1 <= block.quantity <= longest
        for point in block.points:
            assert block.address <= point.address
            assert point.address + point.size <= block.address + block.quantity
    assert len(blocks) == fewest(points, longest, gap)


@pytest.mark.parametrize("name", builtin_profiles())
def test_shipped_profiles_read_every_point(name):
    profile = load_profile(name)
    assert {p.name for b in plan_blocks(profile) for p in b.points} == set(profile.points)
