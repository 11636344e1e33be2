"""The shipped profiles against the documents they come from."""

from decimal import Decimal

import pytest

from fluxfast.profiles import BatteryControl, MeterControl, Profile, builtin_profiles, load_profile


def test_names() -> None:
    assert builtin_profiles() == ["acuvim2", "acuvim2_vendor", "powerpack"]
    assert all(load_profile(name).name == name for name in builtin_profiles())


def table(profile: Profile) -> list[tuple[str, int, str, str, str]]:
    return [(p.name, p.address, p.type, p.unit, p.access) for p in profile.points.values()]


def test_powerpack_is_the_documents_table() -> None:
    profile = load_profile("powerpack")
    assert table(profile) == [
        ("status", 2000, "uint16", "", "ro"),
        ("target_power", 2008, "int16", "kW", "rw"),
        ("command_source", 2010, "uint16", "", "rw"),
        ("soe", 2026, "uint16", "%", "ro"),
        ("available_blocks", 2028, "uint16", "", "ro"),
    ]
    assert profile.points["status"].states == {1: "READY"}
    assert profile.points["command_source"].states == {1: "REMOTE"}
    assert profile.points["soe"].scale == 1


def test_acuvim2_is_the_documents_table() -> None:
    profile = load_profile("acuvim2")
    assert table(profile) == [
        ("voltage_l1_n", 0x0000, "float32", "V", "ro"),
        ("current_l1", 0x0010, "float32", "A", "ro"),
        ("power_total", 0x0040, "float32", "W", "ro"),
        ("energy_import", 0x0100, "float32", "kWh", "ro"),
    ]
    scales = {name: point.scale for name, point in profile.points.items()}
    assert scales == {"voltage_l1_n": 1, "current_l1": 1, "power_total": 1000, "energy_import": 1}


def reads(profile: Profile) -> list[tuple[int, int]]:
    """The plainest planner: (first address, registers) of each read that the quirks allow."""
    blocks: list[list[int]] = []
    for point in sorted(profile.points.values(), key=lambda point: point.address):
        end = point.address + point.size
        if (
            blocks
            and point.address - blocks[-1][1] <= profile.quirks.max_gap
            and end - blocks[-1][0] <= profile.quirks.max_registers
        ):
            blocks[-1][1] = max(end, blocks[-1][1])
        else:
            blocks.append([point.address, end])
    return [(first, end - first) for first, end in blocks]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("powerpack", [(2000, 29)]),
        ("acuvim2", [(0x0000, 66), (0x0100, 2)]),
        ("acuvim2_vendor", [(0x4000, 90)]),
    ],
)
def test_reads(name: str, expected: list[tuple[int, int]]) -> None:
    assert reads(load_profile(name)) == expected


def test_acuvim2_vendor_covers_its_block_once() -> None:
    profile = load_profile("acuvim2_vendor")
    assert len(profile.points) == 45
    taken = [a for p in profile.points.values() for a in range(p.address, p.address + p.size)]
    assert sorted(taken) == list(range(0x4000, 0x405A))
    assert not any(point.writable for point in profile.points.values())


@pytest.mark.parametrize(
    ("name", "address", "type_", "scale", "unit"),
    [
        ("frequency", 0x4000, "float32", "1", "Hz"),
        ("voltage_l1_n", 0x4002, "float32", "1", "V"),
        ("voltage_l1_l2", 0x400A, "float32", "1", "V"),
        ("current_l1", 0x4012, "float32", "1", "A"),
        ("power_total", 16418, "float32", "1", "W"),
        ("reactive_power_total", 0x402A, "float32", "1", "var"),
        ("apparent_power_total", 0x4032, "float32", "1", "VA"),
        ("power_factor", 0x403A, "float32", "1", ""),
        ("load_type", 0x4040, "float32", "1", ""),
        ("energy_import", 0x4048, "uint32", "0.1", "kWh"),
        ("energy_export", 0x404A, "uint32", "0.1", "kWh"),
        ("energy_net", 0x4052, "int32", "0.1", "kWh"),
        ("reactive_energy_net", 0x4056, "int32", "0.1", "kvarh"),
        ("apparent_energy", 0x4058, "uint32", "0.1", "kVAh"),
    ],
)
def test_acuvim2_vendor(name: str, address: int, type_: str, scale: str, unit: str) -> None:
    point = load_profile("acuvim2_vendor").points[name]
    assert (point.address, point.type, point.scale, point.unit) == (address, type_, Decimal(scale), unit)


def test_same_quantity_same_name_and_unit() -> None:
    document, vendor = load_profile("acuvim2").points, load_profile("acuvim2_vendor").points
    assert {name: point.unit for name, point in document.items()} == {
        name: vendor[name].unit for name in document
    }


def test_powerpack_is_commanded_as_the_document_says() -> None:
    profile = load_profile("powerpack")
    control = profile.control
    assert isinstance(control, BatteryControl)
    assert (control.setpoint, control.soe, control.blocks) == ("target_power", "soe", "available_blocks")
    assert control.ready.codes(profile.points) == (1,)
    assert control.source is not None
    assert (control.source.point, control.source.codes(profile.points)) == ("command_source", (1,))
    assert profile.write_function("target_power") == 6
    assert control.refresh_ns == 10_000_000_000


def test_what_control_reads_of_meters() -> None:
    assert load_profile("acuvim2").control == MeterControl(power="power_total")
    assert load_profile("acuvim2_vendor").control == MeterControl(power="power_total", frequency="frequency")
