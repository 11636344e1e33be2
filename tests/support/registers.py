"""What a foreign server holds and what fluxfast must make of it, without fluxfast's decoder."""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UNITS = {"powerpack": 1, "acuvim2": 2, "acuvim2_vendor": 3, "oddities": 4}
VENDOR_FLOATS = 36  # 0x4000 to 0x4046, then nine energies of 32 bits
VENDOR_SIGNED = {5, 7}  # of the energies: the net ones


def words(format_: str, value: Any, order: str = "") -> list[int]:
    """Return a value's registers as they travel; in ``order``, A is the value's most significant byte."""
    plain = struct.pack(">" + format_, value)
    wire = bytes(plain["ABCDEFGH".index(letter)] for letter in order) if order else plain
    return list(struct.unpack(f">{len(wire) // 2}H", wire))


@dataclass
class Held:
    """The registers and bits of one server, and the values that they stand for, by profile."""

    registers: dict[tuple[str, str, int], int] = field(default_factory=dict)  # (profile, table, address)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)

    def put(self, profile: str, table: str, address: int, content: list[int], **values: Any) -> None:
        for offset, word in enumerate(content):
            self.registers[profile, table, address + offset] = word
        self.values.setdefault(profile, {}).update(values)

    def write_to(self, path: Path) -> None:
        """Write ``unit table address value`` lines, which the servers in this folder read."""
        lines = [
            f"{UNITS[p]} {table[0]} {address} {word}" for (p, table, address), word in self.registers.items()
        ]
        path.write_text("\n".join(lines) + "\n")


def held_by(number: int) -> Held:
    """Return what server ``number`` holds; no two hold the same."""
    held = Held()
    _powerpack(held, number)
    _acuvim2(held, number)
    _vendor(held, number)
    _oddities(held, number)
    return held


def _powerpack(held: Held, n: int) -> None:
    for address, content, values in (
        (2000, [1], {"status": "READY"}),
        (2008, [(-50 - n) & 0xFFFF], {"target_power": -50 - n}),
        (2010, [7 + n], {"command_source": str(7 + n)}),  # a code that has no name
        (2026, [40 + n], {"soe": 40 + n}),
        (2028, [n], {"available_blocks": n}),
    ):
        held.put("powerpack", "holding", address, content, **values)


def _acuvim2(held: Held, n: int) -> None:
    for address, raw, value, name in (
        (0x0000, 230.25 + n, 230.25 + n, "voltage_l1_n"),
        (0x0010, -17.5 - n, -17.5 - n, "current_l1"),
        (0x0040, 481.5 + n, 481_500.0 + 1000 * n, "power_total"),
        (0x0100, 16_777_214.0 - n, 16_777_214.0 - n, "energy_import"),
    ):
        held.put("acuvim2", "holding", address, words("f", raw), **{name: value})


def _vendor(held: Held, n: int) -> None:
    """The vendor's names are not repeated here: values are kept by position, ``0`` to ``44``."""
    for index in range(VENDOR_FLOATS):
        value = (index + 1) * 0.125 * (-1) ** index + n
        held.put("acuvim2_vendor", "holding", 0x4000 + 2 * index, words("f", value), **{str(index): value})
    for index in range(9):
        signed = index in VENDOR_SIGNED
        raw = -123_456 - n - index if signed else 4_000_000_000 + 10 * n + index
        held.put(
            "acuvim2_vendor",
            "holding",
            0x4048 + 2 * index,
            words("i" if signed else "I", raw),
            **{str(VENDOR_FLOATS + index): raw / 10},
        )


# name, table, address, format of struct, type, byte order
NUMBERS = (
    ("i32_plain", "input", 100, "i", "int32", "ABCD"),
    ("i32_word_swap", "input", 102, "i", "int32", "CDAB"),
    ("u32_byte_swap", "input", 104, "I", "uint32", "BADC"),
    ("u32_little", "input", 106, "I", "uint32", "DCBA"),
    ("i64_plain", "input", 110, "q", "int64", "ABCDEFGH"),
    ("i64_byte_swap", "input", 114, "q", "int64", "BADCFEHG"),
    ("u64_word_swap", "input", 118, "Q", "uint64", "GHEFCDAB"),
    ("u64_little", "input", 122, "Q", "uint64", "HGFEDCBA"),
    ("f64_plain", "input", 126, "d", "float64", "ABCDEFGH"),
    ("f64_word_swap", "input", 130, "d", "float64", "GHEFCDAB"),
    ("f32_word_swap", "input", 134, "f", "float32", "CDAB"),
    ("i16_byte_swap", "input", 136, "h", "int16", "BA"),
    ("f16", "holding", 5000, "e", "float16", "AB"),
    ("f64_little", "holding", 5001, "d", "float64", "HGFEDCBA"),
    ("i32_little", "holding", 5300, "i", "int32", "DCBA"),
)
VALUES = {
    "h": -12_345, "i": -2_000_000_000, "I": 4_123_456_789,
    "q": -9_007_199_254_740_995, "Q": 18_446_744_073_709_551_000,
    "e": -1.5, "f": 1234.5, "d": -0.1,
}  # fmt: skip
ODDITIES = """\
name: oddities
quirks: {max_gap: 8}
points:
  text: {register: holding, address: 5010, type: string, length: 5}
  text_swapped: {register: input, address: 140, type: string, length: 4, byte_order: BA}
  flag: {register: holding, address: 5020, type: bool, bit: 13}
  no_flag: {register: holding, address: 5020, type: bool, bit: 12}
  field: {register: holding, address: 5020, type: uint16, bits: [4, 7]}
  wide_field: {register: holding, address: 5022, type: uint32, bits: [12, 23]}
  tenths: {register: holding, address: 5024, type: int16, scale: 0.1, offset: -40, unit: °C}
  mode: {register: holding, address: 5025, type: uint16, states: {0: OFF, 3: ISLAND}}
  coil_first: {register: coil, address: 3, type: bool}
  coil_unset: {register: coil, address: 4, type: bool}
  coil_ninth: {register: coil, address: 11, type: bool}
  coil_far: {register: coil, address: 40, type: bool}
  discrete_first: {register: discrete, address: 0, type: bool}
  discrete_later: {register: discrete, address: 17, type: bool}
"""


def oddities_profile() -> str:
    """Return a user's own profile: every table, width and byte order that the built-in ones do not use."""
    return ODDITIES + "".join(
        f"  {name}: {{register: {table}, address: {address}, type: {type_}, byte_order: {order}}}\n"
        for name, table, address, _, type_, order in NUMBERS
    )


def _oddities(held: Held, n: int) -> None:
    def put(table: str, address: int, content: list[int], **values: Any) -> None:
        held.put("oddities", table, address, content, **values)

    for name, table, address, format_, _, order in NUMBERS:
        value = VALUES[format_] + n
        put(table, address, words(format_, value, order), **{name: value})
    put("holding", 5010, words("10s", b"flux-%d" % n), text=f"flux-{n}")
    put("input", 140, words("8s", b"lfxuf-sa"), text_swapped="flux-fas")
    put("holding", 5020, [0x2050 + (n << 4)], flag=True, no_flag=False, field=5 + n)
    put("holding", 5022, words("I", 0xFFABC123 + (n << 12)), wide_field=0xABC + n)
    put("holding", 5024, words("h", -55 - n), tenths=(-55 - n - 400) / 10)
    put("holding", 5025, [3], mode="ISLAND")
    for address, bit, name in (
        (3, 1, "coil_first"), (4, 0, "coil_unset"), (11, 1, "coil_ninth"), (40, n % 2, "coil_far"),
    ):  # fmt: skip
        put("coil", address, [bit], **{name: bool(bit)})
    put("discrete", 0, [n % 2], discrete_first=n % 2 == 1)
    put("discrete", 17, [1], discrete_later=True)
