"""What a scan found: a verdict for each host and port, and what is known of the units there."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from fluxfast.constants import exception_name

_OBJECTS: Final = (
    "vendor_name",
    "product_code",
    "revision",
    "vendor_url",
    "product_name",
    "model_name",
    "application_name",
)  # MAP 6.21, by object id


class Verdict(Enum):
    """What is at a host and port."""

    DEVICE = "device"  # answers
    EXCEPTION = "exception"  # is there, and answers exceptions only
    GATEWAY = "gateway"  # says of units that they are not there
    OPEN = "open"  # connected to, and not asked
    SILENT = "silent"  # open, no answer
    NOT_MODBUS = "not modbus"
    BUSY = "busy"  # closes what it has accepted: all its connections are taken
    POLLED = "polled here"  # left alone: a station of this machine polls it
    CLOSED = "closed"
    UNREACHABLE = "unreachable"

    @property
    def is_found(self) -> bool:
        """Whether Modbus is spoken there."""
        return self in (Verdict.DEVICE, Verdict.EXCEPTION, Verdict.GATEWAY)

    @property
    def is_open(self) -> bool:
        """Whether somebody listens there, as far as is known."""
        return self not in (Verdict.CLOSED, Verdict.UNREACHABLE)


@dataclass(frozen=True, slots=True)
class SunSpec:
    """A SunSpec device's common model, and the ids of all its models."""

    base: int
    manufacturer: str
    model: str
    version: str
    serial_number: str
    models: tuple[int, ...]

    def __str__(self) -> str:
        """Return it in a line."""
        version = f" {self.version}" if self.version else ""
        serial = f", serial {self.serial_number}" if self.serial_number else ""
        listed = ", ".join(map(str, self.models))
        return f"{self.manufacturer} {self.model}{version}{serial}; SunSpec models {listed or 'not readable'}"


@dataclass(frozen=True, slots=True)
class Guess:
    """A profile that fits a unit; ``is_said`` if the unit says so itself, and ``because`` why else."""

    profile: str
    title: str
    type: str  # what a site file calls it
    is_bess: bool
    is_said: bool
    because: str

    def __str__(self) -> str:
        """Return it in words that claim no more than is known."""
        if self.is_said:
            return f"is {self.title} (says so): profile {self.profile}"
        return f"looks like {self.profile} ({self.because})"


@dataclass(slots=True)
class Unit:
    """One unit identifier that answers."""

    id: int
    exception: int | None = None  # the first one
    has_data: bool = False  # has answered something else than an exception
    is_read: bool = False  # has answered a read of registers, if only by an exception
    identification: dict[int, bytes] = field(default_factory=dict)
    server_id: bytes | None = None
    sunspec: SunSpec | None = None
    guesses: list[Guess] = field(default_factory=list)
    answer_s: float = 0.0  # of its first answer

    @property
    def says(self) -> str:
        """What it says of itself by FC43/14, in a line; "" if it says nothing."""
        texts = [shown(self.identification[number]) for number in (0, 4, 5, 1, 2) if self._has(number)]
        return " ".join(dict.fromkeys(texts))

    @property
    def says_server_id(self) -> str:
        """What it answers to FC17, without the mark of whether it runs, which mostly ends it."""
        return shown((self.server_id or b"").rstrip(b"\0\xff"))

    def _has(self, number: int) -> bool:
        return bool(self.identification.get(number, b"").strip(b" \0"))

    def __str__(self) -> str:
        """Return what is known of it."""
        known = [str(guess) for guess in self.guesses]
        if self.sunspec is not None:
            known.append(str(self.sunspec))
        if self.says and not any(guess.is_said for guess in self.guesses):
            known.append(self.says)
        if self.server_id and not known:
            known.append(f"server id {self.says_server_id}")
        if not known and not self.has_data and self.exception is not None:
            known.append(f"exception {self.exception} ({exception_name(self.exception)})")
        return "; ".join(known) or "answers reads"

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values; what is not known is left out."""
        found: dict[str, Any] = {"unit": self.id, "answer_ms": round(1e3 * self.answer_s, 2)}
        if self.exception is not None:
            found["exception"] = self.exception
        if self.identification:
            found["identification"] = {
                _OBJECTS[number] if number < len(_OBJECTS) else f"object_{number}": shown(value)
                for number, value in sorted(self.identification.items())
            }
        if self.server_id is not None:
            found["server_id"] = self.says_server_id
        if self.sunspec is not None:
            s = self.sunspec
            found["sunspec"] = {
                "base": s.base, "manufacturer": s.manufacturer, "model": s.model, "version": s.version,
                "serial_number": s.serial_number, "models": list(s.models),
            }  # fmt: skip
        if self.guesses:
            found["profiles"] = [
                {"profile": g.profile, "certain": g.is_said, "because": g.because} for g in self.guesses
            ]
        return found


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on a host and port."""

    ip: str  # "" where the name stands for no address
    port: int
    verdict: Verdict
    detail: str = ""
    units: tuple[Unit, ...] = ()
    swept: str = ""  # how far a gateway's units were asked
    name: str = ""  # by which the host was asked for
    devices: Mapping[int, str] = field(default_factory=dict)  # ids of a site file's devices, by unit
    missing: tuple[int, ...] = ()  # of these the units that did not answer

    @property
    def place(self) -> str:
        """``192.168.1.10:502``, ``[fe80::1]:502``."""
        host = self.ip or self.name
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def order(self) -> tuple[int, int, int]:
        """What results are sorted by: the address, then the port."""
        if not self.ip:
            return 0, 0, self.port
        address = ipaddress.ip_address(self.ip)
        return address.version, int(address), self.port

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        found: dict[str, Any] = {
            "host": self.ip,
            "port": self.port,
            "verdict": self.verdict.value.replace(" ", "_"),
            "detail": self.detail,
            "units": [unit.as_json() for unit in self.units],
        }
        if self.swept:
            found["swept"] = self.swept
        if self.name:
            found["name"] = self.name
        if self.devices:
            found["devices"] = {str(unit): device for unit, device in self.devices.items()}
            found["missing"] = list(self.missing)
        return found


def shown(data: bytes) -> str:
    """Return bytes from a device as text that no terminal obeys: control characters are escaped."""
    text = data.strip(b" \0").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
