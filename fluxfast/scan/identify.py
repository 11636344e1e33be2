"""What a unit that answers is: one question after another, from safe to intrusive, until it is known."""

from collections.abc import Callable, Sequence
from typing import Final, cast

from fluxfast.modbus import DeviceIdentification
from fluxfast.scan.exchange import Kind, Reply
from fluxfast.scan.prober import Talk
from fluxfast.scan.questions import (
    HOLDING,
    IDENTIFICATION,
    INPUT,
    MARKERS,
    SERVER_ID,
    SUNS,
    SUNSPEC_BASES,
    Question,
    Step,
    identification,
    registers,
)
from fluxfast.scan.recognition import Candidate, named
from fluxfast.scan.result import SunSpec, Unit, shown

MAX_ROUNDS: Final = 16  # parts of an identification
MAX_MODELS: Final = 64
END_MODEL: Final = 0xFFFF
COMMON_MODEL: Final = 1
COMMON_SIZE: Final = 64  # registers of it up to the serial number
_COMMON: Final = {"manufacturer": (0, 16), "model": (16, 32), "version": (40, 48), "serial_number": (48, 64)}

Ask = Callable[[Question], Talk[Reply]]


class EnoughError(Exception):
    """A unit is to be left alone: it does not answer any more."""


def get_to_know(unit: Unit, ask: Ask, max_step: Step, profiles: Sequence[Candidate]) -> Talk[None]:
    """Ask until it is known what a unit is, as far as ``max_step``, or until ``ask`` raises EnoughError."""
    try:
        yield from _ask_on(unit, ask, max_step, profiles)
    except EnoughError:
        meant = named(unit, profiles)
        if len(meant) == 1:
            unit.guesses = [meant[0].guess(True, "says so")]


def _ask_on(unit: Unit, ask: Ask, max_step: Step, profiles: Sequence[Candidate]) -> Talk[None]:
    if max_step >= Step.IDENTIFICATION:
        yield from _identify(unit, ask)
    if not unit.says and max_step >= Step.SERVER_ID:
        yield from _ask_server_id(unit, ask)
    meant = named(unit, profiles)
    if len(meant) == 1:
        unit.guesses = [meant[0].guess(True, "says so")]
        return
    if max_step >= Step.SUNSPEC:
        yield from _find_sunspec(unit, ask)
        if unit.sunspec is not None:
            unit.guesses = [one.guess(True, "says so") for one in named(unit, profiles)]
            return
    if not unit.has_data and max_step >= Step.REGISTER:
        for question in (HOLDING, INPUT):
            if (yield from ask(question)).kind is Kind.ANSWER:
                break
    if max_step >= Step.PROFILE:
        # Several that the unit might mean are told apart by their registers.
        yield from _compare(unit, ask, meant or profiles)
        if meant and not unit.guesses:
            unit.guesses = [one.guess(False, "says so, or means its like") for one in meant]


# ---- FC43/14, FC17 ----


def _identify(unit: Unit, ask: Ask) -> Talk[None]:
    reply = yield from ask(IDENTIFICATION)
    if reply.kind is not Kind.ANSWER:
        return
    first = yield from _read_on(unit, ask, IDENTIFICATION, 1)
    level = first.conformity_level & 0x7F
    if level > 1:  # it has more than the basic objects
        yield from _read_on(unit, ask, identification(level, 3), level)


def _read_on(unit: Unit, ask: Ask, question: Question, code: int) -> Talk[DeviceIdentification]:
    """Read a stream of objects to its end; return its first part, empty if there is none."""
    first = None
    for _ in range(MAX_ROUNDS):
        reply = yield from ask(question)
        if reply.kind is not Kind.ANSWER:
            break
        part = cast(DeviceIdentification, reply.value)
        first = first or part
        unit.identification.update(part.objects)
        if part.next_object_id is None:
            break
        question = identification(code, part.next_object_id)
    return first or DeviceIdentification(1, {})


def _ask_server_id(unit: Unit, ask: Ask) -> Talk[None]:
    reply = yield from ask(SERVER_ID)
    if reply.kind is Kind.ANSWER:
        unit.server_id = cast(bytes, reply.value)


# ---- SunSpec ----


def _find_sunspec(unit: Unit, ask: Ask) -> Talk[None]:
    for base, marker in zip(SUNSPEC_BASES, MARKERS, strict=True):
        reply = yield from ask(marker)
        if reply.kind is Kind.ANSWER and reply.value == SUNS:
            unit.sunspec = yield from _read_models(ask, base)
            return


def _read_models(ask: Ask, base: int) -> Talk[SunSpec]:
    """Walk along the models' headers, and read the common one."""
    models: list[int] = []
    common = dict.fromkeys(_COMMON, "")
    address = base + 2
    while len(models) < MAX_MODELS and address + 2 <= 0x10000:
        header = yield from _read(ask, address, 2)
        if header is None or header[0] == END_MODEL:
            break
        model, size = header
        models.append(model)
        if model == COMMON_MODEL and size >= COMMON_SIZE and address + 2 + COMMON_SIZE <= 0x10000:
            words = yield from _read(ask, address + 2, COMMON_SIZE)
            for key, (first, end) in _COMMON.items():
                common[key] = _text((words or ())[first:end])
        address += 2 + size
    return SunSpec(base, models=tuple(models), **common)


def _read(ask: Ask, address: int, quantity: int) -> Talk[tuple[int, ...] | None]:
    reply = yield from ask(registers(Step.SUNSPEC, 3, address, quantity))
    return cast(tuple[int, ...], reply.value) if reply.kind is Kind.ANSWER else None


def _text(words: Sequence[int]) -> str:
    return shown(b"".join(word.to_bytes(2, "big") for word in words).partition(b"\0")[0])


# ---- profiles ----


def _compare(unit: Unit, ask: Ask, profiles: Sequence[Candidate]) -> Talk[None]:
    for candidate in profiles:
        answers: list[bytes] = []
        for question in candidate.questions:
            reply = yield from ask(question)
            if reply.kind is not Kind.ANSWER:
                break
            answers.append(cast(bytes, reply.value))
        if answers and len(answers) == len(candidate.questions):
            because = candidate.fits(answers)
            if because is not None:
                unit.guesses.append(candidate.guess(False, because))
