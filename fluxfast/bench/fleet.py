"""The fleet that a machine is tried with where no site file is given: meters that all have one register map.

Each has a loopback address of its own and R registers from 0 on: float32 values, and a uint16 where R is odd.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fluxfast.config import Fleet, load

FIRST_IP: Final = "127.101.0.1"  # counted up, without .0 and .255
PROFILE: Final = "bench"
MOST_REGISTERS: Final = 5000
MOST_DEVICES: Final = 200_000


@contextmanager
def own_fleet(devices: int, registers: int, every_us: int, port: int) -> Iterator[Fleet]:
    """Load the fleet from files that are there for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="fluxfast-bench-") as folder:
        site, profile = Path(folder) / "site.yaml", Path(folder) / f"{PROFILE}.yaml"
        profile.write_text(_profile(registers), encoding="utf-8")
        site.write_text(_site(devices, every_us, port), encoding="utf-8")
        yield load(site)


def _profile(registers: int) -> str:
    points = [f"  value_{n}: {{address: {2 * n}, type: float32}}\n" for n in range(registers // 2)]
    if registers % 2:
        points.append(f"  status: {{address: {registers - 1}, type: uint16}}\n")
    return f"name: {PROFILE}\nversion: 1\npoints:\n{''.join(points)}"


def _site(devices: int, every_us: int, port: int) -> str:
    return (
        f"poll: {{every: {every_us}us, connects_per_s: 0}}\ndevices:\n  meters:\n"
        f'    - {{id: "m{{n}}", count: {devices}, type: ./{PROFILE}.yaml,'
        f" modbus: {{host: {FIRST_IP}, port: {port}}}}}\n"
    )
