"""One host and port from the first connect to the verdict: whom to ask what, and what that shows.

A generator that yields ``Connect`` and ``Ask`` (prober.py) and returns a ``Result``. Modbus is proved by an
answer that the specification allows to the very question, exceptions included, and by nothing else. A peer
that closes, or answers with something else, is connected to again, after a pause, for the next question.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

from fluxfast.constants import ExceptionCode
from fluxfast.modbus import framing_hint
from fluxfast.scan.exchange import Kind, Reply
from fluxfast.scan.identify import EnoughError, get_to_know
from fluxfast.scan.prober import Ask, Connect, Opened, Talk
from fluxfast.scan.questions import HOLDING, IDENTIFICATION, INPUT, MARKERS, RTU, SERVER_ID, Question, Step
from fluxfast.scan.recognition import Candidate
from fluxfast.scan.result import Result, Unit, Verdict
from fluxfast.scan.targets import Target

DEFAULT_UNITS: Final = (1, 255, 0)
ALL_UNITS: Final = range(1, 248)
# Asked first where one unit answers and others are denied: most of these are no gateways, but particular.
LIKELY_UNITS: Final = (*range(1, 33), 50, 100, 101, 110, 126, 150, 200, 201, *range(240, 248))
ANY_UNIT: Final = 255  # that no serial line has: asks whether the unit identifier matters
REOPEN_PAUSES_S: Final = (0.1, 0.5, 1.0)
LISTEN_S: Final = 0.1  # whether a peer that has never answered closes by itself
MAX_PATIENCE_S: Final = 5.0  # for a gateway that waits long for its units
MAX_GARBAGE: Final = 3
MAX_BAD: Final = 3  # questions to one unit without an answer, in a row
UNIT_TIMEOUTS: Final = 20  # so many times its patience are spent on one unit
UNLIKELY_UNITS: Final = 32  # more on one line, and all alike: one device, whatever the unit
_FIRST: Final = (IDENTIFICATION, SERVER_ID, MARKERS[0], HOLDING, INPUT)
_OTHERS: Final = (IDENTIFICATION, HOLDING)
_AWAY: Final = (
    ExceptionCode.GATEWAY_PATH_UNAVAILABLE,
    ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND,
)


@dataclass(frozen=True)
class Options:
    """How a scan asks."""

    timeout_s: float = 0.5
    units: tuple[int, ...] | None = None  # none: 1, 255, 0, and all of a gateway
    max_step: Step = Step.PROFILE
    gateway_budget_s: float = 30.0  # 0: no sweep
    profiles: Sequence[Candidate] = ()


def silence_s(options: Options) -> float:
    """Return how long it takes to be sure that an open port is silent."""
    units = options.units or DEFAULT_UNITS
    questions = len(_FIRST) + len(units) - 1 + 1  # of the others one each, and the one in RTU
    return options.timeout_s * questions


class _OverError(Exception):
    """There is nothing more to ask: the peer is gone, or is no Modbus."""


class Examination:
    """Everything that is asked at one host and port."""

    def __init__(
        self, target: Target, port: int, options: Options, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Ask nothing yet."""
        self._target = target
        self._port = port
        self._options = options
        self._clock = clock
        self._devices = target.devices.get(port, ())
        self._is_up = False
        self._answered_here = False  # on this connection
        self._patience_s = options.timeout_s
        self._replies: dict[tuple[int, bytes], Reply] = {}
        self._units: dict[int, Unit] = {}
        self._away: set[int] = set()  # units of which a gateway says that they do not answer
        self._disliked: set[Step] = set()  # steps that end the connection
        self._strange: list[Reply] = []  # neither answers nor silence
        self._is_busy = False
        self._any_unit = False
        self._swept = ""

    def run(self) -> Talk[Result]:
        """Connect, ask, and return the verdict."""
        opened = yield Connect(self._target.ip, self._port)
        if opened in (Opened.CLOSED, Opened.UNREACHABLE):
            return self._result(Verdict.CLOSED if opened is Opened.CLOSED else Verdict.UNREACHABLE)
        self._is_up = opened is Opened.UP
        if self._options.max_step is Step.CONNECT:
            return self._result(Verdict.OPEN, "connected, nothing asked")
        with suppress(_OverError):
            yield from self._examine()
        return self._result(*self._judge())

    # ---- whom to ask ----

    def _examine(self) -> Talk[None]:
        configured = tuple(dict.fromkeys(device.modbus.unit for device in self._devices))
        given = self._options.units
        yield from self._look_for(given or configured or DEFAULT_UNITS, all_of_them=bool(given or configured))
        if not self._replies_are(Kind.ANSWER, Kind.EXCEPTION, Kind.WRONG, Kind.GARBAGE):
            if self._options.max_step >= Step.REGISTER and self._is_up:
                yield from self._ask(1, RTU)
            return
        if given:
            self._any_unit = self._are_all_alike(given)
        else:
            yield from self._ask_any_unit()
        if self._any_unit:
            self._units = dict([min(self._units.items())])
        until_s = self._clock() + self._options.gateway_budget_s
        known = list(self._units)
        for unit in known:
            yield from self._get_to_know(unit, self._clock() + UNIT_TIMEOUTS * self._patience_s)
        if self._away and not given and self._options.gateway_budget_s:
            yield from self._sweep(until_s)
            for unit in [unit for unit in self._units if unit not in known]:
                yield from self._get_to_know(unit, until_s)

    def _look_for(self, units: Sequence[int], all_of_them: bool) -> Talk[None]:
        """Find out which units answer: the first one is asked everything, the others what is most telling."""
        for question in self._allowed(_FIRST):
            if not self._is_known(units[0]):
                yield from self._ask(units[0], question)
        others = self._allowed(_OTHERS)
        if not self._units and not self._away:
            others = others[-1:]  # silence costs time; a read is what a unit answers if it answers anything
        for question in others:
            for unit in units[1:]:
                if self._units and not all_of_them:
                    return
                if not self._is_known(unit) and question.step not in self._disliked:
                    yield from self._ask(unit, question)

    def _ask_any_unit(self) -> Talk[None]:
        """Ask a unit that is hardly there what one has answered: a gateway denies it, many devices answer."""
        if not self._units or ANY_UNIT in self._units or self._away:
            return
        unit = next(iter(self._units))
        told = self._told(unit)
        reply = yield from self._ask(ANY_UNIT, told.question)
        # Two reads of a register may differ: only what a device says of itself tells two of them apart.
        says = told.question.step in (Step.IDENTIFICATION, Step.SERVER_ID) and told.kind is Kind.ANSWER
        if ANY_UNIT in self._units and (reply.kind is told.kind and (not says or reply.value == told.value)):
            self._any_unit = True

    def _sweep(self, until_s: float) -> Talk[None]:
        """Ask the units of a gateway while there is time."""
        known = len(self._units)
        if known:
            yield from self._ask_all(LIKELY_UNITS, until_s)
            if len(self._units) == known:
                self._swept = "denies other units; the likely ones were asked (all: --units 1-247)"
                return
        in_time = yield from self._ask_all(ALL_UNITS, until_s)
        asked = len({unit for unit, _ in self._replies} & set(ALL_UNITS))
        self._swept = f"{asked} of {len(ALL_UNITS)} units asked"
        if not in_time:
            self._swept += f" in {self._options.gateway_budget_s:g} s (more: --gateway-budget)"

    def _ask_all(self, units: Iterable[int], until_s: float) -> Talk[bool]:
        """Ask units that are not known yet; whether the time was enough."""
        for question in self._allowed(_OTHERS):
            for unit in units:
                if self._clock() >= until_s:
                    return False
                if not self._is_known(unit) and question.step not in self._disliked:
                    yield from self._ask(unit, question)
        return True

    def _get_to_know(self, unit: int, until_s: float) -> Talk[None]:
        """Ask a unit what it is; what it has answered before costs no time."""
        bad = 0

        def ask(question: Question) -> Talk[Reply]:
            nonlocal bad
            if reply := self._replies.get((unit, question.pdu)):
                return reply
            if self._clock() >= until_s:
                raise EnoughError
            reply = yield from self._ask(unit, question)
            bad = 0 if reply.kind in (Kind.ANSWER, Kind.EXCEPTION) else bad + 1
            if bad == MAX_BAD or (reply.kind is Kind.EXCEPTION and reply.value in _AWAY):
                raise EnoughError
            return reply

        yield from get_to_know(self._units[unit], ask, self._options.max_step, self._options.profiles)

    def _allowed(self, questions: Iterable[Question]) -> list[Question]:
        return [question for question in questions if question.step <= self._options.max_step]

    def _is_known(self, unit: int) -> bool:
        return unit in self._units or unit in self._away

    def _told(self, unit: int) -> Reply:
        """Return what a unit has answered first; data before exceptions."""
        replies = [reply for reply in self._replies.values() if reply.unit == unit]
        return min(replies, key=lambda reply: (Kind.ANSWER, Kind.EXCEPTION).index(reply.kind)
                   if reply.kind in (Kind.ANSWER, Kind.EXCEPTION) else 2)  # fmt: skip

    def _are_all_alike(self, units: Sequence[int]) -> bool:
        if len(units) <= UNLIKELY_UNITS or len(self._units) < len(units):
            return False
        told = [self._told(unit) for unit in units]
        return len({(reply.question.pdu, reply.kind, str(reply.value)) for reply in told}) == 1

    # ---- asking ----

    def _ask(self, unit: int, question: Question) -> Talk[Reply]:
        """Ask a unit; a connection that has ended after it answered is opened again for this."""
        while True:
            if not self._is_up:
                yield from self._reopen()
            replies = cast(list[Reply], (yield Ask(unit, question, self._patience_s)))
            for late in replies[:-1]:
                self._be_patient(late)
                self._note(late)
            reply = replies[-1]
            self._is_up = reply.kind not in (Kind.LOST, Kind.GARBAGE)
            if reply.kind is not Kind.LOST or not self._answered_here:
                self._note(reply)
                return reply

    def _reopen(self) -> Talk[None]:
        for pause_s in REOPEN_PAUSES_S:
            listen_s = 0.0 if self._units or self._away else LISTEN_S
            opened = yield Connect(self._target.ip, self._port, pause_s, listen_s)
            if opened is Opened.UP:
                self._is_up, self._answered_here = True, False
                return
        self._is_busy = True
        raise _OverError

    def _note(self, reply: Reply) -> None:
        self._replies[reply.unit, reply.question.pdu] = reply
        if reply.kind is Kind.SILENCE:
            return
        if reply.kind not in (Kind.ANSWER, Kind.EXCEPTION):
            self._strange.append(reply)
            if reply.kind is not Kind.WRONG:
                self._disliked.add(reply.question.step)
            garbage = [one for one in self._strange if one.kind is Kind.GARBAGE]
            if not self._units and (framing_hint(reply.heard) or len(garbage) >= MAX_GARBAGE):
                raise _OverError
            return
        self._answered_here = True
        if reply.kind is Kind.EXCEPTION and reply.value in _AWAY:
            if reply.unit not in self._units:
                self._away.add(reply.unit)
            self._be_patient(reply)  # it takes the gateway so long to find out
            return
        self._away.discard(reply.unit)
        unit = self._units.setdefault(reply.unit, Unit(reply.unit, answer_s=reply.took_s))
        if reply.kind is Kind.ANSWER:
            unit.has_data = True
        elif unit.exception in (None, ExceptionCode.ILLEGAL_FUNCTION):  # others tell more
            unit.exception = cast(int, reply.value)

    def _be_patient(self, reply: Reply) -> None:
        """Wait longer from now on: questions that come too soon would fill a slow peer's queue."""
        self._patience_s = max(self._patience_s, min(2 * reply.took_s, MAX_PATIENCE_S))

    def _replies_are(self, *kinds: Kind) -> bool:
        return any(reply.kind in kinds for reply in self._replies.values())

    # ---- the verdict ----

    def _judge(self) -> tuple[Verdict, str]:
        if self._away and not (len(self._units) == 1 and self._units.keys() <= set(DEFAULT_UNITS)):
            denied = ", ".join(map(str, sorted(self._away)[:8]))
            return Verdict.GATEWAY, "" if self._swept else f"denies unit {denied}"
        if self._units:
            has_data = any(unit.has_data for unit in self._units.values())
            detail = "answers for any unit identifier" if self._any_unit else ""
            return Verdict.DEVICE if has_data else Verdict.EXCEPTION, detail
        strange = [reply for reply in self._strange if reply.kind is not Kind.LOST]
        if strange:
            return Verdict.NOT_MODBUS, _what_it_is(strange[-1])
        if self._is_busy:
            return Verdict.BUSY, "closes what it has accepted: all its connections may be taken"
        if self._strange:
            return Verdict.SILENT, "closes the connection instead of answering"
        cure = "" if self._options.units else "; a gateway that is silent for absent units: --units 1-247"
        return Verdict.SILENT, f"open, no answer{cure}"

    def _result(self, verdict: Verdict, detail: str = "") -> Result:
        devices = {device.modbus.unit: device.id for device in self._devices}
        return Result(
            self._target.ip,
            self._port,
            verdict,
            detail,
            tuple(self._units[unit] for unit in sorted(self._units)),
            self._swept,
            self._target.name,
            devices,
            () if self._any_unit else tuple(sorted(devices.keys() - self._units.keys())),
        )


def _what_it_is(reply: Reply) -> str:
    hint = framing_hint(reply.heard) if reply.kind is Kind.GARBAGE else ""
    if reply.question.is_rtu and hint:
        return "RTU over TCP: a converter that is no Modbus TCP gateway (switch it to one)"
    return hint.removeprefix("not Modbus: ") or reply.text
