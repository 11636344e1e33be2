"""Finding profiles: the built-in ones by name, a user's own by path."""

import os
from functools import cache
from pathlib import Path
from typing import Final

from fluxfast.errors import ConfigError, Problem
from fluxfast.profiles.document import Document, make_problem, read_document
from fluxfast.profiles.findings import Finding, Loc, nearest, show_loc, validate
from fluxfast.profiles.profile import Profile

_FOLDER: Final = Path(__file__).parent


@cache
def _builtin_paths() -> dict[str, Path]:
    return {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}


def builtin_profiles() -> list[str]:
    """Return the names of the profiles that come with fluxfast."""
    return list(_builtin_paths())


def find_profile(name_or_path: str, base_dir: Path | None = None) -> Path:
    """Return the file of a profile; a path is relative to ``base_dir``, else to the working directory.

    Raises ``LookupError(message, cure)`` when there is no such profile.
    """
    if name_or_path in _builtin_paths():
        return _builtin_paths()[name_or_path]
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        path = (base_dir or Path()) / name_or_path
        if os.path.isfile(path):  # unlike Path.is_file, never raises: the name is whatever a file says
            return path
        raise LookupError(
            f"there is no profile file {path}", "the path is relative to the file that names it"
        )
    cure = f"{nearest(name_or_path, builtin_profiles())}; your own is a path like ./{name_or_path[:70]}.yaml"
    raise LookupError(f"there is no profile '{name_or_path[:70]}'", cure)


def load_profile(name_or_path: str, base_dir: Path | None = None) -> Profile:
    """Load a profile by its built-in name or its path; raise ``ConfigError`` with everything wrong in it."""
    try:
        path = find_profile(name_or_path, base_dir)
    except LookupError as error:
        message, cure = error.args
        raise ConfigError([make_problem(name_or_path, None, "", message, cure)]) from None
    return build_profile(read_profile(path))


def read_profile(path: Path) -> Document:
    """Read a profile's file without judging its content; the name is the file's unless it gives one."""
    document = read_document(path)
    document.data.setdefault("name", path.stem)
    return document


def build_profile(document: Document) -> Profile:
    """Return the profile that a file describes; raise ``ConfigError`` with everything wrong in it."""
    profile, findings = validate(Profile, document.data)
    if profile is not None:
        findings += [*profile.control_findings(), *profile.fingerprint_findings()]
    problems = document.problems + [problem_of(document, finding) for finding in findings]
    if profile is None or problems:
        raise ConfigError(sorted(problems, key=lambda problem: problem.line or 0))
    return profile


def problem_of(document: Document, finding: Finding) -> Problem:
    """Give a finding its line."""
    line = document.line_of(finding.loc)
    return make_problem(document.file, line, _where(finding.loc), finding.message, finding.cure)


def _where(loc: Loc) -> str:
    return show_loc(loc[1:]) if loc[:1] == ("points",) and len(loc) > 1 else show_loc(loc)
