"""What a device type tolerates: how much one request may read, how many may wait, which pauses it needs."""

import itertools
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from fluxfast.constants import MAX_IN_FLIGHT, MAX_READ_BITS, MAX_READ_REGISTERS
from fluxfast.profiles.fields import Duration, FileModel, describe, wrong
from fluxfast.profiles.findings import Finding, raise_findings

MAX_PAUSE_NS: Final = 60_000_000_000
MAX_ALIASES: Final = 2

AddressRange = tuple[int, int]


def _parse_ranges(value: Any) -> tuple[AddressRange, ...]:
    if not isinstance(value, list | tuple):
        raise wrong(f"must be a list of [first, last] addresses, not {describe(value)}")
    ranges = []
    for item in value:
        pair = tuple(item) if isinstance(item, list | tuple) else ()
        if len(pair) != 2 or not all(type(number) is int for number in pair):
            raise wrong(f"must be a list of [first, last] addresses; one of them is {describe(item)}")
        first, last = pair
        if not 0 <= first <= last <= 0xFFFF:
            raise wrong(f"the range [{first}, {last}] is not 0 ≤ first ≤ last ≤ 65535")
        ranges.append((first, last))
    return tuple(sorted(ranges))


def _refuse_overlaps(ranges: tuple[AddressRange, ...]) -> tuple[AddressRange, ...]:
    for (_, last), (first, _) in itertools.pairwise(ranges):
        if first <= last:
            raise wrong(f"two ranges share address {first}", "join them into one")
    return ranges


Ranges = Annotated[
    tuple[AddressRange, ...],
    BeforeValidator(_parse_ranges),
    AfterValidator(_refuse_overlaps),
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0, "maximum": 0xFFFF},
                "minItems": 2,
                "maxItems": 2,
            },
        }
    ),
]


def _parse_aliases(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise wrong(f"must be a list of unit identifiers, not {describe(value)}")
    for item in value:
        if type(item) is not int or not 0 <= item <= 255:
            raise wrong(f"must be a list of unit identifiers, 0 to 255; one of them is {describe(item)}")
    if len(value) > MAX_ALIASES:
        raise wrong(f"must be at most {MAX_ALIASES}, not {len(value)}")
    return tuple(sorted(set(value)))


Aliases = Annotated[
    tuple[int, ...],
    BeforeValidator(_parse_aliases),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 255},
            "maxItems": MAX_ALIASES,
        }
    ),
]


class Quirks(FileModel):
    """Properties of a device type that shape its requests; the defaults are what the specification allows."""

    max_registers: int = Field(default=MAX_READ_REGISTERS, ge=1, le=MAX_READ_REGISTERS)
    max_bits: int = Field(default=MAX_READ_BITS, ge=1, le=MAX_READ_BITS)
    max_gap: int = Field(
        default=16, ge=0, le=MAX_READ_BITS,
        description="A read may run over so many registers that no point wants; 0: it refuses holes.",
    )  # fmt: skip
    readable: Ranges | None = Field(
        default=None,
        description="Inclusive [first, last] ranges of addresses that it answers for; no read leaves them.",
    )
    max_in_flight: int = Field(
        default=1, ge=1, le=MAX_IN_FLIGHT, description="Requests that may wait for answers on one link."
    )
    request_gap_ns: Duration = Field(
        default=0,
        alias="request_gap",
        json_schema_extra={"default": "0s"},
        description="Pause between an answer and the next request, like 20ms.",
    )
    connect_delay_ns: Duration = Field(
        default=0,
        alias="connect_delay",
        json_schema_extra={"default": "0s"},
        description="Pause between connecting and the first request, like 1s.",
    )
    transaction_id: Literal["echoed", "zero"] = Field(
        default="echoed",
        description="What its answers bear: the request's transaction identifier, or always 0.",
    )
    unit_aliases: Aliases = Field(
        default=(), description="Up to two other unit identifiers under which it answers, like [0, 255]."
    )
    write_function: Literal["auto", 6, 16] = Field(
        default="auto",
        description="Function code for writing a register; auto: 6 for one register, 16 for more.",
    )
    max_connections: int | None = Field(
        default=None,
        ge=1,
        description="How many connections the device accepts; none: not known to be limited.",
    )

    @field_validator("request_gap_ns", "connect_delay_ns")
    @classmethod
    def _pause_is_usable(cls, pause_ns: int) -> int:
        if pause_ns > MAX_PAUSE_NS:
            raise wrong("must be at most 1m")
        return pause_ns

    @model_validator(mode="after")
    def _answers_are_told_apart(self) -> "Quirks":
        if self.transaction_id == "zero" and self.max_in_flight > 1:
            message = f"{self.max_in_flight} answers with transaction_id: zero cannot be told apart"
            raise_findings([Finding(("max_in_flight",), message, "remove it: one request at a time")])
        return self
