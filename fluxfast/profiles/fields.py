"""The kinds of value that profiles and site files share: exact numbers, durations, names."""

import re
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from fluxfast.profiles.document import Map, Seq

# A value of the wrong kind is refused, never converted: "502" is not 502, and 1 is not true.
STRICT: Final = ConfigDict(frozen=True, extra="forbid", strict=True)

POINT_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")

_NS: Final = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
_DURATION_PATTERN: Final = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(us|ms|s|m|h)"
_DURATION: Final = re.compile(_DURATION_PATTERN)
_LARGEST: Final = Decimal("1e30")


class FileModel(BaseModel):
    """Base of everything that is read from YAML: frozen, no unknown keys, no conversions."""

    model_config = STRICT


def wrong(message: str, cure: str = "") -> PydanticCustomError:
    """Return the error that a validator raises; it becomes one ``Problem``."""
    # The text is passed as context because braces in a template would be read as fields.
    return PydanticCustomError("fluxfast", "{message}", {"message": message, "cure": cure})


def describe(value: Any) -> str:
    """Return how a message names a value that a user wrote."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text '{value[:40]}{'…' if len(value) > 40 else ''}'"
    if isinstance(value, Map | dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, Seq | list | tuple):
        return "a list" if value else "an empty list"
    return str(value)


def parse_number(value: Any) -> Decimal:
    """Return an exact decimal; text, true and numbers beyond 1e30 are refused."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        cure = f"write {value.lstrip('0') or 0}" if isinstance(value, str) and value.isdecimal() else ""
        raise wrong(f"must be a number, not {describe(value)}", cure)
    number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    size = number.copy_abs()  # abs() rounds: 1e-9999999 to 0, and 1e9999999 it cannot
    if not number.is_finite() or size > _LARGEST or 0 < size < 1 / _LARGEST:
        raise wrong(f"{value} is out of reach", "use a number between 1e-30 and 1e30")
    return number


def parse_duration(value: Any) -> int:
    """Return nanoseconds from ``5s``, ``250ms``, ``1.5m``; plain numbers are refused: they name no unit."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        raise wrong(f"{value} has no unit of time", f"write {value}s, or {value}ms")
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise wrong(f"must be a duration, not {describe(value)}", "write one like 5s, 250ms, 1m or 2h")
    return int(Decimal(match[1]) * _NS[match[2]])


Number = Annotated[Decimal, BeforeValidator(parse_number), WithJsonSchema({"type": "number"})]
Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION_PATTERN}$"}),
]
