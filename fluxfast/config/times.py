"""Times in site files: of the day, days of the week, moments, time zones."""

import difflib
import re
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from fluxfast.profiles.fields import describe, wrong

E = TypeVar("E")

DAY_MINUTES: Final = 1440
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # as datetime.weekday counts them

_CLOCK_PATTERN: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_CLOCK: Final = re.compile(_CLOCK_PATTERN)
_CURE: Final = 'write one like "17:00"'


@cache
def zone(name: str) -> tzinfo:
    """Return the time zone of that name; raise ``LookupError`` when this machine knows none."""
    if name == "UTC":
        return UTC  # which needs no data of time zones
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # one for each way in which a text can fail to be a file
        raise LookupError(f"no time zone '{name[:70]}' is known here") from None


def parse_clock(value: Any) -> int:
    """Return minutes after midnight from ``17:00``."""
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        raise wrong(f"must be a time of day, not {describe(value)}", _CURE)
    return int(value[:2]) * 60 + int(value[3:])


def _parse_between(value: Any) -> tuple[int, int]:
    if isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, list) or len(value) != 2:
        raise wrong(f"must be two times of day, not {describe(value)}", 'write them like ["17:00", "21:00"]')
    start = parse_clock(value[0])
    end = DAY_MINUTES if value[1] == "24:00" else parse_clock(value[1])
    if start == end:
        raise wrong(f"begins and ends at {value[0]}", 'the whole day is ["00:00", "24:00"]')
    return start, end


def _parse_moment(value: Any) -> int | datetime:
    if isinstance(value, str) and len(value) > 5:
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    elif isinstance(value, str) and _CLOCK.fullmatch(value):
        return parse_clock(value)
    cure = 'write one like "07:00", or "2026-10-25T07:00"'
    raise wrong(f"must be a time of day or a date and time, not {describe(value)}", cure)


def _refuse_empty(items: tuple[E, ...]) -> tuple[E, ...]:
    if not items:
        raise wrong("must not be empty")
    return items


def _parse_zone(name: str) -> str:
    try:
        zone(name)
    except LookupError as error:
        close = difflib.get_close_matches(name, available_timezones(), n=1)
        cure = f"did you mean '{close[0]}'?" if close else "write one like Europe/Berlin, or UTC"
        raise wrong(error.args[0], cure) from None
    return name


# pydantic's own min_length would also count the items that are wrong, and say so.
NotEmpty = Annotated[
    tuple[E, ...], Field(strict=False, json_schema_extra={"minItems": 1}), AfterValidator(_refuse_empty)
]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Days = NotEmpty[Day]
# Minutes after midnight of the start and of the end; an end at or before the start is of the next day.
Between = Annotated[
    tuple[int, int],
    BeforeValidator(_parse_between),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "pattern": f"^({_CLOCK_PATTERN}|24:00)$"},
            "minItems": 2,
            "maxItems": 2,
        }
    ),
]
# Minutes after midnight of every day, or one moment, which is local when it names no zone.
Moment = Annotated[int | datetime, BeforeValidator(_parse_moment), WithJsonSchema({"type": "string"})]
TimeZone = Annotated[str, AfterValidator(_parse_zone)]
