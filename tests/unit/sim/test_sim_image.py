"""Layout, and every column against struct."""

import struct

import numpy as np
import pytest

from fluxfast.profiles import Profile, load_profile
from fluxfast.sim.column import Column
from fluxfast.sim.image import Image, merge
from tests.support.profiles import EVERYTHING

ROWS = 3
NUMBERS = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
           "float16": "e", "float32": "f", "float64": "d"}  # fmt: skip
VALUES = {
    "int": [-1, 0, 1, -2**15, 2**15 - 1, 0x1234, -0x1234],
    "uint": [0, 1, 2**16 - 1, 0x1234],
    "float": [0.0, -0.0, 1.5, -2.0, 0.25, float("inf")],
}  # fmt: skip


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    file = tmp_path_factory.mktemp("profiles") / "everything.yaml"
    file.write_text(EVERYTHING)
    return load_profile(str(file))


@pytest.fixture
def image(profile: Profile) -> Image:
    return Image(profile, ROWS)


def swapped(data: bytes, order: str) -> bytes:
    """Put big-endian bytes into the named order, letter by letter."""
    return bytes(data["ABCDEFGH".index(letter)] for letter in order)


def on_the_wire(image: Image, column: Column, row: int) -> bytes:
    return image.memory[row, column.offset : column.offset + column.size].tobytes()


def test_every_number_is_where_and_what_struct_says(image: Image) -> None:
    checked = set()
    for column in image.columns.values():
        point = column.point
        if point.type not in NUMBERS or column.is_part:
            continue
        kind = point.type.rstrip("0123456789")
        dtype = np.dtype({"int": "i", "uint": "u", "float": "f"}[kind] + str(column.size))
        values = np.array(VALUES[kind], dtype)
        for value in values:
            column.put_raw(np.array([0, value, 0], dtype))
            expected = swapped(struct.pack(">" + NUMBERS[point.type], value.item()), point.byte_order)
            assert on_the_wire(image, column, 1) == expected, (point.name, value)
            assert on_the_wire(image, column, 0) == on_the_wire(image, column, 2) == bytes(column.size)
            np.testing.assert_array_equal(column.raw(), [0, value, 0])
        checked.add((point.type, point.byte_order))
    assert {kind for kind, _ in checked} == set(NUMBERS)
    assert len(checked) >= 15


def test_neighbours_are_not_touched(image: Image) -> None:
    for column in image.columns.values():
        if column.is_text or column.is_bit:
            continue
        image.memory[:] = 0xA5
        column.put_raw(0)
        others = np.delete(image.memory, np.s_[column.offset : column.offset + column.size], axis=1)
        assert (others == 0xA5).all(), column.point.name


def test_bits_share_a_register(image: Image) -> None:
    flag, field = image.columns["flag"], image.columns["field"]
    field.put_raw([1, 2, 9])
    flag.put_raw([1, 0, 1])
    assert [on_the_wire(image, flag, row).hex() for row in range(ROWS)] == ["0108", "0200", "0908"]
    assert field.raw().tolist() == [1, 2, 9]
    assert [flag.value(row) for row in range(ROWS)] == [True, False, True]
    flag.put_raw(0)
    assert field.raw().tolist() == [1, 2, 9]


def test_texts(image: Image) -> None:
    image.columns["text"].put_text("Acuvim")
    image.columns["text_ba"].put_text("Acuvim II too long")
    assert on_the_wire(image, image.columns["text"], 2) == b"Acuvim" + bytes(6)
    assert on_the_wire(image, image.columns["text_ba"], 2) == b"cAvumiI "
    assert image.columns["text"].value(1) == "Acuvim"
    assert image.columns["text_ba"].value(1) == "Acuvim I"


def test_values_are_rounded_and_held_inside_the_type(image: Image) -> None:
    tenths = image.columns["tenths"]
    tenths.put([5.26, 1e9, -1e9])
    assert tenths.raw().tolist() == [3, 32767, -32768]
    np.testing.assert_allclose(tenths.values(), [5.3, 3281.7, -3271.8])
    u64, i64 = image.columns["u64"], image.columns["i64_ghefcdab"]
    u64.put([-5, 2.0**70, 2.0**40])
    assert u64.raw().tolist() == [0, 2**64 - 2048, 2**40]
    i64.put([-(2.0**70), 2.0**70, -1])
    assert i64.raw().tolist() == [-(2**63), 2**63 - 1024, -1]
    image.columns["f16"].put([1e9, 0.5, -1e9])
    assert image.columns["f16"].raw().tolist() == [65504, 0.5, -65504]


def test_states_are_labels(image: Image) -> None:
    mode = image.columns["mode"]
    mode.put_raw([4, 7, 5])
    assert [mode.value(row) for row in range(ROWS)] == ["AUTO", "MANUAL", 5]


def test_segments(image: Image) -> None:
    tables = [(int(s["table"]), int(s["first"]), int(s["last"])) for s in image.segments]
    assert tables == [
        (0, 0, 9),
        (1, 100, 100), (1, 109, 109),
        (2, 0, 54), (2, 200, 200), (2, 65535, 65535),
        (3, 10, 12),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("points", "readable", "max_gap", "expected"),
    [
        ([(0, 1), (2, 3)], None, 0, [(0, 3)]),
        ([(0, 1), (3, 3)], None, 0, [(0, 1), (3, 3)]),
        ([(5, 5), (0, 1)], None, 3, [(0, 5)]),
        ([(5, 5), (0, 1)], None, 2, [(0, 1), (5, 5)]),
        ([(0, 0), (5, 5)], [(0, 9)], 0, [(0, 9)]),
        ([(0, 0), (5, 5)], [(0, 4), (5, 9)], 9, [(0, 9)]),
        ([(0, 0), (6, 6)], [(0, 3), (5, 9)], 9, [(0, 3), (5, 9)]),
        ([(7, 7)], [(0, 3), (5, 9)], 9, [(5, 9)]),
        ([(7, 7), (12, 12), (40, 40)], [(0, 65535)], 9, [(7, 12), (40, 40)]),
        ([(0, 3), (0, 3), (1, 1)], None, 0, [(0, 3)]),
        ([], [(0, 9)], 9, []),
    ],
)
def test_merge(
    points: list[tuple[int, int]], readable: list[tuple[int, int]] | None, max_gap: int,
    expected: list[tuple[int, int]],
) -> None:  # fmt: skip
    assert merge(points, readable, max_gap) == expected


def test_only_what_may_be_written_is_writable(image: Image) -> None:
    for column in image.columns.values():
        written = image.writable[column.offset : column.offset + column.size]
        assert written.all() == written.any() == (column.point.access != "ro"), column.point.name


def test_builtin_profiles_are_one_block_each() -> None:
    for name, blocks in (("powerpack", 1), ("acuvim2_vendor", 1), ("acuvim2", 2)):
        assert len(Image(load_profile(name), 1).segments) == blocks
