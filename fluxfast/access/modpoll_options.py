"""modpoll's options, as FieldTalk modpoll 3.x documents them; what is ambiguous is refused, never guessed."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from fluxfast.access.modpoll import TYPES, Command
from fluxfast.access.target import parse_endpoint
from fluxfast.errors import LocalProtocolError

_FLAGS: Final = "01ifeBhVRF"  # -B is mbpoll's: both of -i and -f
_VALUED: Final = "marctlopbds4P"  # b d s 4 P R F are those of serial lines: as in modpoll, taken and not used
_AMBIGUOUS: Final = ("-0", "-1", "-4", "-10")  # behind the host: options, or values to write
_TABLES: Final = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}
_TRANSPORTS: Final = ("rtu", "ascii", "enc", "udp")
_NEGATIVE: Final = re.compile(r"-(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)


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
    behind: list[str] = []
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if arg == "--":
            words += rest
            break
        if arg in ("--help", "--version"):
            options.append(("h" if arg == "--help" else "V", None))
        elif words and arg in _AMBIGUOUS:
            behind.append(arg)
        elif not arg.startswith("-") or (words and _NEGATIVE.fullmatch(arg)):
            words.append(arg)
        else:
            options += _letters(arg, rest)
    if behind and (len(words) > 1 or not {"-0", "-1"}.issuperset(behind)):
        raise LocalProtocolError(
            f"{behind[0]} after the host: is it the option or the value? (options go before the host, "
            f"negative values behind --, as in HOST -- {behind[0]})"
        )
    options += [(arg[1], None) for arg in behind]  # nothing is written: as getopt takes them
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
    if digit not in _TABLES or suffix not in TYPES or (suffix and digit in "01"):
        known = ", ".join(f"4:{name}" for name in TYPES if name)
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
    is_number = re.fullmatch(r"[0-9]{1,3}(\.[0-9]{0,6})?|\.[0-9]{1,6}", text, re.ASCII)
    seconds = float(text) if is_number else 0.0
    if not 0.01 <= seconds <= 10:
        raise LocalProtocolError(f"-o {text} is not 0.01 to 10 seconds")
    return seconds


def _value(text: str) -> str:
    if re.fullmatch(r"-?0[0-9]+", text, re.ASCII):
        raise LocalProtocolError(
            f"{text!r}: modpoll takes it as octal (write {text.replace('0', '', 1)}, or 0x…)"
        )
    return text
