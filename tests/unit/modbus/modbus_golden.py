"""The golden files: their rows as pytest parameters, their hex as bytes."""

import tomllib
from array import array
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[2] / "golden"


def unhex(text: str) -> bytes:
    """Bytes of "03 FA 55*250"."""
    out = b""
    for word in text.split():
        byte, _, times = word.partition("*")
        out += bytes.fromhex(byte) * int(times or 1)
    return out


def heap(data: bytes) -> Any:
    """A buffer of exactly that size: a sanitizer sees a read past its end.

    Bytes have a hidden zero, and an array made from bytes has spare room; one made from a list has none.
    """
    return array("B", list(data))


def golden(file: str, table: str, without: str = "") -> list[Any]:
    """The rows of a golden table that lack a key, as pytest parameters named by what they show."""
    rows = [row for row in tomllib.loads((GOLDEN / file).read_text())[table] if without not in row]
    return [pytest.param(row, id=f"{row.get('spec') or row['class']}"[:60]) for row in rows]
