"""From a maker's register list to a profile.

How each column was understood, and from which number addresses count, is said aloud. A row that is not
understood is left out and told with its line: nothing is guessed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fluxfast.errors import ConfigError, Problem
from fluxfast.profiles.document import make_problem
from fluxfast.profiles.findings import validate
from fluxfast.profiles.lists.bases import Cell, conclude, pdu
from fluxfast.profiles.lists.cells import TableName, parse_table, plain
from fluxfast.profiles.lists.columns import Columns, find_columns
from fluxfast.profiles.lists.names import Names
from fluxfast.profiles.lists.rows import Item, RowError, Rows
from fluxfast.profiles.lists.sheet import Row, Sheet, wrong_file
from fluxfast.profiles.point import Point
from fluxfast.profiles.profile import Profile
from fluxfast.profiles.write import Comments

ORDERS: Final = ("ABCD", "CDAB", "BADC", "DCBA")
MAX_TOLD: Final = 20  # problems, where nothing is understood


@dataclass(frozen=True)
class Read:
    """What became of a list; ``said`` is how it was understood, ``left_out`` the rows that were not."""

    profile: Profile
    comments: Comments
    columns: Mapping[str, str]  # role: heading
    base: str
    said: tuple[str, ...]
    left_out: tuple[Problem, ...]


def read_registers(
    sheet: Sheet,
    name: str,
    *,
    base: str = "auto",
    order: str = "ABCD",
    chosen: Mapping[str, str] | None = None,
) -> Read:
    """Return the profile of a register list.

    ``base`` is one of bases.BASES or ``auto``; ``order`` that of values whose row says none; ``chosen`` has
    the columns that the user names, by role. Raises ConfigError where nothing can be made of it.
    """
    columns = find_columns(sheet, chosen or {})
    return _Reader(sheet, columns, order).read(name, base)


class _Reader:
    """Goes through the rows below the headings."""

    def __init__(self, sheet: Sheet, columns: Columns, order: str) -> None:
        self._sheet = sheet
        self._columns = columns
        self._rows = Rows(sheet, columns, order)
        self._left_out: list[Problem] = []
        self._sections: dict[int, list[str]] = {}  # line of a row: what stands above it

    def read(self, name: str, base: str) -> Read:
        items = list(self._items())
        base, why = self._base(items, base)
        points: dict[str, Point] = {}
        lines: dict[str, int] = {}
        names = Names()
        for item in items:
            try:
                point = self._rows.point(item, base, names)
            except RowError as error:
                self._leave_out(item.row, *error.args)
                continue
            points[point.name] = point
            lines[point.name] = item.row.line
        _share_bits(points)
        profile = self._profile(name, points, lines)
        above = {point: self._sections[lines[point]] for point in points if lines[point] in self._sections}
        origin = f"Made by `fluxfast profile from-csv` of {Path(self._sheet.file).name}."
        headings = {role: self._columns.heading(role) for role in self._columns.places}
        return Read(
            profile,
            Comments(
                top=(origin, "No read runs over registers that it does not have (max_gap: 0)."), above=above
            ),
            dict(sorted(headings.items(), key=lambda item: self._columns.places[item[0]])),
            base,
            tuple(self._said(why)),
            tuple(self._problems),
        )

    @property
    def _problems(self) -> list[Problem]:
        return sorted(self._left_out, key=lambda problem: problem.line or 0)

    def _profile(self, name: str, points: dict[str, Point], lines: Mapping[str, int]) -> Profile:
        """Return the profile of those points that go together; of two that do not, the later is left out."""
        while points:
            profile, findings = validate(Profile, {"name": name, "points": points, "quirks": {"max_gap": 0}})
            if profile is not None:
                return profile
            wrong = {
                str(one.loc[1]): one for one in findings if one.loc[:1] == ("points",) and len(one.loc) > 1
            }
            if not wrong:
                raise wrong_file(self._sheet.file, "; ".join(one.message for one in findings))
            for point, finding in wrong.items():
                self._problem(lines[point], point, finding.message, finding.cure)
                del points[point]
        none = make_problem(self._sheet.file, None, "", "no row is understood as a register")
        raise ConfigError([*self._problems[:MAX_TOLD], none])

    def _items(self) -> Iterator[Item]:
        """Yield the rows that have an address; others are headings between them, or left out."""
        head = self._columns.head
        pending: list[str] = []
        table: TableName | None = None
        for row in self._sheet.rows:
            if row.line <= head.line or row.cells == head.cells:
                continue
            address, text = self._rows.address(row), self._rows.cell(row, "address")
            words = {cell for cell in row.cells if cell}
            if address is None and len(words) == 1:  # perhaps in merged cells
                (heading,) = words
                pending.append(heading)
                functions = parse_table(heading)
                table = functions.table if functions else table
            elif address is None:
                self._leave_out(row, f"'{text[:40]}' is no address" if text else "it has no address")
            else:
                if pending:
                    self._sections[row.line], pending = pending, []
                yield Item(row, address, table)

    def _base(self, items: Sequence[Item], base: str) -> tuple[str, str]:
        """Return the base, and the words for why, with an example."""
        why = "as you say"
        if base == "auto":
            cells = [
                Cell(
                    item.row.line,
                    item.address,
                    self._rows.table(item),
                    self._rows.access(item) in ("rw", "wo"),
                    self._rows.is_number(item),
                )
                for item in items
            ]
            conclusion = conclude(cells, plain(self._columns.heading("address")))
            if conclusion.base is None:
                raise wrong_file(
                    self._sheet.file, f"from where do the addresses count? {conclusion.why}",
                    "--base 0: as they are on the wire; --base 1: from 1;"
                    " --base 40001: the first digit is the table, the rest counts from 1",
                )  # fmt: skip
            base, why = conclusion.base, conclusion.why
        for item in items:
            if place := pdu(item.address, base):
                table = place[0] or self._rows.table(item) or "holding"
                written = self._rows.cell(item.row, "address")
                return base, f"base {base}: {why}. So {written} is PDU address {place[1]} ({table})"
        return base, f"base {base}: {why}"

    def _said(self, why: str) -> Iterator[str]:
        yield from self._rows.said
        yield why
        for what, count in self._rows.counted.items():
            yield f"{what} ({count:,} row{'s' * (count > 1)})"
        if "type" not in self._columns.places:
            yield "no column says the type: uint16 for one register, uint32 for two, uint64 for four"
        if not {"scale", "divisor", "decimals"} & self._columns.places.keys():
            yield "no column says the scale: 1, unless the unit has one (--map scale=… if there is a column)"
        if self._columns.unused:
            yield f"not used: {', '.join(self._columns.unused)}"

    def _leave_out(self, row: Row, message: str, cure: str = "") -> None:
        name = self._rows.cell(row, "name") or self._rows.cell(row, "description")
        self._problem(row.line, name[:40], message, cure)

    def _problem(self, line: int, where: str, message: str, cure: str) -> None:
        self._left_out.append(make_problem(self._sheet.file, line, where, message, cure))


def _share_bits(points: dict[str, Point]) -> None:
    """Let a word and the bits that a list has below it share the register: the word becomes bits 0 to 15."""
    bits = {(point.register, point.address) for point in points.values() if point.bit is not None}
    for name, point in points.items():
        if (point.register, point.address) in bits and point.kind == "unsigned" and point.size == 1:
            points[name] = point.model_copy(update={"bits": point.bits or (0, 15)})
