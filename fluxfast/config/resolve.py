"""From a device's type and its overrides to its profile; like devices share one object."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluxfast.config.entries import Override
from fluxfast.errors import ConfigError, Problem
from fluxfast.profiles import Profile
from fluxfast.profiles.document import Document
from fluxfast.profiles.findings import Finding, Loc, nearest, validate
from fluxfast.profiles.store import build_profile, find_profile, read_profile


@dataclass(frozen=True, slots=True)
class Patch:
    """An override, and where in its file it stands."""

    loc: Loc
    change: Override

    @property
    def control(self) -> dict[str, Any]:
        """The keys of the profile's control that it changes."""
        return self.change.control if isinstance(self.change.control, dict) else {}

    @property
    def key(self) -> Any:
        """Equal for overrides that say the same."""
        return _freeze(self.change.points), _freeze(self.change.quirks), _freeze(self.control)


@dataclass(frozen=True, slots=True)
class _Misfit:
    """A finding about patched data; ``patch`` is the index of the patch to blame."""

    patch: int
    finding: Finding


@dataclass
class Resolver:
    """Every profile file is read once and every combination of overrides is checked once."""

    problems: list[Problem] = field(default_factory=list)  # of the profiles' own files
    _paths: dict[tuple[str, Path], Path] = field(default_factory=dict)
    _bases: dict[Path, tuple[Document, Profile] | None] = field(default_factory=dict)
    _owners: dict[str, Path] = field(default_factory=dict)
    _patched: dict[Any, Profile | list[_Misfit]] = field(default_factory=dict)

    def base(self, type_: str, base_dir: Path) -> tuple[Path, Profile] | None:
        """Return the profile of a type without overrides; none when its file is wrong (see ``problems``).

        Raises ``LookupError(message, cure)`` when there is no such profile, or another file has its name.
        """
        if (type_, base_dir) not in self._paths:
            found_at = find_profile(type_, base_dir)
            path = self._paths[type_, base_dir] = found_at.resolve()
            if path not in self._bases:
                self._bases[path] = self._read(found_at)
        path = self._paths[type_, base_dir]
        found = self._bases[path]
        if found is None:
            return None
        name = found[1].name
        if self._owners.setdefault(name.lower(), path) != path:
            other = self._owners[name.lower()]
            raise LookupError(
                f"two profiles are called '{name}': this one and {other}", "give one another name:"
            )
        return path, found[1]

    def patched(self, path: Path, patches: list[Patch]) -> tuple[Profile | None, list[Finding]]:
        """Return the profile with its overrides applied in order, or findings placed in the patches' file."""
        found = self._bases[path]
        assert found is not None, "asked for overrides of a profile that base() did not return"
        document, profile = found
        patches = [patch for patch in patches if patch.change.points or patch.change.quirks or patch.control]
        if not patches:
            return profile, []
        key = (path, *(patch.key for patch in patches))
        if key not in self._patched:
            self._patched[key] = _apply(document, patches)
        result = self._patched[key]
        if isinstance(result, Profile):
            return result, []
        return None, [
            misfit.finding._replace(loc=patches[misfit.patch].loc + misfit.finding.loc) for misfit in result
        ]

    def _read(self, path: Path) -> tuple[Document, Profile] | None:
        try:
            document = read_profile(path)
            return document, build_profile(document)
        except ConfigError as error:
            self.problems.extend(error.problems)
            return None


def _apply(document: Document, patches: list[Patch]) -> Profile | list[_Misfit]:
    data = dict(document.data)
    points = data["points"] = dict(data["points"])
    quirks = data["quirks"] = dict(data.get("quirks") or {})
    misfits: list[_Misfit] = []
    for index, patch in enumerate(patches):
        for name, change in patch.change.points.items():
            if change is not None:
                points[name] = _merged(points.get(name, {}), change)
            elif points.pop(name, None) is None:
                finding = Finding(
                    ("points", name), f"there is no point '{name}' to remove", nearest(name, points)
                )
                misfits.append(_Misfit(index, finding))
        quirks = data["quirks"] = _merged(quirks, patch.change.quirks)
        if patch.control:
            data["control"] = _merged(data.get("control") or {}, patch.control)
    profile, findings = validate(Profile, data)
    if profile is not None and any(patch.control for patch in patches):
        findings += profile.control_findings()
    misfits += dict.fromkeys(_blame(finding, document, patches) for finding in findings)
    return misfits if profile is None or misfits else profile


def _merged(old: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**old, **change}.items() if value is not None}


def _blame(finding: Finding, document: Document, patches: list[Patch]) -> _Misfit:
    """Place a finding in the last patch that touched what it is about, else in the last patch."""
    section, *rest = finding.loc
    for index in reversed(range(len(patches))):
        change = patches[index].change
        if (section == "quirks" and change.quirks) or (section == "control" and patches[index].control):
            return _Misfit(index, finding)
        if section == "points" and rest and rest[0] in change.points:
            name = rest[0]
            if name not in document.data["points"] and finding.is_missing_key:
                message = f"there is no point '{name}', and a new one needs address and type"
                finding = Finding(finding.loc, message, nearest(name, document.data["points"]))
            return _Misfit(index, finding)
    return _Misfit(len(patches) - 1, finding)


def _freeze(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset((key, _freeze(item)) for key, item in value.items())
    if isinstance(value, list):
        return tuple(map(_freeze, value))
    return type(value), value  # 1 and true are equal, but only one of them is a scale
