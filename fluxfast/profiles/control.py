"""``control:`` of a profile: which of its points command a battery unit, and which a meter is read by."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, field_validator, model_validator

from fluxfast.profiles.fields import Duration, FileModel, Number, describe, wrong
from fluxfast.profiles.findings import raise_findings, validate
from fluxfast.profiles.point import Point

POWER_UNITS: Final = {"W": 0.001, "kW": 1.0, "MW": 1000.0}  # kW each

_MS: Final = 1_000_000
_HOUR: Final = 3_600_000 * _MS


class PointState(NamedTuple):
    """A point that shall be in one of some states, as in ``{status: [READY]}``."""

    point: str
    labels: tuple[str, ...]

    def codes(self, points: Mapping[str, Point]) -> tuple[int, ...]:
        """Return the raw values that have the labels, in the order in which the point lists them."""
        states = points[self.point].states or {}
        return tuple(code for code, label in states.items() if label in self.labels)


def _parse_state(value: Any) -> PointState:
    cure = "write it like {status: [READY]}"
    if not isinstance(value, dict) or len(value) != 1:
        raise wrong(f"must be one point and its states, not {describe(value)}", cure)
    ((point, labels),) = value.items()
    labels = [labels] if isinstance(labels, str) else labels  # a single one may stand without its list
    if not isinstance(labels, list | tuple) or not labels or not all(isinstance(one, str) for one in labels):
        raise wrong(f"must name states, not {describe(labels)}", cure)
    return PointState(str(point), tuple(labels))


_LABEL: Final = {"type": "string"}
State = Annotated[
    PointState,
    PlainValidator(_parse_state),
    WithJsonSchema(
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": {"anyOf": [_LABEL, {"type": "array", "items": _LABEL, "minItems": 1}]},
        }
    ),
]


def _check_period(period_ns: int) -> int:
    if not 100 * _MS <= period_ns <= _HOUR:
        raise wrong("must be 100ms to 1h")
    return period_ns


class Heartbeat(FileModel):
    """A register that the unit wants written again and again, so that it knows that it is commanded."""

    point: str
    kind: Literal["count", "toggle", "constant"] = Field(
        default="count", description="0, 1, 2, … up to the type's largest and again; 0 and 1; or value."
    )
    value: int | None = Field(default=None, description="What a constant heartbeat writes, as it stands raw.")
    every_ns: Duration = Field(default=1000 * _MS, alias="every", json_schema_extra={"default": "1s"})

    _every_is_usable = field_validator("every_ns")(_check_period)

    @model_validator(mode="after")
    def _only_constants_have_a_value(self) -> Self:
        if (self.kind == "constant") != (self.value is not None):
            raise wrong(
                "a constant heartbeat has a value, and no other has",
                "write kind: constant and value: together",
            )
        return self


class BatteryControl(FileModel):
    """How a battery unit is commanded. Every text is the name of a point."""

    setpoint: str = Field(description="Its power; positive discharges.")
    soe: str = Field(description="State of energy, %.")
    ready: State = Field(description="A point and the states in which it takes setpoints.")
    source: State | None = Field(
        default=None, description="A point and the state that lets us command; written first."
    )
    blocks: str | None = Field(default=None, description="How many of its blocks are available.")
    power: str | None = Field(default=None, description="Measured power; positive discharges.")
    heartbeat: Heartbeat | None = None
    write: Literal["fc06", "fc16"] | None = Field(
        default=None, description="Function code of a write; unless given that of the quirks, or by size."
    )
    refresh_ns: Duration = Field(
        default=10_000 * _MS,
        alias="refresh",
        json_schema_extra={"default": "10s"},
        description="A setpoint that stays the same is written again this often.",
    )
    ramp_kw_per_s: Number | None = Field(
        default=None,
        gt=0,
        json_schema_extra={"exclusiveMinimum": 0},
        description="How fast its setpoint may move.",
    )
    rise_pct_per_s: Number = Field(
        default=Decimal(20),
        gt=0,
        json_schema_extra={"exclusiveMinimum": 0},
        description="How fast what it is allowed rises again, in % of its rated power.",
    )
    efficiency: Number = Field(
        default=Decimal("0.96"),
        gt=0,
        le=1,
        json_schema_extra={"exclusiveMinimum": 0, "maximum": 1},
        description="Of charging, and of discharging.",
    )

    _refresh_is_usable = field_validator("refresh_ns")(_check_period)

    @field_validator("source")
    @classmethod
    def _source_is_one_state(cls, source: PointState | None) -> PointState | None:
        if source is not None and len(source.labels) > 1:
            raise wrong(
                "must be one state, the one that is written", "write it like {command_source: REMOTE}"
            )
        return source


class MeterControl(FileModel):
    """What control reads from a meter. Every text is the name of a point."""

    power: str = Field(description="Active power; positive is import.")
    frequency: str | None = Field(default=None, description="Grid frequency, Hz.")


def _parse_control(value: Any) -> Any:
    if value is None or isinstance(value, BatteryControl | MeterControl):
        return value
    if not isinstance(value, dict) or not value:
        cure = "name setpoint, soe and ready of a battery unit, or power of a meter"
        raise wrong(f"must be a mapping to points, not {describe(value)}", cure)
    is_battery = not value.keys().isdisjoint({"setpoint", "soe", "ready"})
    model: type[FileModel] = BatteryControl if is_battery else MeterControl
    control, findings = validate(model, value)
    raise_findings(findings)
    return control


ControlMap = Annotated[BatteryControl | MeterControl, BeforeValidator(_parse_control)]
