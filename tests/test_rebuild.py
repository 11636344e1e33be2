"""Compiled modules that do not match their sources stop the whole session."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUFFIX = ".abi3.so"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a tiny project whose one module is up to date."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "fluxfast" / "link").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path / "tests")
    (tmp_path / "tests" / "test_it.py").write_text("def test_it(): pass")
    (tmp_path / "pytest.ini").write_text("[pytest]")
    for age, name in enumerate([f"a{SUFFIX}", "a.pyx", "a.pxd", "a.h"]):
        touch(tmp_path / "fluxfast" / "link" / name, age)
    return tmp_path


def touch(path: Path, age: float) -> None:
    path.touch()
    os.utime(path, (1e9 - age, 1e9 - age))


def run(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


def test_up_to_date(tree: Path) -> None:
    done = run(tree)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: touch(f / "link" / "a.pyx", -1), "fluxfast/link/a.pyx or a header is newer"),
        (lambda f: touch(f / "other.pxd", -1), "fluxfast/link/a.pyx or a header is newer"),
        (lambda f: touch(f / "other.h", -1), "fluxfast/link/a.pyx or a header is newer"),
        (lambda f: touch(f / "link" / "a_b.c", -1), "fluxfast/link/a.pyx or a header is newer"),
        (lambda f: touch(f / "link" / "a.cpython-311.so", 9), "fluxfast/link/a.pyx or a header is newer"),
        (lambda f: (f / "link" / f"a{SUFFIX}").unlink(), "fluxfast/link/a.pyx is not compiled"),
        (lambda f: (f / "link" / "a.pyx").unlink(), f"fluxfast/link/a.pyx is gone, a{SUFFIX} is not"),
    ],
)
@pytest.mark.long
def test_session_stops(tree: Path, change, told: str) -> None:
    change(tree / "fluxfast")
    done = run(tree)
    assert done.returncode == 3
    assert "rebuild" in done.stdout + done.stderr
    assert told in done.stdout + done.stderr
