"""``count:``."""

import pytest

from fluxfast.config import Device
from tests.unit.config.conftest import Load


def bess(load_text: Load, text: str) -> tuple[Device, ...]:
    return load_text("devices: {bess: [{type: powerpack, " + text + "}]}").devices


def test_hosts_count_up_without_0_and_255(load_text: Load) -> None:
    devices = bess(
        load_text, "count: 600, id: 'b{n:04d}', name: 'Unit {n}', modbus: {host: 127.1.0.1, port: 5020}"
    )
    assert (devices[0].id, devices[0].name, devices[0].modbus.host) == ("b0001", "Unit 1", "127.1.0.1")
    assert [device.modbus.host for device in devices[253:255]] == ["127.1.0.254", "127.1.1.1"]
    assert (devices[-1].id, devices[-1].modbus.host) == ("b0600", "127.1.2.92")
    assert {device.modbus.port for device in devices} == {5020}
    assert len({device.modbus.host for device in devices}) == 600
    assert all(device.line == 1 for device in devices)
    assert len({id(device.profile) for device in devices}) == 1


def test_hosts_carry_into_the_second_byte(load_text: Load) -> None:
    devices = bess(load_text, "count: 2, id: 'b{n}', modbus: {host: 10.1.255.254}")
    assert [device.modbus.host for device in devices] == ["10.1.255.254", "10.2.0.1"]


def test_last_host(load_text: Load) -> None:
    assert bess(load_text, "count: 1, id: 'b{n}', modbus: {host: 223.255.255.254}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "step: port, modbus: {host: sim, port: 5020}",
            [("sim", 5020, 1), ("sim", 5021, 1), ("sim", 5022, 1)],
        ),
        ("step: address, modbus: {host: gw, address: 7}", [("gw", 502, 7), ("gw", 502, 8), ("gw", 502, 9)]),
        (
            "step: host, modbus: {host: 10.0.0.7}",
            [("10.0.0.7", 502, 1), ("10.0.0.8", 502, 1), ("10.0.0.9", 502, 1)],
        ),
    ],
)
def test_steps(load_text: Load, text: str, expected: list[tuple[str, int, int]]) -> None:
    devices = bess(load_text, f"count: 3, id: 'b{{n}}', {text}")
    assert [(d.modbus.host, d.modbus.port, d.modbus.unit) for d in devices] == expected


def test_name_defaults_to_the_id(load_text: Load) -> None:
    devices = bess(load_text, "count: 2, id: '{n}-pack-{n:03d}', modbus: {host: 10.0.0.1}")
    assert [(device.id, device.name) for device in devices] == [("1-pack-001",) * 2, ("2-pack-002",) * 2]


def test_braces_of_a_name_without_count_are_text(load_text: Load) -> None:
    assert bess(load_text, "id: b, name: 'a {n} b', modbus: {host: h}")[0].name == "a {n} b"


def test_serial_units_count_by_address(load_text: Load) -> None:
    devices = bess(load_text, "count: 2, step: address, id: 'b{n}', modbus: {device: /dev/ttyS0}")
    assert [(d.modbus.transport, d.modbus.device, d.modbus.unit) for d in devices] == [
        ("serial", "/dev/ttyS0", 1),
        ("serial", "/dev/ttyS0", 2),
    ]
