"""Who is asked: units behind a host and port, or devices of a site file."""

import fnmatch
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic_core import PydanticCustomError

from fluxfast.client import Client
from fluxfast.config import Device, Fleet
from fluxfast.config.values import parse_host
from fluxfast.constants import DEFAULT_PORT
from fluxfast.errors import ConfigError, LocalProtocolError, Problem
from fluxfast.profiles.findings import nearest

TIMEOUT_S: Final = 1.0  # of a host that no site file knows
MAX_UNIT: Final = 255
_PORT: Final = re.compile(r"[0-9]{1,5}")
_UNITS: Final = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?")
_GLOB: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit identifier behind a host and port; ``device`` where a site file declares it."""

    host: str
    port: int
    unit_id: int
    device: Device | None = field(default=None, compare=False)

    @classmethod
    def of(cls, device: Device) -> "Unit":
        """Return the unit that a device is; LocalProtocolError for one on a serial line."""
        if device.modbus.host is None:
            cure = "give modbus: the host and port of a Modbus TCP gateway"
            raise LocalProtocolError(f"{device.id} is on a serial line, which is not spoken here ({cure})")
        return cls(device.modbus.host, device.modbus.port, device.modbus.unit, device)

    @property
    def endpoint(self) -> str:
        """Return ``192.168.1.100:502``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """The device's name, or where it is."""
        return self.device.name if self.device is not None else f"{self.endpoint} unit {self.unit_id}"

    @property
    def link(self) -> tuple[object, ...]:
        """What units must have in common to be asked on one connection: its end, and what it tolerates."""
        quirks = None if self.device is None else self.device.profile.quirks.model_dump_json()
        alone = self.device is not None and self.device.profile.quirks.unit_aliases
        return (self.host, self.port, quirks, self.unit_id if alone else None)

    def client(self, timeout_s: float | None = None, retry_count: int | None = None) -> Client:
        """Return a client that is not connected yet; without seconds and retries with the site file's."""
        if self.device is not None:
            return Client.of(self.device, timeout_s=timeout_s, retry_count=retry_count)
        seconds = TIMEOUT_S if timeout_s is None else timeout_s
        return Client(
            self.host, self.port, unit_id=self.unit_id, timeout_s=seconds, retry_count=retry_count or 0
        )


def is_site(text: str) -> bool:
    """Whether it names a site file or a folder of them, and not a host."""
    return text.lower().endswith((".yaml", ".yml")) or os.path.exists(text)  # which never raises


def parse_endpoint(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST``, ``HOST:PORT``, ``IPV6`` or ``[IPV6]:PORT``."""
    host, port = text, str(DEFAULT_PORT)
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise LocalProtocolError(f"{text!r} is not [ADDRESS]:PORT (write one like [fe80::1]:502)")
        port = rest[1:] if rest else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not _PORT.fullmatch(port) or not port.isascii() or not 1 <= int(port) <= 65535:
        raise LocalProtocolError(f"{text!r}: a port is 1 to 65535, not {port!r}")
    try:
        return parse_host(host), int(port)
    except PydanticCustomError as error:
        cure = (error.context or {}).get("cure") or "name a host like 192.168.1.100, or a site file"
        raise LocalProtocolError(f"{error} ({cure})") from None


def parse_units(text: str) -> tuple[int, ...]:
    """Return the unit identifiers of ``1``, ``1,3`` or ``1,3,10-20``, each once, in that order."""
    units: dict[int, None] = {}
    for part in text.split(","):
        match = _UNITS.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not match or not first <= last <= MAX_UNIT:
            raise LocalProtocolError(
                f"{part.strip()!r} is no unit identifier (write 0 to {MAX_UNIT}, like 1 or 1,3,10-20)"
            )
        units.update(dict.fromkeys(range(first, last + 1)))
    return tuple(units)


def find_devices(fleet: Fleet, word: str, file: str) -> Sequence[Device]:
    """Return the devices whose id or name it is, or that match it as a pattern like ``bess-*``.

    ``file`` is the site file, for the ConfigError when there is none, or when a name has several.
    """
    exact = [d for d in fleet.devices if d.id == word] or [d for d in fleet.devices if d.name == word]
    if len(exact) == 1:
        return exact
    if exact:
        ids = ", ".join(f"{device.id} (site {device.site})" for device in exact)
        raise _no_device(file, f"{len(exact)} devices have the name '{word}'", f"write an id: {ids}")
    if _GLOB.search(word):  # names may hold brackets too
        found = [d for d in fleet.devices if any(fnmatch.fnmatchcase(x, word) for x in (d.id, d.name))]
        if found:
            return found
    known = [name for device in fleet.devices for name in (device.id, device.name)]
    raise _no_device(file, f"no device '{word}'", nearest(word, known)[:300])


def _no_device(file: str, message: str, cure: str) -> ConfigError:
    return ConfigError([Problem(file, None, "", message, cure)])
