"""The register types: how wide each is, what it can hold, in which byte orders it may come."""

from dataclasses import dataclass
from typing import Final, Literal

TypeName = Literal[
    "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64", "bool", "string"
]  # fmt: skip
ByteOrder = Literal[
    "AB", "BA", "ABCD", "DCBA", "BADC", "CDAB", "ABCDEFGH", "HGFEDCBA", "BADCFEHG", "GHEFCDAB"
]

# A = most significant byte. Per width in bits, the plain order first.
BYTE_ORDERS: Final[dict[int, tuple[ByteOrder, ...]]] = {
    16: ("AB", "BA"),
    32: ("ABCD", "DCBA", "BADC", "CDAB"),
    64: ("ABCDEFGH", "HGFEDCBA", "BADCFEHG", "GHEFCDAB"),
}
SWAPPED_BYTES: Final = frozenset({"BA", "DCBA", "BADC", "HGFEDCBA", "BADCFEHG"})
SWAPPED_WORDS: Final = frozenset({"DCBA", "CDAB", "HGFEDCBA", "GHEFCDAB"})


Kind = Literal["signed", "unsigned", "float", "bool", "string"]


@dataclass(frozen=True)
class RegisterType:
    """What is fixed by a type's name."""

    kind: Kind
    width: int  # bits that byte_order arranges: 16 for bool and string, whose registers stand alone

    @property
    def is_integer(self) -> bool:
        """Signed or unsigned."""
        return self.kind in ("signed", "unsigned")

    @property
    def is_number(self) -> bool:
        """Integer or float: takes scale, offset, limits and not_implemented."""
        return self.is_integer or self.kind == "float"


TYPES: Final[dict[TypeName, RegisterType]] = {
    "int16": RegisterType("signed", 16),
    "uint16": RegisterType("unsigned", 16),
    "int32": RegisterType("signed", 32),
    "uint32": RegisterType("unsigned", 32),
    "int64": RegisterType("signed", 64),
    "uint64": RegisterType("unsigned", 64),
    "float16": RegisterType("float", 16),
    "float32": RegisterType("float", 32),
    "float64": RegisterType("float", 64),
    "bool": RegisterType("bool", 16),
    "string": RegisterType("string", 16),
}
