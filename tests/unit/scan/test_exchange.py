"""One connection's questions and answers, without sockets: what counts as an answer to what."""

import os

import pytest

from fluxfast.modbus import ReadHoldingRegisters
from fluxfast.scan.exchange import Exchange, Kind, Reply
from fluxfast.scan.questions import HOLDING, IDENTIFICATION, MARKERS, RTU, SERVER_ID, Question
from tests.support.scan_peers import exception, identity, mbap, split

ANSWERS = {
    IDENTIFICATION: identity("Maker", "Thing", "1")(IDENTIFICATION.pdu),
    SERVER_ID: b"\x11\x03\x2a\xffX",
    MARKERS[0]: b"\x03\x04SunS",
    HOLDING: b"\x03\x02\x12\x34",
}


def asked(question: Question, unit: int = 7) -> tuple[Exchange, int]:
    """Return an exchange with a question, and its transaction identifier."""
    exchange = Exchange()
    transaction_id, sent_unit, pdu = split(exchange.ask(unit, question, 1.0))
    assert (sent_unit, pdu) == (unit, question.pdu)
    return exchange, transaction_id


def answered(question: Question, response: bytes, unit: int = 7) -> Reply:
    exchange, transaction_id = asked(question)
    reply = exchange.receive(mbap(transaction_id, unit, response), 1.5)
    assert reply is not None
    assert (reply.unit, reply.question, reply.took_s) == (7, question, 0.5)
    assert not exchange.is_waiting
    return reply


@pytest.mark.parametrize("question", ANSWERS, ids=lambda question: question.text)
def test_an_answer_cut_anywhere(question: Question) -> None:
    for cut in range(7 + len(ANSWERS[question])):
        exchange, transaction_id = asked(question)
        adu = mbap(transaction_id, 7, ANSWERS[question])
        assert exchange.receive(adu[:cut], 2.0) is None
        assert exchange.in_frame == (cut > 0)
        reply = exchange.receive(adu[cut:], 3.0)
        assert reply is not None
        assert reply.kind is Kind.ANSWER


@pytest.mark.parametrize("question", ANSWERS, ids=lambda question: question.text)
@pytest.mark.parametrize("code", [0, 1, 2, 6, 11, 255])
def test_an_exception_of_any_kind(question: Question, code: int) -> None:
    reply = answered(question, exception(question.pdu, code))
    assert (reply.kind, reply.value) == (Kind.EXCEPTION, code)


@pytest.mark.parametrize("question", ANSWERS, ids=lambda question: question.text)
def test_what_is_no_answer(question: Question) -> None:
    good = ANSWERS[question]
    other = b"\x04\x02\x12\x34"
    for response in (question.pdu, good[:-1], good + b"\0", other, exception(other, 2), good[:1],
                     exception(good, 2) + b"\0"):  # fmt: skip
        assert answered(question, response).kind is Kind.WRONG
    assert answered(question, good, unit=8).kind is Kind.WRONG
    assert answered(question, exception(good, 2), unit=8).kind is Kind.WRONG


def test_another_transaction_is_no_answer() -> None:
    for other in (0, 1, -1, 0x5555):
        exchange, transaction_id = asked(HOLDING)
        number = (transaction_id + other) & 0xFFFF if other else 0
        assert exchange.receive(mbap(number, 7, ANSWERS[HOLDING]), 2.0) is None
        assert exchange.is_waiting
        reply = exchange.expire(3.0)
        assert reply is not None
        assert reply.kind is Kind.WRONG
        assert "transaction identifier" in reply.text


def test_a_late_answer_counts_for_its_own_question() -> None:
    exchange, first = asked(IDENTIFICATION)
    silent = exchange.expire(2.0)
    assert silent is not None
    assert silent.kind is Kind.SILENCE
    second = split(exchange.ask(7, HOLDING, 2.0))
    late = mbap(first, 7, ANSWERS[IDENTIFICATION])
    reply = exchange.receive(late + mbap(second[0], 7, ANSWERS[HOLDING]), 4.0)
    assert reply is not None
    assert (reply.question, reply.value, reply.took_s) == (HOLDING, (0x1234,), 2.0)
    (credited,) = exchange.late
    assert (credited.question, credited.kind, credited.took_s) == (IDENTIFICATION, Kind.ANSWER, 3.0)
    exchange.receive(late, 5.0)  # once
    assert len(exchange.late) == 1


def test_what_comes_late_and_is_no_answer_counts_for_nothing() -> None:
    for unit, response in ((8, ANSWERS[HOLDING]), (7, ANSWERS[SERVER_ID]), (7, HOLDING.pdu)):
        exchange, first = asked(HOLDING)
        exchange.expire(2.0)
        exchange.ask(7, IDENTIFICATION, 2.0)
        assert exchange.receive(mbap(first, unit, response), 3.0) is None
        assert exchange.late == []


def test_garbage_breaks_it_for_good() -> None:
    exchange, transaction_id = asked(HOLDING)
    reply = exchange.receive(b"SSH-2.0-x\r\n", 2.0)
    assert reply is not None
    assert (reply.kind, reply.heard) == (Kind.GARBAGE, b"SSH-2.0-x\r\n")
    assert exchange.is_broken
    exchange.ask(7, IDENTIFICATION, 3.0)
    again = exchange.receive(mbap(transaction_id, 7, ANSWERS[HOLDING]), 4.0)
    assert again is not None
    assert again.kind is Kind.GARBAGE


def test_it_keeps_little_of_a_flood() -> None:
    exchange, _ = asked(HOLDING)
    frames = b"".join(mbap(n, 7, ANSWERS[HOLDING]) for n in range(5000))
    reply = exchange.receive(frames, 2.0)
    assert reply is not None
    assert reply.kind in (Kind.GARBAGE, Kind.ANSWER)  # one of them may have hit the number
    assert len(exchange.heard) <= 260


def test_half_a_frame_never_ends() -> None:
    exchange, transaction_id = asked(HOLDING)
    assert exchange.receive(mbap(transaction_id, 7, ANSWERS[HOLDING])[:-1], 2.0) is None
    reply = exchange.expire(3.0)
    assert reply is not None
    assert reply.kind is Kind.GARBAGE


def test_random_bytes_are_never_an_answer() -> None:
    for _ in range(300):
        exchange, _ = asked(HOLDING)
        reply = exchange.receive(os.urandom(64), 2.0) or exchange.expire(3.0)
        assert reply is not None
        assert reply.kind in (Kind.GARBAGE, Kind.WRONG)


def test_rtu_goes_as_it_stands() -> None:
    exchange = Exchange()
    assert exchange.ask(1, RTU, 0.0) == bytes.fromhex("01 03 00 00 00 01 84 0a")
    reply = exchange.receive(bytes.fromhex("01 03 02 00 05 78 47"), 1.0)
    assert reply is not None
    assert (reply.kind, reply.question) == (Kind.GARBAGE, RTU)


def test_no_identifier_is_ever_zero_or_taken_twice() -> None:
    exchange = Exchange()
    numbers = [split(exchange.ask(1, HOLDING, 0.0))[0] for _ in range(2000)]
    assert 0 not in numbers
    assert len(set(numbers)) == len(numbers)
    assert ReadHoldingRegisters(0, 1).pdu == HOLDING.pdu
