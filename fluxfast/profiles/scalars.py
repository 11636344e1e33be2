"""What an unquoted YAML word means: the core schema of YAML 1.2, kept exact.

``on``, ``off``, ``yes``, ``no`` and ``12:30`` are text here, as in YAML 1.2. Decimals stay decimals: ``0.1``
is not rounded to binary. A number with a leading zero is text: tools disagree on whether ``0100`` is 100 or
64, so a place that wants a number refuses it and says so.
"""

import re
from decimal import Decimal
from typing import Final

_WORDS: Final[dict[str, bool | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
# The lengths are bounded because int() and Decimal() take quadratic time; nobody means a 40-digit register.
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,38})")
_BASED: Final = re.compile(r"0o[0-7]{1,40}|0x[0-9a-fA-F]{1,32}")
_DECIMAL: Final = re.compile(
    r"[-+]?(?:\.[0-9]{1,40}|(?:0|[1-9][0-9]{0,38})(?:\.[0-9]{0,40})?)(?:[eE][-+]?[0-9]{1,3})?"
)
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MAY_BE_NUMBER: Final = frozenset("+-.0123456789")

Scalar = str | int | Decimal | bool | None


def resolve_scalar(text: str) -> Scalar:
    """Return the value of an unquoted word; infinities and NaN raise ``ValueError``."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _MAY_BE_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _DECIMAL.fullmatch(text):
        return Decimal(text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a number that can be used here")
    return text
