"""``load``: from a site file, or a folder of them, to the fleet; everything wrong is reported at once."""

import hashlib
import os
from pathlib import Path
from typing import Any, Final

from fluxfast.config.duplicates import Register
from fluxfast.config.entries import SiteFile
from fluxfast.config.fleet import Fleet, Log, Poll, Site
from fluxfast.config.reading import SiteSource, is_profile, read_site_file, site_files
from fluxfast.config.resolve import Resolver
from fluxfast.config.site import SiteBuilder
from fluxfast.errors import ConfigError, Problem
from fluxfast.profiles.document import read_document
from fluxfast.profiles.findings import Finding

_SHARED: Final = ("poll", "log")  # of the whole run, whichever file of a folder says them


def load(path: str | Path) -> Fleet:
    """Load a site file or a folder of site files; raise ``ConfigError`` with every problem found."""
    loader = _Loader(Path(path))
    for file in site_files(Path(path)):
        loader.read(file)
    return loader.fleet()


class _Loader:
    """Gathers sites, problems and warnings over all files."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_folder = os.path.isdir(path)
        self._resolver = Resolver()
        self._register = Register()
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self._sites: list[Site] = []
        self._said: dict[str, tuple[Path, Any]] = {}
        self._digests: list[str] = []

    def read(self, file: Path) -> None:
        """Take one file."""
        try:
            document = read_document(file)
        except ConfigError as error:
            self._problems.extend(error.problems)
            return
        if self._is_folder and is_profile(document):
            return
        self._digests.append(document.sha256)
        source, findings = read_site_file(document)
        findings += self._take_shared(file, source)
        problems = [*document.problems, *map(source.problem, findings)]
        known = len(self._resolver.problems)
        for loc, body in source.bodies():
            builder = SiteBuilder(source, loc, body, self._resolver, self._register)
            self._sites.append(builder.build(file))
            problems += map(source.problem, builder.findings)
            self._warnings += map(source.problem, builder.warnings)
        problems.sort(key=lambda problem: problem.line or 0)
        self._problems += problems + self._resolver.problems[known:]

    def fleet(self) -> Fleet:
        """Return the fleet, or raise everything that was found."""
        if not self._sites and not self._problems:
            cure = "name a site file, or a folder of them"
            self._problems.append(
                Problem(str(self._path), None, "", "there are only profiles in this folder", cure)
            )
        if self._problems:
            raise ConfigError(list(dict.fromkeys(self._problems)))
        defaults = SiteFile()
        folder = self._path if self._is_folder else self._path.parent
        poll, log = (self._said.get(name, (folder, getattr(defaults, name)))[1] for name in _SHARED)
        return Fleet(
            sites=tuple(self._sites),
            devices=tuple(device for site in self._sites for device in site.devices),
            poll=Poll(**poll.model_dump()),
            log=Log(**log.model_dump() | {"dir": folder / log.dir}),
            warnings=tuple(self._warnings),
            digest=_digest(self._digests),
        )

    def _take_shared(self, file: Path, source: SiteSource) -> list[Finding]:
        findings = []
        for name in _SHARED:
            if name not in source.entries.model_fields_set:
                continue
            value = getattr(source.entries, name)
            first, other = self._said.setdefault(name, (file, value))
            if other != value:
                cure = "say it in one file of the folder"
                findings.append(Finding((name,), f"'{name}' differs from that of {first}", cure))
        return findings


def _digest(of_files: list[str]) -> str:
    if len(of_files) == 1:
        return of_files[0]
    return hashlib.sha256(" ".join(of_files).encode()).hexdigest()
