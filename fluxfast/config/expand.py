"""From one entry to its devices: ``count:``, ``{n}`` in the id, and a host, port or address that goes up."""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fluxfast.config.entries import DeviceEntry
from fluxfast.config.fleet import Modbus
from fluxfast.config.values import identifier_fault
from fluxfast.profiles.findings import Finding

_NUMBER: Final = re.compile(r"\{n(?::0([1-9])d)?\}")


@dataclass(frozen=True, slots=True)
class Unit:
    """One device of an entry."""

    id: str
    name: str
    modbus: Modbus


def expand(entry: DeviceEntry) -> tuple[list[Unit], list[Finding]]:
    """Return the entry's devices, n = 1 … count; or what keeps it from being counted."""
    count = entry.count or 1
    if entry.count is not None and (findings := list(_check_count(entry, entry.count))):
        return [], findings
    hosts = _hosts(entry, count)
    counted = entry.count is not None
    units = []
    for index in range(count):
        id_ = _numbered(entry.id, index + 1) if counted else entry.id
        name = id_ if entry.name is None else _numbered(entry.name, index + 1) if counted else entry.name
        units.append(Unit(id_, name, _modbus(entry, next(hosts), index)))
    return units, []


def _check_count(entry: DeviceEntry, count: int) -> Iterator[Finding]:
    if not _NUMBER.search(entry.id):
        yield Finding(("id",), f"'{entry.id[:70]}' would name {count} devices", "put {n} or {n:04d} into it")
    elif fault := identifier_fault(_numbered(entry.id, count)):
        yield Finding(("id",), *fault)
    modbus = entry.modbus
    if entry.step == "port" and modbus.port + count - 1 > 65535:
        yield Finding(("count",), f"counting {count} ports up from {modbus.port} runs past 65535")
    elif entry.step == "address" and modbus.address + count - 1 > 255:
        yield Finding(("count",), f"counting {count} addresses up from {modbus.address} runs past 255")
    elif entry.step == "host" and count > 1:
        yield from _check_host(modbus.host, count)


def _check_host(host: str | None, count: int) -> Iterator[Finding]:
    loc = ("modbus", "host")
    if host is None:
        yield Finding(("step",), "units of one serial line differ by their address", "write step: address")
        return
    try:
        first = ipaddress.IPv4Address(host)
    except ValueError:
        cure = "name the first IPv4 address, or write step: port or step: address"
        yield Finding(loc, f"'{host}' cannot be counted up", cure)
        return
    if int(first) & 0xFF in (0, 255):
        yield Finding(loc, f"{host} ends in .0 or .255, which counting leaves out", "start at .1")
    elif _rank(int(first)) + count - 1 > _rank(0xDFFFFFFE):
        yield Finding(("count",), f"counting {count} hosts up from {host} runs past 223.255.255.254")


def _hosts(entry: DeviceEntry, count: int) -> Iterator[str | None]:
    """Yield each device's host; counted ones leave out .0 and .255, a /24's network and broadcast."""
    if entry.count is None or entry.step != "host" or entry.modbus.host is None or count == 1:
        for _ in range(count):
            yield entry.modbus.host
        return
    first = _rank(int(ipaddress.IPv4Address(entry.modbus.host)))
    for rank in range(first, first + count):
        network, last = divmod(rank, 254)
        yield f"{network >> 16}.{network >> 8 & 0xFF}.{network & 0xFF}.{last + 1}"


def _rank(address: int) -> int:
    """Number the IPv4 addresses without those that end in .0 or .255."""
    return (address >> 8) * 254 + (address & 0xFF) - 1


def _modbus(entry: DeviceEntry, host: str | None, index: int) -> Modbus:
    modbus = entry.modbus
    counted = index if entry.count is not None else 0
    return Modbus(
        transport="serial" if modbus.is_serial else "tcp",
        host=host,
        port=modbus.port + counted * (entry.step == "port"),
        unit=modbus.address + counted * (entry.step == "address"),
        timeout_ns=modbus.timeout_ns,
        retry_count=modbus.retry_count,
        device=modbus.device,
        baud=modbus.baud,
        parity=modbus.parity,
        data_bits=modbus.data_bits,
        stop_bits=modbus.stop_bits,
    )


def _numbered(template: str, number: int) -> str:
    return _NUMBER.sub(lambda match: f"{number:0{match[1] or 1}d}", template)
