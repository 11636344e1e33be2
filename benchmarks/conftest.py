"""Cases of one process: each contender is a test, its cost the median round of pytest-benchmark."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

sys.path.insert(0, str(Path(__file__).parent))


class Contend(Protocol):
    """Times a call that does ``items`` of what ``of`` says: ``contend("codec/build", "struct", …)``."""

    def __call__(self, case: str, contender: str, items: int, of: str, call: Callable[[], Any]) -> Any: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--contender", action="append", help="run only this one; can be given again")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out whom nobody asked for before they set anything up."""
    if wanted := config.getoption("contender"):
        named = ((item, getattr(item, "callspec", None)) for item in items)
        items[:] = [
            item
            for item, spec in named
            if spec is None or any(name.startswith(spec.params.get("contender", name)) for name in wanted)
        ]


@pytest.fixture
def contend(benchmark: Any, pytestconfig: pytest.Config) -> Contend:
    """Return what times a contender at a case; it returns what the call returned, to be checked."""

    def contend(case: str, contender: str, items: int, of: str, call: Callable[[], Any]) -> Any:
        if contender not in (pytestconfig.getoption("contender") or [contender]):
            pytest.skip("not asked for")
        benchmark.group = case
        benchmark.extra_info.update(contender=contender, items=items, of=of)
        return benchmark(call)

    return contend
