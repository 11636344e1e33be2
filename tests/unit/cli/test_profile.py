"""``fluxfast profile``: what is printed, the files that are written, and exit codes."""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fluxfast.cli.profile import profile
from fluxfast.cli.profile_doc import FORMATS
from fluxfast.profiles import builtin_profiles, load_profile
from tests.support.command import free_port
from tests.support.scripted import ScriptedServer, Servers
from tests.support.sunspec_device import device, model, serving_image

HOST = "127.5.2.1"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*args: object, code: int = 0) -> Result:
    result = CliRunner().invoke(profile, list(map(str, args)), prog_name="profile")
    assert result.exit_code == code, result.output
    return result


# ---- new ----


def test_a_new_profile_passes_its_check() -> None:
    run("new", "pcs")
    assert run("check", "pcs.yaml").output.endswith(
        "pcs.yaml: pcs, 7 points, 1 of them may be written; 0 warnings\n"
    )
    assert "is there already (--force writes over it)" in run("new", "pcs", code=2).output
    run("new", "pcs.yaml", "--force")
    Path("printed.yaml").write_text(run("new", "-").output)
    assert load_profile("printed.yaml").name == "new_device"
    assert "'1st' is not a profile name" in run("new", "1st", code=2).output


@pytest.mark.parametrize("name", builtin_profiles())
def test_a_copy_of_a_built_in_one(name: str) -> None:
    run("new", "mine", "--from", name)
    run("check", "mine.yaml")
    copy = load_profile("mine.yaml")
    assert copy == load_profile(name).model_copy(update={"name": "mine"})
    assert Path("mine.yaml").read_text().startswith("# ")
    assert "there is no profile 'nosuch'" in run("new", "other", "--from", "nosuch", code=2).output


# ---- check ----

ODD = """\
name: odd
groups: {slow: 9, never: 7}
points:
  a: {address: 0, type: float32, byte_order: CDAB, unit: kwh}
  b: {address: 2, type: float32, byte_order: CDAB, unit: V}
  c: {address: 4, type: float32, byte_order: CDAB, unit: V}
  d: {address: 6, type: float32, byte_order: CDAB, unit: V}
  e: {address: 8, type: float32, unit: V}
  f: {address: 10, type: uint16, unit: kW, access: rw}
  g: {address: 20, type: uint16, unit: "%", group: slow}
  h: {address: 21, type: uint16, states: {1: READY}}
  i: {address: 22, type: uint16}
control: {setpoint: f, soe: g, ready: {h: [READY]}}
"""


def test_likely_mistakes_are_warnings() -> None:
    Path("odd.yaml").write_text(ODD)
    lines = run("check", "odd.yaml", code=1).output.splitlines()
    assert lines == [
        "warning: odd.yaml:8: e.byte_order: its byte order is ABCD, that of 4 others is CDAB"
        " (is that meant?)",
        "warning: odd.yaml:4: a.unit: the unit 'kwh' (is it kWh?)",
        "warning: odd.yaml:2: groups.never: no point is in the group 'never' (remove it)",
        "warning: odd.yaml:13: control.setpoint: 'f' is a uint16: it can only discharge (is its type int16?)",
        "warning: odd.yaml:13: control.soe: 'g' is in the group 'slow', and decided on while it is old"
        " (take group: away)",
        "note: without unit, description and states: i",
        "note: may be written, and limits: does not say within what: f",
        "every tick: 1 request, 23 registers, 10 of them in gaps: FC03 0–22",
        "every 9 ticks: 1 request, 1 register: FC03 20–20",
        "odd.yaml: odd, 9 points, 1 of them may be written; 5 warnings",
    ]


def test_problems_and_json() -> None:
    Path("wrong.yaml").write_text(
        ODD.replace("8, type: float32", "8, type: float31").replace(" 2, t", " -2, t")
    )
    result = run("check", "wrong.yaml", "powerpack", "none.yaml", code=2)
    assert "problem: wrong.yaml:5: b.address: must be at least 0, not -2" in result.output
    assert "problem: wrong.yaml:8: e.type: must be 'int16'" in result.output
    assert "wrong.yaml: 2 problems" in result.output
    assert "powerpack: powerpack, 5 points" in result.output
    assert "none.yaml: there is no profile file none.yaml" in result.output
    report = json.loads(run("check", "--json", "wrong.yaml", "powerpack", code=2).output)
    wrong, right = report["profiles"]
    assert report["exit_code"] == 2
    assert [(one["line"], one["where"]) for one in wrong["problems"]] == [(5, "b.address"), (8, "e.type")]
    assert right["reads"] == [
        {"function_code": 3, "address": 2000, "quantity": 29, "points": 5, "unused": 24, "every": 1}
    ]
    assert right["writable"] == ["target_power", "command_source"]


# ---- doc ----


def test_the_table_of_a_profile() -> None:
    lines = run("doc", "powerpack").output.splitlines()
    assert lines[0] == "PowerPack BESS (powerpack, version 1, 5 points)"
    assert lines[3].split()[:6] == ["target_power", "2008", "0x07D8", "42009", "int16", "kW"]
    assert "That makes 1 read: FC03 2000–2028." in lines
    listed = run("doc").output
    assert all(name in listed for name in builtin_profiles())


def test_the_table_in_other_forms() -> None:
    Path("odd.yaml").write_text(ODD.replace("unit: V}", "unit: V, description: '<a|b>'}"))
    rows = list(csv.DictReader(io.StringIO(run("doc", "odd.yaml", "--format", "csv").output)))
    some = ("point", "reference", "order", "table", "description")
    assert [rows[1][key] for key in some] == ["b", "40003", "CDAB", "holding", "<a|b>"]
    assert "&lt;a\\|b&gt; |" in run("doc", "odd.yaml", "--format", "markdown").output
    page = run("doc", "odd.yaml", "--format", "html").output
    assert "<td>&lt;a|b&gt;</td>" in page
    assert "<a|b>" not in page
    point = json.loads(run("doc", "powerpack", "--json").output)["points"][1]
    assert (point["name"], point["address"], point["reference"], point["scale"]) == (
        "target_power",
        2008,
        "42009",
        1,
    )


@pytest.mark.parametrize("name", builtin_profiles())
def test_the_csv_of_a_profile_is_a_register_list(name: str) -> None:
    Path("list.csv").write_text(run("doc", name, "--format", "csv").output)
    run("from-csv", "list.csv", "-o", "back.yaml", "--map", "table=table", "--map", "states=states")
    keys = [(p.name, p.register, p.address, p.type, p.byte_order, p.scale, p.unit, p.access) for p in
            load_profile(name).points.values()]  # fmt: skip
    assert keys == [(p.name, p.register, p.address, p.type, p.byte_order, p.scale, p.unit, p.access) for p in
                    load_profile("back.yaml").points.values()]  # fmt: skip


# ---- from-csv ----


def test_a_register_list() -> None:
    Path("meter.csv").write_text(
        "Register;Name;Type;Unit\n40001;Voltage;float;V\n40003;Odd;BCD;V\n40005;Power;REAL;W\n"
    )
    result = run("from-csv", "meter.csv", "-o", "out.yaml", "--order", "cdab", code=1)
    assert "columns: address 'Register', name 'Name', type 'Type', unit 'Unit'" in result.stderr
    assert "So 40001 is PDU address 0 (holding)" in result.stderr
    assert "left out: meter.csv:3: Odd: there is no type 'BCD' here" in result.stderr
    assert result.stdout == "out.yaml: 2 points, 1 row left out\n"
    run("check", "out.yaml")
    assert load_profile("out.yaml").points["power"].byte_order == "CDAB"
    printed = run("from-csv", "meter.csv", code=1)
    Path("printed.yaml").write_text(printed.stdout)
    assert load_profile("printed.yaml").name == "meter"
    report = json.loads(run("from-csv", "meter.csv", "--json", code=1).stdout)
    assert (report["base"], report["points"], report["left_out"][0]["line"]) == ("40001", 2, 3)
    assert report["columns"]["address"] == "Register"
    assert "is no ROLE=HEADING" in run("from-csv", "meter.csv", "--map", "place=Register", code=2).output
    assert "out.yaml is there already" in run("from-csv", "meter.csv", "-o", "out.yaml", code=2).output
    assert "no such file" in run("from-csv", "none.csv", code=2).output


# ---- from-sunspec ----


def test_a_sunspec_device() -> None:
    server = ScriptedServer(serving_image(device(model(1), model(103), (64999, 1, 0))), HOST)
    with Servers([server]):
        place = f"{HOST}:{server.port}"
        result = run("from-sunspec", place, "-o", "inverter.yaml")
        assert "SunSpec at 40000: Mn 34 Md 47 Vr 73 SN 86" in result.stderr
        assert "model 64999 at 40122 (1 registers) has no definition: left out" in result.stderr
        report = json.loads(run("from-sunspec", place, "--json").stdout)
        other = run("from-sunspec", place, "--unit", 2, code=3)
    run("check", "inverter.yaml")
    assert load_profile("inverter.yaml").title == "Mn 34 Md 47"
    assert [one["id"] for one in report["models"]] == [1, 103, 64999]
    assert report["points"] == len(load_profile("inverter.yaml").points)
    assert "another unit may have it: many inverters are --unit 126" in other.stderr
    assert "connection refused" in run("from-sunspec", f"{HOST}:{free_port(HOST)}", code=3).stderr
    assert "'9' is not a profile name" in run("from-sunspec", place, "--name", "9", code=2).output


def test_control_characters_of_a_profile_do_not_reach_the_terminal() -> None:
    Path("odd.yaml").write_text(
        'title: "\\e[31mred"\npoints:\n  a: {address: 0, type: uint16, description: "x\\e]0;t\\a\\ny"}\n'
    )
    for format_ in FORMATS:
        printed = run("doc", "odd.yaml", "--format", format_).stdout
        assert printed.replace("\n", "").isprintable()
        assert "x\\x1b]0;t\\x07\\ny" in printed
