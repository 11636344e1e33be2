"""The other side: connections that carry bytes in simulated time, and peers that answer well or badly.

A peer lies only in ways that the protocol can show: what it credits to a request under the right
transaction_id, unit_id, function code and length is what the unit held at that moment.
"""

import random
import struct
from typing import TYPE_CHECKING

from fluxfast.table import quality

from .fleet import CALLS_FROM, MS, WIDTH, Link, Unit

if TYPE_CHECKING:
    from .world import World

# What may become of one request.
FAULTS = (
    "slow", "late", "lost", "unanswered", "twice", "exception", "busy", "wrong_unit", "wrong_function",
    "wrong_count", "wrong_length", "wrong_echo", "foreign", "swapped", "cut", "cut_fin", "fin_first",
    "fin_after", "reset", "garbage", "bad_header", "stray", "unit_silent", "unit_gone", "deny",
)  # fmt: skip
EXCEPTIONS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 0, 63, 255)


def foreign(tid: bytes, rng: random.Random) -> bytes:
    """Another identifier, far from those that are in use or will be when it arrives."""
    return ((int.from_bytes(tid) + rng.randrange(1000, 64000)) & 0xFFFF).to_bytes(2)


class Connection:
    """One TCP connection: bytes in order, each way with its delay, cut and joined anywhere."""

    __slots__ = (
        "arrived_ns", "closed", "ended", "flushing", "inbox", "link", "mute", "number", "peer", "pending",
        "requests", "world",
    )  # fmt: skip

    def __init__(self, world: "World", peer: "Peer", number: int) -> None:
        self.world, self.peer, self.link, self.number = world, peer, peer.link.number, number
        self.closed = False  # by fluxfast
        self.ended = ""  # by the peer: what it sends when all is sent
        self.mute = False  # the peer says nothing more
        self.flushing = False
        self.inbox = b""
        self.pending = b""
        self.arrived_ns = 0
        self.requests: list[tuple[bytes, Unit | None]] = []  # (ADU, unit), newest last

    def send(self, data: bytes) -> None:
        peer = self.peer
        delay = peer.latency_ns + peer.rng.randrange(peer.jitter_ns)
        self.arrived_ns = max(self.arrived_ns, self.world.now + delay)
        self.world.at(self.arrived_ns, self.arrive, data)

    def arrive(self, data: bytes) -> None:
        data = self.inbox + data
        while len(data) > 6 and not self.ended:
            size = 6 + (data[4] << 8 | data[5])
            if len(data) < size:
                break
            self.peer.request(self, data[:size])
            data = data[size:]
        self.inbox = data

    def reply(self, data: bytes) -> None:
        if self.closed or self.mute or self.ended:
            return
        self.pending += data
        if not self.flushing:
            self.flushing = True
            self.world.at(self.world.now + self.peer.latency_ns, self.flush)

    def flush(self) -> None:
        if self.closed:
            return
        rng, peer = self.peer.rng, self.peer
        data = self.pending
        if data and rng.random() < peer.split:
            data = data[: rng.randrange(1, len(data) + 1)]
        self.pending = self.pending[len(data) :]
        self.flushing = bool(self.pending)
        if data:
            self.world.receive(self, data)
        if self.flushing:
            self.world.at(self.world.now + rng.randrange(1, peer.jitter_ns + 1), self.flush)
        elif self.ended:
            self.world.at(self.world.now, self.world.peer_ended, self)

    def end(self, how: str) -> None:
        """FIN once all is sent; or RST, which may overtake what is on its way."""
        if self.closed or self.ended:
            return
        self.ended = how
        if how == "rst" and self.peer.rng.random() < 0.5:
            self.pending = b""
        if not self.flushing:
            self.flushing = True
            self.world.at(self.world.now + self.peer.latency_ns, self.flush)


class Peer:
    """The host behind one link with its units, and its mood until the world heals."""

    def __init__(self, world: "World", link: Link, rng: random.Random) -> None:
        self.world, self.link, self.rng = world, link, rng
        self.by_id = {unit.unit_id: unit for unit in link.units}
        self.latency_ns = rng.randrange(1, 10) * MS // 10
        self.jitter_ns = rng.choice((1, MS // 10, 3 * MS))
        self.service_ns = rng.randrange(1, 5) * MS
        self.split = rng.choice((0.0, 0.1, 0.9))
        self.reorders = rng.random() < 0.3
        self.carries_out_late = rng.random() < 0.2
        self.closes_after_each = rng.random() < 0.05
        self.busy_ns = 0  # in order: one request after the other
        self.registers: dict[tuple[int | None, int], int] = {}
        self.coils: dict[tuple[int | None, int], int] = {}
        self.silent_ns: dict[int, int] = {}  # unit_id -> until when
        self.gone_ns: dict[int, int] = {}
        self.deny_ns = 0
        self.always_silent: set[int] = set()
        self.holes = {
            (unit.number, block.function_code, point)
            for unit in link.units
            for block in unit.blocks
            for point in block.points
            if rng.random() < 0.02
        }
        count = rng.choice((0, 1, 2, 4, 8))
        self.odds = dict.fromkeys(rng.sample(FAULTS, count), rng.choice((0.02, 0.1, 0.4)) / max(count, 1))
        self.accepting = dict.fromkeys(
            rng.sample(("refuse", "ignore", "late"), rng.choice((0, 0, 1, 2))), rng.choice((0.1, 0.5))
        )

    def heal(self) -> None:
        self.odds, self.accepting = {}, {}
        self.silent_ns, self.gone_ns, self.deny_ns = {}, {}, 0
        self.always_silent = set()
        self.service_ns = min(self.service_ns, MS)
        self.jitter_ns = min(self.jitter_ns, MS)
        self.closes_after_each = False

    # ---- connecting ----

    def connect(self, connection: Connection) -> None:
        world, rng = self.world, self.rng
        draw = rng.random()
        what = ""
        for name, odds in self.accepting.items():
            draw -= odds
            if draw < 0:
                what = name
                break
        if world.now < self.deny_ns:
            what = "refuse"
        after = world.now + self.latency_ns
        if what == "refuse":
            world.at(after, world.refused, connection, rng.choice((quality.REFUSED, quality.UNREACHABLE)))
        elif what == "late":
            world.at(after + rng.randrange(2 * self.link.timeout_ns), world.accepted, connection)
        elif what != "ignore":
            world.at(after, world.accepted, connection)

    # ---- answering ----

    def request(self, connection: Connection, adu: bytes) -> None:
        world, rng = self.world, self.rng
        unit = self.by_id.get(adu[6])
        connection.requests.append((adu, unit))
        what = ""
        if self.odds:
            draw = rng.random()
            for name, odds in self.odds.items():
                draw -= odds
                if draw < 0:
                    what = name
                    break
        now, timeout = world.now, self.link.timeout_ns
        unit_id = adu[6]
        if what == "unit_silent":
            self.silent_ns[unit_id] = now + rng.randrange(10 * timeout)
        elif what == "unit_gone":
            self.gone_ns[unit_id] = now + rng.randrange(10 * timeout)
        elif what == "deny":
            self.deny_ns = now + rng.randrange(5 * timeout)
            connection.end("fin")
        if now < self.silent_ns.get(unit_id, 0) or unit_id in self.always_silent or what == "lost":
            return
        if what in ("fin_first", "reset") and rng.random() < 0.5:
            connection.end("rst" if what == "reset" else "fin")
            return
        took = rng.randrange(self.service_ns)
        if what == "slow":
            took = rng.randrange(timeout)
        elif what == "late":
            took = rng.randrange(timeout, 3 * timeout)
        if not self.reorders and what != "late":  # a late one holds up nobody here: that is another peer
            self.busy_ns = took = max(self.busy_ns, now) + took
            took -= now
        if self.carries_out_late:
            world.at(now + took, self.answer, connection, adu, unit, what, None)
        else:
            world.at(now + took, self.answer, connection, adu, unit, what, self.carry_out(unit, adu, what))

    def answer(
        self, connection: Connection, adu: bytes, unit: Unit | None, what: str, pdu: bytes | None
    ) -> None:
        rng = self.rng
        if pdu is None:
            pdu = self.carry_out(unit, adu, what)
        tid, unit_id, sent = adu[:2], adu[6], b""
        if what == "unanswered":
            return
        if what == "wrong_unit":
            unit_id = (unit_id + rng.randrange(1, 256)) & 0xFF
        elif what == "wrong_function":
            # Another function than asked for, in both shapes; never the exception response to this one.
            code = rng.choice([c for c in (1, 3, 4, 16, 43, 0x83, 0x84, 0x90) if c & 0x7F != pdu[0] & 0x7F])
            pdu = bytes([code]) + pdu[1:]
        elif what == "wrong_count" and len(pdu) > 2:
            pdu = pdu[:1] + bytes([(pdu[1] + rng.randrange(1, 256)) & 0xFF]) + pdu[2:]
        elif what == "wrong_length":
            pdu = pdu[:-1] if len(pdu) > 2 and rng.random() < 0.5 else pdu + b"\0"
        elif what == "wrong_echo" and adu[7] in (5, 6, 15, 16, 22) and len(pdu) > 2:
            at = rng.randrange(1, len(pdu))
            pdu = pdu[:at] + bytes([pdu[at] ^ (1 + rng.randrange(255))]) + pdu[at + 1 :]
        elif what == "foreign":
            tid = foreign(tid, rng)
        elif what == "swapped":
            other, _ = rng.choice(connection.requests[-16:])
            if other[6] != adu[6] or other[7] != adu[7]:
                tid = other[:2]
        elif what == "stray":
            sent = foreign(tid, rng) + b"\0\0\0\3" + bytes([unit_id, 0x83, 2])
        header = tid + struct.pack(">HHB", 0, len(pdu) + 1, unit_id)
        if what == "bad_header":
            at = rng.choice((2, 3, 4))
            header = header[:at] + bytes([rng.randrange(1, 256)]) + header[at + 1 :]
        frame = sent + header + pdu
        if what == "twice":
            frame *= rng.choice((2, 2, 3, 12))
        elif what == "garbage":
            frame = rng.randbytes(rng.randrange(1, 600))
        elif what in ("cut", "cut_fin"):
            frame = frame[: rng.randrange(len(frame))]
        connection.reply(frame)
        if what == "cut":
            connection.mute = True
        elif what in ("cut_fin", "fin_after", "fin_first") or self.closes_after_each:
            connection.end("fin")
        elif what == "reset":
            connection.end("rst")

    def carry_out(self, unit: Unit | None, adu: bytes, what: str) -> bytes:
        """Do what the request says, and return the response PDU."""
        pdu = adu[7:]
        code = pdu[0]
        if self.world.now < self.gone_ns.get(adu[6], 0) or unit is None:
            return bytes([code | 0x80, self.rng.choice((10, 11))])
        if what == "exception" or what == "busy":
            refusal = self.rng.choice((5, 6)) if what == "busy" else self.rng.choice(EXCEPTIONS)
            if refusal == 11 and self.rng.random() < 0.5:
                self.do(unit, pdu)  # a gateway whose device did it, and was not heard
            return bytes([code | 0x80, refusal])
        return self.do(unit, pdu)

    def do(self, unit: Unit, pdu: bytes) -> bytes:
        world = self.world
        world.moment += 1
        code, number = pdu[0], unit.number
        if code in (3, 4):
            address, quantity = struct.unpack(">HH", pdu[1:5])
            if address >= CALLS_FROM:
                words = [self.registers.get((number, address + i), 0) for i in range(quantity)]
                return struct.pack(f">BB{quantity}H", code, 2 * quantity, *words)
            data = bytearray(2 * quantity)
            for block in unit.blocks:
                if block.function_code == code:
                    for point in block.points:
                        if address <= point < address + quantity:
                            if (number, code, point) in self.holes or point + WIDTH > address + quantity:
                                return bytes([code | 0x80, 2])
                            value = unit.tag(code, point) | world.moment
                            struct.pack_into(">Q", data, 2 * (point - address), value)
            return bytes([code, 2 * quantity]) + data
        if code in (1, 2):
            address, quantity = struct.unpack(">HH", pdu[1:5])
            bits = sum(self.coils.get((number, address + i), 0) << i for i in range(quantity))
            return bytes([code, (quantity + 7) // 8]) + bits.to_bytes((quantity + 7) // 8, "little")
        if code not in (5, 6, 15, 16, 22, 23):
            return bytes([code]) + world.moment.to_bytes(4)
        world.carried_out(unit, pdu)
        address, value = struct.unpack(">HH", pdu[1:5])
        if code == 5:
            self.coils[number, address] = value != 0
        elif code == 6:
            self.registers[number, address] = value
        elif code == 15:
            bits = int.from_bytes(pdu[6:], "little")
            for i in range(value):
                self.coils[number, address + i] = bits >> i & 1
        elif code == 16:
            for i in range(value):
                self.registers[number, address + i] = int.from_bytes(pdu[6 + 2 * i : 8 + 2 * i])
        elif code == 22:
            mask_or = int.from_bytes(pdu[5:7])
            held = self.registers.get((number, address), 0)
            self.registers[number, address] = held & value | mask_or & ~value
            return pdu
        else:
            start, count = struct.unpack(">HH", pdu[5:9])
            for i in range(count):
                self.registers[number, start + i] = int.from_bytes(pdu[10 + 2 * i : 12 + 2 * i])
            words = [self.registers.get((number, address + i), 0) for i in range(value)]
            return struct.pack(f">BB{value}H", code, 2 * value, *words)
        return pdu[:5]
