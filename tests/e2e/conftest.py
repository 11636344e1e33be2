"""Debian's tools, for tests that speak to what we did not write; without its tool a test is skipped."""

import contextlib
import gc
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"


def tool(name: str, package: str) -> str:
    """Return a tool's path, or skip."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} here: apt-get install {package}")
    return path


@pytest.fixture(scope="session")
def libmodbus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Programs made of libmodbus: ``server`` and ``client``."""
    compiler, pkg_config = tool("cc", "gcc"), tool("pkg-config", "pkg-config")
    found = subprocess.run(
        [pkg_config, "--cflags", "--libs", "libmodbus"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip("no libmodbus here: apt-get install libmodbus-dev")
    folder = tmp_path_factory.mktemp("libmodbus")
    programs = {name: folder / name for name in ("server", "client")}
    for name, program in programs.items():
        source = SUPPORT / f"libmodbus_{name}.c"
        command = [
            compiler,
            "-Wall",
            "-Wextra",
            "-Werror",
            "-O1",
            "-o",
            program,
            source,
            *found.stdout.split(),
        ]
        subprocess.run(command, check=True)
    return programs


@pytest.fixture(scope="session")
def mbpoll() -> str:
    return tool("mbpoll", "mbpoll")


@pytest.fixture(scope="session")
def tshark() -> str:
    return tool("tshark", "tshark")


@pytest.fixture(scope="module")
def no_descriptor_lost() -> Iterator[None]:
    """Compare the process's descriptors before and after a file's tests."""
    before = descriptors()
    yield
    assert descriptors() == before


def descriptors() -> list[str]:
    gc.collect()
    open_now = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            open_now.append(re.sub(r"\d+", "#", str(link.readlink())))
    return sorted(open_now)
