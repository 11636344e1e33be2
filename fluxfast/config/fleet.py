"""What a site file comes to: plain frozen records, every default filled in, every override applied."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from fluxfast.config.modes import Mode
from fluxfast.errors import Problem
from fluxfast.profiles import MeterControl, Profile

Action = Literal["observe", "shadow", "act"]
MAX_AGE_TICKS: Final = 2  # of a reading that is decided on, where no max_age is given


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
    controlled: bool = True  # false: control neither writes to it nor decides by it
    blocks: int | None = None  # how many available blocks are all of it; none: not known


@dataclass(frozen=True, slots=True)
class Limits:
    """What a site never leaves, whatever its mode wants; none: not limited. Powers are positive numbers."""

    import_kw: float | None = None  # at the grid meter
    export_kw: float | None = None
    soe_min_pct: float = 5.0
    soe_max_pct: float = 95.0
    reserve_pct: float | None = None  # modes do not discharge below
    charge_kw: float | None = None  # of all units together
    discharge_kw: float | None = None
    grid_ramp_kw_per_s: float | None = None
    unit_ramp_kw_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """How a site is controlled."""

    action: Action = "observe"
    modes: tuple[Mode, ...] = ()  # the first that applies sets the target
    limits: Limits = Limits()
    split: Literal["energy", "power", "equal"] = "energy"
    time_zone: str = "UTC"
    deadband_kw: float = 0.0
    hold_off_s: float = 10.0
    horizon_s: float = 60.0
    ramp_kw_per_s: float | None = None  # of the site's target; none: at once
    efficient_kw: float = 0.0  # 0: all units run
    rotate_s: float = 900.0
    balance_kw_per_pct: float = 1.0  # while the mode is balance
    settle_s: float = 3.0  # until a change shows in the meter
    max_age_s: float | None = None  # of a reading that is decided on; none: MAX_AGE_TICKS
    hold_s: float = 5.0  # a stale meter holds the target so long,
    ramp_down_s: float = 10.0  # then it is brought to 0 in this time
    hang_s: float = 2.0  # the watchdog stops the units of a station that hangs longer

    @property
    def decides(self) -> bool:
        """Whether setpoints are worked out."""
        return self.action != "observe"


@dataclass(frozen=True, slots=True)
class Site:
    """Meters and battery units that are controlled together."""

    name: str
    devices: tuple[Device, ...]
    control: Control = Control()

    @property
    def units(self) -> tuple[Device, ...]:
        """The battery units that control commands, in file order."""
        return tuple(device for device in self.devices if device.kind == "bess" and device.controlled)

    @property
    def grid_meters(self) -> tuple[Device, ...]:
        """The meters of the grid connection: those of role ``grid``, or the only one, without a role."""
        meters = [device for device in self.devices if device.kind == "meter" and device.controlled]
        grid = [meter for meter in meters if meter.role == "grid"]
        if not grid and len(meters) == 1 and meters[0].role is None:
            grid = meters
        return tuple(grid)

    @property
    def grid_meter(self) -> Device | None:
        """The one meter of the grid connection, if its profile says which point is its power."""
        meters = self.grid_meters
        if len(meters) == 1 and isinstance(meters[0].profile.control, MeterControl):
            return meters[0]
        return None

    @property
    def frequency_meter(self) -> Device | None:
        """The meter whose frequency counts: the grid meter, or else the first that measures it."""
        devices = self.devices if self.grid_meter is None else (self.grid_meter, *self.devices)
        for device in devices:
            control = device.profile.control
            if device.controlled and isinstance(control, MeterControl) and control.frequency is not None:
                return device
        return None


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
    """Where the log goes, and how long it stays; none: not limited, no copies."""

    dir: Path
    sync: Literal["group", "tick", "os"] = "group"
    keep_s: float | None = None
    max_bytes: int | None = None
    remote: str | None = None  # a URL, without credentials


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that one run polls. ``warnings`` are worth a look, and stop nothing.

    ``digest`` is the SHA-256 of the site file, in hex; of a folder that of its files' digests; empty where
    there is none.
    """

    sites: tuple[Site, ...]
    devices: tuple[Device, ...]  # of all sites, in file order
    poll: Poll
    log: Log
    warnings: tuple[Problem, ...] = ()
    digest: str = ""
