"""Whole register lists: encodings, delimiters, workbooks, where addresses count from, rows left out."""

from contextlib import suppress
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxfast.errors import ConfigError
from fluxfast.profiles import load_profile
from fluxfast.profiles.lists.columns import judge
from fluxfast.profiles.lists.read import Read, read_registers
from fluxfast.profiles.lists.sheet import read_sheet
from fluxfast.profiles.write import profile_text

SIMPLE = "Address,Name,Type,Scale,Unit,Access\n{0},Power,INT16,0.1,kW,R\n{1},Setpoint,INT32,1,W,R/W\n"


def read(path: Path, text: str | bytes, *, sheet: str | None = None, **options) -> Read:
    """Read a list; what is made of it must be read back from its text."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    found = read_registers(read_sheet(path, judge, sheet), "made", **options)
    file = path.with_name("made.yaml")
    file.write_text(profile_text(found.profile, found.comments), encoding="utf-8")
    assert load_profile(str(file)) == found.profile
    return found


def addresses(found: Read) -> dict[str, tuple[str, int]]:
    return {point.name: (point.register, point.address) for point in found.profile.points.values()}


def wrong(path: Path, text: str, **options) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path, text, **options)
    return str(caught.value)


GERMAN = (
    "Messgeräte GmbH;;;;;\r\n\r\nAdresse;Bezeichnung;Datentyp;Länge;Faktor;Einheit;Zugriff;Bemerkung\r\n"
    'Messwerte;;;;;;;\r\n0x0000;Leistung Größe;INT32;2;0,1;kW;lesen;"zwei\nZeilen"\r\n'
    "0x0002;Sollwert;INT16;1;1/10;%;lesen/schreiben;\r\n"
)


@pytest.mark.parametrize(
    "text",
    [GERMAN.encode(), GERMAN.encode("utf-8-sig"), GERMAN.encode("cp1252"), GERMAN.encode("utf-16"),
     GERMAN.replace(";", "\t").encode(), GERMAN.replace("0,1", '"0,1"').replace(";", ",").encode()],
    ids=["utf-8", "bom", "latin-1", "utf-16", "tabs", "commas"],
)  # fmt: skip
def test_the_forms_of_csv(tmp_path: Path, text: bytes) -> None:
    found = read(tmp_path / "list.csv", text)
    power, setpoint = found.profile.points.values()
    assert (power.name, power.address, power.type, str(power.scale)) == (
        "leistung_groesse",
        0,
        "int32",
        "0.1",
    )
    assert power.description == "Leistung Größe; zwei Zeilen"
    assert (setpoint.access, setpoint.unit, setpoint.address) == ("rw", "%", 2)
    assert found.left_out == ()
    assert found.comments.above == {"leistung_groesse": ["Messwerte"]}


def test_a_workbook(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Cover"
    book.active.append(["Register map of the meter"])
    for title, first in (("Input", 30001), ("Holding", 40001)):
        sheet = book.create_sheet(title)
        sheet.append(["Register\nAddress", "Parameter", "Format", "Unit", "Multiplier"])
        sheet.append([first, "Voltage", "float", "V", 1.0])
        sheet.append([float(first + 2), "Current", "U16", "A", 0.001])
    path = tmp_path / "map.xlsx"
    book.save(path)
    data = path.read_bytes()
    assert addresses(read(path, data)) == {"voltage": ("input", 0), "current": ("input", 2)}
    found = read(path, data, sheet="Holding")
    assert addresses(found) == {"voltage": ("holding", 0), "current": ("holding", 2)}
    assert str(found.profile.points["current"].scale) == "0.001"
    with pytest.raises(ConfigError, match="there is no sheet 'Nope'"):
        read(path, data, sheet="Nope")
    for damaged in (data[: len(data) // 2], b"PK\x03\x04 no", b""):
        with pytest.raises(ConfigError, match="not a workbook"):
            read(path, damaged)
    with pytest.raises(ConfigError, match="this is an Excel workbook"):
        read(tmp_path / "map.csv", data)


def test_merged_cells_and_formulas_that_were_never_calculated(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (
        ["Address", "Name", "Type", "Scale"], ["Measurements"], [100, "a", "FLOAT", 0.1], [102, "b"],
        [104, "c"], [106, "d", "U16", "=1/10"], ["=A6+1", "e", "U16", 1],
    ):  # fmt: skip
        sheet.append(row)
    for cells in ("A2:D2", "C3:C5", "D3:D5", "F1:XFD1048576"):
        sheet.merged_cells.add(cells)
    path = tmp_path / "map.xlsx"
    book.save(path)
    found = read(path, path.read_bytes())
    points = found.profile.points.values()
    assert [(p.name, p.type, str(p.scale)) for p in points] == [(name, "float32", "0.1") for name in "abc"]
    assert found.comments.above == {"a": ["Measurements"]}
    assert [(one.line, one.message) for one in found.left_out] == [
        (6, "'=1/10' is no scale"), (7, "'=A6+1' is no address"),
    ]  # fmt: skip
    assert "have no values" in read_sheet(path, judge).about


@pytest.mark.parametrize(
    ("pair", "base", "places"),
    [
        ((40001, 40003), "40001", [("holding", 0), ("holding", 2)]),
        ((400001, 465536), "40001", [("holding", 0)]),  # the second runs past the end
        ((0, 1), "0", [("holding", 0), ("holding", 1)]),
        ((1, 2), "0", [("holding", 1), ("holding", 2)]),
        (("0x10", "1Ah"), "0", [("holding", 16), ("holding", 26)]),
        (("10", "1A"), "0", [("holding", 16), ("holding", 26)]),
        ((40000, 40123), "0", [("holding", 40000), ("holding", 40123)]),  # 40000 is no reference
        ((16384, 16386), "0", [("holding", 16384), ("holding", 16386)]),  # of no use as discrete inputs
        ((2000, 40123), "0", [("holding", 2000), ("holding", 40123)]),
        (("4x0001", "4x0003"), "0", [("holding", 0), ("holding", 2)]),
        (("2000.0", "2002.0"), "0", [("holding", 2000), ("holding", 2002)]),
    ],
)
def test_where_addresses_count_from(tmp_path: Path, pair: tuple, base: str, places: list) -> None:
    found = read(tmp_path / "list.csv", SIMPLE.format(*pair))
    assert (found.base, list(addresses(found).values())) == (base, places)


def test_the_user_says_where_they_count_from(tmp_path: Path) -> None:
    text = SIMPLE.format(40001, 40003)
    for base, first in (("0", 40001), ("1", 40000), ("40001", 0)):
        assert addresses(read(tmp_path / "list.csv", text, base=base))["power"] == ("holding", first)


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        (SIMPLE.format(40001, 30003), "30003 looks like a reference of table input, and its"),
        ("Register,Name,Type,FC\n30001,a,U16,3\n", "30001 looks like a reference of table input"),
        ("Register,Name,Type\n40001,a,U16\n40002,b,U16\n12,c,U16\n", "line 2 has 40001, which looks"),
    ],
)  # fmt: skip
def test_evidence_that_disagrees_is_shown(tmp_path: Path, text: str, evidence: str) -> None:
    told = wrong(tmp_path / "list.csv", text)
    assert evidence in told
    assert "--base 40001" in told


def test_rows_that_are_not_understood_are_told_and_left_out(tmp_path: Path) -> None:
    rows = (
        "Address,Name,Type,Size,Scale,Unit,Access\n"
        "0,Good,U16,1,,V,R\n"
        "x,No address,U16,1,,V,R\n"
        "1,No type,,1,,V,R\n"
        "2,Odd type,BCD,1,,V,R\n"
        "3,Odd size,U32,1,,V,R\n"
        "4,Odd scale,U16,1,see note,V,R\n"
        "5,Odd access,U16,1,,V,sometimes\n"
        "70000,Far,U16,1,,V,R\n"
        "8,First,U32,2,,V,R\n"
        "9,Over it,U16,1,,V,R\n"
        "11,Good,U16,1,,V,R\n"
    )
    found = read(tmp_path / "list.csv", rows)
    assert list(found.profile.points) == ["good", "first", "good_2"]
    assert [(problem.line, problem.where) for problem in found.left_out] == [
        (3, "No address"), (4, "No type"), (5, "Odd type"), (6, "Odd size"), (7, "Odd scale"),
        (8, "Odd access"), (9, "Far"), (11, "over_it"),
    ]  # fmt: skip
    assert "shares holding address 9 with 'first'" in found.left_out[-1].message


def test_columns_of_other_kinds(tmp_path: Path) -> None:
    text = (
        "No.,Signal Name,Read/Write,Type,Unit,Gain,Address,Quantity,Scope,Word Order\n"
        "1,Model,RO,STR,N/A,1,30000,15,,\n"
        "2,Active power,RO,I32,kW,1000,32080,2,,little\n"
        "3,State,RO,ENUM16,N/A,1,32089,1,0: Off; 1: On,\n"
        "4,Alarm,RO,Bitfield16,N/A,1,32090,1,,\n"
        "5,Too hot,RO,BOOL,,,32090.3,,,\n"
        "6,Voltage,RO,U16,0.1 V,1,32091,1,,\n"
    )
    points = read(tmp_path / "list.csv", text).profile.points
    assert points["model"].length == 15
    assert (str(points["active_power"].scale), points["active_power"].byte_order) == ("0.001", "CDAB")
    assert points["state"].states == {0: "Off", 1: "On"}
    assert (points["alarm"].bits, points["too_hot"].bit) == ((0, 15), 3)
    assert (str(points["voltage"].scale), points["voltage"].unit) == ("0.1", "V")
    multiplied = read(tmp_path / "list.csv", text, chosen={"scale": "Gain", "divisor": ""}).profile.points
    assert multiplied["active_power"].scale == 1000


def test_what_might_be_wrong_is_told(tmp_path: Path) -> None:
    services = (  # as Victron has it: its factors divide
        "service,description,Address,Type,Scalefactor,Unit\n"
        "vebus,Input voltage,3,uint16,10,V AC\nvebus,Input current,6,int16,10,A\n"
        "vebus,State,31,uint16,1,0=Off;1=Low Power\n"
    )
    options = {"chosen": {"name": "service"}}
    found = read(tmp_path / "list.csv", services.replace("service,", "service name,", 1))
    assert list(found.profile.points) == ["input_voltage", "input_current", "state"]  # no service is a name
    assert found.profile.points["state"].states == {0: "Off", 1: "Low Power"}
    told = "'Scalefactor' multiplies: value = raw × it (--map divisor='Scalefactor' if not) (2 rows)"
    assert told in found.said
    assert list(read(tmp_path / "list.csv", services, **options).profile.points) == [
        "vebus", "vebus_2", "vebus_3",
    ]  # fmt: skip
    found = read(tmp_path / "list.csv", services, chosen={"divisor": "Scalefactor"})
    assert str(found.profile.points["input_voltage"].scale) == "0.1"
    found = read(tmp_path / "list.csv", "Reg;Name;Format;Note\n1;Power (kW);U32;low word first\n3;b;U32;\n")
    power, other = found.profile.points.values()
    assert (power.unit, power.byte_order, other.byte_order) == ("kW", "CDAB", "ABCD")
    assert "byte order CDAB, as their remarks say (1 row)" in found.said
    assert any(line.startswith("no column says the scale") for line in found.said)


def test_sizes_in_bytes_and_scales_as_powers(tmp_path: Path) -> None:
    text = "Addr,Name,Type,Length,SF\n0,a,UINT32,4,-1\n2,b,UINT16,2,0\n3,c,string,16,0\n"
    found = read(tmp_path / "list.csv", text)
    assert [(point.size, str(point.scale)) for point in found.profile.points.values()] == [
        (2, "0.1"), (1, "1"), (8, "1"),
    ]  # fmt: skip
    assert "sizes are in bytes: the types say so" in found.said
    assert "'SF' has powers of ten: -1 is 0.1" in found.said


HEADINGS = """\
Adresse;Bezeichnung;Datentyp;Skalierung;Einheit;Zugriff
Start;Signal;Format;Faktor;Einheit;Lesen/Schreiben
Register;Parameter;Typ;Auflösung;Einheit;R/W
Modbus Address;Register Name;Data Type;Scale Factor;Units;Access
Reg. No.;Item;Type;Multiplier;UoM;RO/RW
Registeradresse;Messgröße;Format;Multiplikator;Einheit;Zugriffsart
PDU address (dec);Description;Format;Resolution;Unit;Read/Write
Offset;Point;Type;SF;Unit;Permission
Adresse;Désignation;Format;Facteur;Unité;Accès
Dirección;Descripción;Tipo de dato;Escala;Unidades;Acceso
Adr.;Text;Typ;Faktor;Dim.;Zugriff
Address(Hex);Parameter;Object Type;Resolution;Unit;Type of access
"""


@pytest.mark.parametrize("head", HEADINGS.splitlines())
def test_headings(tmp_path: Path, head: str) -> None:
    first, second = ("64", "65") if "Hex" in head else ("100", "101")
    text = f"{head}\n{first};Strom;U16;0,01;A;R\n{second};Sollwert;INT32;0,5;W;RW\n"
    found = read(tmp_path / "list.csv", text)
    rows = [
        (p.name, p.address, p.type, str(p.scale), p.unit, p.access) for p in found.profile.points.values()
    ]
    assert rows == [("strom", 100, "uint16", "0.01", "A", "ro"), ("sollwert", 101, "int32", "0.5", "W", "rw")]
    assert found.left_out == ()


def test_tables_from_headings_between_rows(tmp_path: Path) -> None:
    text = "Register,Name,Type\nInput Registers (FC04),,\n5,a,U16\nHolding,,\n5,b,U16\nCoils,,\n0,c,\n"
    assert addresses(read(tmp_path / "list.csv", text)) == {
        "a": ("input", 5), "b": ("holding", 5), "c": ("coil", 0),
    }  # fmt: skip


def test_order_of_all_values_without_one(tmp_path: Path) -> None:
    text = "Register,Name,Type\n0,a,U32\n2,b,U64\n6,c,U16\n7,d,U32 (big endian)\n"
    orders = {}
    for order in ("CDAB", "DCBA"):
        points = read(tmp_path / "list.csv", text, order=order).profile.points.values()
        orders[order] = [point.byte_order for point in points]
    assert orders == {"CDAB": ["CDAB", "GHEFCDAB", "AB", "ABCD"], "DCBA": ["DCBA", "HGFEDCBA", "BA", "ABCD"]}


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("", {}, "no row has headings"),
        ("hello\nworld\n", {}, "no row has headings"),
        ("a,b\n1,2\n", {}, "no row has headings"),
        ("Address,Name,Type\n0,a,U16\n", {"chosen": {"scale": "Faktor"}}, "no row has the heading 'Faktor'"),
        ("Address,Name,Type\n0,a,U16\n", {"chosen": {"scale": "9"}}, "there is no column '9' for scale"),
        ("Address,Name,Type\n0,a,BCD\n", {}, "no row is understood as a register"),
        ('Address,Name,Type\n0,"' + "a" * 200_000, {}, "not a table: field larger"),
        ("Address,Name\n0,a\0b\n", {}, "this is no text"),
    ],
)
def test_files_of_which_nothing_can_be_made(tmp_path: Path, text: str, options: dict, told: str) -> None:
    assert told in wrong(tmp_path / "list.csv", text, **options)


def test_no_file(tmp_path: Path) -> None:
    for name in ("none.csv", "none.xlsx"):
        with pytest.raises(ConfigError, match="no such file"):
            read_sheet(tmp_path / name, judge)
    with pytest.raises(ConfigError, match="old Excel format"):
        read_sheet(tmp_path / "a.xls", judge)


CELLS = st.one_of(
    st.text(max_size=12), st.integers(-5, 470000).map(str),
    st.sampled_from(["Address", "Name", "Type", "Unit", "Scale", "U16", "INT32", "0x10", "R/W", "0.1", "03"]),
)  # fmt: skip


@given(st.lists(st.lists(CELLS, min_size=1, max_size=7), max_size=12))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_list_is_too_odd(tmp_path: Path, rows: list[list[str]]) -> None:
    head = ["Address", "Name", "Type", "Size", "Scale", "Unit", "Access"]
    for lines in (rows, [head, *rows]):
        text = "\n".join(",".join(cell.replace(",", " ") for cell in cells) for cells in lines)
        with suppress(ConfigError):
            read(tmp_path / "list.csv", text.encode("utf-8", "replace"))
