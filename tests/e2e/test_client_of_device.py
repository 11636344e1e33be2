"""A client made from a site file's device has that device's quirks."""

import asyncio

import pytest

from fluxfast.client import Client
from fluxfast.errors import NoAnswerError, ResponseMismatchError
from tests.support.fleets import device, registers
from tests.support.scripted import Peer, serving


def read(answer, **quirks) -> tuple[int, ...]:
    async def run(port: int) -> tuple[int, ...]:
        one = device("d", registers(0, 4, **quirks), port, timeout_ms=300, retry_count=0)
        async with Client.of(one) as client:
            return await client.read_holding_registers(2, 2)

    with serving(answer) as server:
        return asyncio.run(run(server.port))


async def as_unit_255(peer: Peer) -> None:
    while True:
        request = await peer.request()
        await peer.send(request.reply(unit_id=255))


async def without_ids(peer: Peer) -> None:
    while True:
        request = await peer.request()
        await peer.send(request.reply(transaction_id=0))


def test_it_takes_answers_of_its_aliases_only() -> None:
    assert read(as_unit_255, unit_aliases=(255,)) == (2, 3)
    assert read(as_unit_255, unit_aliases=(0, 255)) == (2, 3)
    with pytest.raises(ResponseMismatchError):
        read(as_unit_255, unit_aliases=(0,))
    with pytest.raises(ResponseMismatchError):
        read(as_unit_255)


def test_it_takes_answers_without_numbers_only_where_the_device_has_none() -> None:
    assert read(without_ids, transaction_id="zero") == (2, 3)
    with pytest.raises(NoAnswerError):
        read(without_ids)
