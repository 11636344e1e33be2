"""The site file as it is written: one model per mapping, with the defaults of every key.

``fleet.py`` holds what it comes to.
"""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from fluxfast.config.control import ControlEntry
from fluxfast.config.values import (
    Age,
    Entries,
    Host,
    Identifier,
    Percent,
    PercentOrZero,
    Positive,
    Role,
    Size,
    Text,
    Url,
    is_url,
    lists_may_be_none,
    parse_identifier,
)
from fluxfast.constants import DEFAULT_PORT
from fluxfast.profiles.fields import Duration, FileModel, describe, wrong
from fluxfast.profiles.findings import Finding, raise_findings

MAX_COUNT: Final = 100_000
SERIAL_KEYS: Final = ("device", "baud", "parity", "data_bits", "stop_bits")

_MS: Final = 1_000_000
_HOUR: Final = 3_600_000 * _MS


class ModbusEntry(FileModel):
    """``modbus:`` of a device: a host for Modbus TCP, or the settings of a serial line."""

    host: Host | None = Field(default=None, description="Name or IP address of the device or its gateway.")
    port: int = Field(default=DEFAULT_PORT, ge=1, le=65535)
    address: int = Field(
        default=1, le=255, json_schema_extra={"minimum": 1}, description="Unit identifier, 1 to 255."
    )
    timeout_ns: Duration = Field(
        default=5000 * _MS,
        alias="timeout",
        json_schema_extra={"default": "5s"},
        description="How long to wait, like 5s.",
    )
    retry_count: int = Field(default=3, ge=0, le=100)
    device: str | None = Field(default=None, min_length=1, description="Serial line, like /dev/ttyUSB0.")
    baud: int = Field(default=9600, ge=300, le=4_000_000)
    parity: Literal["none", "even", "odd"] = "none"
    data_bits: Literal[7, 8] = 8
    stop_bits: Literal[1, 2] = 1

    @field_validator("address")
    @classmethod
    def _address_is_one_unit(cls, address: int) -> int:
        if address == 0:
            raise wrong("address 0 is the broadcast, which nobody answers", "use the unit's own, 1 to 255")
        if address < 0:
            raise wrong(f"must be at least 1, not {address}")
        return address

    @field_validator("timeout_ns")
    @classmethod
    def _timeout_is_usable(cls, timeout_ns: int) -> int:
        if not _MS <= timeout_ns <= _HOUR:
            raise wrong("must be 1ms to 1h")
        return timeout_ns

    @property
    def is_serial(self) -> bool:
        """Whether it is a serial line: any of its keys is there, and no host."""
        return self.host is None

    @model_validator(mode="after")
    def _one_transport(self) -> "ModbusEntry":
        serial = [key for key in SERIAL_KEYS if key in self.model_fields_set]
        if self.host is None:
            if not serial:
                cure = "write host: and its IP address, or device: /dev/tty… for a serial line"
                raise_findings([Finding((), "the key 'host' is missing", cure)])
            if "port" in self.model_fields_set:
                raise_findings([Finding(("port",), "a serial line has no port", "remove it, or name a host")])
        elif serial:
            cure = "remove it: with a host the line's settings are the gateway's"
            raise_findings(
                [Finding((key,), f"{key} is for serial lines, but there is a host", cure) for key in serial]
            )
        return self


def _parse_change(value: Any) -> dict[str, Any] | bool | None:
    if value is None or isinstance(value, dict | bool):
        return value
    raise wrong(f"must be false, or keys to change, not {describe(value)}", "write control: false")


ControlChange = Annotated[
    dict[str, Any] | bool,
    PlainValidator(_parse_change),
    WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "boolean"}]}),
]


class Override(FileModel):
    """Changes to a profile: each key given replaces the profile's, ``null`` takes it away."""

    points: dict[str, dict[str, Any] | None] = Field(
        default={}, description="Keys of points to change; a new name adds a point, null removes one."
    )
    quirks: dict[str, Any] = Field(default={}, description="Quirks to change; null goes back to the default.")
    control: ControlChange | None = Field(
        default=None,
        description="Keys of the profile's control to change; or false: control leaves it alone.",
    )


class DeviceEntry(Override):
    """What battery units and meters have in common; its own points and quirks override the profile's."""

    count: int | None = Field(
        default=None, ge=1, le=MAX_COUNT, description="Declares this many like devices."
    )
    step: Literal["host", "port", "address"] = Field(
        default="host", description="What goes up by one from each device of a count to the next."
    )
    id: str = Field(description="Unique in the fleet; with count it holds {n} or {n:04d}.")
    name: Text | None = Field(default=None, description="Free text; the id unless given.")
    type: str = Field(min_length=1, description="A built-in profile's name, or the path of a profile file.")
    modbus: ModbusEntry

    @field_validator("id")
    @classmethod
    def _id_is_identifier(cls, id_: str, info: ValidationInfo) -> str:
        if info.data.get("count", 0) is not None:
            return id_  # a template, which expand() checks; or the count itself was wrong
        if "{n" in id_:
            raise wrong(f"'{id_[:70]}' counts, but there is no count", "add count: and a number of devices")
        return parse_identifier(id_)


class BessEntry(DeviceEntry):
    """One battery unit, or ``count`` like ones."""

    capacity_kwh: Positive | None = None
    rated_power_kw: Positive | None = None
    blocks: int | None = Field(
        default=None, ge=1, le=0xFFFF, description="How many available blocks are all of it."
    )


class MeterEntry(DeviceEntry):
    """One meter, or ``count`` like ones."""

    role: Role | None = Field(default=None, description="What it measures: grid, pv, load, …")


class SingleMeterEntry(MeterEntry):
    """``meter:``, a site's only meter, which needs no id."""

    id: str = "meter"


class DevicesEntry(FileModel):
    """``devices:`` of a site."""

    model_config = ConfigDict(json_schema_extra=lists_may_be_none)

    bess: Entries[BessEntry] = ()
    meters: Entries[MeterEntry] = ()


class SiteBody(FileModel):
    """What a site consists of, whether it has a file of its own or stands in ``sites:``."""

    overrides: dict[str, Override] = Field(
        default={}, description="By profile name: changes for the whole site."
    )
    devices: DevicesEntry = DevicesEntry()
    meter: SingleMeterEntry | None = Field(
        default=None, description="A single meter, short for devices.meters."
    )
    control: ControlEntry | None = Field(
        default=None, description="How it is controlled; on top of a file, for all sites of the file."
    )


class SiteEntry(SiteBody):
    """One of ``sites:``."""

    site: Identifier


class PollEntry(FileModel):
    """``poll:``."""

    every_ns: Duration = Field(
        default=500 * _MS,
        alias="every",
        json_schema_extra={"default": "500ms"},
        description="A tick's length, 10ms to 24h.",
    )
    deadline: Percent = Field(
        default=0.8,
        json_schema_extra={"default": "80%"},
        description="Part of the tick in which answers count for it, like 80%.",
    )
    spread: PercentOrZero = Field(
        default=0.1,
        json_schema_extra={"default": "10%"},
        description="Part of the tick over which the requests of many devices are spread; meters come last.",
    )
    connects_per_s: int = Field(
        default=400, ge=0, le=100_000, description="New connections of the whole run; 0: as fast as it goes."
    )
    probe_interval_ns: Duration = Field(
        default=30_000 * _MS,
        alias="probe_interval",
        json_schema_extra={"default": "30s"},
        description="Longest wait between two tries of what does not answer, 1s to 1h.",
    )

    @field_validator("every_ns")
    @classmethod
    def _every_is_usable(cls, every_ns: int) -> int:
        if not 10 * _MS <= every_ns <= 24 * _HOUR:
            raise wrong("must be 10ms to 24h")
        return every_ns

    @model_validator(mode="after")
    def _spread_leaves_time(self) -> Self:
        if "spread" in self.model_fields_set and self.spread > self.deadline / 2:
            raise wrong(
                f"the spread of {self.spread:.0%} leaves little of the {self.deadline:.0%} that answers have",
                "make it at most half of the deadline",
            )
        return self

    @field_validator("probe_interval_ns")
    @classmethod
    def _probe_interval_is_usable(cls, probe_interval_ns: int) -> int:
        if not 1000 * _MS <= probe_interval_ns <= _HOUR:
            raise wrong("must be 1s to 1h")
        return probe_interval_ns


class LogEntry(FileModel):
    """``log:``."""

    dir: str = Field(default="./log", min_length=1, description="Local folder, relative to this file's.")
    sync: Literal["group", "tick", "os"] = Field(
        default="group",
        description="How soon it is safe from a power cut: within 1 s, every tick, or when the system likes.",
    )
    keep_s: Age | None = Field(default=None, alias="keep", description="What is older is removed, like 90d.")
    max_bytes: Size | None = Field(
        default=None, alias="max_size", description="The oldest is removed beyond this, like 50GB."
    )
    remote: Url | None = Field(default=None, description="Where copies go, like s3://bucket/folder.")

    @field_validator("dir")
    @classmethod
    def _dir_can_be_made(cls, dir_: str) -> str:
        if is_url(dir_):
            cure = "put the URL under remote:, which gets copies, and leave dir out or name a local folder"
            raise wrong("is the local folder, and this is a URL", cure)
        if not dir_.isprintable():  # no file system has a name with a NUL in it
            raise wrong("must be printable characters")
        return dir_


class SiteFile(SiteBody):
    """A site file: one site, or several under ``sites:``."""

    model_config = ConfigDict(title="fluxfast site file")

    site: Identifier | None = Field(default=None, description="The site's name; the file's unless given.")
    sites: Annotated[tuple[SiteEntry, ...], Field(strict=False)] | None = None
    poll: PollEntry = PollEntry()
    log: LogEntry = LogEntry()
