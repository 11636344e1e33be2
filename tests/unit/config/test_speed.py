"""Large files load in a time that nobody notices. The limits are several times what is measured."""

import time
from pathlib import Path

import pytest

from fluxfast.config import load
from fluxfast.errors import ConfigError

DEVICE = """\
    - id: bess-{n:05d}
      name: BESS {n}
      type: powerpack
      capacity_kwh: 400
      rated_power_kw: 200
      points: {{soe: {{scale: 0.1}}}}
      modbus:
        host: {host}
        port: {port}
        address: 1
        timeout: 5s
        retry_count: 3
"""


def write(file: Path, port: int) -> None:
    devices = [
        DEVICE.format(n=n, host=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", port=port) for n in range(1, 10_001)
    ]
    file.write_text("devices:\n  bess:\n" + "".join(devices))


def seconds(file: Path) -> float:
    started = time.perf_counter()
    load(file)
    return time.perf_counter() - started


def test_10000_listed_devices(tmp_path: Path) -> None:
    write(tmp_path / "site.yaml", 502)
    assert seconds(tmp_path / "site.yaml") < 8


def test_10000_counted_devices(tmp_path: Path) -> None:
    text = "devices: {bess: [{count: 10000, id: 'b{n}', type: powerpack, modbus: {host: 10.0.0.1}}]}"
    (tmp_path / "site.yaml").write_text(text)
    assert seconds(tmp_path / "site.yaml") < 1


def test_10000_wrong_devices(tmp_path: Path) -> None:
    write(tmp_path / "site.yaml", 0)
    started = time.perf_counter()
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "site.yaml")
    assert time.perf_counter() - started < 8
    assert len(caught.value.problems) == 10_000
