"""A sheet: rows and columns to look at. What fits a width, in which order, and nothing about screens.

A row is a number that stays; ``order`` is which rows are shown, and where. Cells are worked out one by one,
when they are looked at: ten thousand rows cost what twenty do.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size

GAP: Final = 1  # between two columns
Cell = tuple[str, str]  # text, and its style: "", good, uncertain, bad or faint


@dataclass(frozen=True)
class Column:
    """One column. ``rank``: which goes first where there is no room; 0 stays.

    ``width`` is the least it needs, ``most`` up to what it grows.
    """

    key: str
    title: str
    width: int
    rank: int = 0
    most: int = 0
    right: bool = False
    descending: bool = False  # the largest first when it is first sorted by


class Sheet:
    """``columns`` are all that there are; ``sort`` is the key of one, None: as they come."""

    columns: Sequence[Column] = ()
    searched: Sequence[str] = ()  # keys of the columns that a filter looks at

    def __init__(self) -> None:
        """Begin without rows."""
        self.sort: str | None = None
        self.reverse = False
        self.filter = ""
        self.order: NDArray[np.intp] = np.empty(0, np.intp)

    def __len__(self) -> int:
        """Return how many rows there are."""
        raise NotImplementedError

    def name(self, row: int) -> str:
        """Return what tells a row from all others."""
        raise NotImplementedError

    def cell(self, row: int, key: str) -> Cell:
        """Return what stands in a column."""
        raise NotImplementedError

    def values(self, key: str) -> NDArray[np.float64]:
        """Return what a column is sorted by; NaN comes last."""
        raise NotImplementedError

    def matches(self, word: str) -> NDArray[np.bool_]:
        """Return the rows in which a word (lower case) stands."""
        rows = range(len(self))
        return np.array(
            [any(word in self.cell(row, key)[0].lower() for key in self.searched) for row in rows], np.bool_
        )

    def arrange(self) -> None:
        """Work out ``order`` anew."""
        shown = np.ones(len(self), np.bool_)
        for word in self.filter.lower().split():
            shown &= self.matches(word)
        rows = np.flatnonzero(shown)
        if self.sort is not None:
            values = self.values(self.sort)[rows]
            values = np.where(np.isnan(values), np.inf, -values if self.reverse else values)
            rows = rows[np.argsort(values, kind="stable")]
        self.order = rows

    def sort_by(self, key: str) -> None:
        """Sort by a column; the other way round if it already is."""
        descending = any(column.descending for column in self.columns if column.key == key)
        self.reverse = not self.reverse if self.sort == key else descending
        self.sort = key


def fit(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    """Return the columns that a width has room for, and how wide each is."""
    chosen = list(columns)
    while _needed(chosen) > width and any(column.rank for column in chosen):
        chosen.remove(max(chosen, key=lambda column: column.rank))
    spare = max(width - _needed(chosen), 0)
    fitted = []
    for column in chosen:
        more = min(max(column.most - column.width, 0), spare)
        spare -= more
        fitted.append((column, column.width + more))
    return fitted


def _needed(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + GAP * max(len(columns) - 1, 0)


def fitted(text: str, width: int, right: bool = False) -> str:
    """Return text as wide as it shall be, without what could upset a terminal."""
    text = printable(text)
    size = len(text) if text.isascii() else cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1) + "…" if width else ""
    return " " * (width - size) + text if right else text + " " * (width - size)


def printable(text: str) -> str:
    """Return text with what could upset a terminal escaped: devices and files may hold anything."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def ranks(texts: Iterable[str]) -> NDArray[np.float64]:
    """Return the place of each text in the order in which people count: b2 before b10."""
    keys = [tuple((int(n), w) if n else (-1, w) for n, w in _PARTS.findall(text.lower())) for text in texts]
    place = {key: float(n) for n, key in enumerate(sorted(set(keys)))}
    return np.array([place[key] for key in keys], np.float64)


_PARTS: Final = re.compile(r"([0-9]{1,18})|([^0-9]+|[0-9])")


def seconds(value: float | None) -> str:
    """Return a time as short as it can be said."""
    if value is None or np.isnan(value):
        return "–"
    if value < 9.95:
        return f"{value:.1f} s"
    if value < 99.5:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5970 else f"{value / 3600:.0f} h"


def number(value: float | None, digits: int = 1) -> str:
    """Return a number as people read it."""
    return "–" if value is None or np.isnan(value) else f"{value:,.{digits}f}"
