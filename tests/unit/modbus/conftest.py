"""What the golden tests share: hex as written in the TOML files, and the two codecs."""

import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fluxfast import modbus
from fluxfast.modbus import reference

GOLDEN = Path(__file__).parents[2] / "golden"


def unhex(text: str) -> bytes:
    """Bytes of "03 FA 55*250"."""
    out = b""
    for word in text.split():
        byte, _, times = word.partition("*")
        out += bytes.fromhex(byte) * int(times or 1)
    return out


def golden(file: str, table: str, without: str = "") -> list[Any]:
    """The rows of a golden table that lack a key, as pytest parameters named by what they show."""
    rows = [row for row in tomllib.loads((GOLDEN / file).read_text())[table] if without not in row]
    return [pytest.param(row, id=f"{row.get('spec') or row['class']}"[:60]) for row in rows]


@pytest.fixture(params=[pytest.param(reference, id="ref"), pytest.param(modbus, id="cy")])
def codec(request: pytest.FixtureRequest) -> ModuleType:
    return request.param
