"""Reading one site file into entries, keeping what is right when something is wrong.

Entries with errors are left out and the rest goes on to the checks that come later (duplicates, profiles), so
that one run reports everything.
"""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from fluxfast.config.entries import BessEntry, DeviceEntry, MeterEntry, ModbusEntry, SiteBody, SiteFile
from fluxfast.errors import ConfigError, Problem
from fluxfast.profiles.document import Document, Map, Seq, make_problem
from fluxfast.profiles.findings import Finding, Loc, show_loc, validate

# Keys of devices. On top of a file they have lost their indentation, as in text copied from a PDF.
_INDENTED: Final = {
    field.alias or name
    for model in (BessEntry, MeterEntry, ModbusEntry)
    for name, field in model.model_fields.items()
} | {"bess", "meters"}

Kind = Literal["bess", "meter"]
T = TypeVar("T")


@dataclass
class SiteSource:
    """One file: its document, its entries, and which parts of the document those leave out."""

    document: Document
    entries: SiteFile
    dropped: set[Loc] = field(default_factory=set)

    def bodies(self) -> Iterator[tuple[Loc, SiteBody]]:
        """Yield each site with its place in the document."""
        if self.entries.sites is None:
            yield (), self.entries
            return
        yield from self._surviving(("sites",), self.entries.sites)

    def devices(self, loc: Loc, body: SiteBody) -> Iterator[tuple[Loc, Kind, DeviceEntry]]:
        """Yield each entry of a site with its place in the document."""
        for place, bess in self._surviving((*loc, "devices", "bess"), body.devices.bess):
            yield place, "bess", bess
        for place, meter in self._surviving((*loc, "devices", "meters"), body.devices.meters):
            yield place, "meter", meter
        if body.meter is not None:
            yield (*loc, "meter"), "meter", body.meter

    def left_out(self, loc: Loc) -> Iterator[tuple[Loc, dict[Any, Any]]]:
        """Yield each device of a site that is no entry because something in it is wrong, as it stands."""
        depth = len(loc) + 3  # devices, bess or meters, index
        for place in self.dropped:
            raw = _value_at(self.document.data, place)
            if len(place) == depth and place[: len(loc) + 1] == (*loc, "devices") and isinstance(raw, dict):
                yield place, raw

    def problem(self, finding: Finding) -> Problem:
        """Give a finding its line, and name its device."""
        document = self.document
        line = document.line_of(finding.loc)
        return make_problem(document.file, line, where(document, finding.loc), finding.message, finding.cure)

    def _surviving(self, loc: Loc, entries: tuple[T, ...]) -> Iterator[tuple[Loc, T]]:
        places = ((*loc, index) for index in itertools.count())
        yield from zip((place for place in places if place not in self.dropped), entries, strict=False)


def read_site_file(document: Document) -> tuple[SiteSource, list[Finding]]:
    """Return what can be used of a site file, and everything wrong with the rest."""
    entries, findings = validate(SiteFile, document.data)
    dropped = {_droppable(finding.loc) for finding in findings}
    if entries is None:
        entries, left = validate(SiteFile, _without(document.data, (), dropped))
        assert entries is not None, f"still wrong after leaving out {dropped}: {left}"
    findings = [_blame_indentation(finding) for finding in findings]
    findings += _one_site_or_several(document.data)
    return SiteSource(document, entries, dropped), findings


def _blame_indentation(finding: Finding) -> Finding:
    if len(finding.loc) == 1 and finding.loc[0] in _INDENTED:
        return finding._replace(cure="indent it below what it belongs to")
    return finding


def where(document: Document, loc: Loc) -> str:
    """Return ``b1: modbus.port`` for something inside a device, the dotted path for anything else."""
    for index, key in enumerate(loc):
        if key in ("bess", "meters") and len(loc) > index + 1:
            owner, rest = loc[: index + 2], loc[index + 2 :]
            id_ = _value_at(document.data, (*owner, "id"))
            name = id_ if isinstance(id_, str) else show_loc(owner[-2:])
            return f"{name[:70]}: {show_loc(rest)}" if rest else name[:70]
    return show_loc(loc)


def site_files(path: Path) -> list[Path]:
    """Return the file itself, or all ``*.yaml`` and ``*.yml`` of a folder by name.

    Hidden ones are left out: editors keep locks and copies there. Everything else is a site or is reported: a
    dangling link must not make a site disappear.
    """
    if not os.path.isdir(path):  # unlike Path.is_dir, never raises
        return [path]
    try:
        files = sorted(
            file
            for file in path.iterdir()
            if file.suffix in (".yaml", ".yml") and not file.name.startswith(".") and not file.is_dir()
        )
    except OSError as error:
        raise ConfigError([Problem(str(path), None, "", f"cannot be read: {error.strerror}")]) from None
    if not files:
        cure = "name a site file, or a folder of them"
        raise ConfigError([Problem(str(path), None, "", "the folder holds no *.yaml or *.yml file", cure)])
    return files


def is_profile(document: Document) -> bool:
    """Whether a file of a folder describes a device type, which site files may keep beside them."""
    return "points" in document.data and not {"devices", "sites", "meter"} & document.data.keys()


def _one_site_or_several(data: Map) -> Iterator[Finding]:
    if data.get("sites") is None:
        return
    for key in ("site", "overrides", "devices", "meter"):
        if key in data:
            yield Finding((key,), f"'{key}' beside 'sites'", "move it into one of the sites")
    if not data["sites"]:
        yield Finding(("sites",), "the list is empty", "add a site: with its devices")


def _droppable(loc: Loc) -> Loc:
    """Return the smallest thing around ``loc`` that a site can do without: a device, or a whole key."""
    site, rest = (loc[:2], loc[2:]) if loc[0] == "sites" and len(loc) > 1 else ((), loc)
    if site and rest[:1] == ("site",):  # one of several sites needs its name
        return site
    return (*site, *(rest[:3] if rest[:1] == ("devices",) else rest[:1]))


def _without(node: Any, loc: Loc, dropped: set[Loc]) -> Any:
    """Return a copy without the dropped parts; what holds none of them is not copied."""
    if not any(drop[: len(loc)] == loc for drop in dropped):
        return node
    if isinstance(node, Map):
        places = {key: (*loc, key) for key in node}
        return {key: _without(node[key], at, dropped) for key, at in places.items() if at not in dropped}
    if isinstance(node, Seq):
        items = [((*loc, index), item) for index, item in enumerate(node)]
        return [_without(item, at, dropped) for at, item in items if at not in dropped]
    return node


def _value_at(node: Any, loc: Loc) -> Any:
    for key in loc:
        if not isinstance(node, dict | list):
            return None
        try:
            node = node[key]  # type: ignore[index]
        except (LookupError, TypeError):
            return None
    return node
