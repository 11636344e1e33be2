"""What a device type tolerates: how much one request may read, how many may wait, which pauses it needs."""

import itertools
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, field_validator

from fluxfast.constants import MAX_IN_FLIGHT, MAX_READ_BITS, MAX_READ_REGISTERS
from fluxfast.profiles.fields import Duration, FileModel, describe, wrong

MAX_PAUSE_NS: Final = 60_000_000_000

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
