"""What a site file comes to: plain frozen records, every default filled in, every override applied."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from fluxfast.config.modes import Mode
from fluxfast.errors import Problem
from fluxfast.profiles import Profile


@dataclass(frozen=True, slots=True)
class Modbus:
    """Where one unit is reached."""

    transport: Literal["tcp", "serial"]
    host: str | None  # tcp only, as are the port
    port: int
    unit: int  # the unit identifier, `address:` in the file
    timeout_ns: int
    retry_count: int
    device: str | None = None  # serial only, as are the rest
    baud: int = 9600
    parity: Literal["none", "even", "odd"] = "none"
    data_bits: int = 8
    stop_bits: int = 1


@dataclass(frozen=True, slots=True)
class Device:
    """One battery unit or meter; ``file`` and ``line`` say where it is declared."""

    id: str
    name: str
    site: str
    kind: Literal["bess", "meter"]
    type: str  # as written in the file
    profile: Profile  # overrides applied; devices without their own share one object
    role: str | None
    capacity_kwh: float | None
    rated_power_kw: float | None
    modbus: Modbus
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Site:
    """Meters and battery units that are controlled together."""

    name: str
    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class Poll:
    """How often, and how long a tick waits: ``deadline`` and ``spread`` are fractions of ``every_ns``."""

    every_ns: int
    deadline: float
    connects_per_s: int = 400  # 0: no pacing
    probe_interval_ns: int = 30_000_000_000
    spread: float = 0.1


@dataclass(frozen=True, slots=True)
class Log:
    """Where the log goes."""

    dir: Path


@dataclass(frozen=True, slots=True)
class Control:
    """The control section; this version observes only, modes and limits are kept as they were written."""

    action: Literal["observe"]
    modes: tuple[Mode, ...]
    limits: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that one run polls. ``warnings`` are worth a look, and stop nothing."""

    sites: tuple[Site, ...]
    devices: tuple[Device, ...]  # of all sites, in file order
    poll: Poll
    log: Log
    control: Control
    warnings: tuple[Problem, ...] = ()
