"""How a device of this type is recognised by a scan: by what it says, or by values that make sense."""

import re
from collections.abc import Iterator, Mapping

from pydantic import Field, field_validator, model_validator

from fluxfast.profiles.fields import FileModel, wrong
from fluxfast.profiles.findings import Finding, nearest
from fluxfast.profiles.point import Limits, Point


class Fingerprint(FileModel):
    """Marks of a device type; ``values`` are [min, max] of points, in engineering units."""

    says: str | None = Field(
        default=None, min_length=1, max_length=200,
        description="A regular expression, found in what the device says of itself; capitals do not count.",
    )  # fmt: skip
    values: dict[str, Limits] = Field(
        default={}, description="Points, and the [min, max] in which each must be to look like this device."
    )

    @field_validator("says")
    @classmethod
    def _says_compiles(cls, says: str | None) -> str | None:
        try:
            re.compile(says or "")
        except re.error as error:
            raise wrong(
                f"'{says}' is no regular expression: {error}", "write plain words, like Acuvim"
            ) from None
        return says

    @model_validator(mode="after")
    def _has_a_mark(self) -> "Fingerprint":
        if self.says is None and not self.values:
            raise wrong("a fingerprint needs says: or values:", "remove it, or name one")
        return self


def check_fingerprint(fingerprint: Fingerprint, points: Mapping[str, Point]) -> Iterator[Finding]:
    """Yield what keeps a fingerprint from being read with these points."""
    for name in fingerprint.values:
        point = points.get(name)
        if point is None:
            yield Finding(("values", name), f"there is no point '{name}'", nearest(name, points))
        elif not point.readable or point.in_bit_table or point.kind not in ("signed", "unsigned", "float"):
            yield Finding(
                ("values", name), f"'{name}' is no number that can be read", "name a readable register"
            )
