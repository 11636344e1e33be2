"""Devices that answer with transaction identifier 0, or under another unit identifier: nothing is guessed."""

import struct

import numpy as np
import pytest

from fluxfast.plan.structs import BLOCK
from fluxfast.table import quality

SECOND = 1_000_000_000
BLOCKS = np.zeros(3, BLOCK)
BLOCKS["timeout_ns"] = SECOND
BLOCKS["quantity"] = 4
BLOCKS["address"] = [100, 200, 300]
BLOCKS["unit_id"] = [1, 2, 3]
BLOCKS["function_code"] = 3
BLOCKS["aliases"] = [(1, 1), (0, 255), (255, 3)]


@pytest.fixture
def talk(driver):
    return driver.Talk(BLOCKS.view(np.uint8), 1000, zero_ids=True)


@pytest.fixture
def echoing(driver):
    return driver.Talk(BLOCKS.view(np.uint8), 1000)


def answer(request, *, id_=0, unit=None, pdu=None, quantity=4):
    data = bytes(range(2 * quantity))
    pdu = pdu or bytes([3, len(data)]) + data
    return struct.pack(">HHHB", id_, 0, len(pdu) + 1, request[6] if unit is None else unit) + pdu


def own_id(request):
    return int.from_bytes(request[:2])


@pytest.mark.parametrize("block", [0, 1])
def test_a_reply_with_id_0_is_the_one_request_s(talk, block):
    for _ in range(3):
        request = talk.request(block, 0)
        assert talk.feed(answer(request)) == [("reply", block, bytes(range(8)))]
        assert talk.in_flight == 0


def test_a_reply_with_the_request_s_own_id_counts_too(talk):
    request = talk.request(0, 0)
    assert talk.feed(answer(request, id_=own_id(request)))[0][0] == "reply"


def test_id_0_answers_no_request_of_a_device_that_echoes(echoing):
    request = echoing.request(2, 0)
    assert echoing.feed(answer(request)) == [("dropped", -1, quality.FRAMING)]
    assert echoing.feed(answer(request, id_=own_id(request)))[0][0] == "reply"


def test_a_late_reply_of_another_unit_or_for_another_length_is_never_credited(talk):
    late = talk.request(0, 0)
    talk.feed(answer(late))
    talk.request(2, 0)
    events = talk.feed(answer(late))
    assert events == [("failed", 2, quality.MISMATCH), ("broken", -1, quality.MISMATCH)]


@pytest.mark.parametrize("when", ["in one piece", "afterwards"])
def test_a_duplicate_with_id_0_breaks_the_stream(talk, when):
    request = talk.request(0, 0)
    reply = ("reply", 0, bytes(range(8)))
    broken = ("broken", -1, quality.FRAMING)
    if when == "in one piece":
        assert talk.feed(answer(request) * 2) == [reply, broken]
    else:
        assert talk.feed(answer(request)) == [reply]
        assert talk.feed(answer(request)) == [broken]


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"unit": 9}, quality.MISMATCH),
        ({"pdu": b"\4\2\0\1"}, quality.MISMATCH),
        ({"quantity": 3}, quality.MALFORMED),
        ({"pdu": b"\x83\5"}, quality.EXCEPTION + 5),  # the true reply may come yet
    ],
)
@pytest.mark.parametrize("with_own_id", [False, True])
def test_an_answer_that_does_not_match_breaks_the_stream(talk, other, code, with_own_id):
    request = talk.request(0, 0)
    adu = answer(request, id_=own_id(request) if with_own_id else 0, **other)
    assert talk.feed(adu) == [("failed", 0, code), ("broken", -1, code)]


@pytest.mark.parametrize("exception", [1, 2, 4, 6, 11])
def test_an_exception_is_an_answer(talk, exception):
    request = talk.request(0, 0)
    adu = answer(request, pdu=bytes([0x83, exception]))
    assert talk.feed(adu) == [("failed", 0, quality.EXCEPTION + exception)]


def test_the_first_timeout_breaks_the_stream(talk, echoing):
    for conversation, outcome in ((talk, "broken"), (echoing, "failed")):
        conversation.request(0, 0)
        assert conversation.expire(SECOND) == (outcome, 0, quality.TIMEOUT)


@pytest.mark.parametrize(("block", "aliases"), [(1, (0, 255)), (2, (255,))])
def test_a_reply_under_an_alias_is_the_unit_s_and_under_no_other(echoing, block, aliases):
    for unit in range(256):
        request = echoing.request(block, 0)
        (event,) = echoing.feed(answer(request, id_=own_id(request), unit=unit))
        good = unit == request[6] or unit in aliases
        assert (event[0] == "reply") == good
        if not good:
            assert event[2] == quality.MISMATCH
