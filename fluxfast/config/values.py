"""The kinds of value that only site files have: identifiers, hosts, percentages, free text."""

import ipaddress
import re
from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from fluxfast.profiles.fields import Number, describe, wrong

IDENTIFIER: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_IDENTIFIER: Final = re.compile(IDENTIFIER)
# Site names become folders of the log, and logs are copied to Windows machines.
_RESERVED: Final = re.compile(r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")
_ROLE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")

_HOST_LABEL: Final = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_HOST_LABEL}(?:\.{_HOST_LABEL})*\.?")
_IPV4_LIKE: Final = re.compile(r"[0-9.]+")
_HOST_AND_PORT: Final = re.compile(r"([^:]+):([0-9]{1,5})")

_PERCENT_PATTERN: Final = r"[0-9]{1,3}(?:\.[0-9]{1,3})?%"
_PERCENT: Final = re.compile(_PERCENT_PATTERN)


def identifier_fault(value: str) -> tuple[str, str] | None:
    """Return (what is wrong, cure) when the value cannot name a device or a site, and a folder."""
    if not _IDENTIFIER.fullmatch(value):
        return (
            f"'{value[:70]}' is not an identifier",
            "use 1 to 64 letters, digits, '_', '.' or '-', starting with a letter or digit",
        )
    if ".." in value or value.endswith(".") or _RESERVED.fullmatch(value):
        return f"'{value}' cannot be the name of a folder", "choose another"
    return None


def parse_identifier(value: str) -> str:
    """Return the identifier, or raise what is wrong with it."""
    if fault := identifier_fault(value):
        raise wrong(*fault)
    return value


def _parse_role(value: str) -> str:
    if not _ROLE.fullmatch(value):
        raise wrong(f"'{value[:70]}' is not a role", "use one word, like grid, pv or load")
    return value


def _parse_text(value: str) -> str:
    if not value.strip() or len(value) > 200 or not value.isprintable():
        raise wrong("must be 1 to 200 printable characters")
    return value


def parse_host(value: Any) -> str:
    """Return a host name in lower case, or an IP address in its usual form; nothing is looked up."""
    if not isinstance(value, str):
        raise wrong(f"must be a host name or an IP address, not {describe(value)}")
    if _IPV4_LIKE.fullmatch(value) or value.count(":") > 1:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            raise wrong(
                f"'{value[:70]}' is not an IP address", "an IPv4 address is like 192.168.1.100"
            ) from None
        if address.is_multicast or address.is_unspecified or value == "255.255.255.255":
            raise wrong(f"{value} is no address of one device")
        return str(address)
    if match := _HOST_AND_PORT.fullmatch(value):
        raise wrong(f"'{value[:70]}' holds a port too", f"write host: {match[1]} and port: {match[2]}")
    if not _HOST_NAME.fullmatch(value):
        raise wrong(
            f"'{value[:70]}' is not a host name or an IP address", "write only the host, like 192.168.1.100"
        )
    return value.lower()


def _parse_percent(value: Any) -> float:
    if not isinstance(value, str) or not _PERCENT.fullmatch(value):
        raise wrong(f"must be a percentage, not {describe(value)}", "write one like 80%")
    percent = Decimal(value[:-1])
    if percent > 100:
        raise wrong(f"{value} is more than 100%")
    return float(percent / 100)


def _refuse_zero(share: float) -> float:
    if share == 0:
        raise wrong("must be above 0%")
    return share


Identifier = Annotated[
    str, AfterValidator(parse_identifier), WithJsonSchema({"type": "string", "pattern": f"^{IDENTIFIER}$"})
]
Role = Annotated[
    str, AfterValidator(_parse_role), WithJsonSchema({"type": "string", "pattern": f"^{_ROLE.pattern}$"})
]
Text = Annotated[
    str, AfterValidator(_parse_text), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 200})
]
Host = Annotated[str, BeforeValidator(parse_host), WithJsonSchema({"type": "string"})]
PercentOrZero = Annotated[
    float,
    BeforeValidator(_parse_percent),
    WithJsonSchema({"type": "string", "pattern": f"^{_PERCENT_PATTERN}$"}),
]
Percent = Annotated[PercentOrZero, AfterValidator(_refuse_zero)]


def _empty_if_none(value: Any) -> Any:
    """A key with nothing after it, as when all its items are commented out, is an empty list."""
    return [] if value is None else value


def lists_may_be_none(schema: dict[str, Any]) -> None:
    """Say in a model's JSON Schema that its lists may be left empty."""
    for name, entries in schema["properties"].items():
        if entries.get("type") == "array":
            schema["properties"][name] = {"anyOf": [entries, {"type": "null"}]}


E = TypeVar("E")
# Lists of the file are lists; the frozen models keep them as tuples.
Entries = Annotated[tuple[E, ...], Field(strict=False), BeforeValidator(_empty_if_none)]

ZeroOrMore = Annotated[Number, Field(ge=0), WithJsonSchema({"type": "number", "minimum": 0})]
Positive = Annotated[Number, Field(gt=0), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
PctNumber = Annotated[
    Number, Field(ge=0, le=100), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 100})
]
