"""The words for quality codes: class (good, uncertain, bad) and reason, for the log and for people.

The codes themselves are in quality.pxd, where the decode kernel and the reactor use them.
"""

from typing import Final

from fluxfast.constants import exception_name
from fluxfast.modbus import framing_hint

GOOD: Final = 0
LATE: Final = 1
RANGE: Final = 2
BAD: Final = 32
NOT_IMPLEMENTED: Final = 32
NAN: Final = 33
SKIPPED: Final = 34
NEVER: Final = 35
TIMEOUT: Final = 36
MALFORMED: Final = 37
MISMATCH: Final = 38
FRAMING: Final = 39
LOST: Final = 40
REFUSED: Final = 41
UNREACHABLE: Final = 42
NO_HOST: Final = 43
EXCEPTION: Final = 64
PARTIAL: Final = 128
ABSENT: Final = 255

_REASONS: Final = {
    LATE: "late",
    RANGE: "out of range",
    NOT_IMPLEMENTED: "not implemented",
    NAN: "not a number",
    SKIPPED: "tick skipped",
    NEVER: "never read",
    TIMEOUT: "timeout",
    MALFORMED: "malformed response",
    MISMATCH: "response does not match",
    FRAMING: "not Modbus",
    LOST: "connection lost",
    REFUSED: "connection refused",
    UNREACHABLE: "unreachable",
    NO_HOST: "host not found",
}


def quality_name(code: int) -> str:
    """Return ``good``, ``uncertain`` or ``bad`` for a cell's or a row's code."""
    if code == GOOD:
        return "good"
    return "bad" if BAD <= code < PARTIAL or code == ABSENT else "uncertain"


def reason(code: int) -> str | None:
    """Return why a code is not good, in words; None for good."""
    if code == ABSENT:
        return "no such point"
    code &= PARTIAL - 1
    if code >= EXCEPTION:
        number = code - EXCEPTION
        return f"exception {number} {exception_name(number)}" if number else "unknown exception"
    return _REASONS.get(code)


def framing_reason(evidence: bytes) -> str:
    """Return why a stream is not Modbus, as far as the bytes that broke it tell."""
    hint = framing_hint(evidence)
    if hint.startswith(_REASONS[FRAMING]):
        return hint
    return f"{_REASONS[FRAMING]}: {hint}" if hint else _REASONS[FRAMING]


QUALITY_NAMES: Final = tuple(quality_name(code) for code in range(256))
REASONS: Final = tuple(reason(code) for code in range(256))
