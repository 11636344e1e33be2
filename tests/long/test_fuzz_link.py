"""Seeded fuzzing of the link: conversation, calls and the stream path of the reactor take any bytes.

What counts as an answer is said here once more, by the readable codec. All bytes come in buffers without
slack: an overread is visible under the sanitizers.
"""

import random
import struct
import time
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fuzz_modbus import REQUESTS, damaged, heap, response

from fluxfast import modbus
from fluxfast.errors import ExceptionResponseError, FluxfastError, FramingError
from fluxfast.link.counters import read_counters
from fluxfast.link.reactor import Reactor
from fluxfast.modbus import reference
from fluxfast.plan import structs
from fluxfast.table import quality
from tests.simulation.fleet import Columns, Fleet, make_fleet, make_reactor
from tests.unit.link.conftest import compiled

SECONDS = 6
SECOND = 1_000_000_000
BLOCKS = np.zeros(6, structs.BLOCK)
BLOCKS["timeout_ns"] = SECOND
BLOCKS["quantity"] = (1, 2, 2, 9, 16, 125)
BLOCKS["unit_id"] = BLOCKS["aliases"][:, 0] = BLOCKS["aliases"][:, 1] = (1, 1, 2, 3, 0, 255)
BLOCKS["function_code"] = (3, 4, 3, 1, 2, 3)
READS = (1, 2, 3, 4, 43)
ANSWERED, FAILED, CONFIRMED, DIFFERS, UNKNOWN = range(5)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return compiled("driver", tmp_path_factory)


def pieces(rng: random.Random, stream: bytes) -> list[bytes]:
    cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.choice((0, 1, 4, 20))))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def read_response(rng: random.Random, block: np.void) -> bytes:
    size = 2 * block["quantity"] if block["function_code"] > 2 else (block["quantity"] + 7) // 8
    return bytes([block["function_code"], size]) + rng.randbytes(size)


class Expected:
    """What the events of a conversation must be, frame by frame."""

    def __init__(self) -> None:
        self.splitter = reference.MbapSplitter()
        self.in_flight: dict[int, int] = {}
        self.strays = 0

    def feed(self, data: bytes) -> list[tuple[str, int, object]]:
        events: list[tuple[str, int, object]] = []
        # Byte by byte: the frames before a broken one count.
        for at in range(len(data)):
            try:
                adus = self.splitter.feed(data[at : at + 1])
            except FramingError:
                return [*events, ("broken", -1, quality.FRAMING)]
            for adu in adus:
                events.append(self.judge(*modbus.parse_mbap(adu)))
                if events[-1][0] == "broken":
                    return events
        return events

    def judge(self, transaction_id: int, unit_id: int, pdu: bytes) -> tuple[str, int, object]:
        number = self.in_flight.pop(transaction_id, None)
        if number is None:
            self.strays += 1
            return ("broken" if self.strays > 8 else "dropped", -1, quality.FRAMING)
        self.strays = 0
        block = BLOCKS[number]
        code = block["function_code"]
        if unit_id != block["unit_id"] or pdu[0] & 0x7F != code:
            return "failed", number, quality.MISMATCH
        if pdu[0] & 0x80:
            if len(pdu) != 2:
                return "failed", number, quality.MALFORMED
            return "failed", number, quality.EXCEPTION + (pdu[1] if pdu[1] <= 62 else 0)
        size = 2 * block["quantity"] if code > 2 else (block["quantity"] + 7) // 8
        if len(pdu) != 2 + size or pdu[1] != size:
            return "failed", number, quality.MALFORMED
        return "reply", number, pdu[2:]


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_any_bytes_make_the_events_that_the_readable_codec_says(driver: ModuleType, seed: int) -> None:
    rng = random.Random(seed)
    end = time.monotonic() + SECONDS
    replies = 0
    while time.monotonic() < end:
        talk, expected = driver.Talk(BLOCKS.view(np.uint8), rng.randrange(65536)), Expected()
        for _ in range(rng.randrange(1, 6)):
            frames = []
            for number in rng.sample(range(6), rng.randrange(1, 6 - talk.in_flight // 3)):
                if talk.in_flight == 16:
                    break
                transaction_id, unit_id = struct.unpack_from(">H4xB", talk.request(number, 0))
                expected.in_flight[transaction_id] = number
                pdu = read_response(rng, BLOCKS[number])
                frames.append(modbus.build_mbap(transaction_id, unit_id, pdu))
            rng.shuffle(frames)
            stream = b"".join(frames) * rng.choice((1, 1, 1, 2))
            if rng.random() < 0.8:
                stream = damaged(rng, stream)
            found, wanted = [], []
            for piece in pieces(rng, stream + rng.randbytes(rng.choice((0, 0, 0, 3, 300)))):
                found += talk.feed(piece)
                wanted += expected.feed(piece)
                assert talk.held < 260
                if wanted and wanted[-1][0] == "broken":
                    break
            assert found == wanted
            replies += sum(event[0] == "reply" for event in found)
            if wanted and wanted[-1][0] == "broken":
                break
    assert replies > 100


def outcome_of(request: modbus.Request, pdu: bytes, answer: bytes) -> tuple[int, ...]:
    """What an answer PDU may be to a request that has no time to be read back."""
    doubtful = (FAILED,) if request.function_code in READS else (UNKNOWN,)
    if len(answer) == 2 and answer[0] == pdu[0] | 0x80:
        return doubtful if answer[1] == 11 and doubtful == (UNKNOWN,) else (ANSWERED,)
    if answer[0] != pdu[0]:
        return doubtful
    if request.function_code in (23, 43):  # their answers are judged by parse_response, in the client
        return (ANSWERED,)
    try:
        request.parse_response(answer)
    except ExceptionResponseError:
        raise AssertionError from None
    except FluxfastError:
        return doubtful
    return (ANSWERED,)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_any_answer_to_a_call_ends_it_as_what_it_is(seed: int) -> None:
    rng = random.Random(seed)
    none, words = np.empty(0, np.uint8), np.empty(0, np.uint64)
    link = np.zeros(1, structs.LINK)
    link["timeout_ns"], link["n_units"], link["max_in_flight"] = SECOND, 1, 1
    reactor = Reactor(link.view(np.uint8), none, none, none, words, none, words, None, 0.0, SECOND, seed, 1)
    now = SECOND
    reactor.set_clock(now)
    reactor.set_stream(0)
    end = time.monotonic() + SECONDS
    outcomes = [0] * 5
    while time.monotonic() < end:
        now += SECOND
        reactor.set_clock(now)
        reactor.process()
        sent = b""
        if any(connect for _, connect, _, _, _ in reactor.take_wishes()):
            reactor.stream_up(0)
        if reactor.failure(0):
            continue
        request = rng.choice(REQUESTS)
        # It expires with the answer: nothing is read back.
        reactor.call(0, 0, 7, request.pdu, SECOND, now + 1)
        for _, _, data, _, _ in reactor.take_wishes():
            sent += data
        assert sent[7:] == request.pdu
        answer = damaged(rng, response(rng.choice((request, request, rng.choice(REQUESTS)))))[:253]
        answer = answer or rng.randbytes(1)
        now += 1
        reactor.set_clock(now)
        for piece in pieces(rng, modbus.build_mbap(int.from_bytes(sent[:2]), 7, answer)):
            reactor.stream_data(0, heap(piece))
        ((_, outcome, _, told),) = reactor.take_calls()
        assert outcome in outcome_of(request, request.pdu, answer), (request.pdu, answer)
        assert told == (answer if outcome == ANSWERED else b"")
        outcomes[outcome] += 1
    assert outcomes[CONFIRMED] == outcomes[DIFFERS] == 0
    assert min(outcomes[ANSWERED], outcomes[FAILED], outcomes[UNKNOWN]) > 20


class Replay:
    """One link of a random fleet, which is fed the same bytes in other pieces."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.fleet: Fleet = make_fleet(rng)
        self.columns = Columns(self.fleet)
        self.reactor = make_reactor(self.fleet, self.columns, 0.0, SECOND, seed, 0)
        self.reactor.set_clock(SECOND)
        self.reactor.set_stream(0)
        self.reactor.process()
        self.reactor.take_wishes()
        self.reactor.stream_up(0)
        self.reactor.set_clock(2 * SECOND)  # past the connect_delay
        self.reactor.begin_tick(0)
        self.reactor.set_clock(2 * SECOND + self.fleet.links[0].phase_ns)
        self.reactor.process()

    def sent(self) -> bytes:
        return b"".join(data for _, _, data, _, _ in self.reactor.take_wishes())

    def state(self) -> tuple[object, ...]:
        units, links = read_counters(self.reactor, len(self.fleet.units))
        # What has been asked for meanwhile depends on the pieces, and so does which cells a unit's end marks.
        counted = units[["replies", "exceptions", "malformed"]].tolist(), links.tolist()
        return self.columns.values.tobytes(), self.reactor.failure(0), counted


def damaged_replies(rng: random.Random, sent: bytes) -> bytes:
    replies = b""
    while sent:
        transaction_id, _, unit_id, code, _, quantity = struct.unpack_from(">HIBBHH", sent)
        pdu = bytes([code, 2 * quantity]) + rng.randbytes(2 * quantity)
        if rng.random() < 0.1:
            pdu = bytes([code | 0x80, rng.choice((1, 2, 3, 4))])
        replies += modbus.build_mbap(transaction_id, unit_id, pdu)
        sent = sent[12:]
    return damaged(rng, replies) if rng.random() < 0.5 else replies


def check_any_split(seed: int, rng: random.Random) -> None:
    """However the bytes are cut, values, counters and link are the same after them."""
    whole, cut = Replay(seed), Replay(seed)
    sent = whole.sent()
    assert sent
    assert sent == cut.sent()
    # The tick is over: no request goes out between two pieces, whose identifier damage could hit.
    whole.reactor.end_tick()
    cut.reactor.end_tick()
    stream = damaged_replies(rng, sent)
    whole.reactor.stream_data(0, heap(stream))
    for piece in pieces(rng, stream):
        cut.reactor.stream_data(0, heap(piece))
    assert whole.state() == cut.state()


@given(st.integers(0, 2**32), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_however_the_bytes_are_cut_the_values_are_the_same(seed: int, rng: random.Random) -> None:
    check_any_split(seed, rng)


@pytest.mark.long
def test_however_thousands_of_streams_are_cut_the_values_are_the_same() -> None:
    rng = random.Random(3)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        check_any_split(rng.randrange(2**32), rng)
