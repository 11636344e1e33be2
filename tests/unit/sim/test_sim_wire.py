"""The stream: pieces, heaps, garbage, and peers that do not read."""

import random
import socket
import struct
import time

import pytest

from fluxfast.sim import Simulator
from tests.support.raw_modbus import HOST, Raw, adu

GOOD = adu(bytes.fromhex("03 0000 0001"))


def test_byte_by_byte(raw: Raw) -> None:
    for _ in range(3):
        for byte in GOOD:
            raw.send(bytes((byte,)))
        assert raw.receive(11).hex() == "000700000005010302" + "0000"


@pytest.mark.parametrize("cut", range(1, 24))
def test_two_requests_cut_anywhere(raw: Raw, cut: int) -> None:
    stream = GOOD + adu(bytes.fromhex("06 0000 0102"), transaction_id=8)
    raw.send(stream[:cut])
    time.sleep(0.002)
    raw.send(stream[cut:])
    assert raw.receive(11)[:2] == b"\0\7"
    assert raw.receive(12) == stream[12:]


def test_pipelined_requests_are_answered_in_order(raw: Raw) -> None:
    numbers = range(1000, 3000)
    raw.send(b"".join(adu(bytes.fromhex("03 0000 0037"), 1 + n % 2, n) for n in numbers))
    for n in numbers:
        answer = raw.receive(9 + 110)
        assert struct.unpack(">HHHBBB", answer[:9]) == (n, 0, 113, 1 + n % 2, 3, 110)


def test_a_write_is_seen_by_the_next_request_of_the_same_segment(raw: Raw) -> None:
    raw.send(adu(bytes.fromhex("06 0000 1111")) + GOOD + adu(bytes.fromhex("06 0000 2222")) + GOOD)
    stream = raw.receive(2 * (12 + 11))
    assert (stream[21:23].hex(), stream[44:46].hex()) == ("1111", "2222")


@pytest.mark.parametrize(
    "garbage",
    [
        "0007 0001 0006",
        "0007 0100 0006",
        "0007 0000 0000",
        "0007 0000 0001",
        "0007 0000 00FF",
        "0007 0000 FFFF",
        "0007 0000 01",
        "0007 00 01",
        "01 03 07D0 000A C480",
        b"GET / HTTP/1.1\r\n\r\n".hex(),
        "FF" * 1000,
    ],
)
def test_broken_framing_closes(raw: Raw, everything: Simulator, garbage: str) -> None:
    raw.send(bytes.fromhex(garbage))
    assert raw.is_closed()
    assert everything.counters().broken == 1


def test_what_came_before_the_garbage_is_answered(raw: Raw) -> None:
    raw.send(GOOD + b"\0\7\0\1\0\6" + GOOD)
    assert len(raw.receive(11)) == 11
    assert raw.is_closed()


def test_others_do_not_notice(everything: Simulator, raw: Raw, port: int) -> None:
    other = Raw(HOST, port)
    other.send(GOOD[:5])
    raw.send(b"\1\1\1\1\1\1")
    assert raw.is_closed()
    other.send(GOOD[5:])
    assert len(other.receive(11)) == 11
    other.close()
    assert everything.counters().accepted == 2


def test_a_half_closed_peer_still_gets_its_answer(raw: Raw) -> None:
    raw.send(GOOD)
    raw.socket.shutdown(socket.SHUT_WR)
    assert len(raw.receive(11)) == 11
    assert raw.is_closed()


def flood(raw: Raw) -> int:
    """Send reads without receiving until the server stops taking them; return how many it was sent."""
    request = adu(bytes.fromhex("03 0000 0037")) * 100
    raw.socket.settimeout(1)
    sent = 0
    try:
        while sent < 64 << 20:
            sent += raw.socket.send(request[sent % 12 :])
    except TimeoutError:
        return sent
    pytest.fail("the server takes requests for ever")


def test_a_peer_that_reads_late_gets_every_answer(raw: Raw) -> None:
    whole = flood(raw) // 12
    raw.socket.settimeout(30)
    for _ in range(whole):
        assert raw.receive(119)[:2] == b"\0\7"


@pytest.mark.long
def test_a_peer_that_never_reads_is_closed(raw: Raw, everything: Simulator) -> None:
    flood(raw)
    deadline = time.monotonic() + 60
    while everything.counters().connections and time.monotonic() < deadline:
        time.sleep(0.1)
    assert everything.counters().connections == 0


def test_any_bytes_leave_it_alive(everything: Simulator, port: int) -> None:
    rng = random.Random(20)
    for _ in range(400):
        client = Raw(HOST, port)
        kind = rng.randrange(3)
        if kind == 0:
            data = rng.randbytes(rng.randrange(1, 600))
        elif kind == 1:  # whole frames with anything inside
            data = b"".join(adu(rng.randbytes(rng.randrange(1, 254)), rng.randrange(4)) for _ in range(20))
        else:  # plausible requests
            data = b"".join(
                adu(
                    bytes((rng.choice((1, 2, 3, 4, 5, 6, 15, 16, 22, 23, 43)), 0))
                    + rng.randbytes(rng.randrange(30))
                )
                for _ in range(20)
            )
        client.send(data)
        if kind:
            answered = 0
            while answered < 20:
                header = client.receive(7)
                assert header[2:4] == b"\0\0"
                size = struct.unpack(">H", header[4:6])[0]
                assert 3 <= size <= 254
                assert len(client.receive(size - 1)) == size - 1
                answered += 1
        client.close()
    last = Raw(HOST, port)
    assert last.ask(bytes.fromhex("03 0000 0001"))[0] == 3
    last.close()
