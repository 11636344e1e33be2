"""Words of YAML 1.2."""

from decimal import Decimal

import pytest

from fluxfast.profiles.document import parse_document
from fluxfast.profiles.scalars import resolve_scalar

TEXTS = "on off yes no On NO y n 12:30 1:2:3 0100 00 -01 0b11 1_000 0o8 0xg + - . 1e1000 5s 2026-01-01 = <<"


@pytest.mark.parametrize("word", TEXTS.split())
def test_text(word: str) -> None:
    assert resolve_scalar(word) == word


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("False", False),
        ("0", 0), ("-7", -7), ("+7", 7), ("0x1F", 31), ("0o17", 15),
        ("0.1", Decimal("0.1")), (".5", Decimal("0.5")), ("5.", Decimal(5)), ("-1.50", Decimal("-1.5")),
        ("1e3", Decimal(1000)), ("1.5E-3", Decimal("0.0015")),
    ],
)  # fmt: skip
def test_values(word: str, value: object) -> None:
    result = resolve_scalar(word)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("word", [".nan", ".NaN", ".inf", "-.inf", "+.Inf"])
def test_not_finite(word: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        resolve_scalar(word)


def test_quotes_make_text() -> None:
    data = parse_document(
        "{a: '1', b: \"true\", c: 1, d: |\n  1\n}".replace("d: |\n  1\n", "d: ''"), "x"
    ).data
    assert data == {"a": "1", "b": "true", "c": 1, "d": ""}


def test_lines() -> None:
    document = parse_document("a: 1\nb:\n  - x\n  - c: 2\n    d:\n      e: 3\n", "x")
    lines = {loc: document.line_of(loc) for loc in [("a",), ("b",), ("b", 0), ("b", 1), ("b", 1, "d", "e")]}
    assert list(lines.values()) == [1, 2, 3, 4, 6]
    assert document.line_of(("b", 1, "missing")) == 4
    assert document.line_of(("nowhere", 3)) == 1
