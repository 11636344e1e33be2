"""What pauses a device needs: after connecting, between an answer and the next request.

Asked when requests were lost that worked once they were repeated. Each guess is tried several times on new
connections, so that chance is not taken for a need.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fluxfast import modbus
from fluxfast.doctor.line import BUSY, Answer, Kind, Session

GAPS_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
DELAYS_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
TRIALS: Final = 4
PACED: Final = 6  # requests that must all be answered at a pause
CLOSES_WITHIN_S: Final = 0.3

Ask = Callable[[], Awaitable[bool]]


@dataclass(slots=True)
class Pauses:
    """What was found out."""

    closes: bool = False
    gap_s: float | None = None
    delay_s: float | None = None
    busy: bool = False
    lost: tuple[int, int] | None = None


async def find_pauses(
    session: Session, request: modbus.Request, unit_id: int, within_s: float
) -> Pauses | None:
    """Return what pauses are needed, or None if all goes well now.

    What was found is left in the session, so that it gets on with the device.
    """
    found = Pauses()
    unanswered = asked = 0

    async def ask() -> bool:
        nonlocal unanswered, asked
        answer = await session.ask(request, unit_id, within_s)
        found.busy |= is_busy(answer)
        asked += 1
        unanswered += not answer.came
        return answer.kind == Kind.DATA or (answer.is_heard and not is_busy(answer))

    session.renew()
    if await _closes(session, ask):
        found.closes = True
        return found
    firsts, seconds = 0, 0
    for _ in range(TRIALS):
        session.renew()
        first = await ask()
        firsts += first
        seconds += first and await ask()
    if firsts == seconds == TRIALS:
        for _ in range(2 * PACED):
            await ask()
        found.lost = (unanswered, asked) if unanswered else None
        return found if unanswered else None
    if firsts and seconds == 0:  # by chance? then not four times more
        for _ in range(TRIALS):
            session.renew()
            seconds += await ask() and await ask()
    if firsts == 0:
        for found.delay_s in DELAYS_S:
            session.delay_s = found.delay_s
            if await _all(session, ask, TRIALS, renew=True):
                break
        else:
            found.delay_s = None
            found.lost = (unanswered, asked) if unanswered else None
            return found
        session.renew()
        await ask()
        seconds = await ask()
        if seconds:
            return found
    if seconds == 0:
        for found.gap_s in GAPS_S:
            session.gap_s = found.gap_s
            session.renew()
            if await _all(session, ask, PACED, renew=False):
                return found
        found.gap_s = None
    for _ in range(2 * PACED):
        await ask()
    found.lost = (unanswered, asked) if unanswered else None
    return found


def is_busy(answer: Answer) -> bool:
    """Whether the unit says that it has no time (exceptions 5 and 6)."""
    return answer.kind == Kind.EXCEPTION and answer.code in BUSY


async def _closes(session: Session, ask: Ask) -> bool:
    for _ in range(2):
        if not await ask() or not await session.listen(CLOSES_WITHIN_S):
            return False
    return True


async def _all(session: Session, ask: Ask, times: int, *, renew: bool) -> bool:
    for _ in range(times):
        if renew:
            session.renew()
        if not await ask():
            return False
    return True
