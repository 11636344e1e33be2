"""What one host and port has said so far: asks it, opens its connection again, and keeps the books.

Modbus is proved by an answer that the specification allows to the very question, exceptions included, and by
nothing else. A peer that closes, or answers with something else, is connected to again for the next question.
"""

from typing import Final, cast

from fluxfast.constants import ExceptionCode
from fluxfast.modbus import DeviceIdentification, framing_hint
from fluxfast.scan.exchange import Kind, Reply
from fluxfast.scan.prober import Ask, Connect, Opened, Talk
from fluxfast.scan.questions import Question, Step
from fluxfast.scan.result import Unit

REOPEN_PAUSES_S: Final = (0.1, 0.5, 1.0)
LISTEN_S: Final = 0.1  # whether a peer that has never answered closes by itself
MAX_PATIENCE_S: Final = 5.0  # for a gateway that waits long for its units
MAX_GARBAGE: Final = 3
_AWAY: Final = (
    ExceptionCode.GATEWAY_PATH_UNAVAILABLE,
    ExceptionCode.GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND,
)


class OverError(Exception):
    """There is nothing more to ask: the peer is gone, or is no Modbus."""


class Peer:
    """One host and port: the units that answer, those that are denied, and what else came."""

    def __init__(self, ip: str, port: int, patience_s: float) -> None:
        """Ask nothing yet; an answer may take ``patience_s``."""
        self._ip, self._port = ip, port
        self._is_up = False
        self._has_answered = False  # on this connection
        self.patience_s = patience_s
        self.units: dict[int, Unit] = {}
        self.denied: set[int] = set()  # units that are not there: a gateway says so
        self.denials: set[int] = set(_AWAY)  # the exceptions by which it does
        self.disliked: set[Step] = set()  # steps that end the connection
        self.strange: list[Reply] = []  # neither answers nor silence
        self.is_busy = False
        self._replies: dict[tuple[int, bytes], Reply] = {}

    def reply(self, unit: int, question: Question) -> Reply | None:
        """Return what has come of a question, if it was asked."""
        return self._replies.get((unit, question.pdu))

    def is_known(self, unit: int) -> bool:
        """Whether a unit is there, or not there."""
        return unit in self.units or unit in self.denied

    @property
    def asked(self) -> set[int]:
        """The units that were asked anything."""
        return {unit for unit, _ in self._replies}

    @property
    def is_silent(self) -> bool:
        """Whether it is open and has never said a thing."""
        return self._is_up and not self.units and not self.denied and not self.strange

    def connect(self) -> Talk[Opened]:
        """Connect for the first time."""
        opened = yield Connect(self._ip, self._port)
        assert isinstance(opened, Opened)
        self._is_up = opened is Opened.UP
        return opened

    def ask(self, unit: int, question: Question) -> Talk[Reply]:
        """Ask a unit; a connection that has ended after an answer is opened again. Raises OverError."""
        while True:
            if not self._is_up:
                yield from self._reopen()
            replies = cast(list[Reply], (yield Ask(unit, question, self.patience_s)))
            for late in replies[:-1]:
                self._be_patient(late)
                self._note(late)
            reply = replies[-1]
            self._is_up = reply.kind not in (Kind.LOST, Kind.GARBAGE)
            if reply.kind is not Kind.LOST or not self._has_answered:
                self._note(reply)
                return reply

    def _reopen(self) -> Talk[None]:
        for pause_s in REOPEN_PAUSES_S:
            listen_s = 0.0 if self.units or self.denied else LISTEN_S
            opened = yield Connect(self._ip, self._port, pause_s, listen_s)
            if opened is Opened.UP:
                self._is_up, self._has_answered = True, False
                return
        self.is_busy = True
        raise OverError

    def _note(self, reply: Reply) -> None:
        self._replies[reply.unit, reply.question.pdu] = reply
        if reply.kind in (Kind.ANSWER, Kind.EXCEPTION):
            self._has_answered = True
            self._credit(reply)
        elif reply.kind is not Kind.SILENCE:
            self.strange.append(reply)
            if reply.kind is not Kind.WRONG:
                self.disliked.add(reply.question.step)
            garbage = sum(one.kind is Kind.GARBAGE for one in self.strange)
            if not self.units and (framing_hint(reply.heard) or garbage >= MAX_GARBAGE):
                raise OverError

    def _credit(self, reply: Reply) -> None:
        if reply.kind is Kind.EXCEPTION and reply.value in self.denials:
            self._be_patient(reply)  # it takes the gateway so long to find out
            # Some answer themselves what a unit that is not there is asked about itself.
            if reply.unit not in self.units or not self.units[reply.unit].is_read:
                self.units.pop(reply.unit, None)
                self.denied.add(reply.unit)
            return
        self.denied.discard(reply.unit)
        unit = self.units.setdefault(reply.unit, Unit(reply.unit, answer_s=reply.took_s))
        if reply.question.step > Step.SERVER_ID:
            unit.is_read = True
        if isinstance(reply.value, DeviceIdentification):
            unit.identification.update(reply.value.objects)
        if reply.kind is Kind.ANSWER:
            unit.has_data = True
        elif unit.exception in (None, ExceptionCode.ILLEGAL_FUNCTION):  # others tell more
            unit.exception = cast(int, reply.value)

    def _be_patient(self, reply: Reply) -> None:
        """Wait longer from now on: questions that come too soon would fill a slow peer's queue."""
        self.patience_s = max(self.patience_s, min(2 * reply.took_s, MAX_PATIENCE_S))
