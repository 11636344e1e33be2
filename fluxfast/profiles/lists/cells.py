"""What makers write into the cells of register lists: addresses, types, scales, access, in their many forms.

Each function returns None for a cell that it does not understand; nothing is guessed here.
"""

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, Literal

from fluxfast.profiles.types import TypeName

TableName = Literal["holding", "input", "coil", "discrete"]

_NOTHING: Final = frozenset({"", "-", "--", "—", "–", "/", "n/a", "na", "none", "n.a.", "nil", "null", "*"})


def is_nothing(text: str) -> bool:
    """Whether a cell says that there is nothing to say."""
    return text.strip().lower() in _NOTHING


def plain(text: str) -> str:
    """Return lower case words without accents and punctuation."""
    text = unicodedata.normalize("NFKD", text.casefold().replace("#", " no "))
    text = "".join(char for char in text if not unicodedata.combining(char))
    return " ".join(re.findall(r"[^\W_]+", text))


# ---- addresses ----


@dataclass(frozen=True, slots=True)
class Address:
    """An address as it is written; ``table`` where it names one, ``last`` where it is a range."""

    number: int
    last: int | None = None
    is_hex: bool = False
    digits: int = 0  # of a decimal number
    table: TableName | None = None
    is_reference: bool = False  # like 4x0001: counts from 1, in its table
    bit: int | None = None


_HEX: Final = re.compile(r"(?:0x|&h|\$|16#)([0-9a-f]{1,5})|([0-9][0-9a-f]{0,4})h", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"([134])[x:][ _-]?([0-9]{1,5})", re.IGNORECASE)
_PREFIXED: Final = re.compile(r"%?(hr|ir|di|mw|iw|co)[ .:_-]?([0-9]{1,5})", re.IGNORECASE)
_THOUSANDS: Final = re.compile(r"[0-9]{1,3}[,' ][0-9]{3}")
_RANGE: Final = re.compile(r"\s*(?:-|–|—|[~～∼]|…|\.\.+|\bto\b|\bbis\b|/|,|&)\s*", re.IGNORECASE)
_BIT: Final = re.compile(r"(.*?[0-9a-fh])\s*(?:[.:]|\bbit\s*)([0-9]{1,2})", re.IGNORECASE)
_DIGITS: Final[dict[str, TableName]] = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}
_PREFIXES: Final[dict[str, TableName]] = {
    "hr": "holding", "mw": "holding", "ir": "input", "iw": "input", "di": "discrete", "co": "coil",
}  # fmt: skip


def parse_address(text: str, *, is_hex: bool = False) -> Address | None:
    """Return what is written; ``is_hex`` for a column whose plain numbers are hexadecimal."""
    text = text.strip()
    if (one := _single(text, is_hex)) is not None:
        return one
    parts = _RANGE.split(text)
    if len(parts) > 1:
        places = [_single(part, is_hex) for part in parts]
        first, last = places[0], places[-1]
        if first is None or last is None:
            return None
        number = last.number
        if number < first.number and last.digits < first.digits:  # 40001-02
            number += first.number - first.number % 10**last.digits
        if len(parts) > 2 and [place and place.number for place in places] != [
            *range(first.number, number + 1)
        ]:
            return None
        if not 0 <= number - first.number < 256:
            return None
        return Address(first.number, number, first.is_hex, first.digits, first.table, first.is_reference)
    if (match := _BIT.fullmatch(text)) and (place := _single(match[1], is_hex)) and int(match[2]) < 16:
        return Address(
            place.number, None, place.is_hex, place.digits, place.table, place.is_reference, int(match[2])
        )
    return None


def _single(text: str, is_hex: bool) -> Address | None:
    if match := _HEX.fullmatch(text):
        return Address(int(match[1] or match[2], 16), is_hex=True)
    if match := _REFERENCE.fullmatch(text):
        return Address(int(match[2]), digits=6, table=_DIGITS[match[1]], is_reference=True)
    if match := _PREFIXED.fullmatch(text):
        return Address(int(match[2]), digits=len(match[2]), table=_PREFIXES[match[1].lower()])
    if is_hex and re.fullmatch(r"[0-9a-fA-F]{1,5}", text):
        return Address(int(text, 16), is_hex=True)
    if _THOUSANDS.fullmatch(text):
        text = re.sub(r"[^0-9]", "", text)
    if re.fullmatch(r"[0-9]{1,6}", text, re.ASCII):
        return Address(int(text), digits=len(text))
    return None


# ---- tables and access ----

_TABLES: Final[tuple[tuple[str, TableName], ...]] = (
    (r"\bholding|\bhr\b|^4x+$|halteregister", "holding"),
    (r"\binput reg|\bir\b|^3x+$|eingangsregister|^inputs?$|input registers?", "input"),
    (r"\bcoils?\b|^0x+$|\bdo\b|digital outputs?|spule", "coil"),
    (r"\bdiscretes?\b|\bdi\b|^1x+$|digital inputs?|diskret", "discrete"),
)
_CODE_WORDS: Final = frozenset(
    ("fc", "f", "fn", "func", "function", "functions", "code", "codes", "read", "write", "r", "w", "rd", "wr",
     "and", "or", "und", "oder", "lesen", "schreiben", "modbus", "hex")
)  # fmt: skip
_READS: Final[dict[int, TableName]] = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
_WRITES: Final[dict[int, TableName]] = {5: "coil", 15: "coil", 6: "holding", 16: "holding", 22: "holding",
                                        23: "holding"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Functions:
    """A table, and what its function codes, if any are given, say about access."""

    table: TableName
    access: Literal["ro", "rw", "wo"] | None = None
    is_both: bool = False  # holding and input registers hold the same; the first that is named is taken


def parse_table(text: str) -> Functions | None:
    """Return the table that ``Holding``, ``03``, ``0x03/0x10`` or ``FC 3, 6`` means."""
    words = plain(text)
    named = [table for pattern, table in _TABLES if re.search(pattern, words)]
    codes = []
    for token in re.findall(r"0x[0-9a-f]+|[0-9]+h?", text.lower()):
        base = 16 if token.startswith("0x") or token.endswith("h") else 10
        codes.append(int(token.rstrip("h"), base))
    if named:
        return Functions(named[0]) if len(set(named)) == 1 else None
    others = re.sub(r"0x[0-9a-f]+|[0-9]+h?", " ", text.lower())
    if any(word not in _CODE_WORDS for word in plain(others).split()):
        return None  # U16 is no function code
    if not codes or any(code not in _READS and code not in _WRITES for code in codes):
        return None
    tables = list(dict.fromkeys(_READS.get(code) or _WRITES[code] for code in codes))
    if len(tables) > 1 and set(codes) != {3, 4}:
        return None
    reads, writes = any(code in _READS for code in codes), any(code in _WRITES for code in codes)
    return Functions(tables[0], "rw" if reads and writes else "wo" if writes else None, len(tables) > 1)


_ACCESS: Final[dict[str, Literal["ro", "rw", "wo"]]] = {
    **dict.fromkeys(
        ("r", "ro", "read", "readonly", "rd", "lesen", "nurlesen", "lesend", "l", "lecture", "lectura",
         "lettura", "lectureseule", "sololectura", "solalettura"), "ro",
    ),
    **dict.fromkeys(
        ("rw", "wr", "readwrite", "writeread", "readandwrite", "lesenschreiben", "lesenundschreiben", "ls",
         "rdwr", "writable", "writeable", "lectureecriture", "lecturaescritura", "letturascrittura"), "rw",
    ),
    **dict.fromkeys(("w", "wo", "write", "writeonly", "schreiben", "nurschreiben", "s", "ecriture",
                     "escritura", "scrittura"), "wo"),
}  # fmt: skip


def parse_access(text: str) -> Literal["ro", "rw", "wo"] | None:
    """Return the access that ``R/W``, ``RO``, ``Read only``, ``lesen`` or function codes mean."""
    word = plain(text).replace(" ", "")
    if word in _ACCESS:
        return _ACCESS[word]
    functions = parse_table(text)
    return (functions.access or "ro") if functions and re.search(r"[0-9]", text) else None


# ---- types ----


@dataclass(frozen=True, slots=True)
class Kind:
    """A type as it is written. ``width`` is None where its size says it; ``length`` is of a string."""

    kind: Literal["signed", "unsigned", "float", "bool", "string"]
    width: int | None = None
    length: int | None = None  # characters
    order: str | None = None

    def type(self, width: int) -> TypeName | None:
        """Return our name for it at a width in bits."""
        if self.kind in ("bool", "string"):
            return "bool" if self.kind == "bool" else "string"
        return _NAMES.get((self.kind, width))


_NAMES: Final[dict[tuple[str, int], TypeName]] = {
    ("signed", 16): "int16", ("signed", 32): "int32", ("signed", 64): "int64",
    ("unsigned", 16): "uint16", ("unsigned", 32): "uint32", ("unsigned", 64): "uint64",
    ("float", 16): "float16", ("float", 32): "float32", ("float", 64): "float64",
}  # fmt: skip
_OTHERS: Final = re.compile(r"bcd|array|struct|mod10|packed|^date|^time|^ipv|^mac\b")
_TIMES: Final = re.compile(r"\d\s*[x×*]|[x×*]\s*\d")
_KINDS: Final[tuple[tuple[str, Literal["signed", "unsigned", "float", "bool", "string"]], ...]] = (
    (r"str|char|ascii|text|utf", "string"),
    (r"float|real|ieee|single|double(?! ?word)|half|^f ?\d\d", "float"),
    (r"bool|^bit$|^bits? ?\d*$|^1 ?bit|coil|^di$|^do$|digital", "bool"),
    (r"(?<!un)signed|^s ?[dlq]? ?(?:word|int|long|short|\d)", "signed"),
    (
        r"unsigned|^u|uint|\d ?u\b|word|bit ?(?:field|map|mask)|^bits|enum|hex|acc|counter|^e ?16|^e ?32",
        "unsigned",
    ),
    (r"^i|int|short|long", "signed"),
)
_SIZED: Final = re.compile(r"\b([1-8]) ?(word|byte|reg)(?:ister)?s?\b")
_WIDTHS: Final = (
    (r"lword|qword|longlong|long long|lint|lreal|double(?! ?word)|quad", 64),
    (r"dword|double ?word|dint|\blong|ulong", 32),
    (r"half|\bword|short|^e ?16", 16),
)


def parse_kind(text: str) -> Kind | None:
    """Return the type that ``U16``, ``INT32 (big endian)``, ``REAL``, ``DWORD`` or ``string[16]`` means."""
    order = parse_order(text)
    words = plain(re.sub(r"ieee[ -]?754|_t\b", lambda m: "float" if "754" in m[0] else "", text.lower()))
    length = None
    if match := re.search(r"[\[(]\s*([0-9]{1,3})\s*(?:chars?|bytes?|characters)?\s*[\])]", text.lower()):
        length = int(match[1])
    if not words or _OTHERS.search(words) or _TIMES.search(text.lower()):
        return None
    kind = next((name for pattern, name in _KINDS if re.search(pattern, words)), None)
    if kind is None:
        return None
    numbers = {int(number) for number in re.findall(r"(?<!\d)\d+(?!\d)", words)}
    if kind == "string":
        # STR16, string[16], STRING 16: characters, unless a column has the registers
        (length,) = (length,) if length or len(numbers) != 1 else numbers
        if length and re.search(r"\d ?(?:word|reg)", words):
            length *= 2
        return Kind("string", length=length)
    if kind == "bool":
        return Kind("bool", 16, order=order)
    widths = numbers & {8, 16, 32, 64, 128}
    if match := _SIZED.search(words):  # IEEE754 2 words
        widths = {int(match[1]) * (8 if match[2] == "byte" else 16)}
    elif not widths and (found := next((bits for one, bits in _WIDTHS if re.search(one, words)), None)):
        widths = {found}
    if len(widths) > 1 or not widths <= {16, 32, 64} or (length is not None and length not in widths):
        return None
    return Kind(kind, widths.pop() if widths else None, order=order)


_ORDERS: Final = {
    "abcd": "ABCD", "cdab": "CDAB", "badc": "BADC", "dcba": "DCBA", "1234": "ABCD", "3412": "CDAB",
    "2143": "BADC", "4321": "DCBA", "3210": "ABCD", "1032": "CDAB", "2301": "BADC", "0123": "DCBA",
    "abcdefgh": "ABCD", "ghefcdab": "CDAB", "badcfehg": "BADC", "hgfedcba": "DCBA",
}  # fmt: skip


def parse_order(text: str) -> str | None:
    """Return the byte order of 32 bits that ``CDAB``, ``LSW first`` or ``little endian`` means."""
    words = plain(text)
    together = words.replace(" ", "")
    if together in ("ab", "ba"):
        return "ABCD" if together == "ab" else "DCBA"
    if together in _ORDERS:
        return _ORDERS[together]
    for written, order in _ORDERS.items():
        if written in together if written.isalpha() else written in words.split():
            return order
    has_word, has_byte = (re.search(rf"\b{one}s?\b", words) is not None for one in ("word", "byte"))
    little = re.search(r"\b(little|le|lsb|intel)\b", words) is not None
    big = re.search(r"\b(big|be|msb|motorola|network)\b", words) is not None
    if re.search(r"\bswap", words) and little != big and has_word != has_byte:
        return "CDAB" if little == has_byte else "BADC"  # little-endian byte swap, big-endian word swap
    if re.search(r"\bswap", words):
        return "DCBA" if has_word and has_byte else "BADC" if has_byte else "CDAB"
    if re.search(r"\b(lsw|low word|lower word|least significant word|lo hi|low high)\b", words):
        return "CDAB"
    if re.search(r"\b(msw|high word|higher word|most significant word|hi lo|high low)\b", words):
        return "ABCD"
    if little:
        return "CDAB" if has_word and not has_byte else "DCBA"
    return "ABCD" if big else None


_SAID_ORDER: Final = re.compile(
    r"(?:\b(?:low|lower|high|higher|least|most)[ -]?(?:significant )?word|\b[lm]sw\b)[ -]*(?:(?:is|comes) )?"
    r"(?:first|zuerst|d'abord|primero)|\b(?:little|big)[- ]endian\b|\bwords?[ -]?swap(?:ped)?\b"
    r"|\bswapped words\b|\b(?:cdab|badc|dcba)\b",
    re.IGNORECASE,
)


def order_said_in(text: str) -> str | None:
    """Return the byte order that a remark speaks of: ``U32 with the low word first``."""
    said = " ".join(_SAID_ORDER.findall(text))
    about_words = "endian" in said.lower() and re.search(r"\bword", text, re.IGNORECASE)
    return parse_order(f"word {said}" if about_words else said)


# ---- numbers and units ----

_NUMBER: Final = r"[-+]?(?:[0-9]+(?:[.,][0-9]+)?|[.,][0-9]+)(?:e[-+]?[0-9]+)?"
_SCALES: Final = (
    (re.compile(rf"[x×*]?\s*({_NUMBER})"), 1),
    (re.compile(rf"({_NUMBER})\s*[x×*]"), 1),
    (re.compile(rf"(?:(?:1\s*)?[/÷:]|div(?:ided|ide)?(?: by)?)\s*({_NUMBER})"), -1),
    (re.compile(rf"1\s*=\s*({_NUMBER})\s*[^\W\d]*[%°]?\w*"), 1),  # 1 = 0.1 kW
    (re.compile(rf"({_NUMBER})\s*=\s*1\s*[^\W\d]*[%°]?\w*"), -1),  # 10 = 1 kW
)
_POWER: Final = re.compile(r"[x×*]?\s*10\s*(?:\^|\*\*|e)\s*\(?([-+]?[0-9]{1,2})\)?")
_RAISED: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_THOUSAND_OR_ONE: Final = re.compile(r"[-+]?[1-9][0-9]{0,2},[0-9]{3}")
_WITH_UNIT: Final = re.compile(rf"[x×*]?\s*({_NUMBER})\s*([^\W\d_%°Ω/][\w/%°Ω²³·]*|[%°Ω]\w*)")


def parse_number(text: str) -> Decimal | None:
    """Return a number with a decimal point or comma; None for 1,000, which may be both."""
    if _THOUSAND_OR_ONE.fullmatch(text.strip()):
        return None
    try:
        number = Decimal(text.strip().replace(",", ".").replace("−", "-"))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 30 else None


def parse_scale(text: str) -> Decimal | None:
    """Return the factor that ``0.1``, ``0,1``, ``1/10``, ``x10``, ``10^-1``, ``1 = 0.1 V`` means."""
    text = re.sub("(?<=10)[⁰¹²³⁴-⁹⁻]+", lambda raised: f"^{raised[0].translate(_RAISED)}", text)
    text = text.strip().lower().replace("−", "-")
    if match := _POWER.fullmatch(text):
        return Decimal(1).scaleb(int(match[1]))
    for pattern, power in _SCALES:
        if match := pattern.fullmatch(text):
            number = parse_number(match[1])
            if number is None or not number:
                return None
            return number if power > 0 else inverse(number)
    return split_unit(text)[0]


def inverse(number: Decimal) -> Decimal | None:
    """Return 1 / number where that is a decimal number, exactly."""
    result = 1 / number if number else Decimal(0)
    return result if result * number == 1 else None


def split_unit(text: str) -> tuple[Decimal | None, str]:
    """Return (0.1, ``kWh``) for ``0.1 kWh``, (0.1, "") for ``0.1``, (None, the text) without a number."""
    if re.fullmatch(_NUMBER, text.strip()):
        return parse_number(text) or None, ""
    match = _WITH_UNIT.fullmatch(text.strip())
    number = parse_number(match[1]) if match else None
    return (number, match[2]) if match and number else (None, text.strip())


_UNITS: Final = {
    "percent": "%", "pct": "%", "prozent": "%", "degc": "°C", "deg c": "°C", "celsius": "°C", "℃": "°C",
    "grad c": "°C", "c": "°C", "sec": "s", "secs": "s", "seconds": "s", "second": "s", "sekunden": "s",
    "min": "min", "ohm": "Ω", "ohms": "Ω", "volt": "V", "volts": "V", "ampere": "A", "amps": "A", "amp": "A",
    "watt": "W", "watts": "W", "hertz": "Hz", "hours": "h", "hour": "h",
}  # fmt: skip


def parse_unit(text: str) -> str:
    """Return a unit as it is written elsewhere."""
    text = text.strip().strip("[]()").strip()
    return "" if is_nothing(text) else _UNITS.get(text.lower(), text)


_IN_NAME: Final = re.compile(
    r"[(\[]\s*([kM]?(?:Wh?|VAh?|varh?|VA[Rr]h?|V|A|Hz)|m[VAs]|%|°C|s|min|h|Ah|bar|Ω)\s*[)\]]\s*$"
)


def unit_in_name(name: str) -> str:
    """Return the unit at the end of ``Voltage L1 (V)``; empty where there is none."""
    match = _IN_NAME.search(name)
    return match[1] if match else ""


def parse_states(text: str) -> dict[int, str] | None:
    """Return {0: Off, 1: On} for ``0: Off; 1 = On``; None for anything else, also a single one."""
    pairs = re.split(r"[;,|\n]\s*|\s+(?=(?:0x[0-9a-fA-F]+|[0-9]+)\s*[:=–-]\s*\D)", text.strip())
    states: dict[int, str] = {}
    for pair in filter(None, (pair.strip() for pair in pairs)):
        match = re.fullmatch(r"(0x[0-9a-fA-F]{1,8}|[0-9]{1,9})\s*[:=–-]+>?\s*([^\W\d].{0,63})", pair)
        if match is None or int(match[1], 0 if "x" in match[1] else 10) in states:
            return None
        states[int(match[1], 0 if "x" in match[1] else 10)] = match[2].strip()
    return states if len(states) > 1 else None
