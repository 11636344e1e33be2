"""Devices that only a quirk of their profile makes readable, and what the quirk must not let through."""

import pytest

from tests.support.one_device import COUNT, poll


def answering(make):
    """Answer every request with ``make(request)``."""

    async def answer(peer):
        while True:
            await peer.send(make(await peer.request()))

    return answer


def test_a_device_that_answers_with_id_0_is_read_with_the_quirk():
    reasons, connections = poll(answering(lambda r: r.reply(transaction_id=0)), transaction_id="zero")
    assert reasons == ["good", "good"]
    assert connections == 1


ZERO_ID_STRAYS = {
    "late reply": lambda r, held: held.reply([7] * COUNT, transaction_id=0) if held else b"",
    "wrong unit": lambda r, held: r.reply(transaction_id=0, unit_id=9),
    "other length": lambda r, held: r.reply(pdu=bytes([3, 18]) + bytes(18), transaction_id=0),
    "other function": lambda r, held: r.reply(pdu=bytes([4, 20]) + bytes(20), transaction_id=0),
}


@pytest.mark.parametrize("name", ZERO_ID_STRAYS)
def test_with_id_0_whatever_could_be_another_requests_answer_closes_the_link(name):
    async def answer(peer):
        held = None
        while True:
            request = await peer.request()
            await peer.send(ZERO_ID_STRAYS[name](request, held))
            held = request

    reasons, connections = poll(answer, ticks=8, every_ms=100, timeout_ms=60, transaction_id="zero")
    assert "good" not in reasons
    assert connections > 1


def test_an_answer_under_an_alias_counts_and_one_under_another_unit_does_not():
    under = answering(lambda r: r.reply(unit_id=255))
    assert poll(under, unit_aliases=[0, 255]) == (["good", "good"], 1)
    assert poll(under, unit_aliases=[0]) == (["response does not match"] * 2, 1)
