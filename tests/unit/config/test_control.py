"""``control:`` of sites: whose it is, what it defaults to, who is controlled, and by which meters."""

import pickle
from pathlib import Path

import pytest

from fluxfast.config import Control, Fleet, Limits, load
from fluxfast.errors import ConfigError
from fluxfast.profiles import BatteryControl
from tests.unit.config.conftest import Load

UNIT = "{{id: {0}, type: powerpack, capacity_kwh: 400, rated_power_kw: 200, modbus: {{host: {0}}}}}"
METER = "{{id: {0}, type: {1}, {2} modbus: {{host: {0}}}}}"


def site(control: str, *units: str, meters: str = "") -> str:
    listed = ", ".join(units or [UNIT.format("b1")])
    return f"control: {{{control}}}\ndevices: {{bess: [{listed}], meters: [{meters}]}}\n"


def battery(fleet: Fleet, index: int = 0) -> BatteryControl:
    control = fleet.devices[index].profile.control
    assert isinstance(control, BatteryControl)
    return control


@pytest.mark.parametrize("action", ["observe", "shadow", "act"])
def test_actions(load_text: Load, action: str) -> None:
    fleet = load_text(site(f"action: {action}"))
    assert fleet.sites[0].control == Control(action=action)
    assert fleet.sites[0].control.decides == (action != "observe")


def test_an_empty_section_is_the_default(load_text: Load) -> None:
    assert load_text(f"control:\ndevices: {{bess: [{UNIT.format('b1')}]}}\n").sites[0].control == Control()
    assert load_text(site("modes: , limits: {}")).sites[0].control == Control()


def test_every_key(load_text: Load) -> None:
    keys = (
        "action: act, split: power, time_zone: Europe/Berlin, deadband_kw: 1.5, hold_off: 0s, horizon: 2m,"
        "ramp_kw_per_s: 20, efficient_kw: 50, rotate: 1h, balance_kw_per_pct: 0, settle: 500ms,"
        "max_age: 1.5s, hold: 0s, ramp_down: 20s, hang: 1500ms, limits: {reserve_pct: 20, charge_kw: 100,"
        "discharge_kw: 0, unit_ramp_kw_per_s: 10}"
    )
    assert load_text(site(keys)).sites[0].control == Control(
        action="act",
        split="power",
        time_zone="Europe/Berlin",
        deadband_kw=1.5,
        hold_off_s=0,
        horizon_s=120,
        ramp_kw_per_s=20,
        efficient_kw=50,
        rotate_s=3600,
        balance_kw_per_pct=0,
        settle_s=0.5,
        max_age_s=1.5,
        hold_s=0,
        ramp_down_s=20,
        hang_s=1.5,
        limits=Limits(reserve_pct=20, charge_kw=100, discharge_kw=0, unit_ramp_kw_per_s=10),
    )


def test_each_file_of_a_folder_has_its_own(tmp_path: Path) -> None:
    for name, text in {
        "a": site("action: act", UNIT.format("a1")),
        "b": site("action: shadow, limits: {charge_kw: 5}", UNIT.format("b1")),
        "c": f"devices: {{bess: [{UNIT.format('c1')}]}}",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    a, b, c = (one.control for one in load(tmp_path).sites)
    assert (a, b, c) == (Control("act"), Control("shadow", limits=Limits(charge_kw=5)), Control())


def test_a_sites_own_replaces_the_files(load_text: Load) -> None:
    fleet = load_text(f"""\
control: {{action: act, split: equal}}
sites:
  - {{site: n, devices: {{bess: [{UNIT.format("n1")}]}}}}
  - {{site: s, control: {{action: shadow}}, devices: {{bess: [{UNIT.format("s1")}]}}}}
  - {{site: w, control: {{}}, devices: {{bess: [{{id: w1, type: powerpack, modbus: {{host: w}}}}]}}}}
""")
    assert [one.control for one in fleet.sites] == [
        Control("act", split="equal"), Control("shadow"), Control()
    ]  # fmt: skip


def test_observing_without_modes_and_limits_asks_for_nothing(load_text: Load) -> None:
    text = site("split: equal", "{id: b1, type: powerpack, modbus: {host: b1}}")
    assert load_text(text).warnings == ()


def test_what_is_missing_is_a_warning_while_observing(load_text: Load) -> None:
    text = site("limits: {import_kw: 5}", "{id: b1, type: powerpack, modbus: {host: b1}}")
    assert [str(warning) for warning in load_text(text).warnings] == [
        "plant.yaml:2: b1: the key 'rated_power_kw' is missing, and control needs it "
        "(write rated_power_kw: and a number, or control: false)",
        "plant.yaml:2: b1: the key 'capacity_kwh' is missing, and control needs it "
        "(write capacity_kwh: and a number, or control: false)",
        "plant.yaml:1: control.limits.import_kw: import_kw needs a meter of the grid connection "
        "(add a meter with role: grid)",
    ]


def test_who_is_controlled(load_text: Load) -> None:
    plain = "{{id: {0}, type: powerpack, {1} modbus: {{host: {0}}}}}"
    units = [plain.format("b1", ""), plain.format("b2", "control: true,"), plain.format("b3", "blocks: 4,")]
    overrides = "overrides: {powerpack: {control: false}}\n"
    fleet = load_text(overrides + site("", *units))
    assert [device.controlled for device in fleet.devices] == [False, True, False]
    assert [device.blocks for device in fleet.devices] == [None, None, 4]
    assert [unit.id for unit in fleet.sites[0].units] == ["b2"]


def test_a_unit_that_is_left_alone_needs_nothing(load_text: Load) -> None:
    alone = "{id: b2, type: acuvim2, control: false, modbus: {host: b2}}"
    assert load_text(site("action: act", UNIT.format("b1"), alone)).warnings == ()


@pytest.mark.parametrize(
    ("meters", "grid", "frequency"),
    [
        ([], None, None),
        ([("m1", "acuvim2", "")], "m1", None),
        ([("m1", "acuvim2", "role: pv,")], None, None),
        ([("m1", "acuvim2", ""), ("m2", "acuvim2", "")], None, None),
        ([("m1", "acuvim2", ""), ("m2", "acuvim2_vendor", "role: grid,")], "m2", "m2"),
        ([("m1", "acuvim2_vendor", "role: pv,"), ("m2", "acuvim2", "role: grid,")], "m2", "m1"),
        ([("m1", "acuvim2", "role: grid,"), ("m2", "acuvim2", "role: grid,")], None, None),
        ([("m1", "powerpack", "role: grid,")], None, None),
        ([("m1", "acuvim2", "role: grid, control: false,"), ("m2", "acuvim2_vendor", "")], "m2", "m2"),
    ],
)
def test_meters(
    load_text: Load, meters: list[tuple[str, str, str]], grid: str | None, frequency: str | None
) -> None:
    fleet = load_text(site("action: act", meters=", ".join(METER.format(*one) for one in meters)))
    found = fleet.sites[0].grid_meter, fleet.sites[0].frequency_meter
    assert [meter and meter.id for meter in found] == [grid, frequency]


def test_overrides_of_a_profiles_control(load_text: Load) -> None:
    overrides = "overrides: {powerpack: {control: {refresh: 5s, blocks: null}}}\n"
    plain, own = UNIT.format("b1"), UNIT.format("b2")[:-1] + ", control: {refresh: 1s, write: fc16}}"
    fleet = load_text(overrides + site("action: act", plain, own))
    for index, expected in enumerate([(5e9, None, "fc06"), (1e9, None, "fc16")]):
        control = battery(fleet, index)
        assert (control.refresh_ns, control.blocks, control.write) == expected
    assert [device.controlled for device in fleet.devices] == [True, True]
    assert [device.profile.write_function("target_power") for device in fleet.devices] == [6, 16]


def test_states_follow_their_labels(load_text: Load) -> None:
    overrides = "overrides: {powerpack: {points: {status: {states: {7: READY, 3: FAULT, 9: READY}}}}}\n"
    fleet = load_text(overrides + site("action: act"))
    assert battery(fleet).ready.codes(fleet.devices[0].profile.points) == (7, 9)


def test_a_control_map_can_be_added_to_a_profile(tmp_path: Path) -> None:
    (tmp_path / "types").mkdir()
    (tmp_path / "types/pcs.yaml").write_text("""\
points:
  p: {address: 1, type: float32, unit: MW, access: wo}
  e: {address: 3, type: uint16, unit: "%"}
  s: {address: 4, type: uint16, states: {0: "NO", 1: GO}}
""")
    (tmp_path / "plant.yaml").write_text(
        "overrides: {pcs: {control: {setpoint: p, soe: e, ready: {s: GO}}}}\n"
        + site("action: act", UNIT.format("b1").replace("powerpack", "types/pcs.yaml"))
    )
    fleet = load(tmp_path / "plant.yaml")
    assert battery(fleet).ready == ("s", ("GO",))
    assert fleet.devices[0].profile.write_function("p") == 16


def test_an_unsigned_setpoint_is_enough_where_nothing_charges(load_text: Load) -> None:
    unit = UNIT.format("b1")[:-1] + ", points: {target_power: {type: uint16}}}"
    assert load_text(site("action: act, limits: {charge_kw: 0}", unit)).warnings == ()


def test_an_unsigned_setpoint_with_an_offset_can_charge(load_text: Load) -> None:
    unit = UNIT.format("b1")[:-1] + ", points: {target_power: {type: uint16, offset: -1000}}}"
    assert load_text(site("action: act", unit)).warnings == ()


def test_readings_that_are_rare_are_too_old(tmp_path: Path) -> None:
    (tmp_path / "slow.yaml").write_text("""\
groups: {slow: 60, half: 2}
points:
  p: {address: 1, type: float32, unit: kW, access: rw, group: half}
  e: {address: 3, type: uint16, unit: "%", group: slow}
  s: {address: 4, type: uint16, access: rw, states: {1: GO}}
  k: {address: 5, type: uint16, group: slow}
control: {setpoint: p, soe: e, ready: {s: [GO]}, source: {s: GO}, blocks: k, power: p}
""")
    (tmp_path / "meter.yaml").write_text("""\
groups: {slow: 3}
points: {p: {address: 1, type: float32, unit: kW, group: slow}}
control: {power: p}
""")
    unit = UNIT.format("b1").replace("powerpack", "./slow.yaml")
    meters = ", ".join(METER.format(id_, "./meter.yaml", f"role: {id_},") for id_ in ("grid", "pv"))
    file = tmp_path / "plant.yaml"
    file.write_text(site("limits: {charge_kw: 5}", unit, meters=meters))
    assert [(warning.where, warning.message) for warning in load(file).warnings] == [
        ("b1: control.soe", "'e' is read every 60 ticks, and decided on for 2"),
        ("b1: control.blocks", "'k' is read every 60 ticks, and decided on for 2"),
        ("grid: control.power", "'p' is read every 3 ticks, and decided on for 2"),
    ]
    file.write_text(site("action: act, max_age: 1m", unit, meters=meters))
    assert load(file).warnings == ()


@pytest.mark.parametrize("changes", ["limits: [-20, 20], unit: W", "type: float32, unit: MW, address: 3000"])
def test_a_setpoint_that_is_limited_or_wide_enough(load_text: Load, changes: str) -> None:
    unit = UNIT.format("b1")[:-1] + f", points: {{target_power: {{{changes}}}}}, control: {{write: fc16}}}}"
    assert load_text(site("action: act", unit)).warnings == ()


def test_a_controlled_fleet_can_be_sent_to_another_process(load_text: Load) -> None:
    fleet = load_text(site("action: act, modes: [{type: fixed_power, power_kw: 5}], limits: {charge_kw: 5}"))
    assert pickle.loads(pickle.dumps(fleet)) == fleet


def test_a_reserve_ends_below_where_charging_ends(load_text: Load) -> None:
    reserve = (
        "action: act, modes: [{{type: reserve, soe_pct: {}, charge_kw: 5}}], limits: {{soe_max_pct: {}}}"
    )
    for reached in ((93, 95), (99, 100)):
        assert load_text(site(reserve.format(*reached))).warnings == ()
    with pytest.raises(ConfigError) as caught:
        load_text(site(reserve.format(94, 95)))
    assert [str(problem) for problem in caught.value.problems] == [
        "plant.yaml:1: control.modes[0].soe_pct: reserve charges to 96 %, and soe_max_pct is 95 "
        "(lower it, or raise limits: {soe_max_pct: …})"
    ]
