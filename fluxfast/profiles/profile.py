"""A device type: its points, its quirks, and the rules that hold between points."""

from collections.abc import Iterator
from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from fluxfast.profiles.control import ControlMap
from fluxfast.profiles.control_points import check_control, write_function
from fluxfast.profiles.fields import POINT_NAME, FileModel, describe, wrong
from fluxfast.profiles.findings import Finding, raise_findings
from fluxfast.profiles.fingerprint import Fingerprint, check_fingerprint
from fluxfast.profiles.point import FAST, Point
from fluxfast.profiles.quirks import Quirks


def _finish_schema(schema: dict[str, Any]) -> None:
    """The name is the file's unless the file says otherwise."""
    schema["required"].remove("name")
    schema["properties"]["points"]["propertyNames"] = {"pattern": f"^{POINT_NAME.pattern}$"}


class Profile(FileModel):
    """One device type's register map."""

    model_config = ConfigDict(json_schema_extra=_finish_schema, title="fluxfast device profile")

    name: str = Field(description="Names the log's dataset; the file's name unless given.")
    title: str = Field(default="", max_length=100)
    version: int = Field(default=1, ge=1, description="Goes up by one with every change of the map.")
    quirks: Quirks = Quirks()
    groups: dict[str, int] = Field(
        default={}, description="Poll groups beside fast: {slow: 10} is read every 10th tick."
    )
    points: dict[str, Point] = Field(min_length=1)
    control: ControlMap | None = Field(
        default=None, description="Which points command a battery unit, or which a meter is read by."
    )
    fingerprint: Fingerprint | None = Field(
        default=None,
        description="How a scan recognises such a device if it does not say the title.",
    )

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if not POINT_NAME.fullmatch(name):
            raise wrong(
                f"'{name}' is not a profile name",
                "write name: and a letter, then letters, digits or underscores",
            )
        return name

    @field_validator("groups")
    @classmethod
    def _groups_are_periods(cls, groups: dict[str, int]) -> dict[str, int]:
        for name, period in groups.items():
            if name == FAST:
                raise wrong("fast is every tick, always", "choose another name for the group")
            if not POINT_NAME.fullmatch(name) or not 1 <= period <= 1_000_000:
                raise wrong(
                    f"{name}: {period} is not a group", "write a name and a number of ticks, like {slow: 10}"
                )
        return groups

    @field_validator("points", mode="before")
    @classmethod
    def _points_know_their_names(cls, points: Any) -> Any:
        if not isinstance(points, dict):
            return points
        raise_findings(
            Finding((name,), f"the name of a point must be text, not {describe(name)}")
            for name in points
            if not isinstance(name, str)
        )
        named = {name: point for name, point in points.items() if isinstance(point, dict)}
        return {**points, **{name: {"name": name, **point} for name, point in named.items()}}

    @model_validator(mode="after")
    def _points_agree(self) -> "Profile":
        raise_findings([*self._check_points(), *self._check_overlaps()])
        return self

    def control_findings(self) -> Iterator[Finding]:
        """Yield what keeps ``control`` from working with these points.

        Not checked with every override: a point may be removed where nothing is controlled.
        """
        if self.control is not None:
            for finding in dict.fromkeys(check_control(self.control, self.points, self.quirks)):
                yield finding._replace(loc=("control", *finding.loc))

    def fingerprint_findings(self) -> Iterator[Finding]:
        """Yield what keeps ``fingerprint`` from being read; not checked with every override either."""
        if self.fingerprint is not None:
            for finding in check_fingerprint(self.fingerprint, self.points):
                yield finding._replace(loc=("fingerprint", *finding.loc))

    def write_function(self, point: str) -> int:
        """Return the function code that writes a register point: 6 or 16."""
        return write_function(self.control, self.quirks, self.points[point])

    def _check_points(self) -> Iterator[Finding]:
        names: dict[str, str] = {}
        for key, point in self.points.items():
            loc = ("points", key)
            if point.name != key:
                yield Finding((*loc, "name"), "a point's name is its key", "remove name:")
            other = names.setdefault(key.lower(), key)
            if other != key:
                yield Finding(loc, f"differs from '{other}' only in capitals", "rename one of them")
            if point.group != FAST and point.group not in self.groups:
                known = ", ".join([FAST, *self.groups])
                yield Finding((*loc, "group"), f"there is no group '{point.group}'", f"groups here: {known}")
            limit = self.quirks.max_bits if point.in_bit_table else self.quirks.max_registers
            if point.size > limit:
                yield Finding(loc, f"its {point.size} registers are more than one read may fetch ({limit})")
            if point.readable and not self._answers_for(point):
                last = point.address + point.size - 1
                yield Finding(loc, f"addresses {point.address} to {last} are in no range of quirks.readable")

    def _answers_for(self, point: Point) -> bool:
        ranges = self.quirks.readable
        last = point.address + point.size - 1
        return ranges is None or any(low <= point.address and last <= high for low, high in ranges)

    def _check_overlaps(self) -> Iterator[Finding]:
        """Two values never share a register, unless both are bits picked out of the same registers."""
        tables: dict[str, list[Point]] = {}
        for point in self.points.values():
            tables.setdefault(point.register, []).append(point)
        for points in tables.values():
            points.sort(key=lambda point: point.address)  # stable: the file's order decides between equals
            furthest = points[0]
            for point in points[1:]:
                if point.address < furthest.address + furthest.size and not _share_by_bits(furthest, point):
                    yield Finding(
                        ("points", point.name),
                        f"shares {point.register} address {point.address} with '{furthest.name}'",
                        "only bit and bits fields of the same registers may overlap",
                    )
                if point.address + point.size > furthest.address + furthest.size:
                    furthest = point


def _share_by_bits(one: Point, other: Point) -> bool:
    picked = all(point.bit is not None or point.bits is not None for point in (one, other))
    return picked and one.address == other.address and one.size == other.size
