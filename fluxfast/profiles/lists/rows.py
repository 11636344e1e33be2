"""One row of a register list to one point: each cell by what its column is.

Some columns are understood as a whole first: whether addresses are hexadecimal, whether sizes are in
registers or bytes, whether scales are powers of ten.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, cast

from fluxfast.profiles.findings import validate
from fluxfast.profiles.lists.bases import pdu
from fluxfast.profiles.lists.cells import (
    Address,
    Kind,
    TableName,
    inverse,
    is_nothing,
    order_said_in,
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
    unit_in_name,
)
from fluxfast.profiles.lists.columns import Columns
from fluxfast.profiles.lists.names import Names, slug
from fluxfast.profiles.lists.sheet import Row, Sheet
from fluxfast.profiles.point import BIT_TABLES, Point
from fluxfast.profiles.types import BYTE_ORDERS, SWAPPED_BYTES, TYPES, ByteOrder

MAX_DESCRIPTION: Final = 400
_SIZES: Final = ((8, ("byte", "bytes")), (1, ("bit", "bits")),
                 (16, ("word", "words", "reg", "regs", "register", "registers")))  # fmt: skip


class RowError(Exception):
    """A row is not understood: what, and the cure."""


@dataclass
class Item:
    """A row that may become a point; ``section_table`` is what a heading above it says."""

    row: Row
    address: Address
    section_table: TableName | None = None
    keys: dict[str, Any] = field(default_factory=dict)
    name: str = ""


class Rows:
    """Understands the rows of one sheet; ``said`` is what it concluded, ``counted`` what it did how often."""

    def __init__(self, sheet: Sheet, columns: Columns, order: str) -> None:
        """Look at the columns as a whole."""
        self.said: list[str] = []
        self.counted: Counter[str] = Counter()
        self._sheet = sheet
        self._columns = columns
        self._order = order
        self._is_hex = self._addresses_are_hex()
        self._size_unit = self._unit_of_sizes()
        self._scale_is_power = self._scales_are_powers()

    def cell(self, row: Row, role: str) -> str:
        """Return what a row says in the column of a role; empty where it says nothing."""
        place = self._columns.places.get(role)
        text = "" if place is None else row.cell(place)
        return "" if is_nothing(text) and role not in ("name", "description") else text

    def address(self, row: Row) -> Address | None:
        """Return a row's address, None where it is none."""
        text = self.cell(row, "address")
        if self._all_end_in_zero:  # spreadsheets make 2000.0 of 2000
            text = text.removesuffix(".0")
        return parse_address(text, is_hex=self._is_hex)

    def table(self, item: Item) -> TableName | None:
        """Return the table that a row, or a heading above it, names."""
        text = self.cell(item.row, "table")
        functions = parse_table(text) if text else None
        return functions.table if functions else item.section_table

    def is_number(self, item: Item) -> bool:
        """Return whether the row has a type that is more than a bit."""
        kind = parse_kind(self.cell(item.row, "type"))
        return kind is not None and kind.kind != "bool"

    def access(self, item: Item) -> str | None:
        """Return ro, rw or wo; None where the row does not say, or not in words that are known."""
        text = self.cell(item.row, "access")
        if text and plain(text) in ("yes", "ja", "x", "no", "nein"):
            return "ro" if plain(text) in ("no", "nein") else "rw"
        if text:
            return parse_access(text)
        functions = parse_table(self.cell(item.row, "table"))
        return functions.access if functions else None

    def point(self, item: Item, base: str, names: Names) -> Point:
        """Return the point that a row describes; raise RowError where it does not."""
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
            width = kind.width or 16 * (registers or 0)
            if not width:
                width = 32 if kind.kind == "float" else 16
                if said := self.cell(row, "type"):
                    self.counted[f"'{said}' without a size: {width} bits"] += 1
            type_ = kind.type(width)
            if type_ is None or (registers is not None and 16 * registers != width):
                text = self.cell(row, "type") or "a number"
                raise RowError(
                    f"{text} in {registers} registers is no type here", "name it as in docs/profiles.md"
                )
            keys["type"] = type_
            keys["byte_order"] = self._byte_order(row, kind, width)
            if item.address.bit is not None:
                raise RowError(f"a {type_} has no bit {item.address.bit}", "is its type bool?")
            self._number_keys(row, keys)
        access = self.access(item)
        if access is None and self.cell(row, "access"):
            raise RowError(f"'{self.cell(row, 'access')}' is no access", "write R, W or R/W")
        if access is not None:
            keys["access"] = access
        self._words(item, names, table)
        point, findings = validate(Point, {**keys, "name": item.name})
        if point is None:
            raise RowError(
                "; ".join(f"{one.loc[-1]}: {one.message}" if one.loc else one.message for one in findings)
            )
        return point

    def _place(self, item: Item, base: str) -> TableName:
        """Set the address, and return the table."""
        text = self.cell(item.row, "table")
        functions = parse_table(text) if text else None
        if functions is not None and functions.is_both:
            self.counted[f"'{text}': read as {functions.table}"] += 1
        if text and functions is None:
            raise RowError(f"'{text[:40]}' names no table", "write holding, input, coil, discrete or 1 to 4")
        place = pdu(item.address, base)
        if place is None:
            raise RowError(f"'{self.cell(item.row, 'address')}' is no reference like 40001")
        said, number = place
        named = self.table(item)
        if said is not None and named is not None and said != named:
            raise RowError(f"its address says {said}, and its row {named}")
        if not 0 <= number <= 0xFFFF:
            raise RowError(f"PDU address {number} is not 0 to 65535", "does the list count from 0?")
        table = said or named or "holding"
        item.keys["address"] = number
        if table != "holding":
            item.keys["register"] = table
        return table

    def _kind(self, item: Item, table: TableName) -> tuple[Kind, int | None]:
        """Return the type that the row names, and in how many registers."""
        text, address = self.cell(item.row, "type"), item.address
        registers = self._registers(item.row)
        if address.last is not None:
            span = address.last - address.number + 1
            if registers is not None and registers != span:
                raise RowError(
                    f"{self.cell(item.row, 'address')} are {span} registers, and its size is {registers}"
                )
            registers = span
        if table in BIT_TABLES:
            return Kind("bool"), None
        if text:
            kind = parse_kind(text)
            if kind is None:
                raise RowError(f"there is no type '{text[:40]}' here", "add it by hand: see docs/profiles.md")
            if kind.kind == "bool":
                registers = None
            return kind, registers
        if "type" in self._columns.places:
            raise RowError("it has no type")
        if address.bit is not None or self.cell(item.row, "bit"):
            return Kind("bool"), None
        return Kind("unsigned"), registers

    def _registers(self, row: Row) -> int | None:
        text = self.cell(row, "size")
        if not text:
            return None
        words = plain(text).split()
        number = next((word for word in words if word.isdecimal()), None)
        bits = self._size_unit
        for unit, names in _SIZES:
            bits = unit if any(word in names for word in words) else bits
        if number is None or len(number) > 4 or int(number) * bits % 16:
            raise RowError(f"'{text[:40]}' is no size in registers")
        return int(number) * bits // 16 or None

    def _length(self, kind: Kind, registers: int | None) -> int:
        if registers is not None:
            return registers
        if kind.length is None:
            raise RowError("a string needs its length", "add a column of sizes, or write string[16]")
        self.counted["string[n]: n characters, two in a register"] += 1
        return (kind.length + 1) // 2

    def _bit(self, item: Item) -> int:
        if item.address.bit is not None:
            return item.address.bit
        text = self.cell(item.row, "bit")
        if text.isdecimal() and int(text) < 16:
            return int(text)
        raise RowError("a bool in a register needs its bit", "write 100.3, or add a column Bit")

    def _byte_order(self, row: Row, kind: Kind, width: int) -> str:
        text = self.cell(row, "order")
        order = kind.order or self._order
        if not text and kind.order is None and width > 16 and (said := self._said_order(row)) is not None:
            self.counted[f"byte order {said}, as their remarks say"] += 1
            order = said
        if text:
            words = plain(self._columns.heading("order")).split()
            about = [word for word in ("word", "byte") if word in words]  # "Word order" and "little"
            says = len(about) == 1 and not {"word", "byte"} & set(plain(text).split())
            found = parse_order(f"{about[0]} {text}" if says else text)
            if plain(text) in ("no", "nein", "0"):  # a column of what is swapped
                found = "ABCD"
            if found is None:
                raise RowError(f"'{text[:40]}' is no byte order", "write ABCD, CDAB, BADC or DCBA")
            order = found
        return _of_width(order, width)

    def _said_order(self, row: Row) -> str | None:
        """Return the byte order that the remarks of a row speak of."""
        places = [self._columns.places.get(role) for role in ("name", "description")]
        texts = (row.cell(place) for place in (*places, *self._columns.notes) if place is not None)
        return next(filter(None, map(order_said_in, texts)), None)

    def _number_keys(self, row: Row, keys: dict[str, Any]) -> None:
        scale = self._scale(row)
        factor, unit = split_unit(self.cell(row, "unit"))
        if factor is not None:
            if scale not in (1, factor):
                raise RowError(f"its scale is {scale}, and its unit says {factor}")
            self.counted["scales were taken from the units, like 0.1 V"] += 1
            scale = factor
        if scale != 1:
            keys["scale"] = scale
        if text := self.cell(row, "offset"):
            offset = parse_number(text)
            if offset is None:
                raise RowError(f"'{text[:40]}' is no offset")
            if offset:
                keys["offset"] = offset
        states = parse_states(self.cell(row, "states")) or parse_states(unit)
        keys["unit"] = "" if parse_states(unit) else parse_unit(unit) or unit_in_name(self.cell(row, "name"))
        if len(keys["unit"]) > 16:
            raise RowError(f"the unit '{keys['unit'][:40]}' is longer than 16 characters", "shorten it")
        if states and scale == 1 and "offset" not in keys and TYPES[keys["type"]].is_integer:
            keys["states"] = states

    def _scale(self, row: Row) -> Decimal:
        for role in ("scale", "divisor", "decimals"):
            text = self.cell(row, role)
            if not text:
                continue
            number = parse_number(text) if role == "decimals" or self._scale_is_power else parse_scale(text)
            if number is not None and role == "decimals":
                number = Decimal(1).scaleb(-int(number))
            elif number is not None and role == "scale" and self._scale_is_power:
                number = Decimal(1).scaleb(int(number))
            elif number is not None and role == "divisor" and number > 1:
                heading = self._columns.heading(role)
                self.counted[f"'{heading}' divides: value = raw / it (--map scale=… if not)"] += 1
                number = inverse(number)
            if number is None or not number:
                raise RowError(f"'{text[:40]}' is no scale", "write a number like 0.1")
            if number > 1 and role == "scale" and not self._scale_is_power:
                heading = self._columns.heading(role)
                self.counted[
                    f"'{heading}' multiplies: value = raw × it (--map divisor='{heading}' if not)"
                ] += 1
            return number
        return Decimal(1)

    def _words(self, item: Item, names: Names, table: TableName) -> None:
        """Set the point's name and description."""
        row = item.row
        name, text = self.cell(row, "name"), self.cell(row, "description")
        name, text = ("" if is_nothing(name) else name), ("" if is_nothing(text) else text)
        item.name = names.take(name or text, f"{table}_{item.keys['address']}")
        parts = [text] if text and slug(text) == slug(name) else list(filter(None, (name, text)))
        parts += [cell for place in self._columns.notes if not is_nothing(cell := row.cell(place))]
        if "states" not in item.keys and (cell := self.cell(row, "states")):
            parts.append(cell)
        parts = [part for part in dict.fromkeys(parts) if part != item.name]
        words = "; ".join(parts)
        if words:
            item.keys["description"] = (
                words if len(words) <= MAX_DESCRIPTION else words[: MAX_DESCRIPTION - 1] + "…"
            )

    # ---- columns as a whole ----

    def _addresses_are_hex(self) -> bool:
        """Plain numbers are hexadecimal where the heading says so, or some have letters."""
        samples = self._columns.samples[self._columns.places["address"]]
        self._all_end_in_zero = all(text.endswith(".0") for text in samples)
        heading = plain(self._columns.heading("address")).split()
        if "hex" in heading and "dec" not in heading:
            self.said.append("addresses are hexadecimal: the heading says so")
            return True
        bare = [text for text in samples if parse_address(text) is None and parse_address(text, is_hex=True)]
        if bare and not any(text.isdecimal() and len(text) > 4 for text in samples):
            self.said.append(f"addresses are hexadecimal: one is {bare[0]}")
            return True
        return False

    def _unit_of_sizes(self) -> int:
        """Return how many bits one of the sizes is: 16 registers, 8 bytes or 1 bit."""
        if "size" not in self._columns.places:
            return 16
        words = plain(self._columns.heading("size")).split()
        for bits, names in _SIZES:
            if any(word in names for word in words):
                return bits
        fits: Counter[int] = Counter()
        for row in self._sheet.rows:
            kind, size = parse_kind(self.cell(row, "type")), self.cell(row, "size")
            if kind is not None and kind.width is not None and kind.kind != "bool" and size.isdecimal():
                fits.update(bits for bits in (16, 8, 1) if int(size) * bits == kind.width)
        if not fits or fits[16] == max(fits.values()):
            return 16
        bits = max(fits, key=lambda one: fits[one])
        self.said.append(f"sizes are in {'bytes' if bits == 8 else 'bits'}: the types say so")
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
        self.said.append(f"'{self._columns.heading('scale')}' has powers of ten: -1 is 0.1")
        return True


def _of_width(order: str, width: int) -> str:
    """Return a byte order of 32 bits as that of 16 or 64."""
    number = BYTE_ORDERS[32].index(cast(ByteOrder, order))
    if width == 16:
        return "BA" if order in SWAPPED_BYTES else "AB"
    return BYTE_ORDERS[width][number]
