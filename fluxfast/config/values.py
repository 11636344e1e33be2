"""The kinds of value that only site files have: identifiers, hosts, percentages, ages, sizes, free text."""

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

_AGE_S: Final = {"h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_AGE_PATTERN: Final = r"([0-9]{1,6}(?:\.[0-9]{1,6})?)([hdwy])"
_AGE: Final = re.compile(_AGE_PATTERN)
_SIZE_BYTES: Final = {
    unit: base**power
    for base, infix in ((1000, ""), (1024, "i"))
    for power, unit in enumerate((f"{prefix}{infix}B" for prefix in "MGTP"), 2)
}
_SIZE_PATTERN: Final = r"([0-9]{1,6}(?:\.[0-9]{1,6})?)([MGTP]i?B)"
_SIZE: Final = re.compile(_SIZE_PATTERN)

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(\S*)")
_SECRET: Final = re.compile(r"(?i)secret|passw|token|credential|signature|\bsig\b|(?:access|account)_?key")


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


def _parse_age(value: Any) -> float:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        raise wrong(f"{value} has no unit of time", f"write {value}d for days")
    match = _AGE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        cure = "write one like 90d, or with h, w or y (365 days)"
        raise wrong(f"must be an age, not {describe(value)}", cure)
    age_s = Decimal(match[1]) * _AGE_S[match[2]]
    if not 3600 <= age_s <= 100 * _AGE_S["y"]:
        raise wrong("must be 1h to 100y")
    return float(age_s)


def _parse_size(value: Any) -> int:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        raise wrong(f"{value} has no unit of size", f"write {value}GB, or {value}MB")
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        cure = "write one like 50GB or 500MB; 50GiB counts by 1024"
        raise wrong(f"must be a size, not {describe(value)}", cure)
    size = int(Decimal(match[1]) * _SIZE_BYTES[match[2]])
    if size < _SIZE_BYTES["MB"]:
        raise wrong("must be at least 1MB")
    return size


def is_url(value: str) -> bool:
    """Whether it begins as a URL does, with a scheme and ``://``."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", value) is not None


def _parse_url(value: str) -> str:
    # The message never holds the URL: if there is a secret in it, it must not get into logs.
    match = _URL.fullmatch(value)
    if match is None or not value.isprintable() or not match[2].strip("/"):
        raise wrong("must be a URL", "write one like s3://bucket/folder")
    place, _, query = match[2].partition("?")
    user, at, _ = place.partition("/")[0].rpartition("@")
    if (at and ":" in user) or _SECRET.search(query):
        raise wrong(
            "holds a password or a key",
            "take it out: credentials come from the environment, such as AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY",
        )
    return value


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
Age = Annotated[
    float, BeforeValidator(_parse_age), WithJsonSchema({"type": "string", "pattern": f"^{_AGE_PATTERN}$"})
]
Size = Annotated[
    int, BeforeValidator(_parse_size), WithJsonSchema({"type": "string", "pattern": f"^{_SIZE_PATTERN}$"})
]
Url = Annotated[
    str, AfterValidator(_parse_url), WithJsonSchema({"type": "string", "pattern": f"^{_URL.pattern}$"})
]


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
