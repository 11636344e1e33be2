"""A doctor at work: site files served by the simulator, or one device that behaves as a test says."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from fluxfast.config import Device, Fleet, load
from fluxfast.doctor import CHECKS, Report, Severity, examine

HOST = "127.64"

# What a PowerPack in order holds; whatever else is read is 0.
POWERPACK = {2000: 1, 2008: 0xFFCE, 2010: 1, 2026: 55, 2028: 10}

BESS = "type: powerpack, capacity_kwh: 400, rated_power_kw: 200"
POINTS = ("status", "target_power", "command_source", "soe", "available_blocks")


def site(folder: Path, devices: str, name: str = "site.yaml", head: str = "") -> Fleet:
    """Load a site file with these devices, `id: rest` a line; kinds by the id's first letter, b or m."""
    lists: dict[str, list[str]] = {"bess": [], "meters": []}
    for line in devices.strip().splitlines():
        id_, _, rest = line.strip().partition(": ")
        lists["bess" if id_.startswith("b") else "meters"].append(f"    - {{id: {id_}, {rest}}}\n")
    text = "".join(f"  {kind}:\n{''.join(lines)}" for kind, lines in lists.items() if lines)
    (folder / name).write_text(f"{head}\ndevices:\n{text}")
    return load(folder / name)


def at(number: int, port: int, unit: int = 1, **more: str) -> str:
    """Return `modbus:` of a device of its own address."""
    rest = "".join(f", {key}: {value}" for key, value in more.items())
    return f"modbus: {{host: {HOST}.0.{number}, port: {port}, address: {unit}{rest}}}"


def examined(fleet: Fleet, *, gentle: bool = False) -> dict[str, Report]:
    """Return the report of each device."""
    reports = asyncio.run(examine(fleet, fleet.devices, tuple(CHECKS), gentle, lambda done, total: None))
    return {report.device.id: report for report in reports}


def found(report: Report) -> list[str]:
    """Return the checks that have found a fault or a warning."""
    return [one.check for one in report.findings if one.severity != Severity.NOTE]


def cures(report: Report) -> str:
    return "; ".join(one.cure for one in report.findings)


def moved(device: Device, by: int) -> str:
    """Return `points:` that moves every address of a device's profile."""
    points = device.profile.points.values()
    return "points: {" + ", ".join(f"{p.name}: {{address: {p.address + by}}}" for p in points) + "}"


def values_of(registers: Mapping[int, int], address: int, quantity: int) -> list[int]:
    """Return registers, 0 where nothing else is said."""
    return [registers.get(address + i, 0) for i in range(quantity)]
