"""What a right profile comes to, and how one is found."""

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from fluxfast.errors import ConfigError
from fluxfast.profiles import Point, Profile, Quirks, load_profile
from fluxfast.profiles.document import parse_document
from fluxfast.profiles.store import build_profile


def point(text: str) -> Point:
    profile = build_profile(parse_document(f"name: p\npoints: {{a: {{address: 10, {text}}}}}", "p.yaml"))
    return profile.points["a"]


@pytest.mark.parametrize(
    ("text", "size", "order", "swap_bytes", "swap_words"),
    [
        ("type: int16", 1, "AB", False, False),
        ("type: int16, byte_order: BA", 1, "BA", True, False),
        ("type: float16", 1, "AB", False, False),
        ("type: float32", 2, "ABCD", False, False),
        ("type: float32, byte_order: DCBA", 2, "DCBA", True, True),
        ("type: float32, byte_order: BADC", 2, "BADC", True, False),
        ("type: float32, byte_order: CDAB", 2, "CDAB", False, True),
        ("type: uint64", 4, "ABCDEFGH", False, False),
        ("type: uint64, byte_order: HGFEDCBA", 4, "HGFEDCBA", True, True),
        ("type: uint64, byte_order: BADCFEHG", 4, "BADCFEHG", True, False),
        ("type: uint64, byte_order: GHEFCDAB", 4, "GHEFCDAB", False, True),
        ("type: string, length: 8", 8, "AB", False, False),
        ("type: bool, bit: 15", 1, "AB", False, False),
        ("type: bool, register: coil", 1, "AB", False, False),
        ("type: bool, register: discrete", 1, "AB", False, False),
    ],
)
def test_sizes_and_orders(text: str, size: int, order: str, swap_bytes: bool, swap_words: bool) -> None:
    it = point(text)
    assert (it.size, it.byte_order, it.swap_bytes, it.swap_words) == (size, order, swap_bytes, swap_words)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("type: int64", "signed"), ("type: uint16", "unsigned"), ("type: float64", "float"),
        ("type: string, length: 1", "string"), ("type: bool, bit: 0", "bool"),
    ],
)  # fmt: skip
def test_kinds(text: str, kind: str) -> None:
    assert point(text).kind == kind


def test_decimals_are_taken_from_the_text() -> None:
    it = point("type: uint32, scale: 0.1, offset: -0.30000000000000000004, limits: [-0.1, 1e3]")
    assert str(it.scale) == "0.1"
    assert str(it.offset) == "-0.30000000000000000004"
    assert it.limits == (Decimal("-0.1"), Decimal(1000))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type: uint16, not_implemented: 0xFFFF", (65535,)),
        ("type: int16, not_implemented: 0x8000", (-32768,)),
        ("type: int16, not_implemented: [-32768, 32767, 0xFFFF]", (-32768, 32767, -1)),
        ("type: uint64, not_implemented: 0xFFFFFFFFFFFFFFFF", (2**64 - 1,)),
        ("type: float32, not_implemented: -9999.5", (-9999.5,)),
        ("type: uint16", ()),
    ],
)
def test_not_implemented_is_in_the_types_own_values(text: str, expected: tuple[float, ...]) -> None:
    assert point(text).not_implemented == expected


def test_address_and_table() -> None:
    it = point("type: uint16, register: input, group: fast, access: ro")
    assert (it.register, it.in_bit_table, it.readable, it.writable) == ("input", False, True, False)
    it = point("type: bool, register: coil, access: wo")
    assert (it.register, it.in_bit_table, it.readable, it.writable) == ("coil", True, False, True)


def test_last_address() -> None:
    text = "name: p\npoints: {a: {address: 65534, type: float32}}"
    assert build_profile(parse_document(text, "p.yaml")).points["a"].address == 65534


def test_quirks_and_groups() -> None:
    profile = build_profile(
        parse_document(
            """\
name: p
groups: {slow: 10}
quirks:
  readable: [[100, 199], [0, 9]]
  request_gap: 20ms
  connect_delay: 1.5s
  write_function: 16
  max_connections: 2
  transaction_id: zero
  unit_aliases: [255, 0]
points:
  a: {address: 9, type: int16}
  b: {address: 198, type: int32, group: slow}
""",
            "p.yaml",
        )
    )
    assert profile.groups == {"slow": 10}
    quirks = profile.quirks
    assert quirks.readable == ((0, 9), (100, 199))
    assert (quirks.request_gap_ns, quirks.connect_delay_ns) == (20_000_000, 1_500_000_000)
    assert (quirks.write_function, quirks.max_connections) == (16, 2)
    assert (quirks.transaction_id, quirks.unit_aliases) == ("zero", (0, 255))


def test_quirk_defaults() -> None:
    quirks = Quirks()
    assert (quirks.max_registers, quirks.max_bits, quirks.max_gap) == (125, 2000, 16)
    assert (quirks.readable, quirks.max_in_flight, quirks.request_gap_ns) == (None, 1, 0)
    assert (quirks.connect_delay_ns, quirks.write_function, quirks.max_connections) == (0, "auto", None)
    assert (quirks.transaction_id, quirks.unit_aliases) == ("echoed", ())


@pytest.mark.parametrize(
    "points",
    [
        "{a: {address: 1, type: bool, bit: 0}, b: {address: 1, type: uint16, bits: [1, 3]}}",
        "{a: {address: 1, type: int16}, b: {address: 1, register: input, type: int16}}",
        "{a: {address: 1, type: int16}, b: {address: 1, register: coil, type: bool}}",
        "{b: {address: 3, type: int16}, a: {address: 1, type: int32}}",
    ],
)
def test_not_an_overlap(points: str) -> None:
    assert len(build_profile(parse_document(f"name: p\npoints: {points}", "p.yaml")).points) == 2


def test_written_only_points_need_not_be_readable() -> None:
    text = "name: p\nquirks: {readable: [[0, 9]]}\npoints: {a: {address: 20, type: int16, access: wo}}"
    assert build_profile(parse_document(text, "p.yaml"))


def test_frozen() -> None:
    profile = load_profile("powerpack")
    with pytest.raises(ValidationError):
        profile.points["soe"].scale = Decimal(2)
    with pytest.raises(ValidationError):
        profile.name = "other"


def test_from_python() -> None:
    soe = Point(name="soe", address=1, register="input", type="uint16", scale=0.1)
    assert (soe.scale, soe.register) == (Decimal("0.1"), "input")
    profile = Profile(name="p", points={"soe": soe}, quirks=Quirks(request_gap="5ms"))
    assert profile.points["soe"] == soe
    with pytest.raises(ValueError, match="shares holding address 1"):
        Profile(name="p", points={n: Point(name=n, address=1, type="int16") for n in ("a", "b")})


def test_own_file(tmp_path: Path) -> None:
    (tmp_path / "inverter.yaml").write_text("points: {w: {address: 1, type: int16}}")
    assert load_profile("./inverter.yaml", tmp_path).name == "inverter"
    assert load_profile(str(tmp_path / "inverter.yaml")).name == "inverter"


def test_own_file_with_an_unusable_name(tmp_path: Path) -> None:
    (tmp_path / "my-inverter.yaml").write_text("points: {w: {address: 1, type: int16}}")
    with pytest.raises(ConfigError, match="'my-inverter' is not a profile name"):
        load_profile("my-inverter.yaml", tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "acuvim",
            "there is no profile 'acuvim' (did you mean 'acuvim2'?; your own is a path like ./acuvim.yaml)",
        ),
        ("xyz", "there is no profile 'xyz' (known: acuvim2, acuvim2_vendor, powerpack;"),
        ("./xyz.yaml", "there is no profile file"),
    ],
)
def test_unknown(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_profile(name)
    assert message in str(caught.value)
