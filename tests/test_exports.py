"""A package's ``__all__`` is exactly its public names."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(
    ".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "fluxfast").rglob("__init__.py")
)


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_what_the_package_offers(name: str) -> None:
    package = importlib.import_module(name)
    exported = list(getattr(package, "__all__", []))
    modules = {n for n in exported if isinstance(getattr(package, n), ModuleType)}  # what is lazy comes now
    members = {k for k, v in vars(package).items() if not isinstance(v, ModuleType)}
    public = {k for k in members if not k.startswith("_")}
    assert len(set(exported)) == len(exported)
    assert set(exported) - {"__version__"} - modules == public
    assert bool(public) == hasattr(package, "__all__") or modules, f"{name} has no __all__"
    assert package.__doc__, f"{name}/__init__.py does not say what lives here"
