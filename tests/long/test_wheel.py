"""Wheel and sdist are whole, and the one wheel runs on every Python that is at hand."""

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "fluxfast"
IN_WHEEL = {".so", ".py", ".pyi", ".pxd", ".h", ".yaml", ".json"}
SITE = """
devices:
  meters:
    - {id: m1, type: acuvim2, modbus: {host: 127.0.0.1, port: 5020}}
"""

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with what `make wheel` makes; the wheel comes from the unpacked sdist."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([ROOT / "ci" / "wheel", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    [found] = dist.glob("*.whl")
    return found


def sources(*suffixes: str) -> set[str]:
    return {str(p.relative_to(ROOT)) for p in PACKAGE.rglob("*") if p.suffix in suffixes}


def test_inside_the_wheel(wheel: Path) -> None:
    assert re.fullmatch(r"fluxfast-[\d.]+-cp311-abi3-(manylinux|macosx)\w+(\.manylinux\w+)*", wheel.stem)
    names = {name for name in ZipFile(wheel).namelist() if not name.endswith("/")}
    modules = {name for name in names if name.endswith(".so")}
    assert {name.partition(".")[0] + ".pyx" for name in modules} == sources(".pyx")
    package = {name for name in names if name.startswith("fluxfast/")} - modules
    assert package == sources(*IN_WHEEL - {".so"}) | {"fluxfast/py.typed"}
    assert {Path(name).name for name in names - modules - package} == {
        "LICENSE", "METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt"
    }  # fmt: skip


def test_inside_the_sdist(dist: Path) -> None:
    [sdist] = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    assert sources(*IN_WHEEL - {".so"}, ".pyx") | {"setup.py", "pyproject.toml", "LICENSE"} <= names
    assert {name for name in names if name.endswith((".c", ".so"))} == sources(".c")


def interpreter(version: str) -> str:
    """Return a Python of this version from PATH or from pyenv, or skip."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for path in (shutil.which(f"python{version}"), *pyenv.glob(f"versions/{version}.*/bin/python")):
        if path and subprocess.run([path, "-V"], capture_output=True, check=False).returncode == 0:
            return str(path)
    pytest.skip(f"no Python {version} here")


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_runs_elsewhere(wheel: Path, version: str, tmp_path: Path) -> None:
    subprocess.run([interpreter(version), "-m", "venv", tmp_path / "venv"], check=True)
    (tmp_path / "site.yaml").write_text(SITE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(program: str, *arguments: str) -> str:
        command = [tmp_path / "venv" / "bin" / program, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("pip", "install", "--quiet", f"{wheel}[charts,query]")
    assert str(tmp_path) in run("python", "-c", "import fluxfast.link.reactor as it; print(it.__file__)")
    assert "demo" in run("fluxfast", "--help")
    run("fluxfast", "check", "site.yaml")
    assert "acuvim2" in run("fluxfast", "plan", "site.yaml")
    run("fluxfast", "demo", "--duration", "3s")
    assert (tmp_path / "demo" / "chart.png").stat().st_size > 10_000
