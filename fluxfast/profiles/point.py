"""One named value of a profile: where its registers are and what they mean."""

import re
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, cast

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from fluxfast.constants import MAX_READ_REGISTERS
from fluxfast.profiles.fields import POINT_NAME, FileModel, Number, describe, parse_number, wrong
from fluxfast.profiles.types import (
    BYTE_ORDERS,
    SWAPPED_BYTES,
    SWAPPED_WORDS,
    TYPES,
    ByteOrder,
    Kind,
    TypeName,
)

FAST: Final = "fast"  # the poll group that is read every tick
MAX_FLOAT16: Final = 65504
BIT_TABLES: Final = ("coil", "discrete")
REFERENCE_DIGITS: Final = {"coil": 0, "discrete": 1, "input": 3, "holding": 4}
RESERVED_COLUMNS: Final = frozenset(
    {"time", "site", "device", "quality", "reason", "latency_ms", "run", "date"}
)
_SAMPLE_COLUMN: Final = re.compile(r"(?i)sample_ms_[0-9]+")  # of each block (table/samples.py)


def _parse_raws(value: Any) -> tuple[Decimal, ...]:
    if isinstance(value, list | tuple):
        return tuple(map(parse_number, value))
    return (parse_number(value),)


def _parse_limits(value: Any) -> tuple[Decimal, Decimal]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise wrong(f"must be [min, max], not {describe(value)}")
    low, high = map(parse_number, value)
    if low > high:
        raise wrong(f"min {low} is above max {high}", f"write [{high}, {low}]")
    return low, high


def _parse_bits(value: Any) -> tuple[int, int]:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(type(bit) is int for bit in value):
        raise wrong(f"must be [low, high], two bit numbers, not {describe(value)}")
    low, high = value
    if not 0 <= low <= high:
        raise wrong(
            f"[{low}, {high}] is not 0 ≤ low ≤ high", "bit 0 is the least significant, both ends count"
        )
    return low, high


def _parse_states(value: Any) -> dict[int, str]:
    if not isinstance(value, dict) or not value:
        raise wrong(f"must be a mapping like {{1: READY}}, not {describe(value)}")
    for raw, label in value.items():
        if type(raw) is not int:
            raise wrong(f"a state's code must be a whole number, not {describe(raw)}")
        if not isinstance(label, str) or not label or len(label) > 64:
            raise wrong(f"the label of state {raw} must be text of 1 to 64 characters, not {describe(label)}")
    return dict(value)


_NUMBER_SCHEMA = {"type": "number"}
Raws = Annotated[
    tuple[int | float, ...],
    PlainValidator(_parse_raws),  # a float on the way would lose the last digits of 64 bits
    WithJsonSchema({"anyOf": [_NUMBER_SCHEMA, {"type": "array", "items": _NUMBER_SCHEMA}]}),
]
Limits = Annotated[
    tuple[Decimal, Decimal],
    BeforeValidator(_parse_limits),
    WithJsonSchema({"type": "array", "items": _NUMBER_SCHEMA, "minItems": 2, "maxItems": 2}),
]
Bits = Annotated[
    tuple[int, int],
    BeforeValidator(_parse_bits),
    WithJsonSchema({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}),
]
States = Annotated[
    dict[int, str],
    BeforeValidator(_parse_states),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}),
]


def _finish_schema(schema: dict[str, Any]) -> None:
    """The name is the key above the point, and an absent byte order means the plain one of the type."""
    schema["properties"].pop("name")
    schema["required"].remove("name")
    schema["properties"]["byte_order"].pop("default")


Table = Literal["holding", "input", "coil", "discrete"]
_PLAIN_ORDER: Final = cast(ByteOrder, "")  # replaced by the plain order of the type


def one_based(table: str, address: int) -> str:
    """Return the 1-based reference of a PDU address: five digits, beyond 9999 six."""
    return f"{REFERENCE_DIGITS[table]}{address + 1:0{4 if address < 9999 else 5}}"


class Point(FileModel):
    """One value: ``raw × scale + offset`` in ``unit``. Addresses are PDU addresses, 0-based."""

    model_config = ConfigDict(json_schema_extra=_finish_schema)

    # Each validator below sees the fields above its own, so the table and the type come first.
    name: str
    address: int = Field(ge=0, le=0xFFFF, description="PDU address, 0-based: 2000 is 07 D0 on the wire.")
    table: Table = Field(default="holding", alias="register")
    type: TypeName
    byte_order: ByteOrder = Field(default=_PLAIN_ORDER, validate_default=True)
    length: int | None = Field(
        default=None, ge=1, le=MAX_READ_REGISTERS, validate_default=True, description="Registers of a string."
    )
    bit: int | None = Field(
        default=None, ge=0, le=15, validate_default=True,
        description="The bit of a register that a bool is; 0 is the least significant.",
    )  # fmt: skip
    bits: Bits | None = Field(default=None, description="Inclusive [low, high] field of an unsigned integer.")
    scale: Number = Decimal(1)
    offset: Number = Decimal(0)
    unit: str = Field(default="", max_length=16)
    description: str = Field(default="", max_length=400)
    access: Literal["ro", "rw", "wo"] = "ro"
    storage: Literal["volatile", "flash"] = Field(
        default="volatile",
        description="Where a written value is kept; flash wears out and is written rarely.",
    )
    not_implemented: Raws = Field(
        default=(),
        description="Raw values that mean: no value. Of the whole registers, before bits are taken.",
    )
    limits: Limits | None = Field(default=None, description="[min, max] in engineering units.")
    group: str = Field(default=FAST, description="Poll group; fast is read every tick.")
    states: States | None = Field(default=None, description="{raw: LABEL} of an integer; logged as text.")

    @property
    def register(self) -> Table:
        """The table it is in. A field of this name would hide ``BaseModel``'s ``register``."""
        return self.table

    @property
    def reference(self) -> str:
        """Its 1-based reference: holding register 2008 is 42009."""
        return one_based(self.table, self.address)

    @property
    def kind(self) -> Kind:
        """``signed``, ``unsigned``, ``float``, ``bool`` or ``string``."""
        return TYPES[self.type].kind

    @property
    def in_bit_table(self) -> bool:
        """Whether it is a coil or a discrete input: addressed by bits, not by registers."""
        return self.table in BIT_TABLES

    @property
    def readable(self) -> bool:
        """Whether it is polled."""
        return self.access != "wo"

    @property
    def writable(self) -> bool:
        """Whether it may be written."""
        return self.access != "ro"

    @property
    def size(self) -> int:
        """Registers it takes; 1 (bit) for coils and discrete inputs."""
        return self.length or TYPES[self.type].width // 16

    @property
    def swap_bytes(self) -> bool:
        """Whether the two bytes of each register are exchanged."""
        return self.byte_order in SWAPPED_BYTES

    @property
    def swap_words(self) -> bool:
        """Whether the least significant register comes first."""
        return self.byte_order in SWAPPED_WORDS

    @field_validator("name")
    @classmethod
    def _name_is_a_column(cls, name: str) -> str:
        if not POINT_NAME.fullmatch(name):
            raise wrong(
                f"'{name}' is not a point name", "use a letter, then up to 62 letters, digits or underscores"
            )
        if name.lower() in RESERVED_COLUMNS or _SAMPLE_COLUMN.fullmatch(name):
            raise wrong(f"'{name}' is a column that every log has", "choose another name")
        return name

    @field_validator("type")
    @classmethod
    def _type_suits_table(cls, type_: TypeName, info: ValidationInfo) -> TypeName:
        if info.data.get("table") in BIT_TABLES and type_ != "bool":
            raise wrong(
                f"a {info.data['table']} holds one bit, not {type_}", "write type: bool, or register: holding"
            )
        return type_

    @field_validator("byte_order", mode="before")
    @classmethod
    def _order_suits_type(cls, order: Any, info: ValidationInfo) -> Any:
        legal = BYTE_ORDERS[TYPES[info.data["type"]].width] if "type" in info.data else ("AB",)
        if order == _PLAIN_ORDER:
            return legal[0]
        if "type" in info.data and order not in legal:
            raise wrong(
                f"{describe(order)} is no byte order of {info.data['type']}", f"use {' or '.join(legal)}"
            )
        return order

    @field_validator("length")
    @classmethod
    def _strings_have_length(cls, length: int | None, info: ValidationInfo) -> int | None:
        type_ = info.data.get("type")
        if length is None and type_ == "string":
            raise wrong("a string needs its length", "write length: and its number of registers")
        if length is not None and type_ not in (None, "string"):
            raise wrong(f"length is for strings; the type says how long {type_} is", "remove it")
        return length

    @field_validator("bit")
    @classmethod
    def _register_bools_have_bit(cls, bit: int | None, info: ValidationInfo) -> int | None:
        if "type" not in info.data or "table" not in info.data:
            return bit
        wanted = info.data["type"] == "bool" and info.data["table"] not in BIT_TABLES
        if bit is None and wanted:
            raise wrong(
                "a bool in a register needs its bit", "write bit: 0 to 15; 0 is the least significant"
            )
        if bit is not None and not wanted:
            raise wrong("bit is for a bool in a register", "write type: bool, or use bits: [low, high]")
        return bit

    @field_validator("bits")
    @classmethod
    def _bits_of_unsigned(cls, bits: tuple[int, int] | None, info: ValidationInfo) -> tuple[int, int] | None:
        if bits is None or "type" not in info.data:
            return bits
        type_ = TYPES[info.data["type"]]
        if type_.kind != "unsigned":
            raise wrong(f"bits is for unsigned integers, not {info.data['type']}", "")
        if bits[1] >= type_.width:
            raise wrong(
                f"bit {bits[1]} is beyond {info.data['type']}", f"its bits are 0 to {type_.width - 1}"
            )
        return bits

    @field_validator("scale", "offset", "not_implemented", "limits")
    @classmethod
    def _only_of_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        if "type" in info.data and value is not None and not TYPES[info.data["type"]].is_number:
            raise wrong(f"a {info.data['type']} has no {info.field_name}", "remove it")
        return value

    @field_validator("scale")
    @classmethod
    def _scale_keeps_the_value(cls, scale: Decimal) -> Decimal:
        if scale == 0:
            raise wrong("scale 0 would make every value 0", "value = raw × scale + offset")
        return scale

    @field_validator("access")
    @classmethod
    def _only_some_tables_are_written(cls, access: str, info: ValidationInfo) -> str:
        if access != "ro" and info.data.get("table") in ("input", "discrete"):
            raise wrong(f"{info.data['table']} registers cannot be written", "write access: ro")
        return access

    @field_validator("not_implemented")
    @classmethod
    def _raws_fit_type(cls, raws: tuple[Decimal, ...], info: ValidationInfo) -> tuple[int | float, ...]:
        if "type" not in info.data:
            return ()
        name, type_ = info.data["type"], TYPES[info.data["type"]]
        if type_.kind == "float":
            for raw in raws:
                if name == "float16" and abs(raw) > MAX_FLOAT16:  # the others hold every number up to 1e30
                    raise wrong(f"{raw} is no raw value of float16", f"its largest is {MAX_FLOAT16}")
            return tuple(map(float, raws))
        lowest = -(1 << (type_.width - 1)) if type_.kind == "signed" else 0
        integers = []
        for raw in raws:
            if raw != int(raw) or not lowest <= raw < 1 << type_.width:
                raise wrong(
                    f"{raw} is no raw value of {name}", "give the whole number as it stands in the registers"
                )
            # Makers write the sentinel of an int16 as 0x8000 or as -32768; both are the same sixteen bits.
            wraps = type_.kind == "signed" and raw >= -lowest
            integers.append(int(raw) - (1 << type_.width) * wraps)
        return tuple(integers)

    @field_validator("states")
    @classmethod
    def _states_of_integers(
        cls, states: dict[int, str] | None, info: ValidationInfo
    ) -> dict[int, str] | None:
        if states is None or "type" not in info.data:
            return states
        type_ = TYPES[info.data["type"]]
        if not type_.is_integer:
            raise wrong(f"states are for integers, not {info.data['type']}")
        if info.data.get("scale", 1) != 1 or info.data.get("offset", 0) != 0:
            raise wrong("a value is either a state or a scaled number", "remove states, or scale and offset")
        bits = info.data.get("bits")
        half = 1 << (bits[1] - bits[0] if bits else type_.width - 1)
        low, high = (-half, half - 1) if type_.kind == "signed" else (0, 2 * half - 1)
        for raw in states:
            if not low <= raw <= high:
                raise wrong(f"state {raw} is no raw value here", f"its values are {low} to {high}")
        return states

    @model_validator(mode="after")
    def _ends_inside_the_table(self) -> "Point":
        if self.address + self.size > 0x10000:
            raise wrong(
                f"{self.size} registers from address {self.address} run past 65535", "check the address"
            )
        return self
