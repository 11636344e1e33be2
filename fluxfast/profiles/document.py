"""A YAML file as plain data that remembers on which line everything stood.

The file is read from libyaml's events, not from composed nodes: a third of the time on a file of 10,000
devices, and no recursion that deep nesting could exhaust. Limits keep a hostile or mistaken file from taking
the machine: its size, its depth, and how far its aliases expand.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from yaml import CSafeLoader

from fluxfast.errors import ConfigError, Problem
from fluxfast.profiles.scalars import resolve_scalar

MAX_FILE_BYTES: Final = 32 << 20  # 100,000 devices written out one by one take half of this
MAX_DEPTH: Final = 32
MAX_REPEATED_VALUES: Final = 100_000  # values that aliases bring in a second time


class Map(dict[Any, Any]):
    """A mapping, with the line where it starts and the line of each key."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        """Start an empty mapping on ``line`` (1-based)."""
        super().__init__()
        self.line = line
        self.lines: dict[Any, int] = {}


class Seq(list[Any]):
    """A list, with the line where it starts and the line of each item."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        """Start an empty list on ``line`` (1-based)."""
        super().__init__()
        self.line = line
        self.lines: list[int] = []


@dataclass
class Document:
    """One file: its name as shown in messages, its data, and what was already wrong in its YAML.

    ``sha256`` is of its bytes, in hex.
    """

    file: str
    data: Map
    problems: list[Problem] = field(default_factory=list)
    sha256: str = ""

    def line_of(self, loc: Sequence[str | int]) -> int:
        """Return the line of the value at ``loc``, or of the nearest thing around it that exists."""
        node: Any = self.data
        line = self.data.line
        for key in loc:
            if not isinstance(node, Map | Seq):
                break
            try:
                line, node = node.lines[key], node[key]  # type: ignore[index]  # a wrong kind of key is caught
            except (LookupError, TypeError):
                break
        return line


def read_document(path: Path) -> Document:
    """Read one YAML file whose top is a mapping; raise ``ConfigError`` when nothing can be made of it."""
    shown = str(path)
    cure = "declare like devices together with count:, or split the file into a folder of files"
    data = read_file(path, cure)
    document = parse_document(_decode(data, shown), shown)
    document.sha256 = hashlib.sha256(data).hexdigest()
    return document


def read_file(path: Path, cure_of_size: str = "") -> bytes:
    """Return a regular file's bytes; raise ``ConfigError`` if there is none or it is too large."""
    shown = str(path)
    try:
        if path.exists() and not path.is_file():
            raise _fatal(shown, None, "not a regular file", "")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _fatal(shown, None, f"the file is larger than {MAX_FILE_BYTES >> 20} MiB", cure_of_size)
        return path.read_bytes()
    except ConfigError:
        raise
    except (FileNotFoundError, ValueError):  # ValueError: no file system has a name with a NUL in it
        raise _fatal(shown, None, "no such file", "") from None
    except OSError as error:
        raise _fatal(shown, None, f"cannot be read: {error.strerror}", "") from None


def parse_document(text: str, shown: str) -> Document:
    """Parse YAML text; ``shown`` names the file in messages."""
    builder = _Builder(shown)
    try:
        for event in yaml.parse(text, CSafeLoader):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        cure = "mend the syntax at or just above this line"
        broken = text.splitlines()[mark.line : mark.line + 1] if mark is not None else []
        if broken and re.match(" *\t", broken[0]):
            cure = "indent with spaces, not with tabs"
        what = f"{error.context or ''} {error.problem or ''}".strip()
        raise _fatal(shown, line, f"not valid YAML: {what}", cure) from None
    except yaml.YAMLError as error:
        what = str(error).splitlines()[0]
        raise _fatal(shown, None, f"not valid YAML: {what}", "is this a text file?") from None
    if not isinstance(builder.root, Map):
        if builder.root is None:
            raise _fatal(shown, None, "the file is empty", "")
        raise _fatal(shown, 1, "the top of the file must be a mapping (key: value lines)", "")
    return Document(shown, builder.root, builder.problems)


def make_problem(file: str, line: int | None, where: str, message: str, cure: str = "") -> Problem:
    """Return a problem that prints as one line whatever the file's text holds."""
    return Problem(one_line(file), line, *map(one_line, (where, message, cure)))


def one_line(text: str) -> str:
    """Return the text with everything that does not print escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1  # type: ignore[union-attr]  # the parser marks every event


def _fatal(shown: str, line: int | None, message: str, cure: str) -> ConfigError:
    return ConfigError([make_problem(shown, line, "", message, cure)])


def _decode(data: bytes, shown: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _fatal(shown, line, "not UTF-8 text", "save the file as UTF-8") from None


@dataclass
class _Level:
    """A container that is still open."""

    node: Map | Seq
    anchor: str | None
    key: Any = None
    key_line: int = 0
    has_key: bool = False
    size: int = 1  # values inside, each alias counted in full


class _Builder:
    """Turns YAML events into ``Map``, ``Seq`` and plain values."""

    def __init__(self, shown: str) -> None:
        self.root: Any = None
        self.problems: list[Problem] = []
        self._shown = shown
        self._open: list[_Level] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._documents = 0
        self._repeated = 0

    def feed(self, event: yaml.Event) -> None:
        """Take the next event; raise ``ConfigError`` when a limit is passed."""
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._start(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _fatal(
                    self._shown, _line(event), "a second YAML document starts here",
                    "keep one document per file; several files can stand in a folder",
                )  # fmt: skip

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        line = _line(event)
        self._refuse_tag(event.tag, line)
        value: Any = event.value
        if event.implicit[0]:
            try:
                value = resolve_scalar(value)
            except ValueError as error:
                self._problem(line, str(error), "write a finite number")
                value = 0
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._place(value, line, 1)

    def _start(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        line = _line(event)
        self._refuse_tag(event.tag, line)
        if len(self._open) == MAX_DEPTH:
            raise _fatal(self._shown, line, f"nested deeper than {MAX_DEPTH} levels", "")
        if self._open and isinstance(self._open[-1].node, Map) and not self._open[-1].has_key:
            raise _fatal(self._shown, line, "a key must be a plain word, not a mapping or a list", "")
        node = Map(line) if isinstance(event, yaml.MappingStartEvent) else Seq(line)
        self._open.append(_Level(node, event.anchor))

    def _end(self) -> None:
        level = self._open.pop()
        if level.anchor is not None:
            self._anchors[level.anchor] = (level.node, level.size)
        self._place(level.node, level.node.line, level.size)

    def _alias(self, event: yaml.AliasEvent) -> None:
        line = _line(event)
        if event.anchor not in self._anchors:
            raise _fatal(
                self._shown, line, f"alias *{event.anchor} has no finished &{event.anchor} above it", ""
            )
        value, size = self._anchors[event.anchor]
        self._repeated += size
        if self._repeated > MAX_REPEATED_VALUES:
            raise _fatal(
                self._shown, line, f"its aliases expand to more than {MAX_REPEATED_VALUES:,} values",
                "write the values out, or declare like devices together with count:",
            )  # fmt: skip
        self._place(value, line, size)

    def _place(self, value: Any, line: int, size: int) -> None:
        if not self._open:
            self.root = value
            return
        level = self._open[-1]
        level.size += size
        if isinstance(level.node, Seq):
            level.node.append(value)
            level.node.lines.append(line)
        elif level.has_key:
            level.node[level.key] = value
            level.node.lines[level.key] = level.key_line
            level.has_key = False
        else:
            self._key(level, value, line)

    def _key(self, level: _Level, key: Any, line: int) -> None:
        node = level.node
        if isinstance(key, Map | Seq):  # only an alias can bring one here
            raise _fatal(self._shown, line, "a key must be a plain word, not a mapping or a list", "")
        if key in node:
            first = node.lines[key]
            self._problem(line, f"the key '{key}' stands twice, first on line {first}", "remove one of them")
        level.key, level.key_line, level.has_key = key, line, True

    def _refuse_tag(self, tag: str | None, line: int) -> None:
        if tag is not None:
            self._problem(
                line, f"the tag {tag} is not allowed", "remove it; quote a value that should be text"
            )

    def _problem(self, line: int, message: str, cure: str) -> None:
        self.problems.append(make_problem(self._shown, line, "", message, cure))
