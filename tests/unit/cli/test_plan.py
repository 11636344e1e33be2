"""``fluxfast plan``: what control would write."""

import json
from pathlib import Path

from click.testing import CliRunner

from fluxfast.cli.plan import plan

SITES = """\
sites:
  - site: n
    control: {action: act}
    devices:
      bess:
        - {id: "n{n}", count: 3, type: powerpack, capacity_kwh: 400, rated_power_kw: 200,
           modbus: {host: 10.0.0.1}}
        - {id: alone, type: powerpack, control: false, modbus: {host: 10.0.3.1}}
  - site: s
    control: {action: shadow}
    devices:
      bess:
        - id: s1
          type: powerpack
          capacity_kwh: 400
          rated_power_kw: 200
          points: {life_sign: {address: 2040, type: uint32, access: wo}}
          control: {write: fc16, refresh: 2.5s, source: null, heartbeat: {point: life_sign, every: 500ms}}
          modbus: {host: 10.0.1.1}
  - site: o
    devices: {bess: [{id: o1, type: powerpack, modbus: {host: 10.0.2.1}}]}
"""


def test_writes(tmp_path: Path) -> None:
    file = tmp_path / "sites.yaml"
    file.write_text(SITES)
    printed = CliRunner().invoke(plan, [str(file)]).output
    _, act, shadow = printed.replace("Decided,", "Written:").split("Written:")
    assert [line.split() for line in act.splitlines()[2:] if line] == [
        ["powerpack", "3", "06", "2010", "1", "command_source", "start,", "end"],
        ["powerpack", "3", "06", "2008", "1", "target_power", "change,", "10", "s"],
    ]
    assert [line.split() for line in shadow.splitlines()[2:]] == [
        ["powerpack", "1", "16", "2008", "1", "target_power", "change,", "2.5", "s"],
        ["powerpack", "1", "16", "2040", "2", "life_sign", "0.5", "s"],
    ]


def test_json(tmp_path: Path) -> None:
    file = tmp_path / "sites.yaml"
    file.write_text(SITES)
    writes = json.loads(CliRunner().invoke(plan, ["--json", str(file)]).output)["writes"]
    assert [(row["action"], row["role"], row["units"], row["every_s"]) for row in writes] == [
        ("act", "source", 3, None),
        ("act", "setpoint", 3, 10),
        ("shadow", "setpoint", 1, 2.5),
        ("shadow", "heartbeat", 1, 0.5),
    ]


def test_nothing_is_written_while_observing(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("devices: {bess: [{id: o1, type: powerpack, modbus: {host: 10.0.2.1}}]}")
    assert "ritten" not in CliRunner().invoke(plan, [str(file)]).output
    assert json.loads(CliRunner().invoke(plan, ["--json", str(file)]).output)["writes"] == []
