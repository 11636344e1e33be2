"""From which number the addresses of a register list count.

=========  ==========================================================
``0``      PDU addresses: 2000 is 07 D0 on the wire
``1``      they count from 1: 2000 is 07 CF
``40001``  references: the first digit is the table, the rest counts from 1
=========  ==========================================================

A list seldom says which. What speaks for one and against another is collected; where it disagrees, the
user is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fluxfast.profiles.lists.cells import Address, TableName
from fluxfast.profiles.point import BIT_TABLES

BASES: Final = ("0", "1", "40001")
_TABLES: Final[dict[int, TableName]] = {0: "coil", 1: "discrete", 3: "input", 4: "holding"}


@dataclass(frozen=True, slots=True)
class Cell:
    """An address, where it stands, and what else its row says."""

    line: int
    address: Address
    table: TableName | None
    writable: bool = False
    is_number: bool = False  # its type takes more than a bit


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The base, None where the user must say it, and why, in words."""

    base: str | None
    why: str


def as_reference(address: Address) -> tuple[TableName, int] | None:
    """Return table and PDU address of a number like 40001, 400001 or 30012; None for any other."""
    if address.is_hex or address.digits not in (5, 6):
        return None
    unit = 10 ** (address.digits - 1)
    table, number = _TABLES.get(address.number // unit), address.number % unit
    return (table, number - 1) if table is not None and 1 <= number <= 0x10000 else None


def pdu(address: Address, base: str) -> tuple[TableName | None, int] | None:
    """Return the table, if the address names one, and the PDU address; None where there is none."""
    if address.is_reference:  # 4x0001 says it itself
        return address.table, address.number - 1
    if base == "40001" and not address.is_hex:
        return as_reference(address)
    return address.table, address.number - (base == "1")


def conclude(cells: Sequence[Cell], heading: str) -> Conclusion:
    """Return the base that a list's addresses count from; ``heading`` is the plain one of their column."""
    open_ = [cell for cell in cells if not cell.address.is_reference]
    if not open_:
        return Conclusion("0", "each address names its table, and counts from 1 in it")
    if any(word in heading for word in ("pdu", "0 based", "zero based", "protocol")):
        return Conclusion("0", "the heading says so")
    if any(word in heading for word in ("1 based", "one based")):
        return Conclusion("1", "the heading says so")
    alike = [cell for cell in open_ if _can_be_reference(cell)]
    strong = [cell for cell in alike if cell.address.number >= 10000]
    if strong and len(alike) == len(open_):
        return _references(strong)
    zero = next((cell for cell in open_ if cell.address.number == 0), None)
    if strong and any(cell.address.number < 10000 for cell in open_):
        small = next(cell for cell in open_ if cell.address.number < 10000)
        if len(strong) > len(open_) // 2 and not zero:
            return Conclusion(
                None,
                f"line {strong[0].line} has {strong[0].address.number}, which looks like a reference,"
                f" and line {small.line} has {small.address.number}, which does not",
            )
    if zero is not None:
        return Conclusion("0", f"line {zero.line} has address 0")
    if any(cell.address.is_hex for cell in open_):
        return Conclusion("0", "addresses in hex are those on the wire")
    least = min(cell.address.number for cell in open_)
    if least == 1:
        return Conclusion(
            "0", "nothing says otherwise, but the least is 1: if the maker counts from 1, --base 1"
        )
    return Conclusion("0", "nothing says otherwise; if the maker counts from 1, --base 1")


def _can_be_reference(cell: Cell) -> bool:
    """Whether its number is like 40001; one like 16384 is not, where a number is."""
    place = as_reference(cell.address)
    return place is not None and not (cell.is_number and place[0] in BIT_TABLES)


def _references(cells: Sequence[Cell]) -> Conclusion:
    """All of them look like references; what else the rows say may speak against it."""
    for cell in cells:
        table, _ = as_reference(cell.address) or (None, 0)
        number = cell.address.number
        against = ""
        if cell.table is not None and cell.table != table:
            against = f"is {cell.table}"
        elif cell.writable and table in ("input", "discrete"):
            against = "may be written"
        if against:
            why = f"line {cell.line}: {number} looks like a reference of table {table}, and its row {against}"
            return Conclusion(None, why)
    return Conclusion(
        "40001", "all look like references: the first digit is the table, the rest counts from 1"
    )
