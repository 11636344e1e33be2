"""From what a SunSpec device tells of itself to a profile.

The scale of each point is its device's scale factor of now, exactly. A scale factor may change while the
device runs; a profile's scale does not. So the scale factors are points, too, in a group that is read now and
then: what they were is in the comments, and a change shows in the log.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from fluxfast.client import Client
from fluxfast.constants import MAX_READ_REGISTERS
from fluxfast.errors import FluxfastError
from fluxfast.profiles import Point, Profile
from fluxfast.profiles.findings import validate
from fluxfast.profiles.point import RESERVED_COLUMNS
from fluxfast.profiles.write import Comments
from fluxfast.sunspec.definitions import Group, definition
from fluxfast.sunspec.discover import Found, Model, Progress
from fluxfast.sunspec.layout import Field, all_fields, top_fields
from fluxfast.sunspec.points import (
    SLOW,
    bit_points,
    factor,
    has_bits,
    implemented,
    is_accumulator,
    is_known,
    point_keys,
)
from fluxfast.sunspec.registers import Registers
from fluxfast.sunspec.suggest import suggestion

ONE: Final = Decimal(1)
SLOW_EVERY: Final = 60  # ticks
# Nameplates, settings and curves: what does not change by itself.
_SETTINGS: Final = frozenset({1, 120, 121, *range(125, 146), 702, 703, *range(705, 713)})
_LISTED: Final = 100  # characters of a line of names


@dataclass(frozen=True)
class Made:
    """A profile, its comments, what is to be told about it, and the models that have no definition."""

    profile: Profile
    comments: Comments
    remarks: tuple[str, ...]
    unknown: tuple[Model, ...]


@dataclass
class Entry:
    """A point on its way: where it comes from, its keys, its comment, and its name when all are known."""

    model: Model
    ordinal: int  # of the models with this ID, 0 if it is the only one
    path: tuple[str, ...]
    keys: dict[str, Any]
    comment: str = ""
    name: str = ""


async def make_profile(
    client: Client,
    found: Found,
    *,
    name: str | None = None,
    keep_all: bool = False,
    bits: bool = False,
    progress: Progress = lambda *_: None,
) -> Made:
    """Read a device's models and return its profile, with the points that it has a value for now.

    ``keep_all`` takes the others too. ``bits`` makes each named bit of a bitfield a bool. Raises
    FluxfastError where there is nothing to read, MissingExtraError without pysunspec2.
    """
    maker = _Maker(found, keep_all, bits)
    registers = Registers(client)
    known = [(model, group) for model in found.models if (group := definition(model.id)) is not None]
    for done, (model, group) in enumerate(known):
        progress(done, len(known), f"model {model.id}")
        await registers.read(top_fields(group, model))
        fields = all_fields(group, model, registers.words)
        await registers.read([f for f in fields if f.address not in registers.words and len(f.path) > 1])
        maker.take(model, group, fields, registers.words)
    return maker.made(registers, name)


class _Maker:
    """Collects the points of one model after the other."""

    def __init__(self, found: Found, keep_all: bool, bits: bool) -> None:
        self._found = found
        self._keep_all = keep_all
        self._bits = bits
        self._entries: list[Entry] = []
        self._above: dict[int, list[str]] = {}  # index of an entry: what stands above it
        self._remarks: list[str] = []
        self._same = Counter(model.id for model in found.models)
        self._seen: Counter[int] = Counter()
        self._models: Counter[str] = Counter()  # how many have a field of a name

    def take(self, model: Model, group: Group, fields: list[Field], words: Mapping[int, int]) -> None:
        self._seen[model.id] += 1
        ordinal = self._seen[model.id] if self._same[model.id] > 1 else 0
        self._models.update({_plain_name(field.path).lower() for field in fields})
        left_out: list[str] = []
        kept: dict[int, Field] = {}  # by address
        for field in fields:
            if field.type in ("pad", "sunssf"):
                continue
            shown = "_".join(field.path)
            if not is_known(field):
                self._remarks.append(f"model {model.id}: {shown}: there is no type for a {field.type} here")
            elif field.raw(words) is None:
                self._remarks.append(f"model {model.id}: {shown} ({field.address}) cannot be read")
            elif self._keep_all or self._is_wanted(field, words):
                kept[field.address] = field
            else:
                left_out.append(shown)
        first = len(self._entries)
        used = {
            field.scale_factor.address for field in kept.values() if isinstance(field.scale_factor, Field)
        }
        for field in fields:
            if field.address in kept:
                self._entries += self._entries_of(model, ordinal, field, words)
            elif field.type == "sunssf" and field.address in used and self._is_wanted(field, words):
                self._entries.append(Entry(model, ordinal, field.path, point_keys(field, ONE, is_slow=True)))
        if len(self._entries) > first:
            label = group.get("label") or group.get("desc") or group["name"]
            title = f"Model {model.id}, {label}: {model.address} to {model.end - 1}"
            self._above[first] = [title, *_names("Not implemented on this device:", left_out)]
        rest = model.end - max((field.address + field.size for field in fields), default=model.address + 2)
        if rest and all(field.raw(words) for field in fields):  # else a count may be missing
            self._remarks.append(f"model {model.id}: {rest} registers at its end are not in its definition")

    def _is_wanted(self, field: Field, words: Mapping[int, int]) -> bool:
        """A counter that must be there is wanted even if it has counted nothing yet."""
        if is_accumulator(field) and field.defined.get("mandatory") == "M":
            return True
        return implemented(field, words)

    def _entries_of(
        self, model: Model, ordinal: int, field: Field, words: Mapping[int, int]
    ) -> Iterator[Entry]:
        is_slow = model.id in _SETTINGS
        if self._bits and has_bits(field):
            for name, keys in bit_points(field, is_slow=is_slow):
                yield Entry(model, ordinal, (*field.path, name), keys)
            return
        by = factor(field, words)
        if by.scale is None:
            shown = "_".join(field.path)
            self._remarks.append(f"model {model.id}: {shown} is left out: {by.source}")
            return
        if by.source.startswith("raw"):
            self._remarks.append(f"model {model.id}: {'_'.join(field.path)}: {by.source}")
        yield Entry(model, ordinal, field.path, point_keys(field, by.scale, is_slow=is_slow), by.source)

    def made(self, registers: Registers, name: str | None) -> Made:
        """Return the profile of all that was taken."""
        found = self._found
        unknown = tuple(model for model in found.models if definition(model.id) is None)
        _name(self._entries, self._models)
        points, beside, above = {}, {}, {}
        pending: list[str] = []
        for index, entry in enumerate(self._entries):
            pending += self._above.get(index, [])
            point, findings = validate(Point, {"name": entry.name, **entry.keys})
            if point is None:
                self._remarks += [f"model {entry.model.id}: {entry.name}: {one.message}" for one in findings]
                continue
            points[entry.name] = point
            if entry.comment:
                beside[entry.name] = entry.comment
            if pending:
                above[entry.name], pending = pending, []
        if not points:
            listed = ", ".join(dict.fromkeys(f"{model.id}" for model in found.models)) or "none"
            raise FluxfastError(f"no model that has a definition and a value (models: {listed})")
        quirks: dict[str, Any] = {
            "max_gap": MAX_READ_REGISTERS,  # a model answers for all of its registers
            "readable": _readable(found.models, registers),
        }
        if registers.max_registers < MAX_READ_REGISTERS:
            quirks["max_registers"] = registers.max_registers
        said = found.common
        title = " ".join(filter(None, (said.manufacturer, said.model))) or "SunSpec device"
        data = {
            "name": name or profile_name(title),
            "title": title[:100],
            "quirks": quirks,
            "groups": {SLOW: SLOW_EVERY} if any(point.group == SLOW for point in points.values()) else {},
            "points": points,
        }
        profile, findings = validate(Profile, data)
        if profile is None:
            raise FluxfastError("; ".join(f"{one.message}" for one in findings))
        comments = Comments(tuple(_head(found, unknown)), above, beside, suggestion(self._entries, points))
        return Made(profile, comments, tuple(dict.fromkeys(self._remarks)), unknown)


def _readable(models: tuple[Model, ...], registers: Registers) -> list[list[int]]:
    """Return the ranges that may be read: models, without what the device refuses, up to its borders."""
    refused = {at for field in registers.refused for at in range(field.address, field.address + field.size)}
    borders = registers.borders
    ranges = []
    for model in models:
        start = None
        for at in range(model.address, model.end + 1):
            inside = at < model.end and at not in refused and definition(model.id) is not None
            if start is not None and (not inside or at in borders):
                ranges.append([start, at - 1])
                start = None
            if inside and start is None:
                start = at
    return ranges


def _head(found: Found, unknown: tuple[Model, ...]) -> Iterator[str]:
    said = found.common
    yield "Made by `fluxfast profile from-sunspec` of a device that says it is"
    yield " ".join(
        filter(None, (
            said.manufacturer, said.model, said.options, said.version and f"version {said.version}",
            said.serial_number and f"serial number {said.serial_number}",
        ))
    ) or "nothing at all"  # fmt: skip
    yield f"Its map is at {found.base}. Scales are what its scale factors (the points …_SF) were then: when"
    yield "one of them changes, make the profile again."
    if unknown:
        yield "Models without a definition, left out: " + ", ".join(
            f"{model.id} ({model.address} to {model.end - 1})" for model in unknown
        )


def _names(start: str, names: list[str]) -> Iterator[str]:
    """Yield a list of names in lines."""
    line = start
    for number, name in enumerate(names, 1):
        word = name if number == len(names) else f"{name},"
        if len(line) + 1 + len(word) > _LISTED:
            yield line
            line = " "
        line = f"{line} {word}"
    if names:
        yield line


def profile_name(title: str) -> str:
    """Return a name for a profile: lower case letters, digits and underscores."""
    name = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:50]
    return name if name[:1].isalpha() else f"sunspec_{name}".strip("_")


def _plain_name(path: tuple[str, ...]) -> str:
    return re.sub(r"\W", "_", "_".join(path), flags=re.ASCII)[:50]


def _name(entries: list[Entry], models: Counter[str]) -> None:
    """Give each entry SunSpec's name, with the model's number where several models have it.

    ``models`` counts them, also those that have no value for it now: a name does not depend on that.
    """
    for entry in entries:
        entry.name = _plain_name(entry.path)
        if models[entry.name.lower()] > 1 or entry.name.lower() in RESERVED_COLUMNS:
            entry.name += f"_{entry.model.id}" + (f"_{entry.ordinal}" if entry.ordinal else "")
    again: Counter[str] = Counter()
    for entry in entries:
        again[entry.name.lower()] += 1
        if (number := again[entry.name.lower()]) > 1:
            entry.name += f"_{number}"
