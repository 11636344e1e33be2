"""``control.modes`` of a site file: one model per type of mode. docs/modes.md says what they do.

Powers are kW: positive discharges; of a grid connection positive imports.
"""

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from fluxfast.config.times import Between, Days, Moment, NotEmpty, TimeZone
from fluxfast.config.values import Identifier, PctNumber, Positive, ZeroOrMore
from fluxfast.profiles.fields import FileModel, Number, describe, wrong
from fluxfast.profiles.findings import Finding, nearest, raise_findings, validate

HYSTERESIS_PCT: Final = 2  # of state of energy: how far beyond its bound a mode goes, or leaves it

_FUNCTION: Final = re.compile(r"(?:(?P<file>.+\.py):)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)")


class Mode(FileModel):
    """What every mode has, whatever its type."""

    type: str
    name: Identifier = Field(
        default="",  # never seen: it becomes the type
        json_schema_extra={"default": None},
        description="Unique among the modes of a site; the type unless given.",
    )
    enabled: bool = Field(default=True, description="Whether it starts switched on.")
    between: Between | None = Field(default=None, description="Times of day; may cross midnight.")
    days: Days | None = Field(default=None, description="Days on which it, or its window, begins.")
    time_zone: TimeZone | None = Field(default=None, description="Of its times; control's unless given.")

    @model_validator(mode="before")
    @classmethod
    def _name_is_type(cls, data: Any) -> Any:
        return {"name": data["type"], **data} if isinstance(data, dict) and "type" in data else data

    def placed(self, folder: Path, time_zone: str) -> Self:
        """Return the mode of a file in ``folder``: its own file found, its time zone filled in."""
        return self.model_copy(update={"time_zone": self.time_zone or time_zone})


class FixedPower(Mode):
    """A constant power."""

    type: Literal["fixed_power"]
    power_kw: Number


class SelfConsumption(Mode):
    """Keeps the grid at ``grid_kw``: with 0 the battery takes up what is left over, and serves the load."""

    type: Literal["self_consumption"]
    grid_kw: Number = Field(default=Decimal(0), description="What is imported; negative exports.")


class PeakShaving(Mode):
    """Keeps the import at or below a limit."""

    type: Literal["peak_shaving"]
    import_limit_kw: Number = Field(description="What is above it is discharged.")
    recharge_below_kw: Number | None = Field(default=None, description="Charges up to this import.")

    @model_validator(mode="after")
    def _recharges_below_its_limit(self) -> Self:
        if self.recharge_below_kw is not None and self.recharge_below_kw > self.import_limit_kw:
            message = f"{self.recharge_below_kw} is above the import limit of {self.import_limit_kw}"
            raise_findings([Finding(("recharge_below_kw",), message, "charging must not cause a peak")])
        return self


class Schedule(Mode):
    """Powers from a file."""

    type: Literal["schedule"]
    file: str = Field(min_length=1, description="CSV or Parquet file: start, power_kw, maybe end.")

    @field_validator("file")
    @classmethod
    def _file_is_of_a_known_kind(cls, file: str) -> str:
        if not file.isprintable() or Path(file).suffix.lower() not in (".csv", ".parquet"):
            raise wrong(f"{describe(file)} names no schedule", "write the path of a .csv or .parquet file")
        return file

    def placed(self, folder: Path, time_zone: str) -> Self:
        """Return it with the path of its file."""
        return super().placed(folder, time_zone).model_copy(update={"file": str(folder / self.file)})


class Period(FileModel):
    """One of ``periods:``."""

    between: Between
    days: Days | None = None
    power_kw: Number


class TimeOfUse(Mode):
    """A power for times of the day; the first period that holds counts."""

    type: Literal["time_of_use"]
    periods: NotEmpty[Period]


class FrequencyDroop(Mode):
    """Discharges when the frequency is low, charges when it is high; applies outside the deadband."""

    type: Literal["frequency_droop"]
    nominal_hz: Positive = Decimal(50)
    deadband_hz: ZeroOrMore = Decimal("0.02")
    droop_pct: Annotated[
        Number, Field(gt=0, le=100, json_schema_extra={"exclusiveMinimum": 0, "maximum": 100})
    ] = Field(description="Change of the frequency, in % of nominal, that brings full power.")
    power_kw: Positive | None = Field(
        default=None, description="Full power, and no more; what all units can do unless given."
    )


class SoeTarget(Mode):
    """Brings the site's state of energy to a value by a time, at an even power."""

    type: Literal["soe_target"]
    soe_pct: PctNumber
    by: Moment = Field(description="Time of day, or a date and time.")
    from_: Moment | None = Field(default=None, alias="from", description="Does not apply before.")

    @model_validator(mode="after")
    def _from_is_before_by(self) -> Self:
        start, by = self.from_, self.by
        if start is None:
            return self
        place = ("from",)
        cure = 'write both like "07:00", or both with a date and both or neither with a zone'
        if isinstance(start, datetime) and isinstance(by, datetime):
            if (start.tzinfo is None) != (by.tzinfo is None):
                raise_findings([Finding(place, "only one of 'from' and 'by' names its zone", cure)])
            if start >= by:
                raise_findings([Finding(place, f"{start} is not before {by}", "it begins before it ends")])
        elif isinstance(start, datetime) or isinstance(by, datetime):
            raise_findings([Finding(place, "only one of 'from' and 'by' has a date", cure)])
        elif start == by:
            raise_findings([Finding(place, "'from' and 'by' are the same", "leave it out for the whole day")])
        return self


class Reserve(Mode):
    """Charges while the state of energy is below ``soe_pct``, otherwise does not apply."""

    type: Literal["reserve"]
    soe_pct: PctNumber
    charge_kw: Positive = Field(description="What it charges with.")

    @property
    def until_pct(self) -> float:
        """The state of energy at which it ends."""
        return min(float(self.soe_pct) + HYSTERESIS_PCT, 100)


class Balance(Mode):
    """Rests, while units may exchange energy until all have the same state of energy."""

    type: Literal["balance"]


class PythonMode(Mode):
    """A function of one's own; keys beyond those below are its parameters."""

    model_config = ConfigDict(extra="allow")

    type: Literal["python"]
    function: str = Field(description="file.py:name, or the name of an entry point of fluxfast.modes.")

    @field_validator("function")
    @classmethod
    def _function_is_named(cls, function: str) -> str:
        if not function.isprintable() or not _FUNCTION.fullmatch(function):
            cure = "write file.py:name, or the name of an entry point of fluxfast.modes"
            raise wrong(f"{describe(function)} names no function", cure)
        return function

    @property
    def file(self) -> str | None:
        """The file that holds the function; none when it is an entry point."""
        match = _FUNCTION.fullmatch(self.function)
        return match["file"] if match else None

    @property
    def function_name(self) -> str:
        """The function's name in its file, or that of the entry point."""
        return self.function.rpartition(":")[2]

    @property
    def parameters(self) -> dict[str, Any]:
        """Its own keys, with numbers as Python's."""
        return {key: _plain(value) for key, value in (self.model_extra or {}).items()}

    def placed(self, folder: Path, time_zone: str) -> Self:
        """Return it with the path of its file."""
        mode = super().placed(folder, time_zone)
        if self.file is None:
            return mode
        return mode.model_copy(update={"function": f"{folder / self.file}:{self.function_name}"})


_AnyMode = (
    FixedPower
    | SelfConsumption
    | PeakShaving
    | Schedule
    | TimeOfUse
    | FrequencyDroop
    | SoeTarget
    | Reserve
    | Balance
    | PythonMode
)
MODES: Final[dict[str, type[Mode]]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(_AnyMode)
}


def parse_mode(data: Any) -> Any:
    """Return the model of one entry of ``modes:``; what is wrong is placed as if the type were no level."""
    if not isinstance(data, dict):
        return data
    if "type" not in data:
        raise_findings([Finding((), "the key 'type' is missing", f"known: {', '.join(MODES)}")])
    type_ = data["type"]
    if not isinstance(type_, str) or type_ not in MODES:
        known = f"known: {', '.join(MODES)}"
        near = nearest(type_, MODES)
        cure = f"{near} {known}" if near.startswith("did") else known
        raise_findings([Finding(("type",), f"no type of mode is called {describe(type_)}", cure)])
    mode, findings = validate(MODES[type_], data)
    raise_findings(findings)
    return mode


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


ModeEntry = Annotated[_AnyMode, Field(discriminator="type"), BeforeValidator(parse_mode)]


def repeated_names(modes: tuple[Mode, ...]) -> list[Finding]:
    """Return a finding for each mode with the name of another before it."""
    first: dict[str, int] = {}
    found = []
    for index, mode in enumerate(modes):
        if first.setdefault(mode.name, index) != index:
            message = f"the mode '{mode.name}' is already modes[{first[mode.name]}]"
            found.append(Finding((index, "name"), message, "give one of them another name:"))
    return found
