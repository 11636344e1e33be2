"""One connection's questions and answers, sans-IO: bytes in, replies out.

An answer counts only for the question that has its transaction identifier, on the unit that was asked, and
only if the specification allows it as an answer. One that comes after its time still counts for its own
question: so a slow device is found too.
"""

import random
from dataclasses import dataclass
from enum import Enum
from typing import Final

from fluxfast import modbus
from fluxfast.errors import FramingError, RemoteProtocolError
from fluxfast.scan.questions import Question

MAX_FOREIGN: Final = 16  # frames that answer nothing asked, before the peer is given up
MAX_HEARD: Final = 260  # bytes kept to say what a peer is


class Kind(Enum):
    """What became of a question."""

    ANSWER = "answer"
    EXCEPTION = "exception"
    WRONG = "wrong"  # a whole frame that is no answer to it
    GARBAGE = "garbage"  # not Modbus TCP; the stream cannot be read on
    SILENCE = "silence"
    LOST = "lost"  # the peer closed the connection


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of one question to one unit."""

    unit: int
    question: Question
    kind: Kind
    value: object = None  # of an answer what Question.parse returned, of an exception its code
    text: str = ""  # what is wrong with it
    heard: bytes = b""  # what came, where it is not Modbus TCP or not whole
    took_s: float = 0.0


@dataclass(slots=True)
class _Asked:
    unit: int
    question: Question
    at_s: float


class Exchange:
    """Frames of one connection. ``heard`` are the first bytes since the last question."""

    def __init__(self) -> None:
        """Nothing has been asked yet."""
        self._splitter = modbus.MbapSplitter()
        self._asked: dict[int, _Asked] = {}
        self._current: int | None = None
        self._foreign = 0
        self._foreign_text = ""  # how the last of them shows that
        self.heard = b""
        self.late: list[Reply] = []

    @property
    def is_waiting(self) -> bool:
        """Whether a question has no reply yet."""
        return self._current is not None

    @property
    def is_broken(self) -> bool:
        """Whether what came is no Modbus TCP, so that nothing more can be read."""
        return self._splitter.error is not None

    @property
    def in_frame(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._splitter.pending > 0

    def ask(self, unit: int, question: Question, now_s: float) -> bytes:
        """Return the bytes to send."""
        number = 0  # which careless devices answer with; any other is as hard to guess as can be
        while number == 0 or number in self._asked:
            number = random.randrange(1, 0x10000)
        self._asked[number] = _Asked(unit, question, now_s)
        self._current = number
        self._foreign, self._foreign_text = 0, ""
        self.heard = self.heard if self.is_broken else b""
        if question.is_rtu:
            return question.pdu
        return modbus.build_mbap(number, unit, question.pdu)

    def receive(self, data: bytes, now_s: float) -> Reply | None:
        """Take bytes; return the reply to the current question once there is one. Others go to ``late``."""
        self.heard = (self.heard + data)[:MAX_HEARD]
        try:
            adus = self._splitter.feed(data)
        except FramingError as error:
            return self.end(Kind.GARBAGE, now_s, str(error))
        ended = None
        for adu in adus:
            reply = self._judge(*modbus.parse_mbap(adu), now_s)
            ended = ended or reply
        if ended is None and (self._splitter.error is not None or self._foreign > MAX_FOREIGN):
            return self.end(Kind.GARBAGE, now_s, str(self._splitter.error or self._foreign_text))
        return ended

    def expire(self, now_s: float) -> Reply | None:
        """End the current question because its time is over; None if there is none."""
        if self.in_frame:
            return self.end(Kind.GARBAGE, now_s, "its answer begins and never ends")
        return self.end(Kind.WRONG if self._foreign_text else Kind.SILENCE, now_s, self._foreign_text)

    def end(self, kind: Kind, now_s: float, text: str = "") -> Reply | None:
        """End the current question without an answer; None if there is none."""
        if self._current is None:
            return None
        if kind is Kind.GARBAGE and not text:
            text = str(self._splitter.error)
        asked = self._asked[self._current]
        self._current = None
        took_s = now_s - asked.at_s
        return Reply(asked.unit, asked.question, kind, text=text, heard=self.heard, took_s=took_s)

    def _judge(self, transaction_id: int, unit: int, pdu: bytes, now_s: float) -> Reply | None:
        asked = self._asked.get(transaction_id)
        if asked is None or asked.question.is_rtu:
            self._foreign += 1
            self._foreign_text = f"answers with transaction identifier {transaction_id}, not the request's"
            if transaction_id == 0:
                self._foreign_text += " (its profile needs the quirk transaction_id: zero)"
            return None
        reply = self._reply(asked, unit, pdu, now_s - asked.at_s)
        del self._asked[transaction_id]
        if transaction_id == self._current:
            self._current = None
            return reply
        if reply.kind in (Kind.ANSWER, Kind.EXCEPTION):
            self.late.append(reply)
        return None

    def _reply(self, asked: _Asked, unit: int, pdu: bytes, took_s: float) -> Reply:
        if pdu == asked.question.pdu:
            return Reply(
                asked.unit, asked.question, Kind.WRONG, text="sends back what it gets", took_s=took_s
            )
        if unit != asked.unit:
            text = f"answers as unit {unit} what unit {asked.unit} was asked"
            return Reply(asked.unit, asked.question, Kind.WRONG, text=text, took_s=took_s)
        if len(pdu) == 2 and pdu[0] == asked.question.pdu[0] | 0x80:  # MAP 7; the usual answer of a gateway
            return Reply(unit, asked.question, Kind.EXCEPTION, pdu[1], took_s=took_s)
        try:
            value = asked.question.parse(pdu)
        except RemoteProtocolError as error:
            return Reply(unit, asked.question, Kind.WRONG, text=str(error), took_s=took_s)
        return Reply(unit, asked.question, Kind.ANSWER, value, took_s=took_s)
