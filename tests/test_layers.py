"""Every import, cimport and include obeys the table of docs/architecture.md; no file exceeds 500 lines."""

import ast
import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LINES = 500
# `__init__` may re-export anything; it and `__main__` may be imported by the command line only.
TOP = ("__init__", "__main__")


class Layers:
    """Who may import whom, as the table says."""

    def __init__(self, document: str) -> None:
        self.shelf = dict.fromkeys(TOP, 7)
        self.arrows: set[tuple[str, str]] = set()
        for shelf, text in re.findall(r"^\| (\d) \| (.+) \|$", document, re.MULTILINE):
            rooms = re.findall(r"`(\w+)(?:/|\.py)`", text)
            self.shelf.update(dict.fromkeys(rooms, int(shelf)))
            if "→" in text:
                self.arrows.update((a, b) for i, a in enumerate(rooms) for b in rooms[i + 1 :])

    def allows(self, importer: str, imported: str) -> bool:
        if importer == imported or importer in TOP or (importer, imported) in self.arrows:
            return True
        if imported in TOP:
            return importer == "cli"
        return self.shelf[imported] < self.shelf[importer]


def room_of(file: Path, package: Path) -> str:
    """Return ``link`` for ``fluxfast/link/reactor.py``, ``station`` for ``fluxfast/station.py``."""
    return file.relative_to(package).parts[0].split(".")[0]


def absolute(file: Path, package: Path, level: int, module: str) -> str:
    """Return the dotted name that ``from <level dots><module>`` means in this file."""
    if level == 0:
        return module
    folder = file.relative_to(package.parent).parent.parts
    return ".".join([*folder[: len(folder) - level + 1], *filter(None, [module])])


def imports_of_python(file: Path, package: Path) -> list[tuple[int, str, list[str]]]:
    """Return (line, module, names) of each import; no names for a plain ``import``."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = absolute(file, package, node.level, node.module or "")
            found.append((node.lineno, module, [alias.name for alias in node.names]))
    return found


def imports_of_cython(file: Path, package: Path) -> list[tuple[int, str, list[str]]]:
    """Return the same for .pyx, .pxd, .h and .c: import, cimport, ``cdef extern from``, ``#include``."""
    text = file.read_text()
    found = []
    names = r"(\([^)]*\)|[^\n#(]+)"
    for match in re.finditer(rf"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+c?import[ \t]+{names}", text, re.M):
        module = absolute(file, package, len(match[1]), match[2])
        imported = re.findall(r"(\w+)(?:[ \t]+as[ \t]+\w+)?", re.sub(r"#.*", "", match[3]))
        found.append((match.start(), module, imported))
    for match in re.finditer(r"^[ \t]*c?import[ \t]+([^\n#]+)", text, re.M):
        found += [(match.start(), name.split()[0], []) for name in match[1].split(",")]
    for match in re.finditer(r'^[ \t]*(?:cdef extern from|# *include)[ \t]+"([^"]+)"', text, re.M):
        header = match[1] if "/" in match[1] else str(file.relative_to(package.parent).parent / match[1])
        found.append((match.start(), header.removesuffix(".h").replace("/", "."), []))
    return [(text.count("\n", 0, at) + 1, module, imported) for at, module, imported in found]


def problems(package: Path, layers: Layers) -> list[str]:
    """Return one line for each import that the table forbids, and for each room that it does not name."""
    found = []
    for file in sorted(
        p for p in package.rglob("*") if p.suffix in (".py", ".pyi", ".pyx", ".pxd", ".h", ".c")
    ):
        importer = room_of(file, package)
        place = file.relative_to(package.parent)
        if importer not in layers.shelf:
            found.append(f"{place}: no shelf holds '{importer}'")
            continue
        read = imports_of_python if file.suffix in (".py", ".pyi") else imports_of_cython
        for line, module, names in read(file, package):
            first, _, rest = module.partition(".")
            if first != package.name:
                continue
            for room in [rest.split(".")[0]] if rest else names or ["__init__"]:
                imported = room if rest or room in layers.shelf else "__init__"
                if imported not in layers.shelf:
                    found.append(f"{place}:{line}: no shelf holds '{imported}'")
                elif not layers.allows(importer, imported):
                    found.append(f"{place}:{line}: '{importer}' must not import '{imported}'")
    return found


@pytest.fixture(scope="module")
def layers() -> Layers:
    return Layers((ROOT / "docs" / "architecture.md").read_text())


def test_the_table_is_understood(layers: Layers) -> None:
    assert layers.shelf["cli"] == 6
    assert layers.shelf["station"] == 5
    assert {room for room, shelf in layers.shelf.items() if shelf == 4} == {
        "control",
        "link",
        "log",
        "sim",
        "watchdog",
    }
    assert {room for room, shelf in layers.shelf.items() if shelf == 1} == {"errors", "constants", "native"}
    assert layers.arrows == {
        ("config", "profiles"),
        ("config", "modbus"),
        ("profiles", "modbus"),
        *itertools.combinations(
            (
                "station",
                "control_socket",
                "view_socket",
                "operate",
                "decisions",
                "news",
                "commander",
                "stopping",
                "controller",
                "poller",
                "grid",
                "moments",
                "status",
                "trace",
                "inventory",
                "values",
            ),
            2,
        ),
        *itertools.combinations(
            ("doctor", "scan", "sunspec", "access", "client", "running", "status", "values"), 2
        ),
        ("cli", "top"),
        ("replay", "decisions"),
        ("replay", "controller"),
        ("bench", "running"),
        ("bench", "station"),
        ("bench", "poller"),
    }


def test_no_import_goes_up_or_sideways(layers: Layers) -> None:
    assert problems(ROOT / "fluxfast", layers) == []


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("log/a.py", "from fluxfast.link import x", "log/a.py:1: 'log' must not import 'link'"),
        ("log/a.py", "\nfrom fluxfast import errors, sim", "log/a.py:2: 'log' must not import 'sim'"),
        ("log/a.py", "import fluxfast.station", "log/a.py:1: 'log' must not import 'station'"),
        ("log/a.py", "from fluxfast import FluxfastError", "log/a.py:1: 'log' must not import '__init__'"),
        ("log/a.py", "def f():\n  from ..link import x", "log/a.py:2: 'log' must not import 'link'"),
        ("log/a.py", "from .. import link", "log/a.py:1: 'log' must not import 'link'"),
        ("table/a.pyi", "from fluxfast.plan import x", "table/a.pyi:1: 'table' must not import 'plan'"),
        ("modbus/a.py", "import fluxfast.profiles", "modbus/a.py:1: 'modbus' must not import 'profiles'"),
        ("native/a.py", "import fluxfast.errors", "native/a.py:1: 'native' must not import 'errors'"),
        ("errors.py", "from fluxfast import constants", "errors.py:1: 'errors' must not import 'constants'"),
        ("table/a.pyx", "from fluxfast.link.b cimport c", "table/a.pyx:1: 'table' must not import 'link'"),
        ("table/a.pyx", "\ncimport fluxfast.sim.b", "table/a.pyx:2: 'table' must not import 'sim'"),
        (
            "table/a.pxd",
            "from fluxfast cimport (\n  native,  # fine\n  link,\n)",
            "table/a.pxd:1: 'table' must not import 'link'",
        ),
        ("table/a.pxd", "from ..plan cimport b", "table/a.pxd:1: 'table' must not import 'plan'"),
        (
            "table/a.pxd",
            'cdef extern from "fluxfast/link/b.h":',
            "table/a.pxd:1: 'table' must not import 'link'",
        ),
        ("native/a.h", '#include "fluxfast/link/b.h"', "native/a.h:1: 'native' must not import 'link'"),
        ("garage/a.py", "", "garage/a.py: no shelf holds 'garage'"),
        ("cli/a.py", "import fluxfast.garage", "cli/a.py:1: no shelf holds 'garage'"),
    ],
)
def test_a_forbidden_import_is_found(
    tmp_path: Path, layers: Layers, file: str, text: str, expected: str
) -> None:
    path = tmp_path / "fluxfast" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert problems(tmp_path / "fluxfast", layers) == [f"fluxfast/{expected}"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("__init__.py", "from fluxfast.station import run"),
        ("__main__.py", "from fluxfast.cli import main"),
        ("cli/a.py", "from fluxfast import __version__\nfrom fluxfast.station import run"),
        ("log/a.py", "from fluxfast.log.b import c\nfrom .b import d\nimport numpy, linkage.fluxfast"),
        ("config/a.py", "from fluxfast.profiles import x\nfrom fluxfast import modbus, errors"),
        ("modbus/a.pyx", "from libc.stdint cimport uint8_t\nfrom fluxfast.native.endian cimport load_u16"),
        ("modbus/a.pyx", "from fluxfast.modbus cimport frame\nfrom fluxfast.constants import DEFAULT_PORT"),
        ("native/a.pxd", 'cdef extern from "fluxfast/native/poll.h" nogil:\n  int x'),
        ("native/a.pxd", 'cdef extern from "poll.h" nogil:\n  int x'),
        ("native/a.h", '#include <errno.h>\n#include "other.h"'),
    ],
)
def test_a_lawful_import_is_left_alone(tmp_path: Path, layers: Layers, file: str, text: str) -> None:
    path = tmp_path / "fluxfast" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert problems(tmp_path / "fluxfast", layers) == []


def long_files(root: Path) -> list[str]:
    return [
        f"{file.relative_to(root)}: {lines} lines"
        for folder in ("fluxfast", "tests", "benchmarks")
        for file in sorted((root / folder).rglob("*"))
        if file.suffix in (".py", ".pyx", ".pxd", ".h", ".c")
        and "node_modules" not in file.parts
        and (lines := len(file.read_text().splitlines())) > MAX_LINES
    ]


def test_no_file_is_too_long_to_read() -> None:
    assert long_files(ROOT) == []


def test_a_long_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "a.py").write_text("#\n" * MAX_LINES)
    (tmp_path / "tests" / "b.h").write_text("//\n" * (MAX_LINES + 1))
    assert long_files(tmp_path) == ["tests/b.h: 501 lines"]
