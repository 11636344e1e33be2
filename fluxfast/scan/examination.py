"""One host and port from the first connect to the verdict: whom to ask what, and what that shows.

A generator that yields ``Connect`` and ``Ask`` (prober.py) and returns a ``Result``.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from fluxfast.modbus import framing_hint
from fluxfast.scan.exchange import Kind, Reply
from fluxfast.scan.identify import EnoughError, get_to_know
from fluxfast.scan.peer import OverError, Peer
from fluxfast.scan.prober import Opened, Talk
from fluxfast.scan.questions import HOLDING, IDENTIFICATION, INPUT, MARKERS, RTU, SERVER_ID, Question, Step
from fluxfast.scan.recognition import Candidate
from fluxfast.scan.result import Result, Verdict
from fluxfast.scan.targets import Target

TIMEOUT_S: Final = 0.4  # a device on the same network takes a tenth of it; what comes later still counts
DEFAULT_UNITS: Final = (1, 255, 0)
ALL_UNITS: Final = range(1, 248)
# Asked first where one unit answers and others are denied: most of these are no gateways, but particular.
LIKELY_UNITS: Final = (*range(1, 33), 50, 100, 101, 110, 126, 150, 200, 201, *range(240, 248))
ANY_UNIT: Final = 255  # that no serial line has: asks whether the unit identifier matters
MAX_SILENT: Final = 3  # units in a row, of a peer that says nothing for those that are not there
MAX_BAD: Final = 3  # questions to one unit without an answer, in a row
UNIT_TIMEOUTS: Final = 20  # so many times its patience are spent on one unit
UNLIKELY_UNITS: Final = 32  # more on one line, and all alike: one device, whatever the unit
_FIRST: Final = (IDENTIFICATION, SERVER_ID, MARKERS[0], HOLDING, INPUT)
_SWEEP: Final = (IDENTIFICATION, HOLDING)


@dataclass(frozen=True)
class Options:
    """How a scan asks."""

    timeout_s: float = TIMEOUT_S
    units: tuple[int, ...] | None = None  # none: 1, 255, 0, and all of a gateway
    max_step: Step = Step.PROFILE
    gateway_budget_s: float = 30.0  # 0: no sweep
    profiles: Sequence[Candidate] = ()
    is_thorough: bool = False  # all units also where one answers and others are denied: mostly no gateway


def silence_s(options: Options) -> float:
    """Return how long it takes to be sure that an open port is silent."""
    others = len(options.units or DEFAULT_UNITS) - 1  # asked one question each
    return options.timeout_s * (len(_FIRST) + others + 1)  # and the one in RTU


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
        self._peer = Peer(target.ip, port, options.timeout_s)
        self._any_unit = False
        self._swept = ""
        self._walked = 0

    def run(self) -> Talk[Result]:
        """Connect, ask, and return the verdict."""
        opened = yield from self._peer.connect()
        if opened in (Opened.CLOSED, Opened.UNREACHABLE):
            return self._result(Verdict.CLOSED if opened is Opened.CLOSED else Verdict.UNREACHABLE)
        if self._options.max_step is Step.CONNECT:
            return self._result(Verdict.OPEN, "connected, nothing asked")
        with suppress(OverError):
            yield from self._examine()
        return self._result(*self._judge())

    def _examine(self) -> Talk[None]:
        peer, given = self._peer, self._options.units
        configured = tuple(dict.fromkeys(device.modbus.unit for device in self._devices))
        yield from self._look_for(given or configured or DEFAULT_UNITS, all_of_them=bool(given or configured))
        if peer.is_silent and self._options.max_step >= Step.REGISTER:
            yield from peer.ask(1, RTU)
        if given and self._are_all_alike(given):
            self._any_unit = True
            peer.units = dict([min(peer.units.items())])
        known = list(peer.units)
        for unit in known:
            yield from self._get_to_know(unit, self._clock() + UNIT_TIMEOUTS * peer.patience_s)
        if given:
            return
        questions, until_s = self._allowed(_SWEEP), self._clock() + self._options.gateway_budget_s
        if peer.units and not peer.denied:
            other = yield from self._ask_any_unit(next(iter(peer.units)))
            questions = questions[-1:]  # the one that was denied
            if other is Kind.SILENCE and self._options.gateway_budget_s:
                yield from self._walk(until_s)
        if peer.denied and self._options.gateway_budget_s:
            yield from self._sweep(questions, until_s)
        for unit in [unit for unit in peer.units if unit not in known]:
            yield from self._get_to_know(unit, until_s)

    # ---- which units there are ----

    def _look_for(self, units: Sequence[int], all_of_them: bool) -> Talk[None]:
        """Ask the first unit everything until it answers, and the others what a unit answers if anything."""
        peer = self._peer
        for question in self._allowed(_FIRST):
            if not peer.is_known(units[0]):
                yield from peer.ask(units[0], question)
        for question in self._allowed(_SWEEP)[-1:]:
            for unit in units[1:]:
                if peer.units and not all_of_them:
                    return
                if not peer.is_known(unit):
                    yield from peer.ask(unit, question)

    def _ask_any_unit(self, unit: int) -> Talk[Kind | None]:
        """Read a unit that is hardly there: a gateway denies it, and many devices answer for any unit.

        Returns what came of it; None if it was not asked.
        """
        peer = self._peer
        if unit == ANY_UNIT or ANY_UNIT in peer.units or self._options.max_step < Step.REGISTER:
            return None
        other = yield from peer.ask(ANY_UNIT, HOLDING)
        if other.kind is Kind.EXCEPTION and other.value not in peer.denials:
            own = peer.reply(unit, HOLDING) or (yield from peer.ask(unit, HOLDING))
            if own.kind is Kind.ANSWER or (own.kind is Kind.EXCEPTION and own.value != other.value):
                del peer.units[ANY_UNIT]
                peer.denied.add(ANY_UNIT)
                peer.denials.add(int(str(other.value)))
                return other.kind
        if ANY_UNIT not in peer.units:
            return other.kind
        if peer.units[unit].says:
            yield from peer.ask(ANY_UNIT, IDENTIFICATION)
        if peer.units[ANY_UNIT].says == peer.units[unit].says:
            self._any_unit = True
            del peer.units[ANY_UNIT]
        return other.kind

    def _walk(self, until_s: float) -> Talk[None]:
        """Ask one unit after the other, until a few in a row are silent: each of those costs a timeout."""
        peer, silent = self._peer, 0
        for unit in ALL_UNITS:
            if silent == MAX_SILENT or peer.denied or self._clock() >= until_s:
                return
            if not peer.is_known(unit) and not peer.reply(unit, HOLDING):
                yield from peer.ask(unit, HOLDING)
                self._walked = unit
            silent = 0 if peer.is_known(unit) else silent + 1

    def _sweep(self, questions: Sequence[Question], until_s: float) -> Talk[None]:
        """Ask the units of a gateway while there is time."""
        peer = self._peer
        known = len(peer.units)
        if known and not self._options.is_thorough:
            yield from self._ask_all(LIKELY_UNITS, questions, until_s)
            if len(peer.units) == known:
                self._swept = "denies other units; the likely ones were asked (all: --units 1-247)"
                return
        in_time = yield from self._ask_all(ALL_UNITS, questions, until_s)
        self._swept = f"{len(peer.asked & set(ALL_UNITS))} of {len(ALL_UNITS)} units asked"
        if not in_time:
            self._swept += f" in {self._options.gateway_budget_s:g} s (more: --gateway-budget)"

    def _ask_all(self, units: Iterable[int], questions: Sequence[Question], until_s: float) -> Talk[bool]:
        """Ask units that are not known yet; whether the time was enough."""
        for question in questions:
            for unit in units:
                if self._clock() >= until_s:
                    return False
                if not self._peer.is_known(unit) and question.step not in self._peer.disliked:
                    yield from self._peer.ask(unit, question)
        return True

    def _are_all_alike(self, units: Sequence[int]) -> bool:
        if len(units) <= UNLIKELY_UNITS or not self._peer.units.keys() >= set(units):
            return False
        told = [self._peer.reply(unit, HOLDING) for unit in units[1:]]
        return len({(reply.kind, reply.value) for reply in told if reply is not None}) == 1

    # ---- what a unit is ----

    def _get_to_know(self, unit: int, until_s: float) -> Talk[None]:
        """Ask a unit what it is; what it has answered before costs no time."""
        peer, bad = self._peer, 0

        def ask(question: Question) -> Talk[Reply]:
            nonlocal bad
            if known := peer.reply(unit, question):
                return known
            if self._clock() >= until_s:
                raise EnoughError
            reply = yield from peer.ask(unit, question)
            bad = 0 if reply.kind in (Kind.ANSWER, Kind.EXCEPTION) else bad + 1
            if bad == MAX_BAD or unit in peer.denied:
                raise EnoughError
            return reply

        yield from get_to_know(peer.units[unit], ask, self._options.max_step, self._options.profiles)

    def _allowed(self, questions: Iterable[Question]) -> list[Question]:
        return [question for question in questions if question.step <= self._options.max_step]

    # ---- the verdict ----

    def _judge(self) -> tuple[Verdict, str]:
        peer = self._peer
        if peer.denied and not (len(peer.units) == 1 and peer.units.keys() <= set(DEFAULT_UNITS)):
            denied = ", ".join(map(str, sorted(peer.denied)[:8]))
            return Verdict.GATEWAY, "" if self._swept else f"denies unit {denied}"
        if peer.units:
            has_data = any(unit.has_data for unit in peer.units.values())
            detail = "answers for any unit identifier" if self._any_unit else ""
            if self._walked not in (0, ALL_UNITS[-1]) and not peer.denied:
                detail = f"silent for other units, asked up to {self._walked} (all: --units 1-247)"
            return Verdict.DEVICE if has_data else Verdict.EXCEPTION, detail
        strange = [reply for reply in peer.strange if reply.kind is not Kind.LOST]
        if strange:
            return Verdict.NOT_MODBUS, _what_it_is(strange[-1])
        if peer.is_busy:
            return Verdict.BUSY, "closes what it has accepted: all its connections may be taken"
        if any(not reply.question.is_rtu for reply in peer.strange):
            return Verdict.SILENT, "closes the connection instead of answering"
        cure = "" if self._options.units else "; a gateway that is silent for absent units: --units 1-247"
        return Verdict.SILENT, f"open, no answer{cure}"

    def _result(self, verdict: Verdict, detail: str = "") -> Result:
        units = self._peer.units
        devices = {device.modbus.unit: device.id for device in self._devices}
        return Result(
            self._target.ip,
            self._port,
            verdict,
            detail,
            tuple(units[unit] for unit in sorted(units)),
            self._swept,
            self._target.name,
            devices,
            () if self._any_unit else tuple(sorted(devices.keys() - units.keys())),
        )


def _what_it_is(reply: Reply) -> str:
    hint = framing_hint(reply.heard) if reply.kind is Kind.GARBAGE else ""
    if reply.question.is_rtu and hint:
        return "RTU over TCP: a converter that is no Modbus TCP gateway (switch it to one)"
    return hint.removeprefix("not Modbus: ") or reply.text
