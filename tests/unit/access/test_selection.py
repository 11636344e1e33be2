"""What is asked: addresses, references, types and orders, and the reads that they come to."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxfast.access.selection import Form, select_addresses, select_points
from fluxfast.errors import LocalProtocolError
from fluxfast.profiles import Quirks, load_profile
from fluxfast.profiles.point import one_based
from fluxfast.profiles.types import BYTE_ORDERS, TYPES


@pytest.mark.parametrize(
    ("table", "address", "expected"),
    [
        ("coil", 0, "00001"),
        ("discrete", 0, "10001"),
        ("input", 0, "30001"),
        ("holding", 2008, "42009"),
        ("holding", 9998, "49999"),
        ("holding", 9999, "410000"),
        ("holding", 65535, "465536"),
        ("coil", 65535, "065536"),
    ],
)
def test_a_reference_counts_from_1_and_begins_with_its_table(table: str, address: int, expected: str) -> None:
    assert one_based(table, address) == expected


@settings(max_examples=40)
@given(
    st.sampled_from(["holding", "input"]),
    st.sampled_from([name for name in TYPES if name not in ("bool", "string")]),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 300)), min_size=1, max_size=4),
    st.integers(4, 125),
)
def test_reads_fetch_all_that_is_asked_and_nothing_else(table, type_, items, most) -> None:
    selection = select_addresses(
        [f"{address}:{count}" for address, count in items], Form(table, type_), Quirks(max_registers=most)
    )
    size = TYPES[type_].width // 16
    asked = {address + i for address, count in items for i in range(count * size)}
    fetched = [b.address + i for b in selection.blocks for i in range(b.quantity)]
    assert set(fetched) == asked
    assert all(block.quantity <= most for block in selection.blocks)
    held = [point.name for block in selection.blocks for point in block.points]
    assert sorted(held) == sorted(point.name for point in selection.points)


def test_values_follow_one_another_in_the_order_asked() -> None:
    points = select_addresses(["0x10:2", "4"], Form(type="float32")).points
    assert [point.address for point in points] == [16, 18, 4]


def test_base_1_takes_references_as_modpoll_does() -> None:
    assert [p.address for p in Form(base=1).points("2026")] == [2025]
    assert [p.address for p in Form(base=1).points("65536")] == [65535]
    with pytest.raises(LocalProtocolError, match="begin at 1"):
        Form(base=1).points("0")


@pytest.mark.parametrize("width", [16, 32, 64])
def test_orders_go_by_letters_and_by_names(width: int) -> None:
    legal = BYTE_ORDERS[width]
    (point,) = Form(type=f"uint{width}", order=legal[1].lower()).points("0")
    assert point.byte_order == legal[1]
    names = {"big": legal[0], "little": legal[1]}
    if width > 16:
        names |= {"byte-swap": legal[2], "word-swap": legal[3]}
    else:
        names |= {"byte-swap": "BA", "word-swap": "AB"}
    for name, letters in names.items():
        assert Form(type=f"uint{width}", order=name).points("0")[0].byte_order == letters


@pytest.mark.parametrize(
    ("item", "form", "says"),
    [
        ("402009", Form(), r"as a reference it is holding address 2008 \(write 2008\)"),
        ("302009", Form(), r"as a reference it is input address 2008 \(write 2008 --table input\)"),
        ("70000", Form(), "count from 0"),
        ("65535:2", Form(), "run past 65535"),
        ("65535", Form(type="float32"), "run past 65535"),
        ("5:0", Form(), "a count is 1 to"),
        ("5:", Form(), "no address"),
        ("-5", Form(), "no address"),
        ("5.0", Form(), "no address"),
        ("５", Form(), "no address"),
        ("0x", Form(), "no address"),
        ("5", Form(type="float32", order="AB"), "no byte order of float32"),
        ("5", Form(type="string"), "--length"),
        ("5", Form(length=2), "length is for strings"),
        ("5", Form(type="bool"), "--bit 0 to 15"),
        ("5", Form(bit=3, type="uint16"), "--type bool"),
        ("5", Form(table="coil", type="uint16"), "--type bool, or --table holding"),
        ("5", Form(table="coil", scale="0.1"), "has no scale"),
        ("5", Form(scale="0"), "scale 0"),
        ("5", Form(scale="nan"), "out of reach"),
        ("5", Form(scale="１"), "no number"),
        ("5", Form(offset="x"), "--offset 'x' is no number"),
    ],
)
def test_what_cannot_be_is_refused_with_its_cure(item: str, form: Form, says: str) -> None:
    with pytest.raises(LocalProtocolError, match=says):
        select_addresses([item], form)


def test_points_go_by_name_and_by_pattern_each_once() -> None:
    profile = load_profile("powerpack")
    names = [p.name for p in select_points(profile, ["soe", "s*", "soe"]).points]
    assert names == ["soe", "status"]
    assert len(select_points(profile, []).points) == len(profile.points)
    with pytest.raises(LocalProtocolError, match=r"no point 'sow' \(did you mean 'soe'\?\)"):
        select_points(profile, ["sow"])
    with pytest.raises(LocalProtocolError, match=r"is like 'x\*' \(known: available_blocks"):
        select_points(profile, ["x*"])
