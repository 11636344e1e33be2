"""What a check finds: how bad, what was seen, in numbers, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """How bad it is. A note is worth knowing and leaves a device healthy."""

    FAULT = "fault"  # it does not work, or what it reads is wrong
    WARNING = "warning"  # it works now, and will not always, or is probably wrong
    NOTE = "note"


ORDER: Final = tuple(Severity)

# Every check by its name, in the order of an examination: what it looks at.
CHECKS: Final = {
    "site-file": "warnings of the site file",
    "clock": "the machine's clock is right, and something keeps it so",
    "open-files": "enough open files are allowed for all connections",
    "ports": "enough local ports for all connections",
    "disk": "the log's folder can be written, and holds days of it",
    "memory": "some memory is free",
    "cpu": "the polling fits one core",
    "station": "whether a station on this machine polls the device already",
    "serial": "no device is on a serial line",
    "name": "the host's name resolves",
    "connect": "the port takes connections",
    "protocol": "what answers there is Modbus TCP",
    "unit": "the unit answers; if not, which one does",
    "gateway": "the gateway reaches the unit",
    "unit-echo": "answers bear the unit identifier that was asked",
    "transaction-id": "answers bear the transaction identifier of the request",
    "pause": "no pause is needed, after connecting or between requests, that is not configured",
    "closes": "connections stay open",
    "loss": "no answer gets lost",
    "connections": "a second connection does no harm",
    "function": "the function code that reads a table is known",
    "readable": "each planned read is answered",
    "length": "a read may be as long as planned",
    "exception": "no other exception comes",
    "time": "answers come within timeout and tick",
    "pipelining": "as many requests at once as configured are answered rightly",
    "byte-order": "32 and 64 bits make sense in the configured byte order",
    "address": "addresses are not one off",
    "sign": "no negative number is read as a large one",
    "scale": "values fit their unit, the rating and each other",
    "values": "values are numbers within their limits",
    "control": "what control goes by: states, blocks",
}
MACHINE: Final = ("site-file", "clock", "open-files", "ports", "disk", "memory", "cpu")


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. ``subject``: whether it concerns the device, its whole link, or the machine."""

    check: str
    severity: Severity
    seen: str
    cure: str
    subject: str = "device"


def fault(check: str, seen: str, cure: str, subject: str = "device") -> Finding:
    """Return a finding of something that does not work."""
    return Finding(check, Severity.FAULT, seen, cure, subject)


def warning(check: str, seen: str, cure: str, subject: str = "device") -> Finding:
    """Return a finding of something that is doubtful."""
    return Finding(check, Severity.WARNING, seen, cure, subject)


def note(check: str, seen: str, cure: str, subject: str = "device") -> Finding:
    """Return a finding of something worth knowing."""
    return Finding(check, Severity.NOTE, seen, cure, subject)


def verdict(findings: list[Finding]) -> str:
    """Return ``ill`` where there is a fault, ``doubtful`` where there is a warning, else ``healthy``."""
    severities = {finding.severity for finding in findings}
    if Severity.FAULT in severities:
        return "ill"
    return "doubtful" if Severity.WARNING in severities else "healthy"
