"""Carrying writes out: what the unit held before, what became of each one, what it holds now."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fluxfast.access.read import Answer
from fluxfast.access.write import Write
from fluxfast.client import Client
from fluxfast.errors import FluxfastError, NoAnswerError
from fluxfast.table import quality

LOOKS: Final = 3  # a unit may need a moment until it shows what it was told
LOOK_S: Final = 0.2
_ABSENT: Final = range(quality.TIMEOUT, quality.EXCEPTION)
Outcome = Literal["planned", "held", "written", "differs", "failed", "left out"]
Answers = Sequence[Answer | None]  # one for each point of a write; None: it cannot be read


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a write: ``held`` and ``differs`` say what was read back, ``written`` that it cannot be."""

    write: Write
    before: Answers
    outcome: Outcome
    after: Answers
    error: FluxfastError | None = None


async def look(client: Client, write: Write, *, is_only_look: bool) -> Answers:
    """Return what a write will find.

    Unless that is all, FluxfastError if the unit does not answer; one that refuses the read may take the write.
    """
    reader = write.reader()
    if reader is None:
        return _unread(write)
    answers = await reader.read(client)
    if not is_only_look and all(answer.reading.code in _ABSENT for answer in answers):
        raise NoAnswerError(f"{write.unit.name}: {answers[0].reason}; nothing was written")
    return answers


def planned(write: Write, before: Answers) -> Result:
    """Return the result of a write that is only looked at."""
    return Result(write, before, "planned", _unread(write))


async def carry_out(
    client: Client, writes: Sequence[Write], before: Sequence[Answers]
) -> AsyncIterator[Result]:
    """Yield what became of each write; after one that failed the others are left out."""
    error: FluxfastError | None = None
    for write, old in zip(writes, before, strict=True):
        if error is not None:
            yield Result(write, old, "left out", _unread(write))
            continue
        try:
            await client.request(write.request, unit_id=write.unit.unit_id)
        except FluxfastError as failure:
            error = failure
            yield Result(write, old, "failed", _unread(write), error)
        else:
            yield await _read_back(client, write, old)


async def _read_back(client: Client, write: Write, before: Answers) -> Result:
    reader = write.reader()
    if reader is None:
        return Result(write, before, "written", _unread(write))
    answers = await reader.read(client)
    for _ in range(LOOKS - 1):
        if write.is_held(answers):
            break
        await asyncio.sleep(LOOK_S)
        answers = await reader.read(client)
    return Result(write, before, "held" if write.is_held(answers) else "differs", answers)


def _unread(write: Write) -> Answers:
    return [None] * len(write.points)
