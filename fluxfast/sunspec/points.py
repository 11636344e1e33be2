"""From a SunSpec field, and what its registers hold now, to a point of a profile."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from fluxfast.profiles.types import TYPES, TypeName
from fluxfast.sunspec.layout import Field, Words

SLOW: Final = "slow"
NO_FACTOR: Final = -0x8000  # a scale factor that is not implemented
MAX_DESCRIPTION: Final = 400
MAX_LABEL: Final = 64
# SunSpec's type: ours, and the raw value that means "not implemented". Of acc and string see `implemented`.
_TYPES: Final[dict[str, tuple[TypeName, int | None]]] = {
    "int16": ("int16", 0x8000),
    "uint16": ("uint16", 0xFFFF),
    "count": ("uint16", 0xFFFF),
    "acc16": ("uint16", None),
    "enum16": ("uint16", 0xFFFF),
    "bitfield16": ("uint16", 0xFFFF),
    "int32": ("int32", 0x8000_0000),
    "uint32": ("uint32", 0xFFFF_FFFF),
    "acc32": ("uint32", None),
    "enum32": ("uint32", 0xFFFF_FFFF),
    "bitfield32": ("uint32", 0xFFFF_FFFF),
    "ipaddr": ("uint32", 0),
    "int64": ("int64", 1 << 63),
    "uint64": ("uint64", (1 << 64) - 1),
    "acc64": ("uint64", None),
    "bitfield64": ("uint64", (1 << 64) - 1),
    "eui48": ("uint64", (1 << 48) - 1),
    "float32": ("float32", None),
    "float64": ("float64", None),
    "string": ("string", None),
    "sunssf": ("int16", 0x8000),
}
_UNITS: Final = {
    "Secs": "s", "Sec": "s", "mSecs": "ms", "Tms": "s", "Pct": "%", "%WHRtg": "%", "C": "°C", "Degrees": "°",
    "deg": "°", "Var": "var", "Varh": "varh", "WH": "Wh", "AH": "Ah", "kAH": "kAh", "ohms": "Ω", "kO": "kΩ",
    "HPa": "hPa", "meters": "m", "mps": "m/s", "W/m2": "W/m²", "W/m^2": "W/m²", "PF": "",
    "cos()": "", "SF": "", "text": "",
}  # fmt: skip


@dataclass(frozen=True)
class Factor:
    """What a field's values are multiplied by, and the words for where that was read."""

    scale: Decimal | None  # None: not usable
    source: str = ""


def is_known(field: Field) -> bool:
    """Whether there is a type here for it; an IPv6 address has none."""
    return field.type in _TYPES


def is_accumulator(field: Field) -> bool:
    """Whether 0 means that nothing was counted, or that nothing is."""
    return field.type.startswith("acc")


def implemented(field: Field, words: Words) -> bool:
    """Return whether the device has a value there now; a NaN, an empty text and a counter's 0 are none."""
    raw = field.raw(words)
    if raw is None:
        return False
    if field.type == "string":
        return raw[0] != 0
    number = int.from_bytes(raw)
    if field.type in ("float32", "float64"):
        bits, digits = (32, 23) if field.type == "float32" else (64, 52)
        return number & (1 << bits - 1) - 1 <= (1 << bits - 1) - (1 << digits)  # up to infinity
    if is_accumulator(field) or field.type == "eui48":
        return number not in (0, _TYPES[field.type][1])
    return number != _TYPES[field.type][1]


def factor(field: Field, words: Words) -> Factor:
    """Return the scale that the device gives a field now."""
    sf = field.scale_factor
    if sf is None:
        named = field.defined.get("sf")
        return Factor(Decimal(1)) if named is None else Factor(None, f"{named} is not in the model")
    if isinstance(sf, Field):
        raw = sf.raw(words)
        if raw is None:
            return Factor(None, f"{sf.path[-1]} ({sf.address}) cannot be read")
        power = int.from_bytes(raw, signed=True)
        if power == NO_FACTOR:
            return Factor(Decimal(1), f"raw: {sf.path[-1]} ({sf.address}) is not implemented")
        where = f"{sf.path[-1]} ({sf.address}) is {power}"
    else:
        power, where = int(sf), ""
    if not -10 <= power <= 10:
        return Factor(None, f"{where}, and may be -10 to 10")
    return Factor(Decimal(1).scaleb(power), where)


def point_keys(field: Field, scale: Decimal, *, is_slow: bool) -> dict[str, Any]:
    """Return a point's keys in a profile, without its name."""
    type_, missing = _TYPES[field.type]
    keys: dict[str, Any] = {"address": field.address, "type": type_}
    if type_ == "string":
        keys["length"] = field.size
    if scale != 1 and type_ != "string":
        keys["scale"] = scale
    if unit := _unit(field):
        keys["unit"] = unit
    if field.defined.get("access") == "RW":
        keys["access"] = "rw"
    if missing is not None:
        keys["not_implemented"] = missing
    if is_slow or field.type in ("sunssf", "string") or field.defined.get("static") == "S":
        keys["group"] = SLOW
    symbols = _symbols(field)
    if symbols and field.type.startswith("enum"):
        keys["states"] = {value: name[:MAX_LABEL] for value, name in symbols.items()}
    keys["description"] = _cut(_described(field, symbols if field.type.startswith("bitfield") else {}))
    return keys


def bit_points(field: Field, *, is_slow: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each bit of a bitfield that has a name, as (name, keys) of a bool."""
    for number, name in _symbols(field).items():
        address = field.address + field.size - 1 - number // 16  # the most significant register comes first
        keys: dict[str, Any] = {"address": address, "type": "bool", "bit": number % 16}
        if is_slow:
            keys["group"] = SLOW
        yield name, keys


def has_bits(field: Field) -> bool:
    """Whether it is a bitfield whose bits have names."""
    return field.type.startswith("bitfield") and bool(_symbols(field))


def _symbols(field: Field) -> dict[int, str]:
    """Return what the definition calls a field's values, or its bits."""
    top = 16 * field.size if field.type.startswith("bitfield") else 1 << TYPES[_TYPES[field.type][0]].width
    symbols = {}
    for symbol in field.defined.get("symbols") or ():
        value = int(symbol["value"])
        if 0 <= value < top and symbol["name"]:
            symbols[value] = str(symbol["name"]).strip()
    return symbols


def _unit(field: Field) -> str:
    unit = str(field.defined.get("units") or "").strip()
    return _UNITS.get(unit, unit)[:16]


def _described(field: Field, bits: Mapping[int, str]) -> str:
    label = str(field.defined.get("label") or "").strip()
    text = str(field.defined.get("desc") or "").strip()
    if not text or text.rstrip(".").lower() == label.lower():
        text = label or text
    elif label and label not in (field.path[-1], text[: len(label)]):
        text = f"{label}: {text}"
    text = text.rstrip(".")
    if bits:
        text += f" (bits: {', '.join(f'{number} {name}' for number, name in bits.items())})"
    return " ".join(text.split())


def _cut(text: str) -> str:
    return text if len(text) <= MAX_DESCRIPTION else text[: MAX_DESCRIPTION - 1] + "…"
