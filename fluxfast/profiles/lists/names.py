"""Names of points from the words of a manual."""

import re
import unicodedata
from collections import Counter
from typing import Final

from fluxfast.profiles.point import RESERVED_COLUMNS

MAX_NAME: Final = 56  # leaves room for a number behind it
_LETTERS: Final = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "Ω": "ohm",
                   "%": " pct ", "°": " deg ", "µ": "u", "μ": "u", "ø": "o", "Ø": "O", "æ": "ae", "Φ": "phi",
                   "φ": "phi"}  # fmt: skip
_SAMPLE: Final = re.compile(r"sample_ms_[0-9]+")


class Names:
    """Makes names that differ, also without regard to capitals."""

    def __init__(self) -> None:
        """No name is taken yet."""
        self._taken: set[str] = set()
        self._numbers: Counter[str] = Counter()  # the last one behind a name

    def take(self, words: str, otherwise: str) -> str:
        """Return a name that is free for some words; ``otherwise`` where they have no letters of ours."""
        base = slug(words) or otherwise
        name = base
        while name in self._taken:
            self._numbers[base] += 1
            name = f"{base}_{self._numbers[base] + 1}"
        self._taken.add(name)
        return name


def slug(words: str) -> str:
    """Return ``active_power_l1`` for ``Active power L1``; empty where nothing is left."""
    words = "".join(_LETTERS.get(char, char) for char in words)
    words = "".join(char for char in unicodedata.normalize("NFKD", words) if not unicodedata.combining(char))
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", words)  # ActivePower
    name = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:MAX_NAME].strip("_")
    if name[:1].isdigit():
        name = f"p_{name}"
    return f"{name}_value" if name in RESERVED_COLUMNS or _SAMPLE.fullmatch(name) else name
