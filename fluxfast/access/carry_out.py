"""Carrying writes out: what the unit held before, what became of each one, what it holds now."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from fluxfast.access.cure import cure, failure
from fluxfast.access.read import Answer
from fluxfast.access.write import Write
from fluxfast.client import Client
from fluxfast.errors import FluxfastError, NoAnswerError, UncertainWriteError
from fluxfast.table import quality

LOOKS: Final = 3  # a unit may need a moment until it shows what it was told
LOOK_S: Final = 0.2
_ABSENT: Final = range(quality.TIMEOUT, quality.EXCEPTION)
Outcome = Literal["planned", "held", "differs", "unread", "written", "uncertain", "failed", "left out"]
Answers = Sequence[Answer | None]  # one for each point of a write; None: it cannot be read


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a write.

    ``held`` and ``differs`` were read back, ``unread`` could not be, ``written`` is only written by design;
    after ``uncertain`` too it says what was read.
    """

    write: Write
    before: Answers
    outcome: Outcome
    after: Answers
    error: FluxfastError | None = None


async def look(client: Client, write: Write, *, is_only_look: bool) -> Answers:
    """Return what a write will find.

    FluxfastError if the unit does not answer, unless to look is all; one that refuses may take the write.
    """
    reader = write.reader()
    if reader is None:
        return _unread(write)
    answers = await reader.read(client)
    if not is_only_look and all(answer.reading.code in _ABSENT for answer in answers):
        helps = cure(answers[0])
        raise NoAnswerError(f"{failure(answers[0])}; nothing was written{f' ({helps})' if helps else ''}")
    return answers


def planned(write: Write, before: Answers) -> Result:
    """Return the result of a write that is only looked at."""
    return Result(write, before, "planned", _unread(write))


async def carry_out(plans: Sequence[Result], timeout_s: float | None) -> AsyncIterator[Result]:
    """Yield what became of each planned write; after one that failed the others are left out.

    Each has a connection of its own: on one that the unit has just closed nobody knows what became of it.
    """
    has_failed = False
    for plan in plans:
        write = plan.write
        if has_failed:
            yield replace(plan, outcome="left out")
            continue
        async with write.unit.client(timeout_s) as client:
            try:
                await client.request(write.request, unit_id=write.unit.unit_id)
            except UncertainWriteError as error:
                has_failed = True
                _, answers = await _read_back(client, write)
                yield replace(plan, outcome="uncertain", after=answers, error=error)
            except FluxfastError as error:
                has_failed = True
                yield replace(plan, outcome="failed", error=error)
            else:
                outcome, answers = await _read_back(client, write)
                yield replace(plan, outcome=outcome, after=answers)


async def _read_back(client: Client, write: Write) -> tuple[Outcome, Answers]:
    reader = write.reader()
    if reader is None:
        return "written", _unread(write)
    answers = await reader.read(client)
    for _ in range(LOOKS - 1):
        if write.is_held(answers):
            break
        await asyncio.sleep(LOOK_S)
        answers = await reader.read(client)
    if not all(answer.was_read for answer in answers):
        return "unread", answers
    return "held" if write.is_held(answers) else "differs", answers


def _unread(write: Write) -> Answers:
    return [None] * len(write.points)
