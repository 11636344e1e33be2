"""Which column of a register list is what: by its heading, in some languages, and by what stands in it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fluxfast.profiles.findings import nearest
from fluxfast.profiles.lists.cells import (
    is_nothing,
    parse_access,
    parse_address,
    parse_kind,
    parse_number,
    parse_order,
    parse_scale,
    parse_states,
    parse_table,
    plain,
)
from fluxfast.profiles.lists.sheet import HEAD_ROWS, Row, Sheet, wrong_file

CLEAR: Final = 8  # as sure as a heading is that needs no look at what stands below it
SAMPLES: Final = 300  # rows that are looked at to tell what a column holds

# What a column can be. Of `notes` there may be several.
ROLES: Final = (
    "address", "name", "type", "size", "table", "scale", "divisor", "decimals", "offset", "unit", "access",
    "order", "bit", "states", "description", "notes",
)  # fmt: skip

# (role, how sure, words of the heading). The surest choice is made first.
_HEADINGS: Final[tuple[tuple[str, int, str], ...]] = (
    ("address", 10, r"addr|adress|\badr\b|direccion|indirizzo|endereco"),
    ("address", 9, r"^(?:modbus |start |starting )?reg(?:ister)? ?(?:no|nr|num|number|nummer|id)\b"
        r"|registernummer"),
    ("address", 8, r"\b(?:reference|referenz|modbus ref)\b"),
    ("address", 6, r"^(?:modbus |holding |input |start |starting )?(?:registers?|reg|registro|registre)\b"
        r"|^modbus$"),
    ("address", 3, r"^(?:start )?offset|^no$|^index$|^hex$|^dec$|^start$|^anfang$|^von$|^from$"),
    ("name", 10, r"\bname\b|^name|bezeichnung|\bsignal|variable|nombre|\bnom\b|^tag\b|tagname|datenpunkt"),
    ("name", 9, r"designation|libelle|denominazione|denominacion|descrizione"),
    ("name", 8, r"\bparameter|data ?point|\bpoint\b|\bitem\b|\blabel\b|messwert|messgrosse|measur|data name"),
    ("name", 5, r"^value$|^text$|^quantity$|^function$|^data$|^register$|^content|^definition|grosse|^wert$"
        r"|^title"),
    ("type", 10, r"data ?type|daten ?typ|datentyp|data ?format|number format|value type|type of data"
        r"|encoding"),
    ("type", 8, r"^type$|^typ$|^format$|^tipo$|^var type|tipo d[ei] dat|type de donnee"),
    ("type", 6, r"^object type$"),
    ("size", 10, r"^(?:data )?(?:size|length|len|lange|laenge)\b|\bwords?$|word count|^width|no of reg"
        r"|number of (?:contiguous )?(?:modbus )?reg"),
    ("size", 9, r"num regs?|reg(?:ister)? (?:count|qty|size|length)|anzahl|registers? count|^count$|^qty$"),
    ("size", 6, r"^quantity$|^registers$|^regs$|^words$|^bytes$|^no registers$"),
    ("table", 10, r"function ?code|funktions?code|^fc|^fn|register ?type|registertyp|object ?type"
        r"|modbus function"),
    ("table", 8, r"^func|^table$|^area$|read function|^functions?$|^modbus type|^type$|^reg type"),
    ("divisor", 10, r"divis|divid|teiler|^gain\b"),
    ("decimals", 10, r"decimal|nachkomma|^dp$"),
    ("scale", 9, r"s[ck]al|factor|facteur|fattore|faktor|multipl|resolution|auflosung|echelle|escala"
        r"|\bscala\b|coefficient|^sf$|\blsb\b|^ratio"),
    ("scale", 7, r"^accuracy|^precision|^step|increment|^mult"),
    ("offset", 8, r"^offset$|value offset|^bias|zero offset|nullpunkt"),
    ("unit", 10, r"^(?:eng(?:ineering)? )?units?$|einheit|^uom|unidad|^unita|^unite|^eu$|unit of|^dim"),
    ("unit", 6, r"\bunits?\b(?! id)"),
    ("access", 10, r"access|zugriff|^r ?w$|^rw|read write|^r o|^ro rw|lesen schreiben|acces|permission"
        r"|^rd ?wr|writ|schreib"),
    ("access", 6, r"attribute|direction|^mode$|^property|^r w|^type r w"),
    ("order", 9, r"endian|byte ?order|word ?order|reihenfolge|\bswap"),
    ("bit", 9, r"^bits?$|bit ?(?:no|nr|number|position|index|nummer)\b"),
    ("states", 8, r"enum|states?$|^values$|^options|^codes?$"
        r"|value (?:description|table|list|definition|meaning)"),
    ("states", 5, r"^values?$|bedeutung|meaning|^range|wertebereich|^scope|coding|possible"),
    ("description", 8, r"descr|beschreibung|^desc|explanation|erlauterung|descripcion|^details"),
    ("notes", 7, r"remark|note|comment|bemerkung|kommentar|hinweis|anmerkung"),
)  # fmt: skip
_NOT_ADDRESS: Final = re.compile(
    r"\b(?:end|ending|last|to|device|slave|unit|ip|mac|server|count|length|size|type)\b"
)
_YES_NO: Final = ("yes", "no", "ja", "nein", "x")
_TESTS: Final[dict[str, Callable[[str], object]]] = {
    "address": lambda text: parse_address(text) or parse_address(text, is_hex=True),
    "type": parse_kind,
    "size": lambda text: re.match(r"[0-9]+", text),
    "table": parse_table,
    "scale": parse_scale,
    "divisor": parse_scale,
    "decimals": lambda text: re.fullmatch(r"[0-9]", text),
    "offset": parse_number,
    "access": lambda text: parse_access(text) or plain(text) in _YES_NO,
    "order": parse_order,
    "bit": lambda text: re.match(r"[0-9]", text),
    "states": parse_states,
    "name": lambda text: re.search(r"[^\W\d_]", text),
    "unit": lambda text: len(text) <= 24,
}
# The least share of cells that a test must understand; states are in few cells of their column.
_SHARE: Final = {"states": 0.02, "unit": 0.7}


@dataclass(frozen=True, slots=True)
class Columns:
    """The heading row, and which column (from 0) has which role."""

    head: Row
    places: Mapping[str, int]
    notes: tuple[int, ...] = ()
    unused: tuple[str, ...] = ()
    samples: Mapping[int, Sequence[str]] = field(default_factory=dict)  # what stands in each column

    def heading(self, role: str) -> str:
        """Return the heading of a role's column."""
        return self.head.cell(self.places[role])


def judge(rows: Sequence[Row]) -> float:
    """Return how much the best row of some looks like headings: how many roles it names."""
    return max((_roles_in(row) for row in rows), default=0)


def find_columns(sheet: Sheet, chosen: Mapping[str, str]) -> Columns:
    """Return the columns of a sheet; ``chosen`` has roles whose column the user names, or ``""`` for none.

    Raises ConfigError where no row has the headings.
    """
    head = _head(sheet, chosen)
    rows = [row for row in sheet.rows if row.line > head.line][:SAMPLES]
    samples = {
        column: [cell for row in rows if not is_nothing(cell := row.cell(column))]
        for column in range(len(head.cells))
    }
    places = {role: _named(sheet, head, role, text) for role, text in chosen.items() if text}
    candidates = []
    for column, heading in enumerate(head.cells):
        named = [(role, sure) for role, sure in _candidates(heading) if role not in chosen]
        fitting = [
            (role, sure, share) for role, sure in named if (share := _fits(role, samples[column])) is not None
        ]
        # What a clear heading says holds, whatever stands below it: each row is told then.
        clear = [(role, sure, 0.0) for role, sure in named if sure >= CLEAR]
        for role, sure, share in fitting or clear[:1]:
            candidates.append((-sure, -share, column, role))
    notes = []
    for _, _, column, role in sorted(candidates):
        if column in places.values() or column in notes:
            continue
        if role == "notes":
            notes.append(column)
        elif role not in places:
            places[role] = column
    if "name" not in places and "name" not in chosen:
        if "description" in places:
            places["name"] = places.pop("description")
        elif notes:
            places["name"] = notes.pop(0)
    elif not chosen.keys() & {"name", "description"} and _names_less(places, samples):
        places["name"], places["description"] = places["description"], places["name"]
    if "address" not in places and "offset" in places and "offset" not in chosen:
        places["address"] = places.pop("offset")  # that of the register, where nothing else is
    if "address" not in places:
        raise _no_headings(sheet)
    for role in ("description", "notes"):
        if role in places and role == "notes":
            notes.append(places.pop(role))
    used = {*places.values(), *notes}
    unused = [cell for column, cell in enumerate(head.cells) if cell and column not in used]
    return Columns(head, places, tuple(sorted(notes)), tuple(unused), samples)


def _names_less(places: Mapping[str, int], samples: Mapping[int, Sequence[str]]) -> bool:
    """Whether the names repeat, as of services or groups, and the descriptions do not."""
    if "description" not in places:
        return False
    names, words = (samples[places[role]] for role in ("name", "description"))
    return 2 * len(set(names)) <= len(names) <= len(words) == len(set(words))


def _candidates(heading: str) -> list[tuple[str, int]]:
    words = plain(heading)
    found: dict[str, int] = {}
    for role, sure, pattern in _HEADINGS:
        if role == "address" and _NOT_ADDRESS.search(words):
            continue
        if words and re.search(pattern, words):
            found[role] = max(sure, found.get(role, 0))
    if "address" in found and re.search(r"\bhex\b", words):
        found["address"] -= 1  # beside one that is decimal
    return list(found.items())


def _fits(role: str, cells: Sequence[str]) -> float | None:
    """Return which share of the cells can be what the role wants; None if it cannot be its column."""
    test = _TESTS.get(role)
    if test is None or not cells:
        return 0.0
    share = sum(bool(test(cell)) for cell in cells) / len(cells)
    return share if share >= _SHARE.get(role, 0.5) else None


def _roles_in(row: Row) -> int:
    roles = {role for cell in row.cells for role, _ in _candidates(cell)}
    return len(roles) if "address" in roles and len([cell for cell in row.cells if cell]) > 1 else 0


def _head(sheet: Sheet, chosen: Mapping[str, str]) -> Row:
    rows = [row for row in sheet.rows if row.line <= HEAD_ROWS or row in sheet.rows[:HEAD_ROWS]]
    wanted = [plain(text) for text in chosen.values() if text and not text.isdecimal()]
    if wanted:
        for row in rows:
            if all(text in map(plain, row.cells) for text in wanted):
                return row
        text = next(text for text in chosen.values() if text and not text.isdecimal())
        known = max(rows, key=_roles_in).cells if rows else ()
        raise wrong_file(sheet.file, f"no row has the heading '{text}'", nearest(text, filter(None, known)))
    best = max(rows, key=_roles_in, default=None)
    if best is None or _roles_in(best) < 2:
        raise _no_headings(sheet)
    return best


def _no_headings(sheet: Sheet) -> Any:
    return wrong_file(
        sheet.file,
        "no row has headings of an address and more (like Address, Register, Name, Type, Unit, Scale)",
        "give the sheet a row of headings, or name them: --map address=HEADING",
    )


def _named(sheet: Sheet, head: Row, role: str, text: str) -> int:
    """Return the column of a heading, or of a number that counts from 1."""
    headings = [plain(cell) for cell in head.cells]
    if plain(text) in headings:
        return headings.index(plain(text))
    if text.isdecimal() and 1 <= int(text) <= len(head.cells):
        return int(text) - 1
    cure = nearest(text, filter(None, head.cells))
    raise wrong_file(sheet.file, f"there is no column '{text}' for {role}", cure, head.line)
