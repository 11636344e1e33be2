"""What is asked: addresses in the form that the user gives, or points of a profile, and the reads they take.

Addresses are PDU addresses, which count from 0. Beside each one people see its reference, which counts from 1
and tells the table by its first digit: holding register 2008 is 42009.
"""

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final, cast

from fluxfast.errors import LocalProtocolError
from fluxfast.plan.blocks import BlockLayout, plan_blocks
from fluxfast.profiles import Point, Profile, Quirks
from fluxfast.profiles.findings import nearest, validate
from fluxfast.profiles.point import BIT_TABLES, REFERENCE_DIGITS
from fluxfast.profiles.types import BYTE_ORDERS, SWAPPED_BYTES, SWAPPED_WORDS, TYPES, TypeName

ORDERS: Final = ("big", "little", "byte-swap", "word-swap")
MAX_POINTS: Final = 65536
MAX_DIGITS: Final = 40  # of a scale: floats have 17
_NUMBER: Final = r"(?:0[xX][0-9A-Fa-f]{1,8}|[0-9]{1,8})"
_ITEM: Final = re.compile(rf"({_NUMBER})(?::({_NUMBER}))?", re.ASCII)
_GLOB: Final = re.compile(r"[*?\[]")


def place(point: Point) -> str:
    """Return where a point is, both ways: ``holding address 2008, reference 42009``."""
    return f"{point.register} address {point.address}, reference {point.reference}"


@dataclass(frozen=True)
class Form:
    """How the registers at plain addresses are to be read; nothing given: uint16, or a bit."""

    table: str = "holding"
    type: str | None = None
    order: str | None = None
    scale: str | None = None
    offset: str | None = None
    bit: int | None = None
    length: int | None = None
    base: int = 0  # 1: addresses are written as modpoll does

    def points(self, item: str) -> list[Point]:
        """Return the points of ``ADDRESS`` or ``ADDRESS:COUNT``, where COUNT counts values."""
        address, count = self._parse(item)
        first = self._point(address, item)
        end = address + count * first.size
        if end > 0x10000:
            raise LocalProtocolError(f"{item}: {end - address} from address {address} run past 65535")
        places = range(address, end, first.size)
        return [first, *(first.model_copy(update={"name": self._name(a), "address": a}) for a in places[1:])]

    def address(self, text: str) -> int:
        """Return the PDU address that is written as ``2008``, ``0x7D8`` or, counting from 1, 2009."""
        if not re.fullmatch(_NUMBER, text, re.ASCII):
            raise LocalProtocolError(f"{text!r} is no address (write one like 2008 or 0x7D8)")
        number = int(text, 0 if text[:2] in ("0x", "0X") else 10)
        if self.base and not number:
            raise LocalProtocolError(
                f"{text}: addresses begin at 1 with --base 1 (leave it out: 0 is the first)"
            )
        address = number - self.base
        if address > 0xFFFF:
            raise LocalProtocolError(f"address {text} is beyond 65535{_meant(text)}")
        return address

    def _parse(self, item: str) -> tuple[int, int]:
        match = _ITEM.fullmatch(item)
        if match is None:
            raise LocalProtocolError(
                f"{item!r} is no address (write ADDRESS or ADDRESS:COUNT, like 2008, 0x7D8 or 2000:10)"
            )
        count = int(match[2], 0 if match[2][:2] in ("0x", "0X") else 10) if match[2] else 1
        if not 1 <= count <= MAX_POINTS:
            raise LocalProtocolError(f"{item}: a count is 1 to {MAX_POINTS}")
        return self.address(match[1]), count

    def _name(self, address: int) -> str:
        return f"{self.table}_{address}" if self.bit is None else f"{self.table}_{address}_{self.bit}"

    def _point(self, address: int, item: str) -> Point:
        in_bits = self.table in BIT_TABLES
        type_ = self.type or ("bool" if in_bits or self.bit is not None else "uint16")
        entries: dict[str, Any] = {
            "name": self._name(address),
            "address": address,
            "register": self.table,
            "type": type_,
            "byte_order": self._byte_order(type_),
            "length": self.length,
            "bit": self.bit,
            "access": "rw" if self.table in ("holding", "coil") else "ro",
        }
        for key, text in (("scale", self.scale), ("offset", self.offset)):
            if text is not None:
                entries[key] = _decimal(key, text)
        given = {key: value for key, value in entries.items() if value is not None}
        point, findings = validate(Point, given)
        if point is None:
            finding = findings[0]
            cure = f" ({_as_options(finding.cure)})" if finding.cure else ""
            raise LocalProtocolError(f"{item}: {_as_options(finding.message)}{cure}")
        return point

    def _byte_order(self, type_: str) -> str | None:
        """Return the letters of an order that is given by name, as far as they go for this type."""
        name = (self.order or "").lower()
        if name not in ORDERS:
            return self.order and self.order.upper()
        legal = BYTE_ORDERS[TYPES[cast(TypeName, type_)].width]
        wanted = (name in ("little", "byte-swap"), name in ("little", "word-swap") and len(legal) > 2)
        return next(o for o in legal if (o in SWAPPED_BYTES, o in SWAPPED_WORDS) == wanted)


@dataclass(frozen=True)
class Selection:
    """Points in the order in which they are shown, and the reads that fetch them."""

    points: tuple[Point, ...]
    blocks: tuple[BlockLayout, ...] = field(repr=False)


def select_addresses(items: Iterable[str], form: Form, quirks: Quirks | None = None) -> Selection:
    """Return what some ``ADDRESS[:COUNT]`` are; nothing between them is read, lest it be refused.

    ``quirks`` are those of the device, if it is known.
    """
    points = {point.name: point for item in items for point in form.points(item)}
    known = quirks or Quirks()
    first = next(iter(points.values()))
    limit = known.max_bits if first.in_bit_table else known.max_registers
    if first.size > limit:
        raise LocalProtocolError(f"one read of this device fetches {limit} registers, not {first.size}")
    exact = known.model_copy(update={"max_gap": 0, "readable": None})
    return Selection(tuple(points.values()), _blocks(points.values(), exact))


def select_points(profile: Profile, words: Sequence[str]) -> Selection:
    """Return the points that some names or patterns like ``power_*`` mean; without any all that are read."""
    chosen = dict.fromkeys(name for word in words or ["*"] for name in _matching(profile, word))
    points = {name: profile.points[name] for name in chosen}
    return Selection(tuple(points.values()), plan_blocks(profile.model_copy(update={"points": points})))


def join(*parts: Selection) -> Selection:
    """Return several selections as one."""
    return Selection(
        tuple(point for part in parts for point in part.points),
        tuple(block for part in parts for block in part.blocks),
    )


def is_address(word: str) -> bool:
    """Whether it is written as an address, which the name of a point never is."""
    return word[:1].isdigit()


def _blocks(points: Iterable[Point], quirks: Quirks) -> tuple[BlockLayout, ...]:
    named = {point.name: point for point in points}
    first = next(iter(named))
    bare = Profile(name="device", quirks=quirks, points={first: named[first]})
    return plan_blocks(bare.model_copy(update={"points": named}))


def _matching(profile: Profile, word: str) -> Iterator[str]:
    if _GLOB.search(word):
        found = [name for name, p in profile.points.items() if p.readable and fnmatch.fnmatchcase(name, word)]
        if not found:
            raise LocalProtocolError(f"no point of {profile.name} is like '{word}' ({_names(profile)})")
        yield from found
        return
    if word not in profile.points:
        raise LocalProtocolError(f"{profile.name} has no point '{word}' ({nearest(word, profile.points)})")
    if not profile.points[word].readable:
        raise LocalProtocolError(f"{word} is only written: its profile says access: wo")
    yield word


def _names(profile: Profile) -> str:
    return nearest("", profile.points)


def _decimal(key: str, text: str) -> Decimal:
    try:
        if not text.isascii() or len(text) > MAX_DIGITS:  # Decimal takes the digits of every script
            raise InvalidOperation
        return Decimal(text)
    except InvalidOperation:
        cure = "write one like 0.1 or -40"
        raise LocalProtocolError(f"--{key} {text[:MAX_DIGITS]!r} is no number ({cure})") from None


def _as_options(text: str) -> str:
    """Return a profile's message in the words of the command line."""
    for key in ("length", "bit", "type", "register"):
        text = text.replace(f"{key}: ", f"--{'table' if key == 'register' else key} ")
    return text


def _meant(text: str) -> str:
    """Return what a number that is too large probably is: a reference."""
    tables = {str(digit): table for table, digit in REFERENCE_DIGITS.items()}
    if len(text) == 6 and text.isdecimal() and text[0] in tables and 1 <= int(text[1:]) <= 65536:
        table, number = tables[text[0]], int(text[1:])
        option = "" if table == "holding" else f" --table {table}"
        return f": as a reference it is {table} address {number - 1} (write {number - 1}{option})"
    return " (addresses are PDU addresses, which count from 0)"
