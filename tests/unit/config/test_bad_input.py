"""Every site file of ``bad_sites.txt`` gives exactly the problems that stand under it."""

from pathlib import Path

import pytest

from tests.unit.config.conftest import Fail
from tests.unit.profiles.golden import read_table

TABLE = read_table(Path(__file__).with_name("bad_sites.txt"))


@pytest.mark.parametrize("name", TABLE)
def test_is_reported(fail_text: Fail, name: str) -> None:
    text, expected = TABLE[name]
    assert [str(problem).removeprefix("plant.yaml:").strip() for problem in fail_text(text)] == expected


def test_table_is_long_enough() -> None:
    assert len(TABLE) > 100


def test_all_problems_at_once_in_file_order(fail_text: Fail) -> None:
    problems = fail_text("""\
site: a b
poll: {every: 5}
devices:
  bess:
    - {id: b1, type: powerpak, modbus: {host: 10.0.0.1}}
    - {id: b2, type: acuvim, modbus: {host: 10.0.0.2, prt: 502, address: 0}}
    - id: b3
      type: powerpack
      modbus: {host: 10.0.0.3}
      points:
        soe: {scale: 0}
        nothing: null
    - {id: B1, type: powerpack, modbus: {host: 10.0.0.4}, modbus: {host: 10.0.0.5}}
  meters:
    - {id: m1, type: acuvim2, modbus: {host: 10.0.0.1}}
    - {id: m1, type: acuvim2, role: 7, modbus: {host: 10.0.0.9}}
control: {action: drive}
""")
    assert [(problem.line, problem.where) for problem in problems] == [
        (1, "site"),
        (2, "poll.every"),
        (5, "b1: type"),
        (6, "b2: modbus.address"),
        (6, "b2: modbus.prt"),
        (6, "b2: type"),
        (11, "b3: points.soe.scale"),
        (12, "b3: points.nothing"),
        (13, ""),
        (13, "B1: id"),
        (15, "m1: modbus"),
        (16, "m1: role"),
        (16, "m1: id"),
        (17, "control.action"),
    ]
