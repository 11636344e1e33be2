"""Ten thousand devices in one file: all of them are there, and all that is wrong with them is told."""

from pathlib import Path

import pytest

from fluxfast.config import load
from fluxfast.errors import ConfigError

COUNT = 10_000


def write(file: Path, port: int) -> None:
    devices = [
        f"    - {{id: bess-{n:05d}, type: powerpack, points: {{soe: {{scale: 0.1}}}},"
        f" modbus: {{host: 10.{n >> 16}.{n >> 8 & 255}.{n & 255}, port: {port}}}}}\n"
        for n in range(1, COUNT + 1)
    ]
    file.write_text("devices:\n  bess:\n" + "".join(devices))


def test_listed_devices_with_equal_overrides_share_one_profile(tmp_path: Path) -> None:
    write(tmp_path / "site.yaml", 502)
    fleet = load(tmp_path / "site.yaml")
    assert len(fleet.devices) == COUNT
    assert len({id(device.profile) for device in fleet.devices}) == 1
    assert fleet.devices[-1].line == COUNT + 2


def test_counted_devices(tmp_path: Path) -> None:
    text = (
        f"devices: {{bess: [{{count: {COUNT}, id: 'b{{n}}', type: powerpack, modbus: {{host: 10.0.0.1}}}}]}}"
    )
    (tmp_path / "site.yaml").write_text(text)
    fleet = load(tmp_path / "site.yaml")
    assert len({device.modbus.host for device in fleet.devices}) == COUNT


def test_wrong_devices_are_all_told(tmp_path: Path) -> None:
    write(tmp_path / "site.yaml", 0)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "site.yaml")
    assert [problem.line for problem in caught.value.problems] == list(range(3, COUNT + 3))
