"""Site files as text in, fleets or problems out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fluxfast.config import Fleet, load
from fluxfast.errors import ConfigError, Problem

Load = Callable[[str], Fleet]
Fail = Callable[[str], list[Problem]]


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a site file ``plant.yaml`` with this text."""
    monkeypatch.chdir(tmp_path)

    def run(text: str) -> Fleet:
        Path("plant.yaml").write_text(text, encoding="utf-8")
        return load("plant.yaml")

    return run


@pytest.fixture
def fail_text(load_text: Load) -> Fail:
    """Return the problems of a site file with this text."""

    def run(text: str) -> list[Problem]:
        with pytest.raises(ConfigError) as caught:
            load_text(text)
        return list(caught.value.problems)

    return run
