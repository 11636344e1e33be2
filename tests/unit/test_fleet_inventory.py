"""What the log is told of a fleet."""

import numpy as np
import pytest

from fluxfast.config import load
from fluxfast.inventory import dataset, device_rows, profile_hash
from fluxfast.plan import compile_plan
from fluxfast.profiles import load_profile

FLEET = """\
site: S
overrides: {powerpack: {points: {soe: {scale: 0.1}}}}
devices:
  bess:
    - {id: b1, name: One, type: powerpack, capacity_kwh: 400, rated_power_kw: 200, modbus: {host: 10.0.0.1}}
    - {id: b2, type: powerpack, modbus: {host: 10.0.0.2, port: 5020, address: 7}}
    - {id: b3, type: powerpack, modbus: {host: 10.0.0.3}, points: {soe: {group: slow}}, quirks: {max_gap: 0}}
  meters:
    - {id: m1, type: acuvim2, role: grid, modbus: {host: 10.0.1.1}}
"""
SLOW = "name: p\ngroups: {slow: 5}\npoints:\n  a: {address: 1, type: int16}\n"


@pytest.fixture
def fleet(tmp_path):
    def make(text):
        (tmp_path / "site.yaml").write_text(text)
        return load(tmp_path / "site.yaml")

    return make


def about(made, column):
    (found,) = [c for c in made.columns if c.name == column]
    return dict(found.metadata)


def test_devices(fleet):
    made = fleet(FLEET.replace("points: {soe: {group: slow}}", "points: {soe: {unit: pct}}"))
    rows = {row.device: row for row in device_rows(made)}
    assert list(rows) == ["b1", "b2", "b3", "m1"]
    assert rows["b1"][:6] == ("b1", "One", "S", "bess", "powerpack", "powerpack")
    assert rows["b1"][7:] == (None, "10.0.0.1", 502, 1, 400.0, 200.0)
    assert rows["m1"][7:] == ("grid", "10.0.1.1", 502, 1, None, None)
    hashes = [row.profile_hash for row in rows.values()]
    assert hashes[0] == hashes[1] == profile_hash(made.devices[0].profile)
    assert len(set(hashes)) == 3


def test_a_profile_s_hash_is_of_what_it_says(fleet):
    one, again = (fleet(FLEET.replace("group: slow", "unit: pct")).devices[0].profile for _ in range(2))
    assert one is not again
    assert profile_hash(one) == profile_hash(again)
    assert profile_hash(one) != profile_hash(load_profile("powerpack"))
    assert len(profile_hash(one)) == 16


def test_signs_are_those_that_control_goes_by(fleet):
    made = fleet(FLEET.replace("group: slow", "unit: pct"))
    pack, meter = (dataset(layout) for layout in compile_plan(made).tables)
    assert about(pack, "target_power")["sign"] == "positive discharges"
    assert "sign" not in about(pack, "soe")
    assert about(meter, "power_total")["sign"] == "positive imports"


def test_points_name_the_column_with_their_time(fleet, tmp_path):
    (tmp_path / "p.yaml").write_text(SLOW + "  b: {address: 2, type: int16, group: slow}\n")
    pack = "devices: {bess: [{id: b1, type: ./p.yaml, modbus: {host: 10.0.0.1}}"
    (layout,) = compile_plan(fleet(f"{pack}]}}")).tables
    made = dataset(layout)
    assert [column.name for column in made.columns] == ["sample_ms_1", "sample_ms_2", "a", "b"]
    assert [about(made, name)["sample"] for name in "ab"] == ["sample_ms_1", "sample_ms_2"]
    assert about(made, "sample_ms_2")["unit"] == "ms"
    assert made.metadata["profile_hash"] == profile_hash(layout.profile)
    other = "{id: b2, type: ./p.yaml, modbus: {host: 10.0.0.2}, points: {a: {group: slow}, b: {group: fast}}}"
    (layout,) = compile_plan(fleet(f"{pack}, {other}]}}")).tables
    mixed = dataset(layout)
    assert [about(mixed, name)["sample"] for name in "ab"] == [
        "sample_ms_1, sample_ms_2", "sample_ms_2, sample_ms_1"
    ]  # fmt: skip
    assert mixed.metadata["profile_hash"] not in {profile_hash(device.profile) for device in layout.devices}
    assert np.array_equal(mixed.variants, [0, 1])


def test_points_of_a_single_block_have_their_row_s_time(fleet, tmp_path):
    (tmp_path / "p.yaml").write_text(SLOW)
    (layout,) = compile_plan(
        fleet("devices: {bess: [{id: b1, type: ./p.yaml, modbus: {host: 10.0.0.1}}]}")
    ).tables
    made = dataset(layout)
    assert [column.name for column in made.columns] == ["a"]
    assert about(made, "a")["sample"] == "latency_ms"
