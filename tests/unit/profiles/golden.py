"""Reads the tables of wrong files: ``=== name``, the file's text, ``---``, the problems, an empty line."""

import re
from pathlib import Path


def read_table(file: Path) -> dict[str, tuple[str, list[str]]]:
    """Return (text, problems) by name."""
    table: dict[str, tuple[str, list[str]]] = {}
    for block in re.split(r"^=== ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        name, rest = block.split("\n", 1)
        text, problems = re.split(r"^---\n(?!.*^---\n)", rest, maxsplit=1, flags=re.MULTILINE | re.DOTALL)
        assert name not in table, name
        table[name] = text, problems.strip().splitlines()
    return table
