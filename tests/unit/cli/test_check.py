"""``fluxfast check``: lines, JSON and exit codes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fluxfast.cli.check import check

GOOD = "devices: {bess: [{id: b1, type: powerpack, capacity_kwh: 400, modbus: {host: 10.0.0.1}}]}\n"
WARNS = GOOD.replace("400", "4000")
WRONG = "devices:\n  bess:\n    - {id: b1, type: powerpack, modbus: {host: 10.0.0.1, port: 0}}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("good", GOOD), ("warns", WARNS), ("wrong", WRONG)):
        Path(f"{name}.yaml").write_text(text)


def run(*args: str, color: bool = False) -> Result:
    return CliRunner().invoke(check, args, color=color)


def test_good() -> None:
    result = run("good.yaml")
    assert result.output == "good.yaml: 1 site, 1 device, 1 profile, 1 link; 0 warnings\n"
    assert result.exit_code == 0


def test_warnings() -> None:
    result = run("warns.yaml")
    first, last = result.output.splitlines()
    assert first.startswith("warning: warns.yaml:1: b1: capacity_kwh: 4000 is outside the 100 to 500")
    assert last.endswith("1 link; 1 warning")
    assert result.exit_code == 1


def test_wrong() -> None:
    result = run("wrong.yaml")
    lines = result.output.splitlines()
    assert lines[0] == "problem: wrong.yaml:3: b1: modbus.port: must be at least 1, not 0"
    assert lines[-1] == "wrong.yaml: 1 problem"
    assert result.exit_code == 2


def test_files_of_modes() -> None:
    modes = "control: {modes: [{type: schedule, file: plan.csv}, {type: python, function: own.py:f}]}\n"
    Path("site").mkdir()
    Path("site/modes.yaml").write_text(GOOD + modes)
    assert run("site/modes.yaml").output == (
        "problem: site/plan.csv: cannot be read: No such file or directory\n"
        "problem: site/own.py: f: there is no such file (its path is relative to the site file)\n"
        "site/modes.yaml: 2 problems\n"
    )
    Path("site/plan.csv").write_text("start,power_kw\n2026-06-01,5\n")
    Path("site/own.py").write_text("def f(view):\n    return view.load_kw / 2\n")
    assert "control: modes: observe, schedule then python;" in run("site/modes.yaml").output


def test_missing_file() -> None:
    result = run("nowhere.yaml")
    assert result.output == "problem: nowhere.yaml: no such file\nnowhere.yaml: 1 problem\n"
    assert result.exit_code == 2


def test_several_sites_are_separate_fleets() -> None:
    result = run("good.yaml", "warns.yaml")
    assert result.exit_code == 1
    assert result.output.count("1 site, 1 device") == 2


def test_worst_exit_code_wins() -> None:
    assert run("wrong.yaml", "good.yaml").exit_code == 2


def test_without_site() -> None:
    assert run().exit_code == 2


def test_json() -> None:
    result = run("--json", "wrong.yaml", "warns.yaml")
    report = json.loads(result.output)
    wrong, warns = report["sites"]
    assert wrong["problems"] == [
        {
            "file": "wrong.yaml",
            "line": 3,
            "where": "b1: modbus.port",
            "message": "must be at least 1, not 0",
            "cure": "",
        }
    ]
    assert "counts" not in wrong
    assert warns["counts"] == {"sites": 1, "devices": 1, "profiles": 1, "links": 1}
    assert [problem["where"] for problem in warns["warnings"]] == ["b1: capacity_kwh"]
    assert report["exit_code"] == result.exit_code == 2


def test_colours_only_on_a_terminal() -> None:
    assert "\x1b[" not in run("wrong.yaml").output
    assert "\x1b[31m" in run("wrong.yaml", color=True).output
    assert "\x1b[33m" in run("warns.yaml", color=True).output


def test_messages_hold_no_control_characters() -> None:
    Path("evil.yaml").write_text(
        'devices:\n  bess:\n    - {id: "a\\e[31m\\nb", type: "x\\ny", modbus: {host: h}}\n'
    )
    result = run("evil.yaml")
    assert "\x1b" not in result.output
    assert len(result.output.splitlines()) == 3


UNIT = "{{id: {0}, type: powerpack, capacity_kwh: 400, rated_power_kw: 200, modbus: {{host: {0}}}}}"


def controlled(control: str, *units: str) -> str:
    return f"control: {control}\ndevices: {{bess: [{', '.join(map(UNIT.format, units))}]}}\n"


@pytest.mark.parametrize(
    ("control", "units", "line"),
    [
        ("{action: act}", ["b1", "b2"], "control: s: act, no mode; writes to 2 units: b1, b2"),
        (
            "{action: act, modes: [{type: soe_target, soe_pct: 50, by: '07:00'}, {type: balance}]}",
            ["b1", "b2", "b3", "b4", "b5", "b6"],
            "control: s: act, soe_target then balance; writes to 6 units",
        ),
        (
            "{action: shadow, modes: [{type: balance}]}",
            ["b1"],
            "control: s: shadow, balance; decides for 1 unit: b1; writes nothing",
        ),
        (
            "{modes: [{type: balance}]}",
            ["b1"],
            "control: s: observe, balance; decides and writes nothing",
        ),
    ],
)
def test_control(control: str, units: list[str], line: str) -> None:
    Path("s.yaml").write_text(controlled(control, *units))
    result = run("s.yaml")
    assert result.output.splitlines()[:-1] == [line]
    assert result.exit_code == 0


def test_sites_that_are_controlled_alike_share_a_line() -> None:
    Path("folder").mkdir()
    for name, control in (("a", "{action: act}"), ("b", "{action: act}"), ("c", "{action: shadow}")):
        Path(f"folder/{name}.yaml").write_text(controlled(control, f"{name}1"))
    assert run("folder").output.splitlines()[:-1] == [
        "control: 2 sites: act, no mode; writes to 2 units: a1, b1",
        "control: c: shadow, no mode; decides for 1 unit: c1; writes nothing",
    ]
    (report,) = json.loads(run("--json", "folder").output)["sites"]
    assert report["control"][2] == {"site": "c", "action": "shadow", "modes": [], "units": ["c1"]}
