"""``control:`` of a site file as it is written: what may be commanded, by which modes, in which limits."""

from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from fluxfast.config.modes import Mode, ModeEntry, repeated_names
from fluxfast.config.times import TimeZone
from fluxfast.config.values import Entries, PctNumber, Positive, ZeroOrMore, lists_may_be_none
from fluxfast.profiles.fields import Duration, FileModel, parse_duration, wrong
from fluxfast.profiles.findings import Finding, raise_findings

_S: Final = 1_000_000_000


def _within(low: str, high: str) -> AfterValidator:
    low_ns, high_ns = parse_duration(low), parse_duration(high)

    def check(duration_ns: int) -> int:
        if not low_ns <= duration_ns <= high_ns:
            raise wrong(f"must be {low} to {high}")
        return duration_ns

    return AfterValidator(check)


def _shown(default: str) -> dict[str, Any]:
    """A duration's default in the JSON Schema, as it is written in a file."""
    return {"default": default}


class LimitsEntry(FileModel):
    """``control.limits``."""

    import_kw: ZeroOrMore | None = Field(default=None, description="Most power from the grid.")
    export_kw: ZeroOrMore | None = Field(default=None, description="Most power into the grid.")
    soe_min_pct: PctNumber = Field(default=Decimal(5), description="No unit is discharged below.")
    soe_max_pct: PctNumber = Field(default=Decimal(95), description="No unit is charged above.")
    reserve_pct: PctNumber | None = Field(default=None, description="Kept for a purpose of its own.")
    charge_kw: ZeroOrMore | None = Field(default=None, description="Most charging power of the site.")
    discharge_kw: ZeroOrMore | None = Field(default=None, description="Most discharging power of the site.")
    grid_ramp_kw_per_s: Positive | None = Field(
        default=None, description="How fast the power of the grid connection may change."
    )
    unit_ramp_kw_per_s: Positive | None = Field(
        default=None, description="How fast a unit's setpoint may change."
    )

    @model_validator(mode="after")
    def _window_is_open(self) -> Self:
        for key in ("soe_min_pct", "reserve_pct"):
            value = getattr(self, key)
            if value is not None and value >= self.soe_max_pct:
                message = f"{key} {value} is not below soe_max_pct {self.soe_max_pct}"
                raise_findings([Finding((key,), message, f"make {key} the smaller one")])
        return self


class ControlEntry(FileModel):
    """``control:``."""

    model_config = ConfigDict(json_schema_extra=lists_may_be_none)

    action: Literal["observe", "shadow", "act"] = Field(
        default="observe", description="observe: nothing is decided; shadow: nothing is written."
    )
    modes: Entries[ModeEntry] = Field(default=(), description="The first that applies sets the target.")
    limits: LimitsEntry = LimitsEntry()
    split: Literal["energy", "power", "equal"] = Field(
        default="energy", description="By what the target is split over the units."
    )
    time_zone: TimeZone = Field(
        default="UTC", description="Of the times of day in modes, like Europe/Berlin."
    )
    deadband_kw: ZeroOrMore = Field(
        default=Decimal(0), description="A smaller change of the target changes nothing."
    )
    hold_off_ns: Annotated[Duration, _within("0s", "1h")] = Field(
        default=10 * _S,
        alias="hold_off",
        json_schema_extra=_shown("10s"),
        description="Rest before a unit turns from charging to discharging or back.",
    )
    horizon_ns: Annotated[Duration, _within("1s", "24h")] = Field(
        default=60 * _S,
        alias="horizon",
        json_schema_extra=_shown("60s"),
        description="Power tapers so that an SOE bound is not reached in less.",
    )
    ramp_kw_per_s: Positive | None = Field(default=None, description="How fast the site's target may change.")
    efficient_kw: ZeroOrMore = Field(
        default=Decimal(0), description="No more units run than have this much each; 0: all run."
    )
    rotate_ns: Annotated[Duration, _within("1s", "24h")] = Field(
        default=900 * _S,
        alias="rotate",
        json_schema_extra=_shown("15m"),
        description="A running unit is relieved by a resting one after this long.",
    )
    balance_kw_per_pct: ZeroOrMore = Field(
        default=Decimal(1), description="Power for each % of SOE from the mean, while the mode is balance."
    )
    settle_ns: Annotated[Duration, _within("0s", "10m")] = Field(
        default=3 * _S,
        alias="settle",
        json_schema_extra=_shown("3s"),
        description="How long until a change of power shows in the meter.",
    )
    max_age_ns: Annotated[Duration, _within("10ms", "1h")] | None = Field(
        default=None,
        alias="max_age",
        description="Oldest reading that is decided on; two ticks unless given.",
    )
    hold_ns: Annotated[Duration, _within("0s", "1h")] = Field(
        default=5 * _S,
        alias="hold",
        json_schema_extra=_shown("5s"),
        description="A stale meter holds the target so long.",
    )
    ramp_down_ns: Annotated[Duration, _within("0s", "1h")] = Field(
        default=10 * _S,
        alias="ramp_down",
        json_schema_extra=_shown("10s"),
        description="After that the target is brought to 0 in this time.",
    )
    hang_ns: Annotated[Duration, _within("500ms", "1m")] = Field(
        default=2 * _S,
        alias="hang",
        json_schema_extra=_shown("2s"),
        description="The watchdog stops the units of a station that hangs longer.",
    )

    @field_validator("modes")
    @classmethod
    def _names_differ(cls, modes: tuple[Mode, ...]) -> tuple[Mode, ...]:
        raise_findings(repeated_names(modes))
        return modes
