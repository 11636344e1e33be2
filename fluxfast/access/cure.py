"""What to do about a unit that cannot be read: the usual reason for each way to fail."""

from collections.abc import Iterator, Sequence
from typing import Final

from fluxfast.access.read import Answer
from fluxfast.access.selection import place
from fluxfast.constants import ExceptionCode
from fluxfast.profiles.document import one_line
from fluxfast.table import quality

MAX_LINES: Final = 5
NO_SUCH_ADDRESS: Final = quality.EXCEPTION + ExceptionCode.ILLEGAL_DATA_ADDRESS
_BASE: Final = "what do your addresses count from? 0 is the first here, and with --base 1, as in modpoll, 1"
_MODEL: Final = "its profile has more than this model: leave it out, or check the type in the site file"
_ANOTHER_UNIT: Final = "check the unit identifier; fluxfast scan finds those that answer"
_CURES: Final = {
    quality.TIMEOUT: f"{_ANOTHER_UNIT}; a slow device needs a longer timeout",
    quality.MALFORMED: "ask for less, or another table",
    quality.MISMATCH: _ANOTHER_UNIT,
    quality.FRAMING: "check the port: what answers there does not speak Modbus TCP",
    quality.LOST: "another master may hold its only connection; check the port",
    quality.REFUSED: "nothing listens there: check host and port, 502 is usual",
    quality.UNREACHABLE: "check host, cable and route, and whether a firewall drops it",
    quality.NO_HOST: "check the name, or write the IP address",
    **{
        quality.EXCEPTION + code: cure
        for code, cure in {
            ExceptionCode.ILLEGAL_FUNCTION: "it has no such table: try another one, such as input",
            ExceptionCode.ILLEGAL_DATA_ADDRESS: _BASE,
            ExceptionCode.ILLEGAL_DATA_VALUE: "ask for less at once",
            ExceptionCode.SERVER_DEVICE_FAILURE: "look at the device itself",
            ExceptionCode.ACKNOWLEDGE: "it is busy: try again",
            ExceptionCode.SERVER_DEVICE_BUSY: "it is busy: try again",
            ExceptionCode.GATEWAY_PATH_UNAVAILABLE: _ANOTHER_UNIT,
            ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND: _ANOTHER_UNIT,
        }.items()
    },
}


def failure(answer: Answer) -> str:
    """Return who could not be read where and why, in a line."""
    unit = answer.unit
    at = "" if unit.device is None else f" at {unit.endpoint} unit {unit.unit_id}"
    return f"{unit.name}{at}, {place(answer.reading.point)}: {one_line(answer.reason or 'no answer')}"


def cure(answer: Answer) -> str | None:
    """Return what helps against the way in which a read failed, if that is known."""
    code, device = answer.reading.code, answer.unit.device
    if code == NO_SUCH_ADDRESS and device is not None and answer.reading.point.name in device.profile.points:
        return _MODEL
    return _CURES.get(code)


def cures(answers: Sequence[Answer]) -> Iterator[str]:
    """Yield a line for each of the first units of which nothing could be read."""
    units: dict[int, list[Answer]] = {}
    for answer in answers:
        units.setdefault(id(answer.unit), []).append(answer)
    absent = [found[0] for found in units.values() if not any(answer.was_read for answer in found)]
    for answer in absent[:MAX_LINES]:
        helps = cure(answer)
        yield f"{failure(answer)}{f' ({helps})' if helps else ''}"
    if len(absent) > MAX_LINES:
        yield f"… and {len(absent) - MAX_LINES} more"
