"""How many requests at once a device stands, and what that gains.

Reads of different lengths go out in one segment, 2, 4, 8 and 16 of them. All must come back, each with its
own length and identifier. A depth that fails is tried once more on a new connection.
"""

import time
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Final

from fluxfast import modbus
from fluxfast.doctor.line import Answer, Kind, Session
from fluxfast.doctor.observed import DepthSeen

DEPTHS: Final = (2, 4, 8, 16)
SINGLES: Final = 2
LONGEST_S: Final = 3.0  # one depth takes no longer than this


async def find_depth(
    session: Session, reads: Sequence[modbus.Request], unit_id: int, within_s: float
) -> DepthSeen:
    """Return the safe depth; ``reads`` have each been answered alone."""
    seen = DepthSeen()
    began_s = time.perf_counter()
    for request in islice(cycle(reads), SINGLES):  # now: how busy we are ourselves counts on both sides
        await session.ask(request, unit_id, within_s)
    single_s = (time.perf_counter() - began_s) / SINGLES
    for depth in DEPTHS:
        if depth * single_s > LONGEST_S:
            break
        seen.tried = depth
        for _ in range(2):
            requests = list(islice(cycle(reads), depth))
            began_s = time.perf_counter()
            answers = await session.ask_at_once(requests, unit_id, within_s + depth * single_s)
            took_s = time.perf_counter() - began_s
            seen.trouble = _trouble(answers)
            if not seen.trouble:
                break
            session.renew()
        if seen.trouble:
            return seen
        seen.safe, seen.gain = depth, depth * single_s / took_s
    return seen


def _trouble(answers: list[Answer]) -> str:
    bad = [answer for answer in answers if answer.kind != Kind.DATA]
    if not bad:
        return ""
    counts = {kind: sum(answer.kind == kind for answer in bad) for kind in Kind}
    words = {
        Kind.EXCEPTION: f"answered with exception {bad[0].code}",
        Kind.SILENT: "not answered",
        Kind.CLOSED: "lost, as it closed the connection",
        Kind.FOREIGN: "lost, as its answers fell apart",
        Kind.MALFORMED: "answered with what another one asked for",
    }
    return ", ".join(f"{count} are {words[kind]}" for kind, count in counts.items() if count)
