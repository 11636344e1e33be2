"""Single requests, on a stream whose bytes and whose clock are in the test's hands: no socket, no waiting."""

import struct

import numpy as np
import pytest

from fluxfast import modbus
from fluxfast.link import Reactor
from fluxfast.plan import structs
from fluxfast.table import quality

SECOND = 1_000_000_000
ANSWERED, FAILED, CONFIRMED, DIFFERS, UNKNOWN = range(5)
SETPOINT = modbus.WriteSingleRegister(2008, 50).pdu
READ = modbus.ReadHoldingRegisters(2000, 2).pdu
NONE, WORDS = np.empty(0, np.uint8), np.empty(0, np.uint64)


class Line:
    """A reactor with one link, which is up, seen from its other end."""

    def __init__(self, max_in_flight=1, connected=True, zero_ids=0):
        link = np.array([(0, 0, SECOND, 0, 0, 1, max_in_flight, zero_ids, 0)], structs.LINK)
        self.reactor = Reactor(
            link.view(np.uint8), NONE, NONE, NONE, WORDS, NONE, WORDS, None, 0.0, SECOND, 1, 8
        )  # fmt: skip
        self.now = SECOND
        self.reactor.set_clock(self.now)
        self.reactor.set_stream(0)
        self.sent = []  # (transaction_id, unit_id, PDU) of each request that is waiting for its answer
        self.connects = self.closes = 0
        if connected:
            self.connect()

    def connect(self):
        self.go()
        assert self.connects
        self.reactor.stream_up(0)
        self.go()

    def go(self, seconds=0.0):
        """Let time pass and the reactor work."""
        end = self.now + round(seconds * SECOND)
        while True:
            self.reactor.set_clock(self.now)
            self.reactor.process()
            for _, connect, data, close, _ in self.reactor.take_wishes():
                self.connects += connect
                self.closes += close
                for adu in modbus.MbapSplitter().feed(data):
                    self.sent.append(modbus.parse_mbap(adu))
            due = self.reactor.next_timer_ns()
            if due > end or self.now == end:
                break
            self.now = max(self.now, due)
        self.now = end
        self.reactor.set_clock(end)

    def call(self, pdu, slot=0, *, unit=1, timeout=1.0, expires=10.0):
        self.reactor.call(
            slot, 0, unit, pdu, round(timeout * SECOND), self.now + round(expires * SECOND)
        )  # fmt: skip
        self.go()

    def pdus(self):
        return [pdu for _, _, pdu in self.sent]

    def answer(self, pdu, *, unit=None):
        """Answer the oldest request."""
        transaction_id, unit_id, _ = self.sent.pop(0)
        unit_id = unit_id if unit is None else unit
        self.reactor.stream_data(0, modbus.build_mbap(transaction_id, unit_id, pdu))
        self.go()

    def outcomes(self):
        return [(slot, outcome, code) for slot, outcome, code, _ in self.reactor.take_calls()]


@pytest.fixture
def line():
    return Line()


def test_an_answer_comes_back_as_it_was(line):
    line.call(READ)
    assert line.pdus() == [READ]
    line.answer(b"\x03\x04\x00\x01\x00\x02")
    assert line.reactor.take_calls() == [(0, ANSWERED, quality.GOOD, b"\x03\x04\x00\x01\x00\x02")]
    assert line.reactor.take_calls() == []


def test_an_exception_is_an_answer(line):
    line.call(READ)
    line.answer(b"\x83\x02")
    assert line.reactor.take_calls() == [(0, ANSWERED, quality.EXCEPTION + 2, b"\x83\x02")]


@pytest.mark.parametrize(
    "pdu", [b"\x04\x04\0\0\0\0", b"\x03\x02\0\0", b"\x03", b"\x83", b"\x06\x07\xd8\0\x32"]
)
def test_a_read_with_a_wrong_answer_fails(line, pdu):
    line.call(READ)
    line.answer(pdu)
    ((slot, outcome, code),) = line.outcomes()
    assert (slot, outcome) == (0, FAILED)
    assert code in (quality.MALFORMED, quality.MISMATCH)


def test_another_units_answer_is_none(line):
    line.call(READ, unit=7)
    line.answer(b"\x03\x04\0\0\0\0", unit=8)
    assert line.outcomes() == [(0, FAILED, quality.MISMATCH)]


def test_a_read_without_an_answer_fails_at_its_deadline_and_the_late_answer_is_dropped(line):
    line.call(READ, timeout=0.5)
    line.go(0.49)
    assert line.outcomes() == []
    line.go(0.01)
    assert line.outcomes() == [(0, FAILED, quality.TIMEOUT)]
    line.call(modbus.ReadHoldingRegisters(9, 2).pdu)
    late, line.sent[0:1] = line.sent[0], []
    line.reactor.stream_data(0, modbus.build_mbap(late[0], 1, b"\x03\x04\xff\xff\xff\xff"))
    line.go()
    assert line.outcomes() == []
    line.answer(b"\x03\x04\0\1\0\2")
    assert line.reactor.take_calls() == [(0, ANSWERED, 0, b"\x03\x04\0\1\0\2")]


def test_calls_go_out_in_their_order_as_deep_as_the_link_allows():
    line = Line(max_in_flight=2)
    for slot in range(4):
        line.call(modbus.ReadHoldingRegisters(slot, 1).pdu, slot)
    assert [pdu[2] for pdu in line.pdus()] == [0, 1]
    line.answer(b"\x03\x02\0\0")
    assert [pdu[2] for pdu in line.pdus()] == [1, 2]


def test_the_newest_setpoint_wins(line):
    line.call(READ)  # keeps the link busy
    for power in (10, 20, 30):
        line.call(modbus.WriteSingleRegister(2008, power).pdu, 1)
    line.answer(b"\x03\x04\0\0\0\0")
    assert line.pdus() == [modbus.WriteSingleRegister(2008, 30).pdu]
    for power in (40, 50):  # while 30 is in flight
        line.call(modbus.WriteSingleRegister(2008, power).pdu, 1)
    assert len(line.sent) == 1
    line.answer(line.pdus()[0])
    assert line.sent == []
    assert line.outcomes() == [(1, ANSWERED, 0), (0, ANSWERED, 0)]
    line.go()
    assert line.pdus() == [modbus.WriteSingleRegister(2008, 50).pdu]
    line.answer(line.pdus()[0])
    assert line.outcomes() == [(1, ANSWERED, 0)]


def test_no_outcome_hides_another(line):
    """The newer request's time is over when the older one is answered: both outcomes are told, in order."""
    line.call(READ, expires=0.5)
    line.call(SETPOINT, expires=0.1)
    line.go(0.2)
    assert line.outcomes() == []
    line.answer(b"\x03\x04\0\0\0\0")
    assert line.outcomes() == [(0, ANSWERED, 0), (0, FAILED, quality.TIMEOUT)]
    assert line.sent == []


def test_a_newer_request_that_waits_has_its_own_timeout(line):
    line.call(READ, timeout=0.1)
    line.call(READ, timeout=2.0)
    line.go(0.1)
    assert line.outcomes() == [(0, FAILED, quality.TIMEOUT)]
    line.go(1.9)
    assert line.outcomes() == []
    line.go(0.1)
    assert line.outcomes() == [(0, FAILED, quality.TIMEOUT)]


def test_a_read_back_that_no_connection_comes_for_ends_when_it_expires(line):
    """The connection is lost while the write is under way, and the next one would come too late."""
    for _ in range(3):  # lost at once, and again: the wait for the next one grows
        line.reactor.stream_down(0)
        line.connects = 0
        while not line.connects:
            line.go(0.001)
        line.reactor.stream_up(0)
        line.go()
    line.call(SETPOINT, expires=0.01)
    line.reactor.stream_down(0)
    line.go(0.01)
    assert line.outcomes() == [(0, UNKNOWN, quality.LOST)]


def test_an_exception_response_of_the_wrong_length_is_no_answer(line):
    for slot, pdu in enumerate((READ, b"\x2b\x0e\1\0", b"\x41")):
        line.call(pdu, slot)
        line.answer(bytes([pdu[0] | 0x80]) + b"\2\0")
        (code,) = {code for _, _, code in line.outcomes()}
        assert code == quality.MALFORMED


def echo(address, value):
    return struct.pack(">BHH", 6, address, value)


UNCLEAR = {
    "50 another value": (echo(2008, 51), quality.MISMATCH),
    "54 cut": (b"\x06", quality.MALFORMED),
    "another function": (b"\x10\x07\xd8\0\1", quality.MISMATCH),
    "a gateway without an answer": (b"\x86\x0b", quality.EXCEPTION + 11),
    "exception without code": (b"\x86", quality.MALFORMED),
}


@pytest.mark.parametrize("name", UNCLEAR)
@pytest.mark.parametrize(("held", "outcome"), [(50, CONFIRMED), (0, DIFFERS)])
def test_a_write_without_a_clear_answer_is_read_back(line, name, held, outcome):
    answer, code = UNCLEAR[name]
    line.call(SETPOINT)
    line.answer(answer)
    assert line.pdus() == [modbus.ReadHoldingRegisters(2008, 1).pdu]  # and not the write again
    line.answer(struct.pack(">BBH", 3, 2, held))
    assert line.outcomes() == [(0, outcome, code)]
    assert line.closes == 0


def test_the_echo_of_another_address_closes_the_connection_and_the_read_back_comes_after(line):
    line.call(SETPOINT)
    line.answer(echo(2009, 50))
    assert line.closes == 1
    line.go(0.1)
    line.connect()
    assert line.pdus() == [modbus.ReadHoldingRegisters(2008, 1).pdu]
    line.answer(b"\x03\x02\0\x32")
    assert line.outcomes() == [(0, CONFIRMED, quality.MISMATCH)]


@pytest.mark.parametrize(
    ("write", "read_back", "same", "other"),
    [
        (modbus.WriteSingleCoil(5, True), modbus.ReadCoils(5, 1), b"\x01\x01\x01", b"\x01\x01\x00"),
        (modbus.WriteSingleCoil(5, False), modbus.ReadCoils(5, 1), b"\x01\x01\xfe", b"\x01\x01\x01"),
        (
            modbus.WriteMultipleCoils(5, [True] * 9), modbus.ReadCoils(5, 9),
            b"\x01\x02\xff\xff", b"\x01\x02\xff\x00",
        ),
        (
            modbus.WriteMultipleCoils(5, [False] * 8), modbus.ReadCoils(5, 8),
            b"\x01\x01\x00", b"\x01\x01\x80",
        ),
        (
            modbus.WriteMultipleRegisters(7, [1, 2]), modbus.ReadHoldingRegisters(7, 2),
            b"\x03\x04\0\1\0\2", b"\x03\x04\0\1\0\3",
        ),
    ],
)  # fmt: skip
def test_each_kind_of_write_is_read_back_as_what_it_wrote(line, write, read_back, same, other):
    for answer, outcome in ((same, CONFIRMED), (other, DIFFERS)):
        line.call(write.pdu, timeout=0.5)
        line.go(0.5)
        line.sent.pop(0)
        assert line.pdus() == [read_back.pdu]
        line.answer(answer)
        assert line.outcomes() == [(0, outcome, quality.TIMEOUT)]


@pytest.mark.parametrize(
    "write", [modbus.MaskWriteRegister(4, 0xF2, 0x25), modbus.ReadWriteMultipleRegisters(1, 1, 2, [3])]
)
def test_what_cannot_be_read_back_stays_unknown(line, write):
    line.call(write.pdu, timeout=0.5)
    line.go(0.5)
    assert len(line.sent) == 1
    assert line.outcomes() == [(0, UNKNOWN, quality.TIMEOUT)]


def test_a_write_whose_time_is_over_is_not_read_back(line):
    line.call(SETPOINT, timeout=1.0, expires=1.0)
    line.go(1.0)
    assert line.pdus() == [SETPOINT]
    assert line.outcomes() == [(0, UNKNOWN, quality.TIMEOUT)]


def test_a_lost_connection_makes_a_write_unknown_until_it_is_read_back(line):
    line.call(SETPOINT)
    line.reactor.stream_down(0)
    line.go(0.1)
    line.sent.clear()
    line.connect()
    assert line.pdus() == [modbus.ReadHoldingRegisters(2008, 1).pdu]
    line.reactor.stream_down(0)
    line.go(0.1)
    assert line.outcomes() == [(0, UNKNOWN, quality.LOST)]


def test_what_waits_for_a_connection_is_sent_once_it_is_there():
    line = Line(connected=False)
    line.call(SETPOINT)
    assert line.sent == []
    line.connect()
    assert line.pdus() == [SETPOINT]


def test_what_waits_for_a_connection_fails_when_that_is_refused():
    line = Line(connected=False)
    line.call(SETPOINT)
    line.reactor.stream_down(0, quality.REFUSED)
    assert line.outcomes() == [(0, FAILED, quality.REFUSED)]
    connects = line.connects
    line.call(SETPOINT)  # the next one does not wait for the backoff
    assert line.connects == connects + 1


def test_nothing_is_sent_after_it_has_expired(line):
    line.call(READ, timeout=2.0)
    line.call(SETPOINT, 1, expires=0.5)
    line.go(0.6)
    assert line.outcomes() == [(1, FAILED, quality.TIMEOUT)]
    line.answer(b"\x03\x04\0\0\0\0")
    assert line.sent == []


def test_a_cancelled_call_is_not_sent(line):
    line.call(READ)
    line.call(SETPOINT, 1)
    line.reactor.cancel_call(1)
    line.answer(b"\x03\x04\0\0\0\0")
    assert line.sent == []
    assert sorted(line.outcomes()) == [(0, ANSWERED, 0), (1, FAILED, quality.TIMEOUT)]


def test_a_slot_keeps_to_its_unit_while_it_is_under_way(line):
    line.call(SETPOINT)
    with pytest.raises(ValueError, match="another unit"):
        line.call(SETPOINT, unit=2)
    with pytest.raises(ValueError, match="253 bytes"):
        line.call(bytes(254), 1)
    with pytest.raises(IndexError):
        line.call(SETPOINT, 8)


def test_a_slot_keeps_to_its_unit_until_its_outcome_is_taken(line):
    """Otherwise the newer request, which waits for that, would be sent to the older one's unit."""
    line.call(SETPOINT)
    line.answer(SETPOINT)
    with pytest.raises(ValueError, match="to another unit"):
        line.call(SETPOINT, unit=2)
    assert line.outcomes() == [(0, ANSWERED, quality.GOOD)]
    line.call(SETPOINT, unit=2)
    assert [unit for _, unit, _ in line.sent] == [2]


def test_two_silent_calls_in_a_row_end_the_connection(line):
    for slot in range(2):
        line.call(READ, slot, timeout=0.5)
        line.go(0.5)
    assert line.closes == 1


def test_where_identifiers_are_0_an_answer_with_0_counts_and_a_doubtful_one_closes_the_link():
    line = Line(zero_ids=1)
    line.call(READ)
    line.sent[0] = (0, *line.sent[0][1:])
    line.answer(b"\x03\x04\x00\x01\x00\x02")
    assert line.reactor.take_calls() == [(0, ANSWERED, quality.GOOD, b"\x03\x04\x00\x01\x00\x02")]
    assert line.closes == 0
    for doubtful in (b"\x03\x02\x00\x01", b"\x04\x04\0\0\0\0", b"\x83\x05"):
        line.call(READ)
        line.sent[0] = (0, *line.sent[0][1:])
        before = line.closes
        line.answer(doubtful)
        assert line.closes == before + 1
        assert len(line.outcomes()) == 1
        line.go(60)
        line.reactor.stream_up(0)


def test_a_write_with_a_doubtful_answer_with_identifier_0_is_read_back_on_a_new_connection():
    line = Line(zero_ids=1)
    line.call(SETPOINT)
    line.sent[0] = (0, *line.sent[0][1:])
    line.answer(b"\x06\x07\xd8\0\x31")  # another value: perhaps the answer to an earlier write
    assert line.closes == 1
    line.sent.clear()
    line.go(1)
    line.reactor.stream_up(0)
    line.go()
    assert line.pdus() == [b"\x03\x07\xd8\0\x01"]
    line.answer(b"\x03\x02\0\x32")
    assert line.outcomes() == [(0, CONFIRMED, quality.MISMATCH)]
