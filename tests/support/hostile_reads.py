"""The rows of the table that a reply to a read can be: what the device does, and what must follow."""

import random
import struct

from tests.support.hostile import (
    FIN,
    FORGED,
    RST,
    SIZE,
    STALL,
    Case,
    Later,
    Outcome,
    Turn,
    Urgent,
    always,
    closes,
    fails,
    good,
    once,
)

LOST, NOT_MODBUS = "connection lost", "not Modbus"
MALFORMED, MISMATCH, TIMEOUT = "malformed response", "response does not match", "timeout"


def pdu(bytes_: bytes):
    return once(lambda t: t.reply(pdu=bytes_))


def data(registers: int, byte_count: int | None = None, size: int | None = None) -> bytes:
    """Return a read response's PDU of so many forged registers, or bytes."""
    content = struct.pack(f">{registers}H", *FORGED[:1] * registers) if size is None else bytes(size)
    return bytes([3, len(content) if byte_count is None else byte_count]) + content


def with_length(turn: Turn, length: int) -> bytes:
    """Return the true reply with another length in its header."""
    true = turn.reply()
    return true[:4] + struct.pack(">H", length) + true[6:]


def forged(turn: Turn, transaction_id: int) -> bytes:
    """Return a frame that answers nothing: an identifier used of late would, so that becomes another."""
    near = (turn.unissued - transaction_id) & 0xFFFF < 64
    return turn.reply(FORGED, transaction_id=turn.id + 999 if near else transaction_id)


def unsolicited(turn: Turn) -> bytes:
    pdu_size, rest = 3, bytes([turn.request.unit_id]) + b"\x83\x02"
    ids = (turn.unissued + n & 0xFFFF for n in range(50_000))
    return b"".join(struct.pack(">HHH", id_, 0, pdu_size) + rest for id_ in ids)


def echo(t: Turn) -> bytes:
    r = t.request
    return struct.pack(">HHHBBHH", r.transaction_id, 0, 6, r.unit_id, 3, r.address, r.quantity)


def swapped(transaction_id: int) -> int:
    return (transaction_id & 0xFF) << 8 | transaction_id >> 8


# Nothing here waits for a deadline: all of it is over long before the timeout.
AT_ONCE = [
    Case(1, "reply byte by byte", once(lambda t: [bytes([b]) for b in t.reply()]), good()),
    Case(2, "split inside the header", once(lambda t: [(a := t.reply())[:4], a[4:]]), good()),
    Case(2, "split inside the body", once(lambda t: [(a := t.reply())[:15], a[15:]]), good()),
    Case(3, "reply and FIN in one go", once(lambda t: [t.reply(), FIN]), Outcome("good", LOST, connects=2)),
    Case(4, "FIN after 4 header bytes", once(lambda t: [t.reply()[:4], FIN]), closes(LOST)),
    Case(5, "FIN in the body", once(lambda t: [t.reply()[:15], FIN]), closes(LOST)),
    Case(6, "RST in the body", once(lambda t: [t.reply()[:15], RST]), closes(LOST)),
    Case(7, "RST on the request", once(lambda t: [RST]), closes(LOST)),
    Case(8, "FIN on the request", once(lambda t: [FIN]), closes(LOST)),
    Case(14, "duplicate reply", once(lambda t: t.reply() * 2), good(late=1)),
    Case(15, "second frame foreign", once(lambda t: t.reply() + forged(t, t.id + 999)), good(foreign=1)),
    Case(16, "foreign frame first", once(lambda t: forged(t, t.id + 999) + t.reply()), good(foreign=1)),
    Case(
        17,
        "the next identifier pre-played",
        once(lambda t: t.reply() + t.reply(FORGED, transaction_id=t.unissued)),
        good(foreign=1),
    ),
    Case(21, "protocol id 1", once(lambda t: (a := t.reply())[:2] + b"\0\1" + a[4:]), closes(NOT_MODBUS)),
    Case(22, "wrong unit", once(lambda t: t.reply(FORGED, unit_id=9)), fails(MISMATCH)),
    Case(23, "exception without code", pdu(b"\x83"), fails(MALFORMED)),
    Case(24, "exception code 0", pdu(b"\x83\x00"), fails("unknown exception", exceptions=1)),
    Case(25, "exception code 255", pdu(b"\x83\xff"), fails("unknown exception", exceptions=1)),
    Case(26, "exception for another function", pdu(b"\x84\x02"), fails(MISMATCH)),
    Case(27, "exception with trailing bytes", pdu(b"\x83\x02\x00"), fails(MALFORMED)),
    Case(28, "nine registers for ten", pdu(data(9)), fails(MALFORMED)),
    Case(29, "eleven registers for ten", pdu(data(11)), fails(MALFORMED)),
    Case(30, "odd byte count 21", pdu(data(0, size=21)), fails(MALFORMED)),
    Case(31, "byte count 20, data 18", pdu(data(9, 20)), fails(MALFORMED)),
    Case(32, "byte count 20, data 22", pdu(data(11, 20)), fails(MALFORMED)),
    Case(33, "byte count 18, data 20", pdu(data(10, 18)), fails(MALFORMED)),
    Case(34, "byte count 0", pdu(data(0)), fails(MALFORMED)),
    Case(35, "function code only", pdu(b"\x03"), fails(MALFORMED)),
    Case(36, "length 0", once(lambda t: with_length(t, 0)), closes(NOT_MODBUS)),
    Case(37, "length 1", once(lambda t: with_length(t, 1)), closes(NOT_MODBUS)),
    Case(38, "length 65535", once(lambda t: with_length(t, 65535)), closes(NOT_MODBUS)),
    Case(
        39, "length 300 and 300 bytes", once(lambda t: with_length(t, 300) + bytes(300)), closes(NOT_MODBUS)
    ),
    Case(39, "length 255", once(lambda t: with_length(t, 255)), closes(NOT_MODBUS)),
    Case(
        40,
        "length 10 too small",  # a whole frame of the wrong size, then its rest, which is no header
        once(lambda t: with_length(t, 2 * SIZE + 3 - 10)),
        closes(NOT_MODBUS, malformed=1),
    ),
    Case(42, "1 KB of random bytes", once(lambda t: random.Random(42).randbytes(1024)), closes(NOT_MODBUS)),
    Case(43, "8 MB of zeros", once(lambda t: bytes(8_000_000)), closes(NOT_MODBUS)),
    Case(44, "50,000 unsolicited frames", once(unsolicited), closes(NOT_MODBUS, foreign=8)),
    Case(
        45,
        "RTU frame with CRC",
        once(lambda t: bytes([1, 3, 2 * SIZE]) + bytes(2 * SIZE) + b"\xa3\x67"),
        closes(NOT_MODBUS),
    ),
    Case(46, "HTTP", once(lambda t: b"HTTP/1.1 400 Bad Request\r\n\r\n"), closes(NOT_MODBUS)),
    Case(46, "SSH banner", once(lambda t: b"SSH-2.0-OpenSSH_9.2\r\n"), closes(NOT_MODBUS)),
    Case(46, "telnet", once(lambda t: b"\xff\xfd\x18\xff\xfd\x20login: "), closes(NOT_MODBUS)),
    Case(47, "request echoed", once(echo), fails(MALFORMED)),
    # Asked again within the tick, after a wait; the answer to the first request is nobody's.
    Case(
        49,
        "exception 5, then the reply",
        once(lambda t: t.reply(pdu=b"\x83\x05") + t.reply(FORGED)),
        good(exceptions=1, late=1),
    ),
    Case(55, "function 4 for 3", pdu(b"\x04" + data(SIZE)[1:]), fails(MISMATCH)),
    Case(56, "write echo for a read", pdu(b"\x06\x07\xd0\x00\x01"), fails(MISMATCH)),
    # The block is cut until each register is refused by itself: 1 + 2 + … requests, 19 of them.
    Case(
        57,
        "legal exception 2",
        always(lambda t: t.reply(pdu=b"\x83\x02")),
        Outcome(refused := "exception 2 illegal data address", after=refused, counted={"exceptions": 19}),
    ),
    Case(58, "plain good reply", lambda t: None, good()),
    Case(69, "urgent byte before the reply", once(lambda t: [Urgent(b"!"), t.reply()]), good()),
    Case(
        69,
        "urgent byte in the reply",
        once(lambda t: [(a := t.reply())[:9], Urgent(b"!"), a[9:]]),
        good(),
    ),
]


def late_while_idle(turn: Turn) -> list:
    return [Later(DEADLINE_S + 0.06, turn.reply())]


def late_before_the_next(turn: Turn) -> list | None:
    if turn.nth == 0:
        turn.held.append(turn.reply())
        return []
    return [turn.held.pop() + turn.reply()] if turn.held else None


def one_behind(turn: Turn) -> list:
    turn.held.append(turn.reply())
    return [turn.held.pop(0)] if len(turn.held) > 1 else []


def slow_loris(turn: Turn) -> list:
    return [step for byte in turn.reply() for step in (bytes([byte]), 0.05)]


DEADLINE_S = 0.2
SILENT = fails(TIMEOUT, timeouts=1)
STUCK = closes(TIMEOUT, timeouts=1)  # half a frame at the deadline: the stream is given up

# These run into the deadline, and end there.
AT_THE_DEADLINE = [
    Case(9, "half a frame, then silence", once(lambda t: [t.reply()[:20], STALL]), STUCK),
    Case(10, "silence", once(lambda t: []), SILENT),
    Case(11, "late reply while idle", once(late_while_idle), fails(TIMEOUT, timeouts=1, late=1)),
    Case(12, "late reply before the next", late_before_the_next, fails(TIMEOUT, timeouts=1, late=1)),
    Case(
        13,
        "one reply behind for ever",
        one_behind,
        # Given up after the second timeout in a row, and once more from the start.
        Outcome(TIMEOUT, after=TIMEOUT, connects=2, counted={"timeouts": 3, "late": 1}),
        # The replies to the others say that the link is alive.
        Outcome(TIMEOUT, after=TIMEOUT, counted={"timeouts": 3, "late": 2}),
    ),
    Case(
        18,
        "wrong identifier only",
        once(lambda t: forged(t, t.id + 999)),
        fails(TIMEOUT, timeouts=1, foreign=1),
    ),
    Case(
        18,
        "wrong in the high byte of its identifier",
        once(lambda t: forged(t, t.id ^ 0x8000)),
        fails(TIMEOUT, timeouts=1, foreign=1),
    ),
    Case(19, "identifier 0", once(lambda t: forged(t, 0)), fails(TIMEOUT, timeouts=1, foreign=1)),
    Case(
        20,
        "identifier byte-swapped",
        once(lambda t: forged(t, swapped(t.id))),
        fails(TIMEOUT, timeouts=1, foreign=1),
    ),
    Case(
        41,
        "length 2 too big",
        once(lambda t: with_length(t, 2 * SIZE + 3 + 2)),
        STUCK,
        # It swallows the next frame's first bytes: whole, and wrong; and what follows is no header.
        closes(NOT_MODBUS, malformed=1),
    ),
    Case(48, "slow-loris", once(slow_loris), STUCK),
    Case(58, "plain good reply", lambda t: None, good()),
]
