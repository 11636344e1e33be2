"""What makers write into cells, and what it means; what is not understood is None."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxfast.profiles.lists import cells
from fluxfast.profiles.lists.cells import Address, Functions, Kind
from fluxfast.profiles.lists.names import Names, slug
from fluxfast.profiles.point import Point


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("2000", Address(2000, digits=4)),
        ("0x2000", Address(0x2000, is_hex=True)),
        ("2000h", Address(0x2000, is_hex=True)),
        ("&H07D0", Address(2000, is_hex=True)),
        ("16#7D0", Address(2000, is_hex=True)),
        ("40,001", Address(40001, digits=5)),
        ("400001", Address(400001, digits=6)),
        ("4x0001", Address(1, digits=6, table="holding", is_reference=True)),
        ("3X00012", Address(12, digits=6, table="input", is_reference=True)),
        ("IR5", Address(5, digits=1, table="input")),
        ("%MW100", Address(100, digits=3, table="holding")),
        ("40001-40002", Address(40001, 40002, digits=5)),
        ("30001 … 30004", Address(30001, 30004, digits=5)),
        ("40001-02", Address(40001, 40002, digits=5)),
        ("0x0100 to 0x0101", Address(256, 257, is_hex=True)),
        ("30001, 30002", Address(30001, 30002, digits=5)),
        ("4000H～4001H", Address(0x4000, 0x4001, is_hex=True)),
        ("100.3", Address(100, digits=3, bit=3)),
        ("40012 bit 15", Address(40012, digits=5, bit=15)),
        ("40x22", None), ("", None), ("100.16", None), ("-5", None), ("40010-40001", None), ("1234567", None),
        ("see below", None), ("1-60000", None), ("٣", None),
    ],
)  # fmt: skip
def test_addresses(text: str, address: Address | None) -> None:
    assert cells.parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "kind", "type_"),
    [
        ("U16", Kind("unsigned", 16), "uint16"), ("INT32", Kind("signed", 32), "int32"),
        ("int16_t", Kind("signed", 16), "int16"), ("uint32_t", Kind("unsigned", 32), "uint32"),
        ("unsigned int 32", Kind("unsigned", 32), "uint32"), ("32-bit signed", Kind("signed", 32), "int32"),
        ("16 bit unsigned integer", Kind("unsigned", 16), "uint16"), ("S32", Kind("signed", 32), "int32"),
        ("INT32U", Kind("unsigned", 32), "uint32"), ("INT16S", Kind("signed", 16), "int16"),
        ("SINT16", Kind("signed", 16), "int16"), ("S_WORD", Kind("signed", 16), "int16"),
        ("WORD", Kind("unsigned", 16), "uint16"), ("DWORD", Kind("unsigned", 32), "uint32"),
        ("UDINT", Kind("unsigned", 32), "uint32"), ("DINT", Kind("signed", 32), "int32"),
        ("ULINT", Kind("unsigned", 64), "uint64"), ("LREAL", Kind("float", 64), "float64"),
        ("long", Kind("signed", 32), "int32"), ("unsigned short", Kind("unsigned", 16), "uint16"),
        ("double", Kind("float", 64), "float64"), ("double word", Kind("unsigned", 32), "uint32"),
        ("float32", Kind("float", 32), "float32"), ("IEEE 754 (32 bit)", Kind("float", 32), "float32"),
        ("F64", Kind("float", 64), "float64"), ("ENUM16", Kind("unsigned", 16), "uint16"),
        ("Bitfield32", Kind("unsigned", 32), "uint32"), ("bit field 16", Kind("unsigned", 16), "uint16"),
        ("UINT32 (big endian)", Kind("unsigned", 32, order="ABCD"), "uint32"),
        ("float CDAB", Kind("float", order="CDAB"), None), ("REAL", Kind("float"), None),
        ("INT", Kind("signed"), None), ("UINT", Kind("unsigned"), None), ("unsigned", Kind("unsigned"), None),
        ("BOOL", Kind("bool", 16), "bool"), ("bit", Kind("bool", 16), "bool"),
        ("string[16]", Kind("string", length=16), "string"), ("STR32", Kind("string", length=32), "string"),
        ("IEEE754 2 words", Kind("float", 32), "float32"), ("4 byte float", Kind("float", 32), "float32"),
        ("string 8 registers", Kind("string", length=16), "string"),
        ("char(8)", Kind("string", length=8), "string"), ("ASCII", Kind("string"), "string"),
    ],
)  # fmt: skip
def test_types(text: str, kind: Kind, type_: str | None) -> None:
    assert cells.parse_kind(text) == kind
    assert kind.type(kind.width or 0) == type_


@pytest.mark.parametrize(
    "text",
    ["BCD16", "Date/time", "U8", "uint16[4]", "2 x UINT16", "UINT16/UINT32", "IPv4", "?", "128 bit int"],
)
def test_what_is_no_type_here(text: str) -> None:
    assert cells.parse_kind(text) is None


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("0.1", "0.1"), ("0,1", "0.1"), (".5", "0.5"), ("1", "1"), ("1/10", "0.1"), ("/100", "0.01"),
        ("÷10", "0.1"), ("x10", "10"), ("×0.1", "0.1"), ("*10", "10"), ("10x", "10"), ("10^-2", "0.01"),
        ("10^(-1)", "0.1"), ("1E-3", "0.001"), ("0.1 V", "0.1"), ("−1", "-1"), ("0.01kWh", "0.01"),
        ("1 = 0.1 kW", "0.1"), ("100 = 1 Hz", "0.01"), ("div 10", "0.1"), ("× 10⁻³", "0.001"),
        ("1,000", None), ("10-2", None), ("A_SF", None),
        ("1/3", None), ("0", None), ("see note", None), ("1/0", None), ("", None), ("1e999999", None),
    ],
)  # fmt: skip
def test_scales(text: str, scale: str | None) -> None:
    assert cells.parse_scale(text) == (None if scale is None else Decimal(scale))


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("CDAB", "CDAB"), ("CD AB", "CDAB"), ("3-2-1-0", "ABCD"), ("1-0-3-2", "CDAB"), ("LSW first", "CDAB"),
        ("low word first", "CDAB"), ("MSW first", "ABCD"), ("big-endian", "ABCD"), ("Little Endian", "DCBA"),
        ("word little", "CDAB"), ("byte swap", "BADC"), ("swapped", "CDAB"),
        ("word and byte swapped", "DCBA"),
        ("little-endian byte swap", "CDAB"), ("big-endian byte swap", "BADC"),
        ("big-endian word swap", "CDAB"), ("little-endian word swap", "BADC"),
        ("GHEFCDAB", "CDAB"), ("middle", None), ("", None),
    ],
)  # fmt: skip
def test_orders(text: str, order: str | None) -> None:
    assert cells.parse_order(text) == order


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("Energy, low word first", "CDAB"), ("Low-Word zuerst", "CDAB"), ("MSW first", "ABCD"),
        ("word order: little endian", "CDAB"), ("little-endian", "DCBA"), ("words swapped, CDAB", "CDAB"),
        ("Big-endian, word swapped", "CDAB"), ("Big-endian", "ABCD"), ("word order: big-endian", "ABCD"),
        ("lower limit of the power", None), ("le facteur", None), ("high word", None),
    ],
)  # fmt: skip
def test_orders_that_remarks_speak_of(text: str, order: str | None) -> None:
    assert cells.order_said_in(text) == order


@pytest.mark.parametrize(
    ("text", "functions"),
    [
        ("03", Functions("holding")), ("0x04", Functions("input")), ("FC3", Functions("holding")),
        ("3/6/16", Functions("holding", "rw")), ("03H/10H", Functions("holding", "rw")),
        ("06", Functions("holding", "wo")), ("1, 5, 15", Functions("coil", "rw")),
        ("2", Functions("discrete")),
        ("Holding Register", Functions("holding")), ("Input Registers", Functions("input")),
        ("Coil", Functions("coil")), ("4x", Functions("holding")), ("3/4", Functions("holding", None, True)),
        ("U16", None), ("3, 1", None), ("99", None), ("holding / input register", None), ("?", None),
    ],
)  # fmt: skip
def test_tables(text: str, functions: Functions | None) -> None:
    assert cells.parse_table(text) == functions


def test_access_units_and_states() -> None:
    words = {"R/W": "rw", "RO": "ro", "Read only": "ro", "lesen/schreiben": "rw", "W": "wo", "03/06": "rw",
             "3": "ro", "maybe": None, "Lecture/Écriture": "rw", "Lectura": "ro"}  # fmt: skip
    assert {text: cells.parse_access(text) for text in words} == words
    assert cells.split_unit("0.1 kWh") == (Decimal("0.1"), "kWh")
    assert cells.split_unit("0,1°C") == (Decimal("0.1"), "°C")
    assert cells.split_unit("kvar") == (None, "kvar")
    assert cells.split_unit("0.001") == (Decimal("0.001"), "")
    named = {"Voltage L1 (V)": "V", "Leistung [kW]": "kW", "Rated power (Pn)": "", "Current (RMS)": ""}
    assert {text: cells.unit_in_name(text) for text in named} == named
    assert [cells.parse_unit(text) for text in ("[kW]", "-", "℃", "Percent")] == ["kW", "", "°C", "%"]
    assert cells.parse_states("0: Off; 1: On") == {0: "Off", 1: "On"}
    assert cells.parse_states("0=Standby, 1=Run, 0x10=Fault") == {0: "Standby", 1: "Run", 16: "Fault"}
    assert cells.parse_states("0: Off 1: On") == {0: "Off", 1: "On"}
    for text in ("0-100", "0: Off", "[0, 1000]", "0: Off; 0: On", "0…65535", ""):
        assert cells.parse_states(text) is None, text


def test_names() -> None:
    slugs = {"Active power L1": "active_power_l1", "Übertemperatur Größe": "uebertemperatur_groesse",
             "ActivePower": "active_power", "SoC": "soc", "3-phase": "p_3_phase", "Time": "time_value",
             "cos φ": "cos_phi", "有功功率": ""}  # fmt: skip
    assert {text: slug(text) for text in slugs} == slugs
    names = Names()
    assert [names.take(text, "holding_5") for text in ("P", "p", "p 2", "功")] == [
        "p",
        "p_2",
        "p_2_2",
        "holding_5",
    ]


@given(st.lists(st.text(max_size=80), max_size=6))
def test_every_name_is_legal_and_none_comes_twice(words: list[str]) -> None:
    names = Names()
    taken = [names.take(text, "register_1") for text in (*words, *words)]
    assert len({name.lower() for name in taken}) == len(taken)
    for name in taken:
        Point(name=name, address=0, type="uint16")


@given(st.text(max_size=40))
def test_no_cell_is_too_odd(text: str) -> None:
    for parse in PARSERS:
        parse(text)


PARSERS = (
    cells.parse_address, cells.parse_kind, cells.parse_scale, cells.parse_order, cells.parse_table,
    cells.parse_access, cells.parse_states, cells.parse_unit, cells.split_unit,
    cells.order_said_in, cells.unit_in_name,
)  # fmt: skip
