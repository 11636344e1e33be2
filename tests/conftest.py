"""Before the first test: is what would be imported what the sources say?"""

from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]
# A test asserts no time: what is slow under a sanitizer or on a busy machine is not wrong.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def stale_modules(package: Path) -> list[str]:
    """Return one line for each compiled module that is missing, older than its sources, or without any.

    As in setup.py, every .pxd and .h is a source of every module: inline functions travel through them. A .c
    is one of the module after which it is named.
    """
    headers = [p.stat().st_mtime for pattern in ("*.pxd", "*.h") for p in package.rglob(pattern)]
    sources = {p.with_suffix(""): p for p in package.rglob("*.pyx")}
    compiled: dict[Path, list[Path]] = {}
    for module in package.rglob("*.so"):
        compiled.setdefault(module.with_name(module.name.split(".")[0]), []).append(module)
    found = [f"{name}.pyx is gone, {compiled[name][0].name} is not" for name in compiled.keys() - sources]
    for name, source in sources.items():
        named = source.parent.glob(f"{source.stem}_*.c")
        newest = max([source.stat().st_mtime, *headers, *(c.stat().st_mtime for c in named)])
        if name not in compiled:
            found.append(f"{source} is not compiled")
        elif any(module.stat().st_mtime < newest for module in compiled[name]):
            found.append(f"{source} or a header is newer than its compiled module")
    return sorted(line.replace(f"{package.parent}/", "") for line in found)


def pytest_sessionstart() -> None:
    found = stale_modules(ROOT / "fluxfast")
    if found:
        lines = "\n  ".join(found)
        pytest.exit(f"rebuild first (make build), or the tests would try old code:\n  {lines}", returncode=3)
