"""modpoll's command line, as FieldTalk modpoll 3.x documents it: what it asks for, in our words.

Its references count from 1 unless -0 says otherwise, and its 32-bit values have the low word first unless -i
or -f says otherwise. Where it keeps silent about either, ours tells.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fluxfast.access.selection import Form, Selection, reference, select_addresses
from fluxfast.access.target import Unit, parse_endpoint
from fluxfast.access.write import Write, write_values
from fluxfast.constants import DEFAULT_PORT
from fluxfast.errors import LocalProtocolError
from fluxfast.plan.blocks import READ_FUNCTION
from fluxfast.values import Reading

_FLAGS: Final = "01ifeBhVRF"  # -B is mbpoll's: both of -i and -f
_VALUED: Final = "marctlopbds4P"  # b d s 4 P R F are those of serial lines: as in modpoll, taken and not used
_AMBIGUOUS: Final = ("-0", "-1", "-4", "-10")  # behind the host: options, or values
_TABLES: Final = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}
_TABLE_TEXT: Final = {
    "coil": "discrete output (coil)",
    "discrete": "discrete input",
    "input": "input register table",
    "holding": "output (holding) register table",
}
# suffix: type, which switch puts the high word first, the words of modpoll
_TYPES: Final = {
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
_TRANSPORTS: Final = ("rtu", "ascii", "enc", "udp")
_NEGATIVE: Final = re.compile(r"-(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)


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
        type_, switch, _ = _TYPES[self.suffix]
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
        single = self.count == 1
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
        number = reference(self.table, self.address)
        if self.counts_from_zero:
            return f"-0 -r {self.start} is PDU address {self.address}, reference {number}"
        text = f"-r {self.start} is PDU address {self.address}, reference {number}"
        if self.start > 0xFFFF:
            return text
        return f"{text}; PDU address {self.start} would be -0 -r {self.start}, or -r {self.start + 1}"

    @property
    def _is_big(self) -> bool:
        return self.big_floats if _TYPES[self.suffix][1] == "f" else self.big_integers

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
        words = _TYPES[self.suffix][2]
        if _TYPES[self.suffix][1]:
            option = f"-{_TYPES[self.suffix][1]}"
            words += f" ({option}: high word first)" if self._is_big else f" (low word first; {option} swaps)"
        return f"{words}, {_TABLE_TEXT[self.table]}"

    def _mod_words(self, text: str) -> tuple[str, str]:
        value = int(text) if re.fullmatch(r"[0-9]{1,8}", text, re.ASCII) else _MOD * _MOD
        if value >= _MOD * _MOD:
            raise LocalProtocolError(f"{text!r}: modulo 10000 holds 0 to {_MOD * _MOD - 1}")
        pair = (str(value // _MOD), str(value % _MOD))
        return pair if self._is_big else pair[::-1]


def parse(args: Sequence[str]) -> Command:
    """Return what a command line asks for; LocalProtocolError with a cure for what it cannot mean."""
    found, words = _scan(args)
    flags = {letter for letter, value in found if value is None}
    given = {letter: value for letter, value in found if value is not None}
    if flags & {"h", "V"}:
        return Command(wants="help" if "h" in flags else "version")
    if not words:
        raise LocalProtocolError("which host? It comes last: modpoll -m tcp -a 1 -r 2026 -c 1 192.168.1.100")
    _refuse_other_transports(given, words[0], flags)
    host, port = parse_endpoint(words[0])
    if "p" in given:
        port = _number(given["p"], "-p", 1, 65535, "a serial line's parity is not needed")
    table, suffix = _data_type(given.get("t", "4"))
    from_zero = "0" in flags
    in_bits = table in ("coil", "discrete")
    limit = 2000 if in_bits else 125
    command = Command(
        host=host,
        port=port,
        unit_id=_number(given.get("a", "1"), "-a", 0, 255),
        start=_number(given.get("r", "1"), "-r", 0 if from_zero else 1, 65535 if from_zero else 65536,
                      "without -0 it is one more" if from_zero else "PDU addresses are -0"),
        count=_number(given["c"], "-c", 1, limit) if "c" in given else None,
        table=table,
        suffix=suffix,
        counts_from_zero=from_zero,
        big_integers=bool(flags & {"i", "B"}),
        big_floats=bool(flags & {"f", "B"}),
        once="1" in flags,
        every_s=_number(given.get("l", "1000"), "-l", 10, 3_600_000) / 1e3,
        timeout_s=_seconds(given.get("o", "1.0")),
        values=tuple(_value(word) for word in words[1:]),
    )  # fmt: skip
    if command.values and command.count not in (None, len(command.values)):
        raise LocalProtocolError(
            f"-c {command.count}, and {len(command.values)} values to write (leave -c out, or -c 1 for one)"
        )
    return command


def _scan(args: Sequence[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Return options with their values, and the host with the values to write."""
    options: list[tuple[str, str | None]] = []
    words: list[str] = []
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if arg == "--":
            words += rest
            break
        if arg in ("--help", "--version"):
            options.append(("h" if arg == "--help" else "V", None))
        elif words and arg in _AMBIGUOUS:
            raise LocalProtocolError(
                f"{arg} after the host: is it the option or the value? (options go before the host, negative "
                f"values behind --, as in HOST -- {arg})"
            )
        elif not arg.startswith("-") or (words and _NEGATIVE.fullmatch(arg)):
            words.append(arg)
        else:
            options += _letters(arg, rest)
    return options, words


def _letters(arg: str, rest: list[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the options of ``-01``, ``-r2026`` or ``-r``, whose value is then taken from ``rest``."""
    letters = arg[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in _FLAGS:
            yield letter, None
        elif letter in _VALUED:
            if not letters and not rest:
                raise LocalProtocolError(f"-{letter} needs a value (-h tells which)")
            yield letter, letters or rest.pop(0)
            return
        else:
            raise LocalProtocolError(f"modpoll has no option -{letter} (-h lists them)")


def _refuse_other_transports(given: dict[str, str], where: str, flags: set[str]) -> None:
    mode = given.get("m", "rtu" if "/" in where or re.fullmatch(r"(?i)com[0-9]+", where) else "tcp").lower()
    if mode in _TRANSPORTS:
        raise LocalProtocolError(
            f"{'-m ' + mode if 'm' in given else where}: only Modbus TCP is spoken here (name a "
            "gateway's host; a serial line needs mbpoll)"
        )
    if mode != "tcp":
        raise LocalProtocolError(f"-m {mode} is no protocol (write -m tcp)")
    if "e" in flags:
        raise LocalProtocolError(
            "-e: Daniel/Enron registers of 32 bits are not read here (modpoll itself does)"
        )


def _data_type(text: str) -> tuple[str, str]:
    digit, _, suffix = text.partition(":")
    if digit not in _TABLES or suffix not in _TYPES or (suffix and digit in "01"):
        known = ", ".join(f"4:{name}" for name in _TYPES if name)
        raise LocalProtocolError(
            f"-t {text} is no data type (0 coils, 1 discrete inputs, 3 input, 4 holding; {known})"
        )
    return _TABLES[digit], suffix


def _number(text: str, option: str, least: int, most: int, hint: str = "") -> int:
    if not re.fullmatch(r"[0-9]{1,9}|0[xX][0-9A-Fa-f]{1,8}", text, re.ASCII):
        raise LocalProtocolError(
            f"{option} {text} is no number (write {least} to {most}){f'; {hint}' if hint else ''}"
        )
    number = int(text, 16) if text[:2] in ("0x", "0X") else int(text)
    if not least <= number <= most:
        raise LocalProtocolError(f"{option} {text} is not {least} to {most}{f' ({hint})' if hint else ''}")
    return number


def _seconds(text: str) -> float:
    seconds = (
        float(text)
        if re.fullmatch(r"[0-9]{0,3}(\.[0-9]{0,6})?", text, re.ASCII) and text not in ("", ".")
        else 0.0
    )
    if not 0.01 <= seconds <= 10:
        raise LocalProtocolError(f"-o {text} is not 0.01 to 10 seconds")
    return seconds


def _value(text: str) -> str:
    if re.fullmatch(r"-?0[0-9]+", text, re.ASCII):
        raise LocalProtocolError(
            f"{text!r}: modpoll takes it as octal (write {text.replace('0', '', 1)}, or 0x…)"
        )
    return text


def _wrapped(text: str, width: int) -> str:
    """Return the unsigned number that has the bits of a negative one."""
    size = int(text[1:]) if re.fullmatch(r"-[0-9]{1,20}", text, re.ASCII) else 0
    return str((1 << width) - size) if 0 < size <= 1 << width - 1 else text


def _not_finite(reading: Reading) -> str:
    """Return nan, inf or -inf, which a reading has no value for."""
    words = [reading.raw[at : at + 2] for at in range(0, len(reading.raw), 2)]
    data = b"".join(words[::-1] if reading.point.swap_words else words)
    return str(struct.unpack(">f" if len(data) == 4 else ">d", data)[0])
