"""What a modpoll command line asks for, in our words, and how modpoll shows it.

Its references count from 1 unless -0 says otherwise, and its 32-bit values have the low word first unless -i
or -f says otherwise. Where it keeps silent about either, ours tells.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fluxfast.access.selection import Form, Selection, select_addresses
from fluxfast.access.target import Unit
from fluxfast.access.write import Write, write_values
from fluxfast.constants import DEFAULT_PORT
from fluxfast.errors import LocalProtocolError
from fluxfast.plan.blocks import READ_FUNCTION
from fluxfast.profiles.point import one_based
from fluxfast.values import Reading

_TABLE_TEXT: Final = {
    "coil": "discrete output (coil)",
    "discrete": "discrete input",
    "input": "input register table",
    "holding": "output (holding) register table",
}
# suffix: type, which switch puts the high word first, the words of modpoll
TYPES: Final = {
    "": ("uint16", "", "16-bit register"),
    "hex": ("uint16", "", "16-bit register (hex)"),
    "int16": ("int16", "", "16-bit register (signed)"),
    "int": ("int32", "i", "32-bit integer"),
    "i32": ("int32", "i", "32-bit integer"),
    "i64": ("int64", "i", "64-bit integer"),
    "float": ("float32", "f", "32-bit float"),
    "f32": ("float32", "f", "32-bit float"),
    "f64": ("float64", "f", "64-bit float"),
    "mod": ("uint16", "i", "32-bit modulo 10000"),
}
_MOD: Final = 10_000


@dataclass(frozen=True)
class Command:
    """What a modpoll command line asks for."""

    host: str = ""
    port: int = DEFAULT_PORT
    unit_id: int = 1
    start: int = 1  # as -r has it
    count: int | None = None  # of values
    table: str = "holding"
    suffix: str = ""
    counts_from_zero: bool = False
    big_integers: bool = False
    big_floats: bool = False
    once: bool = False
    every_s: float = 1.0
    timeout_s: float = 1.0
    values: tuple[str, ...] = ()
    wants: str = ""  # help or version, instead of everything else

    @property
    def unit(self) -> Unit:
        """Who is asked."""
        return Unit(self.host, self.port, self.unit_id)

    @property
    def address(self) -> int:
        """The PDU address of the first value."""
        return self.start if self.counts_from_zero else self.start - 1

    @property
    def quantity(self) -> int:
        """How many values."""
        return len(self.values) or self.count or 1

    @property
    def form(self) -> Form:
        """How the registers are read, or written."""
        type_, switch, _ = TYPES[self.suffix]
        if self.table in ("coil", "discrete"):
            return Form(self.table)
        order = "big" if switch not in ("i", "f") or self._is_big else "word-swap"
        return Form(self.table, type_, order)

    @property
    def selection(self) -> Selection:
        """What is read."""
        registers = 2 * self.quantity if self.suffix == "mod" else self.quantity
        return select_addresses([f"{self.address}:{registers}"], self.form)

    @property
    def write(self) -> Write:
        """What is written; as modpoll has it, by function code 5 or 6 only with -c 1."""
        single = self.count == 1 and self.form.type in (None, "uint16", "int16") and self.suffix != "mod"
        function_code = {"coil": 5 if single else 15}.get(self.table, 6 if single else 16)
        form, values = self.form, self.values
        if self.suffix == "mod":
            values = tuple(word for text in values for word in self._mod_words(text))
        elif form.type in ("uint16", "int32", "int64"):  # -32768 to 65535, as modpoll has it
            unsigned = f"u{form.type.removeprefix('u')}"
            form = replace(form, type=unsigned)
            values = tuple(_wrapped(text, int(unsigned[-2:])) for text in values)
        return write_values(self.unit, self.address, values, form, function_code)

    def lines(self, readings: Sequence[Reading]) -> Iterator[str]:
        """Yield a line for each value as modpoll prints it: its reference and what it is."""
        if self.suffix == "mod":
            words = [int(reading.value or 0) for reading in readings]
            for at in range(0, len(words), 2):
                pair = words[at : at + 2] if self._is_big else words[at : at + 2][::-1]
                yield f"[{self.start + at}]: {pair[0] * _MOD + pair[1]}"
            return
        for reading in readings:
            yield f"[{reading.point.address - self.address + self.start}]: {self._shown(reading)}"

    def header(self) -> Iterator[str]:
        """Yield what is going to happen, and above all where."""
        code = self.write.function_code if self.values else READ_FUNCTION[self.table]
        yield f"Protocol configuration: MODBUS/TCP, FC{code:02d}"
        zero = " (PDU)" if self.counts_from_zero else ""
        yield (
            f"Slave configuration...: address = {self.unit_id}, start reference = {self.start}{zero}, "
            f"count = {self.quantity}"
        )
        yield f"Address used..........: {self.where}"
        yield (
            f"Communication.........: {self.host}, port {self.port}, t/o {self.timeout_s:.2f} s, "
            f"poll rate {1e3 * self.every_s:.0f} ms"
        )
        yield f"Data type.............: {self._type_text()}"

    @property
    def where(self) -> str:
        """Which address that is, and how the other one is reached that may have been meant."""
        number = one_based(self.table, self.address)
        if self.counts_from_zero:
            return f"-0 -r {self.start} is PDU address {self.address}, reference {number}"
        text = f"-r {self.start} is PDU address {self.address}, reference {number}"
        if self.start > 0xFFFF:
            return text
        return f"{text}; PDU address {self.start} would be -0 -r {self.start}, or -r {self.start + 1}"

    @property
    def _is_big(self) -> bool:
        return self.big_floats if TYPES[self.suffix][1] == "f" else self.big_integers

    def _shown(self, reading: Reading) -> str:
        if self.suffix == "hex":
            return f"0x{reading.raw.hex().upper()}"
        if isinstance(reading.value, bool):
            return str(int(reading.value))
        if reading.value is None:  # the one thing that has no value here is a float
            return _not_finite(reading)
        if reading.point.type == "uint16" and reading.value > 0x7FFF:  # type: ignore[operator]
            return f"{reading.value} ({int(reading.value) - 0x10000})"
        return str(reading.value)

    def _type_text(self) -> str:
        if self.table in ("coil", "discrete"):
            return _TABLE_TEXT[self.table]
        words = TYPES[self.suffix][2]
        if TYPES[self.suffix][1]:
            option = f"-{TYPES[self.suffix][1]}"
            words += f" ({option}: high word first)" if self._is_big else f" (low word first; {option} swaps)"
        return f"{words}, {_TABLE_TEXT[self.table]}"

    def _mod_words(self, text: str) -> tuple[str, str]:
        value = int(text) if re.fullmatch(r"[0-9]{1,8}", text, re.ASCII) else _MOD * _MOD
        if value >= _MOD * _MOD:
            raise LocalProtocolError(f"{text!r}: modulo 10000 holds 0 to {_MOD * _MOD - 1}")
        pair = (str(value // _MOD), str(value % _MOD))
        return pair if self._is_big else pair[::-1]


def _wrapped(text: str, width: int) -> str:
    """Return the unsigned number that has the bits of a negative one."""
    size = int(text[1:]) if re.fullmatch(r"-[0-9]{1,20}", text, re.ASCII) else 0
    return str((1 << width) - size) if 0 < size <= 1 << width - 1 else text


def _not_finite(reading: Reading) -> str:
    """Return nan, inf or -inf, which a reading has no value for."""
    words = [reading.raw[at : at + 2] for at in range(0, len(reading.raw), 2)]
    data = b"".join(words[::-1] if reading.point.swap_words else words)
    return str(struct.unpack(">f" if len(data) == 4 else ">d", data)[0])
