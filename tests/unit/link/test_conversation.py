"""The conversation without sockets: which reply answers which request, whatever way the bytes come."""

import random
import struct

import numpy as np
import pytest

from fluxfast.constants import MAX_IN_FLIGHT
from fluxfast.plan.structs import BLOCK
from fluxfast.table import quality

SECOND = 1_000_000_000
BLOCKS = np.zeros(40, BLOCK)
BLOCKS["timeout_ns"] = SECOND
BLOCKS["address"] = np.arange(40) * 100
BLOCKS["quantity"] = np.arange(40) * 3 + 1
BLOCKS["unit_id"] = np.arange(40) + 1
BLOCKS["aliases"] = BLOCKS["unit_id"][:, None]
BLOCKS["function_code"] = 3


@pytest.fixture
def talk(driver):
    return lambda first_id=1000: driver.Talk(BLOCKS.view(np.uint8), first_id)


def reply(request, fill=None, **other):
    """Return (ADU, data) that answers a request; ``other`` replaces fields."""
    transaction_id, _, _, unit, code, address, quantity = struct.unpack(">HHHBBHH", request)
    fields = {"transaction_id": transaction_id, "unit": unit, "code": code, "quantity": quantity} | other
    data = b"".join(struct.pack(">H", (address + i) & 0xFFFF) for i in range(fields["quantity"]))
    pdu = bytes([fields["code"], len(data)]) + data
    header = struct.pack(">HHHB", fields["transaction_id"], 0, len(pdu) + 1, fields["unit"])
    return header + pdu, data


def feed_in_pieces(conversation, stream, choose):
    events, at = [], 0
    while at < len(stream):
        size = choose.choice([1, 2, 3, 7, 50, 300, 5000])
        events += conversation.feed(stream[at : at + size])
        assert conversation.held < 260
        at += size
    return events


@pytest.mark.parametrize("seed", range(30))
def test_each_request_gets_its_own_reply_in_any_order_and_any_pieces(talk, seed):
    """Over the wrap of the transaction identifier too, with frames that answer nothing in between."""
    choose = random.Random(seed)
    conversation = talk(65500)
    for _ in range(20):
        blocks = choose.sample(range(40), MAX_IN_FLIGHT)
        requests = {b: conversation.request(b, 0) for b in blocks}
        assert conversation.in_flight == MAX_IN_FLIGHT
        choose.shuffle(blocks)
        stream, expected = b"", []
        for block in blocks:
            adu, data = reply(requests[block])
            if choose.random() < 0.3:
                stream += reply(requests[block], transaction_id=30000)[0]
                expected.append(("dropped", -1, quality.FRAMING))
            stream += adu
            expected.append(("reply", block, data))
        assert feed_in_pieces(conversation, stream, choose) == expected
        assert (conversation.in_flight, conversation.held) == (0, 0)


def test_identifiers_count_up_and_wrap(talk):
    conversation = talk(65535)
    seen = []
    for _ in range(3):
        request = conversation.request(0, 0)
        seen.append(int.from_bytes(request[:2]))
        assert conversation.feed(reply(request)[0])[0][0] == "reply"
    assert seen == [65535, 0, 1]


def test_identifiers_wrap_around_a_request_that_is_pending(talk):
    """Case 71: its reply finds it, and its identifier is not issued again while it is, or for long after."""
    conversation = talk(65000)
    pending = conversation.request(9, 0)
    n = 0
    while conversation.ready(2 * SECOND) <= n:
        n += 1
        request = conversation.request(n % 9, n)
        assert conversation.feed(reply(request)[0]) == [("reply", n % 9, reply(request)[1])]
    assert 50_000 < n < 65_535  # nearly once round
    assert conversation.feed(reply(pending)[0]) == [("reply", 9, reply(pending)[1])]


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"unit": 99}, quality.MISMATCH),
        ({"code": 4}, quality.MISMATCH),
        ({"quantity": 1}, quality.MALFORMED),
        ({"quantity": 100}, quality.MALFORMED),
    ],
)
def test_a_wrong_answer_fails_its_request_only(talk, other, code):
    conversation = talk()
    wrong, right = conversation.request(5, 0), conversation.request(6, 0)
    events = conversation.feed(reply(wrong, **other)[0] + reply(right)[0])
    assert events == [("failed", 5, code), ("reply", 6, reply(right)[1])]


def test_a_late_reply_is_dropped(talk):
    conversation = talk()
    request = conversation.request(1, 0)
    assert conversation.deadline == SECOND
    assert conversation.expire(SECOND - 1) is None
    assert conversation.expire(SECOND) == ("failed", 1, quality.TIMEOUT)
    assert conversation.expire(SECOND) is None
    again = conversation.request(1, SECOND)
    assert [e[0] for e in conversation.feed(reply(request)[0] + reply(again)[0])] == ["dropped", "reply"]


def test_timeouts_in_a_row_are_counted_and_a_reply_ends_the_row(talk):
    conversation = talk()
    conversation.request(1, 0)
    assert conversation.expire(SECOND)[0] == "failed"
    assert conversation.timeouts == 1
    conversation.feed(reply(conversation.request(2, 0))[0])
    assert conversation.timeouts == 0
    for block in (3, 4):
        conversation.request(block, 0)
        assert conversation.expire(SECOND)[0] == "failed"
    assert conversation.timeouts == 2


def test_an_identifier_rests_before_it_is_used_again(talk):
    """A run of 4,096 is entered again only when its last use is over for the quarantine."""
    conversation = talk(0)
    quarantine = 10 * SECOND
    for n in range(65536):
        assert conversation.ready(quarantine) == 0
        conversation.feed(reply(conversation.request(0, n))[0])
    first_run_ended = 4095
    assert conversation.ready(quarantine) == first_run_ended + quarantine


def test_half_a_frame_at_the_deadline_breaks(talk):
    conversation = talk()
    adu, _ = reply(conversation.request(1, 0))
    assert conversation.feed(adu[:-1]) == []
    assert conversation.expire(SECOND)[0] == "broken"


@pytest.mark.parametrize("count", [8, 9])
def test_frames_that_answer_nothing_break_when_there_are_nine_in_a_row(talk, count):
    conversation = talk()
    stray = reply(conversation.request(1, 0), transaction_id=7)[0]
    kinds = [event[0] for event in conversation.feed(stray * count)]
    assert kinds == (["dropped"] * 8 + ["broken"])[:count]


def test_late_and_foreign_are_told_apart(talk):
    conversation = talk(65535)
    first, second = conversation.request(1, 0), conversation.request(2, 0)  # the identifiers wrap
    conversation.feed(reply(first)[0] + reply(second)[0])
    assert conversation.feed_kinds(reply(first)[0] + reply(second)[0]) == ["late", "late"]
    for never_issued in (1, 65534):
        adu = reply(second, transaction_id=never_issued)[0]
        assert conversation.feed_kinds(adu) == ["foreign"]


def test_a_frame_before_any_request_breaks(talk):
    assert talk().feed(b"\0\1\0\0\0\3\1\x83\2") == [("broken", -1, quality.FRAMING)]


@pytest.mark.parametrize("seed", range(200))
def test_noise_is_never_a_reply(talk, seed):
    """Random bytes, and good frames with one byte changed: a reply only ever has the data of its request."""
    choose = random.Random(seed)
    conversation = talk(seed)
    request = conversation.request(7, 0)
    good, data = reply(request)
    stream = bytearray(good if seed % 2 else choose.randbytes(choose.randrange(1, 600)))
    stream[choose.randrange(len(stream))] ^= choose.randrange(1, 256)
    for kind, block, what in feed_in_pieces(conversation, bytes(stream), choose):
        if kind == "reply":  # only where the changed byte was one of the data
            assert (block, len(what)) == (7, len(data))
            assert bytes(stream[:9]) == good[:9]
        if kind == "broken":
            break


def test_late_answers_are_no_strays_as_long_as_requests_are_owed_them(talk):
    """A slow device answers each request after its time: the stream is sound, whatever the count."""
    conversation = talk()
    for n in range(50):
        late = reply(conversation.request(1, n * 2 * SECOND))[0]
        assert conversation.expire(n * 2 * SECOND + SECOND) == ("failed", 1, quality.TIMEOUT)
        assert conversation.feed_kinds(late) == ["late"]
    # But each only once: more of the same is nobody's answer.
    assert conversation.feed_kinds(late * 9) == ["late"] * 8 + ["broken"]
