"""A profile as YAML, the way a person would write it: a line for each point, defaults left out.

What is written is read back as the same profile, to the last digit. Comments can go to the top, above a
point, beside it, and to the end.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from fluxfast.profiles.control import PointState
from fluxfast.profiles.document import one_line
from fluxfast.profiles.fields import FileModel
from fluxfast.profiles.point import Point
from fluxfast.profiles.profile import Profile
from fluxfast.profiles.scalars import resolve_scalar
from fluxfast.profiles.types import BYTE_ORDERS, TYPES

WIDTH: Final = 110
SHORT: Final = 20  # a list or mapping that is never broken
LONG: Final = 80  # text that may be
_PLAIN: Final = re.compile(r"[^\W\d_](?:[\w /().%+*²³°·-]*[\w/().%+*²³°])?")  # text that needs no quotes
_OTHERS_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off"})  # text here, not in YAML 1.1
_UNITS: Final = (("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 10**3))


@dataclass(frozen=True)
class Comments:
    """What is written beside the data; keys are names of points."""

    top: Sequence[str] = ()
    above: Mapping[str, Sequence[str]] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    end: Sequence[str] = ()


def profile_text(profile: Profile, comments: Comments | None = None) -> str:
    """Return the text of a profile's file."""
    return "".join(f"{line}\n" for line in _lines(profile, comments or Comments()))


def _lines(profile: Profile, comments: Comments) -> Iterator[str]:
    yield from _remarks(comments.top)
    yield f"name: {_scalar(profile.name)}"
    if profile.title:
        yield f"title: {_scalar(profile.title)}"
    if profile.version != 1:
        yield f"version: {profile.version}"
    for key, value in (("quirks", _fields(profile.quirks)), ("groups", profile.groups)):
        if value:
            yield from _wrapped("", key, value)
    yield "points:"
    for name, point in profile.points.items():
        if name in comments.above:
            yield from _remarks(comments.above[name], "  ")
        *lines, last = _wrapped("  ", _scalar(name), point_fields(point))
        yield from lines
        yield f"{last}  # {one_line(comments.beside[name])}" if name in comments.beside else last
    for key, part in (("control", profile.control), ("fingerprint", profile.fingerprint)):
        if part is not None:
            yield from _wrapped("", key, _fields(part))
    yield from _remarks(comments.end)


def point_fields(point: Point) -> dict[str, Any]:
    """Return what a point's file has to say: keys as they are written, without defaults."""
    fields = _fields(point)
    del fields["name"]
    if point.byte_order == BYTE_ORDERS[TYPES[point.type].width][0]:
        del fields["byte_order"]
    if "not_implemented" in fields:
        raws = [_raw(point, raw) for raw in point.not_implemented]
        fields["not_implemented"] = raws[0] if len(raws) == 1 else raws
    if "description" in fields:
        fields["description"] = fields.pop("description")  # the longest comes last
    return fields


class _Word(str):
    """Text that stands in the file as it is."""

    __slots__ = ()


def _raw(point: Point, raw: int | float) -> Any:
    """Return a raw value as makers write it: 0x8000."""
    if isinstance(raw, float):
        return Decimal(repr(raw))
    width = TYPES[point.type].width
    return _Word(f"0x{raw & ((1 << width) - 1):0{width // 4}X}") if raw else 0


def _fields(model: FileModel) -> dict[str, Any]:
    """Return a model's fields by their keys in a file, without those that are as they always are."""
    found = {}
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if value != info.get_default(call_default_factory=True):
            found[info.alias or name] = _duration(value) if name.endswith("_ns") else value
    return found


def _duration(duration_ns: int) -> "_Word":
    for unit, unit_ns in _UNITS:
        if duration_ns % unit_ns == 0 and duration_ns >= unit_ns:
            return _Word(f"{duration_ns // unit_ns}{unit}")
    return _Word(f"{Decimal(duration_ns) / 1000:f}us" if duration_ns else "0s")


# ---- YAML ----


def _remarks(lines: Iterable[str], indent: str = "") -> Iterator[str]:
    for line in lines:
        yield f"{indent}# {one_line(line)}".rstrip()


def _wrapped(indent: str, key: str, value: Any) -> Iterator[str]:
    """Yield ``key: {…}`` in lines, broken after commas where it is long."""
    first, *pieces = _pieces(value)
    line = f"{indent}{key}: {first}"
    for piece in pieces:
        if len(line) + 1 + len(piece) > WIDTH:
            yield line
            line = f"{indent}    {piece}"
        else:
            line = f"{line} {piece}"
    yield line


def _pieces(value: Any) -> list[str]:
    """Return a value's text in flow style, cut where a line may end."""
    if isinstance(value, FileModel):
        value = _fields(value)
    if isinstance(value, PointState):
        value = {value.point: value.labels if len(value.labels) > 1 else value.labels[0]}
    if isinstance(value, Mapping):
        items = [_after(f"{_scalar(key)}: ", _pieces(one)) for key, one in value.items()]
        return _joined("{", items, "}")
    if isinstance(value, list | tuple):
        return _joined("[", [_pieces(one) for one in value], "]")
    text = _scalar(value)
    if text.startswith('"') and len(text) > LONG:  # a line's end between two words reads as one space
        return re.split(r"(?<=\S) (?=\S)", text)
    return [text]


def _after(start: str, pieces: list[str]) -> list[str]:
    return [start + pieces[0], *pieces[1:]]


def _joined(start: str, items: list[list[str]], end: str) -> list[str]:
    pieces = [piece for item in items for piece in (*item[:-1], f"{item[-1]},")] or [","]
    pieces[-1] = pieces[-1].removesuffix(",") + end
    pieces = _after(start, pieces)
    return [" ".join(pieces)] if sum(map(len, pieces)) < SHORT else pieces


def _scalar(value: Any) -> str:
    if isinstance(value, _Word):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, str):
        return _text(value)
    return str(value)


def _number(value: Decimal) -> str:
    value = value.normalize()
    plain = f"{value:f}"
    return plain if len(plain) <= 12 else str(value)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _OTHERS_WORDS and resolve_scalar(text) is text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped) + '"'
