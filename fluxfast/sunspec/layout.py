"""A model's definition laid over a device's registers: which field is where.

Groups may repeat, as often as a count register says (705: NCrv curves of NPt points) or, in the older
models, as often as they fit (160: modules). What does not fit into the model's length is not there,
whatever a count claims.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fluxfast.sunspec.definitions import Group
from fluxfast.sunspec.discover import Model

Words = Mapping[int, int]  # address: register
HEADER: Final = (("ID",), ("L",))


@dataclass(frozen=True)
class Field:
    """One point of a model, where it is; ``path`` is its name after those of its groups and their numbers."""

    path: tuple[str, ...]
    defined: Mapping[str, Any]
    address: int
    size: int
    scale_factor: "Field | int | None" = None  # its power of ten, or where the device says it

    @property
    def type(self) -> str:
        """SunSpec's name of the type."""
        return str(self.defined["type"])

    def raw(self, words: Words) -> bytes | None:
        """Return its bytes, None where they could not be read."""
        if any(at not in words for at in range(self.address, self.address + self.size)):
            return None
        return b"".join(words[at].to_bytes(2) for at in range(self.address, self.address + self.size))


def top_fields(group: Group, model: Model) -> list[Field]:
    """Return the fields before all groups: with them the counts of the others are known."""
    return list(_Walk(model, {}).points(group, (), model.address, {}))


def all_fields(group: Group, model: Model, words: Words) -> list[Field]:
    """Return all fields in the order of their addresses, without ID and length."""
    walk = _Walk(model, words)
    fields = list(walk.group(group, (), model.address, {}))
    return [field for field in fields if field.path not in HEADER]


class _Walk:
    """Goes through a definition; ends where the model ends."""

    def __init__(self, model: Model, words: Words) -> None:
        self._end = model.end
        self._words = words
        self._top: dict[str, Field] = {}
        self._is_full = False

    def group(
        self, group: Group, path: tuple[str, ...], address: int, outer: Mapping[str, Field]
    ) -> Iterator[Field]:
        """Yield the fields of a group, then of the groups in it."""
        own: dict[str, Field] = {}
        for field in self.points(group, path, address, outer):
            own[field.path[-1]] = field
            address = field.address + field.size
            yield field
        if not path:
            self._top = own
        for inner in group.get("groups", ()):
            for inside in self._repeated(inner, path, address):
                address = inside.address + inside.size
                yield inside

    def points(
        self, group: Group, path: tuple[str, ...], address: int, outer: Mapping[str, Field]
    ) -> Iterator[Field]:
        """Yield a group's own points. A scale factor is one of them, or one of the model's."""
        places: dict[str, Field] = {}
        for defined in group["points"]:
            size = int(defined["size"])
            if address + size > self._end:
                self._is_full = True
                break
            places[defined["name"]] = Field((*path, defined["name"]), defined, address, size)
            address += size
        for field in places.values():
            sf = field.defined.get("sf")
            factor = places.get(sf) or outer.get(sf) if isinstance(sf, str) else sf
            yield Field(field.path, field.defined, field.address, field.size, factor)

    def _repeated(self, group: Group, path: tuple[str, ...], address: int) -> Iterator[Field]:
        count = self._count(group)
        number = 0
        while not self._is_full and (count is None or number < count):
            number += 1
            start = address
            numbered = (*path, group["name"]) if "count" not in group else (*path, group["name"], str(number))
            for field in self.group(group, numbered, address, self._top):
                address = field.address + field.size
                yield field
            if address == start:  # nothing in it: there would be no end
                return

    def _count(self, group: Group) -> int | None:
        """Return how often a group comes; None for: as often as it fits."""
        count = group.get("count", 1)
        if isinstance(count, str):
            field = self._top.get(count)
            raw = field.raw(self._words) if field else None
            number = int.from_bytes(raw) if raw else 0
            return 0 if number == 0xFFFF else number
        return int(count) or None
