"""From a maker's register list to a profile.

How each column was understood, and from which number addresses count, is said aloud. A row that is not
understood is left out and told with its line: nothing is guessed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, cast

from fluxfast.errors import ConfigError, Problem
from fluxfast.profiles.bases import Cell, conclude, pdu
from fluxfast.profiles.cells import (
    Address,
    Kind,
    TableName,
    inverse,
    is_nothing,
    parse_access,
    parse_address,
    parse_kind,
    parse_number,
    parse_order,
    parse_scale,
    parse_states,
    parse_table,
    parse_unit,
    plain,
    split_unit,
)
from fluxfast.profiles.columns import Columns, find_columns
from fluxfast.profiles.document import make_problem
from fluxfast.profiles.findings import validate
from fluxfast.profiles.names import Names, slug
from fluxfast.profiles.point import BIT_TABLES, Point
from fluxfast.profiles.profile import Profile
from fluxfast.profiles.sheet import Row, Sheet, wrong_file
from fluxfast.profiles.types import BYTE_ORDERS, SWAPPED_BYTES, TYPES, ByteOrder
from fluxfast.profiles.write import Comments

ORDERS: Final = ("ABCD", "CDAB", "BADC", "DCBA")
MAX_DESCRIPTION: Final = 400


@dataclass(frozen=True)
class Read:
    """What became of a list; ``said`` is how it was understood, ``left_out`` the rows that were not."""

    profile: Profile
    comments: Comments
    columns: Mapping[str, str]  # role: heading
    base: str
    said: tuple[str, ...]
    left_out: tuple[Problem, ...]


class _RowError(Exception):
    """A row is not understood: what, and the cure."""


@dataclass
class _Item:
    """A row that may become a point."""

    row: Row
    address: Address
    keys: dict[str, Any] = field(default_factory=dict)
    name: str = ""


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
        self._order = order
        self._left_out: list[Problem] = []
        self._said: list[str] = []
        self._sections: dict[int, list[str]] = {}  # line of a row: what stands above it
        self._counted: Counter[str] = Counter()  # what was taken from where else
        self._is_hex = self._addresses_are_hex()
        self._size_unit = self._unit_of_sizes()
        self._scale_is_power = self._scales_are_powers()

    def read(self, name: str, base: str) -> Read:
        items = list(self._items())
        cells = [
            Cell(item.row.line, item.address, self._table(item), self._access(item) not in (None, "ro"))
            for item in items
        ]
        base = self._conclude(cells, base)
        points: dict[str, Point] = {}
        names = Names()
        lines: dict[str, int] = {}
        for item in items:
            try:
                point = self._point(item, base, names)
            except _RowError as error:
                self._leave_out(item.row, *error.args)
                continue
            points[point.name] = point
            lines[point.name] = item.row.line
        _share_bits(points)
        profile = self._profile(name, points, lines)
        above = {
            point: self._sections[line]
            for point, line in lines.items()
            if line in self._sections and point in points
        }
        comments = Comments(top=(f"Made by `fluxfast profile from-csv` of {self._sheet.file}.",), above=above)
        self._tell_columns()
        headings = {role: self._columns.heading(role) for role in self._columns.places}
        left_out = sorted(self._left_out, key=lambda problem: problem.line or 0)
        return Read(profile, comments, headings, base, tuple(self._said), tuple(left_out))

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
        problems = sorted(self._left_out, key=lambda problem: problem.line or 0)
        none = make_problem(self._sheet.file, None, "", "no row is understood as a register")
        raise ConfigError([*problems[:20], none])

    # ---- rows ----

    def _items(self) -> Iterator[_Item]:
        """Yield the rows that have an address; others are headings between them, or left out."""
        head = self._columns.head
        pending: list[str] = []
        self._section_table: dict[int, TableName] = {}
        table: TableName | None = None
        for row in self._sheet.rows:
            if row.line <= head.line or row.cells == head.cells:
                continue
            text = self._cell(row, "address")
            filled = [cell for cell in row.cells if cell]
            if is_nothing(text) or (
                len(set(filled)) == 1 and parse_address(text, is_hex=self._is_hex) is None
            ):
                if len(set(filled)) == 1:
                    pending.append(filled[0])
                    functions = parse_table(filled[0])
                    table = functions.table if functions else table
                else:
                    self._leave_out(row, "it has no address")
                continue
            address = parse_address(self._number(text), is_hex=self._is_hex)
            if address is None:
                self._leave_out(row, f"'{text[:40]}' is no address")
                continue
            if pending:
                self._sections[row.line], pending = pending, []
            if table is not None:
                self._section_table[row.line] = table
            yield _Item(row, address)

    def _number(self, text: str) -> str:
        """Return 2000 for 2000.0, which spreadsheets make of it, where all look like that."""
        return text.removesuffix(".0") if self._all_end_in_zero else text

    def _addresses_are_hex(self) -> bool:
        """Plain numbers are hexadecimal where the heading says so, or some have letters."""
        samples = self._columns.samples[self._columns.places["address"]]
        self._all_end_in_zero = all(text.endswith(".0") for text in samples)
        heading = plain(self._columns.heading("address")).split()
        if "hex" in heading and "dec" not in heading:
            self._said.append("addresses are hexadecimal: the heading says so")
            return True
        bare = [text for text in samples if parse_address(text) is None and parse_address(text, is_hex=True)]
        if bare and not any(text.isdecimal() and len(text) > 4 for text in samples):
            self._said.append(f"addresses are hexadecimal: one is {bare[0]}")
            return True
        return False

    # ---- columns as a whole ----

    def _unit_of_sizes(self) -> int:
        """Return how many bits one of the sizes is: 16 registers, 8 bytes or 1 bit."""
        if "size" not in self._columns.places:
            return 16
        words = plain(self._columns.heading("size")).split()
        for bits, names in ((8, ("byte", "bytes")), (1, ("bit", "bits")), (16, ("reg", "regs", "register",
                            "registers", "word", "words"))):  # fmt: skip
            if any(word in names for word in words):
                return bits
        fits: Counter[int] = Counter()
        for row in self._sheet.rows:
            kind, size = parse_kind(self._cell(row, "type")), self._cell(row, "size")
            if kind is not None and kind.width is not None and kind.kind != "bool" and size.isdecimal():
                fits.update(bits for bits in (16, 8, 1) if int(size) * bits == kind.width)
        if not fits or fits[16] == max(fits.values()):
            return 16
        bits = max(fits, key=lambda one: fits[one])
        self._said.append(f"sizes are in {'bytes' if bits == 8 else 'bits'}: the types say so")
        return bits

    def _scales_are_powers(self) -> bool:
        """A column of small whole numbers, some of them 0 or negative, has powers of ten."""
        if "scale" not in self._columns.places:
            return False
        numbers = [parse_number(text) for text in self._columns.samples[self._columns.places["scale"]]]
        if not numbers or not all(n is not None and n == int(n) and -10 <= n <= 10 for n in numbers):
            return False
        if min(cast(list[Decimal], numbers)) > 0:
            return False
        self._said.append(f"'{self._columns.heading('scale')}' has powers of ten: -1 is 0.1")
        return True

    def _conclude(self, cells: Sequence[Cell], base: str) -> str:
        if base == "auto":
            conclusion = conclude(cells, plain(self._columns.heading("address")))
            if conclusion.base is None:
                raise wrong_file(
                    self._sheet.file, f"from where do the addresses count? {conclusion.why}",
                    "--base 0: as they are on the wire; --base 1: from 1;"
                    " --base 40001: the first digit is the table, the rest counts from 1",
                )  # fmt: skip
            base, why = conclusion.base, conclusion.why
        else:
            why = "as you say"
        for cell in cells[:1]:
            written = self._cell(next(row for row in self._sheet.rows if row.line == cell.line), "address")
            place = pdu(cell.address, base)
            shown = (
                f"{place[0] or cell.table or 'holding'} register at PDU address {place[1]}"
                if place
                else "none"
            )
            self._said.append(f"base {base}: {why}. So {written} is the {shown}")
        return base

    def _tell_columns(self) -> None:
        for what, count in self._counted.items():
            self._said.append(f"{what} ({count:,} row{'s' * (count > 1)})")
        if "type" not in self._columns.places:
            self._said.append(
                "no column says the type: uint16 for one register, uint32 for two, uint64 for four"
            )
        if self._columns.unused:
            self._said.append(f"not used: {', '.join(self._columns.unused)}")

    # ---- one row ----

    def _cell(self, row: Row, role: str) -> str:
        place = self._columns.places.get(role)
        text = "" if place is None else row.cell(place)
        return "" if is_nothing(text) and role not in ("name", "description") else text

    def _table(self, item: _Item) -> TableName | None:
        text = self._cell(item.row, "table")
        functions = parse_table(text) if text else None
        return functions.table if functions else self._section_table.get(item.row.line)

    def _access(self, item: _Item) -> str | None:
        """Return ro, rw or wo; None where the row does not say. Raises nothing: `_point` does."""
        text = self._cell(item.row, "access")
        if text and plain(text) in ("yes", "ja", "x", "no", "nein"):
            return "ro" if plain(text) in ("no", "nein") else "rw"
        if text:
            return parse_access(text)
        functions = parse_table(self._cell(item.row, "table"))
        return functions.access if functions else None

    def _point(self, item: _Item, base: str, names: Names) -> Point:
        row, keys = item.row, item.keys
        table = self._place(item, base)
        kind, registers = self._kind(item, table)
        if table in BIT_TABLES:
            keys["type"] = "bool"
        elif kind.kind == "bool":
            keys |= {"type": "bool", "bit": self._bit(item)}
        elif kind.kind == "string":
            keys |= {"type": "string", "length": self._length(kind, registers)}
        else:
            width = kind.width or (16 * registers if registers else 32 if kind.kind == "float" else 16)
            type_ = kind.type(width)
            if type_ is None or (registers is not None and 16 * registers != width):
                text = self._cell(row, "type") or "a number"
                raise _RowError(
                    f"{text} in {registers} registers is no type here", "name it as in docs/profiles.md"
                )
            keys["type"] = type_
            keys["byte_order"] = self._byte_order(row, kind, width)
            if item.address.bit is not None:
                raise _RowError(f"a {type_} has no bit {item.address.bit}", "is its type bool?")
            self._number_keys(row, keys)
        access = self._access(item)
        if access is None and self._cell(row, "access"):
            raise _RowError(f"'{self._cell(row, 'access')}' is no access", "write R, W or R/W")
        if access is not None:
            keys["access"] = access
        self._words(item, names, table)
        point, findings = validate(Point, {**keys, "name": item.name})
        if point is None:
            raise _RowError(
                "; ".join(f"{one.loc[-1]}: {one.message}" if one.loc else one.message for one in findings)
            )
        return point

    def _place(self, item: _Item, base: str) -> TableName:
        """Set the address, and return the table."""
        text = self._cell(item.row, "table")
        if text and parse_table(text) is None:
            raise _RowError(f"'{text[:40]}' names no table", "write holding, input, coil, discrete or 1 to 4")
        place = pdu(item.address, base)
        if place is None:
            raise _RowError(f"'{self._cell(item.row, 'address')}' is no reference like 40001")
        said, number = place
        named = self._table(item)
        if said is not None and named is not None and said != named:
            raise _RowError(f"its address says {said}, and its row {named}")
        if not 0 <= number <= 0xFFFF:
            raise _RowError(f"PDU address {number} is not 0 to 65535", "does the list count from 0?")
        table = said or named or "holding"
        item.keys["address"] = number
        if table != "holding":
            item.keys["register"] = table
        return table

    def _kind(self, item: _Item, table: TableName) -> tuple[Kind, int | None]:
        """Return the type that the row names, and in how many registers."""
        text, address = self._cell(item.row, "type"), item.address
        registers = self._registers(item.row)
        if address.last is not None:
            span = address.last - address.number + 1
            if registers is not None and registers != span:
                raise _RowError(
                    f"{self._cell(item.row, 'address')} are {span} registers, and its size is {registers}"
                )
            registers = span
        if table in BIT_TABLES:
            return Kind("bool"), None
        if text:
            kind = parse_kind(text)
            if kind is None:
                raise _RowError(
                    f"there is no type '{text[:40]}' here", "add it by hand: see docs/profiles.md"
                )
            if kind.kind == "bool":
                registers = None
            return kind, registers
        if "type" in self._columns.places:
            raise _RowError("it has no type")
        if address.bit is not None or self._cell(item.row, "bit"):
            return Kind("bool"), None
        return Kind("unsigned"), registers

    def _registers(self, row: Row) -> int | None:
        text = self._cell(row, "size")
        if not text:
            return None
        words = plain(text).split()
        number = next((word for word in words if word.isdecimal()), None)
        bits = self._size_unit
        for unit, names in ((8, ("byte", "bytes")), (1, ("bit", "bits")), (16, ("word", "words", "reg", "regs",
                            "register", "registers"))):  # fmt: skip
            bits = unit if any(word in names for word in words) else bits
        if number is None or len(number) > 4 or int(number) * bits % 16:
            raise _RowError(f"'{text[:40]}' is no size in registers")
        return int(number) * bits // 16 or None

    def _length(self, kind: Kind, registers: int | None) -> int:
        if registers is not None:
            return registers
        if kind.length is None:
            raise _RowError("a string needs its length", "add a column of sizes, or write string[16]")
        self._counted["string[n]: n characters, two in a register"] += 1
        return (kind.length + 1) // 2

    def _bit(self, item: _Item) -> int:
        if item.address.bit is not None:
            return item.address.bit
        text = self._cell(item.row, "bit")
        if text.isdecimal() and int(text) < 16:
            return int(text)
        raise _RowError("a bool in a register needs its bit", "write 100.3, or add a column Bit")

    def _byte_order(self, row: Row, kind: Kind, width: int) -> str:
        text = self._cell(row, "order")
        order = kind.order or self._order
        if text:
            words = plain(self._columns.heading("order")).split()
            about = [word for word in ("word", "byte") if word in words]  # "Word order" and "little"
            found = parse_order(f"{about[0]} {text}" if len(about) == 1 else text)
            if plain(text) in ("no", "nein", "0"):  # a column of what is swapped
                found = "ABCD"
            if found is None:
                raise _RowError(f"'{text[:40]}' is no byte order", "write ABCD, CDAB, BADC or DCBA")
            order = found
        return _of_width(order, width)

    def _number_keys(self, row: Row, keys: dict[str, Any]) -> None:
        scale = self._scale(row)
        factor, unit = split_unit(self._cell(row, "unit"))
        if factor is not None:
            if scale not in (1, factor):
                raise _RowError(f"its scale is {scale}, and its unit says {factor}")
            self._counted["scales were taken from the units, like 0.1 V"] += 1
            scale = factor
        if scale != 1:
            keys["scale"] = scale
        if text := self._cell(row, "offset"):
            offset = parse_number(text)
            if offset is None:
                raise _RowError(f"'{text[:40]}' is no offset")
            if offset:
                keys["offset"] = offset
        keys["unit"] = parse_unit(unit)
        if len(keys["unit"]) > 16:
            raise _RowError(f"the unit '{keys['unit'][:40]}' is longer than 16 characters", "shorten it")
        states = parse_states(self._cell(row, "states"))
        if states and scale == 1 and "offset" not in keys and TYPES[keys["type"]].is_integer:
            keys["states"] = states

    def _scale(self, row: Row) -> Decimal:
        for role in ("scale", "divisor", "decimals"):
            text = self._cell(row, role)
            if not text:
                continue
            number = parse_number(text) if role == "decimals" or self._scale_is_power else parse_scale(text)
            if number is not None and role == "decimals":
                number = Decimal(1).scaleb(-int(number))
            elif number is not None and role == "scale" and self._scale_is_power:
                number = Decimal(1).scaleb(int(number))
            elif number is not None and role == "divisor" and number > 1:
                heading = self._columns.heading(role)
                self._counted[f"'{heading}' divides: value = raw / it (--map scale=… if not)"] += 1
                number = inverse(number)
            if number is None or not number:
                raise _RowError(f"'{text[:40]}' is no scale", "write a number like 0.1")
            if text.strip().lower()[:1] in "x×*":
                self._counted["x10 multiplies: value = raw × 10"] += 1
            return number
        return Decimal(1)

    def _words(self, item: _Item, names: Names, table: TableName) -> None:
        """Set the point's name and description."""
        row = item.row
        name, text = self._cell(row, "name"), self._cell(row, "description")
        name, text = ("" if is_nothing(name) else name), ("" if is_nothing(text) else text)
        item.name = names.take(name or text, f"{table}_{item.keys['address']}")
        parts = [text] if text and slug(text) == slug(name) else list(filter(None, (name, text)))
        parts += [cell for place in self._columns.notes if not is_nothing(cell := row.cell(place))]
        if "states" not in item.keys and (cell := self._cell(row, "states")):
            parts.append(cell)
        parts = [part for part in dict.fromkeys(parts) if part != item.name]
        words = "; ".join(parts)
        if words:
            item.keys["description"] = (
                words if len(words) <= MAX_DESCRIPTION else words[: MAX_DESCRIPTION - 1] + "…"
            )

    def _leave_out(self, row: Row, message: str, cure: str = "") -> None:
        name = self._cell(row, "name") or self._cell(row, "description")
        self._problem(row.line, name[:40], message, cure)

    def _problem(self, line: int, where: str, message: str, cure: str) -> None:
        self._left_out.append(make_problem(self._sheet.file, line, where, message, cure))


def _of_width(order: str, width: int) -> str:
    """Return a byte order of 32 bits as that of 16 or 64."""
    number = BYTE_ORDERS[32].index(cast(ByteOrder, order))
    if width == 16:
        return "BA" if order in SWAPPED_BYTES else "AB"
    return BYTE_ORDERS[width][number]


def _share_bits(points: dict[str, Point]) -> None:
    """Let a word and the bits that a list has below it share the register: the word becomes bits 0 to 15."""
    bits = {(point.register, point.address) for point in points.values() if point.bit is not None}
    for name, point in points.items():
        if (point.register, point.address) in bits and point.kind == "unsigned" and point.size == 1:
            points[name] = point.model_copy(update={"bits": point.bits or (0, 15)})
