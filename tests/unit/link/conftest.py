"""Compiles driver.pyx and books.pyx, which reach the link's C parts that Python does not see."""

import fcntl
import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest
from Cython.Build import cythonize
from setuptools import Distribution, Extension

ROOT = Path(__file__).parents[3]
SANITIZERS = ["-fsanitize=address,undefined"] if os.environ.get("FLUXFAST_BUILD") == "asan" else []


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return compiled("driver", tmp_path_factory)


@pytest.fixture(scope="session")
def books(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return compiled("books", tmp_path_factory)


def compiled(name: str, folders: pytest.TempPathFactory) -> ModuleType:
    """Compile once for all workers, and import."""
    base = folders.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"compiled-{name}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(folder.glob(f"{name}*.so")):
            build_extension(name, folder)
    (library,) = folder.glob(f"{name}*.so")
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_extension(name: str, folder: Path) -> None:
    extension = Extension(
        name, [str(Path(__file__).with_name(f"{name}.pyx"))], include_dirs=[str(ROOT)],
        extra_compile_args=["-O1", "-g0", *SANITIZERS], extra_link_args=SANITIZERS,
    )  # fmt: skip
    modules = cythonize(
        [extension], include_path=[str(ROOT)], build_dir=str(folder), language_level=3, quiet=True
    )
    build = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    build.build_lib = build.build_temp = str(folder)
    build.ensure_finalized()
    build.run()
