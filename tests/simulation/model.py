"""What one link must do, said a second time and independently: an oracle over the bytes of a connection.

It sees every frame that goes out and every byte that comes in, and knows of each request how it ended. What
it predicts is compared with the reactor's cells and counters after every event.
"""

from typing import TYPE_CHECKING

from .fleet import CALLS_FROM, Block, Link, Unit

if TYPE_CHECKING:
    from .world import Submission, World

MAX_STRAYS = 8


class ViolationError(AssertionError):
    """The reactor did what it must not do."""


class Request:
    """One frame that went out."""

    __slots__ = ("block", "call", "deadline_ns", "moment", "pdu", "sent_ns", "unit_id")

    def __init__(
        self,
        adu: bytes,
        now: int,
        moment: int,
        deadline_ns: int,
        block: Block | None,
        call: "Submission | None",
    ) -> None:
        self.unit_id = adu[6]
        self.pdu = adu[7:]
        self.sent_ns = now
        self.moment = moment
        self.deadline_ns = deadline_ns
        self.block = block
        self.call = call


class Counts:
    """Of one unit, as Reactor.read_counters has them; and of requests that ended with their connection."""

    __slots__ = ("exceptions", "lost", "malformed", "replies", "requests", "timeouts")

    def __init__(self) -> None:
        self.requests = self.replies = self.timeouts = self.exceptions = self.malformed = self.lost = 0

    def __str__(self) -> str:
        return ", ".join(f"{name} {getattr(self, name)}" for name in self.__slots__)


def is_answer(request: bytes, pdu: bytes) -> bool:
    """Whether a PDU is one that the protocol allows as a good answer to this request PDU."""
    code = request[0]
    if pdu[0] != code:
        return False
    if code <= 4 and len(request) == 5:
        quantity = request[3] << 8 | request[4]
        size = 2 * quantity if code > 2 else (quantity + 7) // 8
        return len(pdu) == 2 + size and pdu[1] == size
    if code in (5, 6, 15, 16):
        return pdu == request[:5]
    return code != 22 or pdu == request


def is_exception(request: bytes, pdu: bytes) -> bool:
    return len(pdu) == 2 and pdu[0] == request[0] | 0x80


class LinkModel:
    """One link as its connection's bytes show it."""

    def __init__(self, world: "World", link: Link) -> None:
        self.world, self.link = world, link
        self.block_of = {
            (unit.unit_id, block.function_code, point): block
            for unit in link.units
            for block in unit.blocks
            for point in block.points
        }
        self.outstanding: dict[int, Request] = {}
        self.opened(0)

    def opened(self, now: int) -> None:
        self.held = b""
        self.strays = 0
        self.owed = 0  # late answers that may still come
        self.issued = 0
        self.must_close = ""
        self.may_send_ns = now + self.link.connect_delay_ns
        self.used_ns: dict[int, int] = {}

    # ---- what goes out ----

    def sent(self, data: bytes) -> None:
        world, link, now = self.world, self.link, self.world.now
        if len(data) > 16 * 12 + 260:
            raise ViolationError(f"link {link.number} held {len(data)} bytes back")
        while data:
            size = 6 + (data[4] << 8 | data[5])
            adu, data = data[:size], data[size:]
            if len(adu) != size or adu[2:4] != b"\0\0" or not 8 <= size <= 260:
                raise ViolationError(f"link {link.number} sent {adu.hex()}, which is no frame")
            tid = adu[0] << 8 | adu[1]
            if now < self.used_ns.get(tid, -(10**18)) + 2 * link.timeout_ns:
                raise ViolationError(f"transaction_id {tid} is used again too early")
            self.used_ns[tid] = now
            self.issued += 1
            if now < self.may_send_ns:
                raise ViolationError(f"link {link.number}: request_gap or connect_delay not kept")
            if link.request_gap_ns and self.outstanding:
                raise ViolationError(f"link {link.number} with a request gap sent a second request")
            request = self.request(adu)
            self.outstanding[tid] = request
            if len(self.outstanding) > link.max_in_flight:
                raise ViolationError(f"{len(self.outstanding)} requests in flight on link {link.number}")
            if world.trace is not None:
                world.say(f"{'call' if request.call else 'read'} {adu.hex()}", link.number)

    def request(self, adu: bytes) -> Request:
        world, now = self.world, self.world.now
        code, address = adu[7], adu[8] << 8 | adu[9] if len(adu) > 9 else 0
        if code in (3, 4) and address < CALLS_FROM:
            block = self.block_of.get((adu[6], code, address))
            end = address + (adu[10] << 8 | adu[11])
            if block is None or not block.address <= address < end <= block.address + block.quantity:
                raise ViolationError(f"read {adu.hex()} is of no block")
            if waiting := world.calls.due_on(self.link.number):
                raise ViolationError(f"a read went out ahead of call {waiting}")
            world.counts[block.unit.number].requests += 1
            world.asked(block)
            return Request(adu, now, world.moment, now + block.unit.timeout_ns, block, None)
        call = world.calls.sent(self.link.number, adu)
        return Request(adu, now, world.moment, min(now + call.timeout_ns, call.expires_ns), None, call)

    # ---- what comes in ----

    def receive(self, data: bytes) -> None:
        """Judge what is about to be handed to the reactor."""
        data = self.held + data
        at = 0
        while True:
            head = data[at : at + 6]
            if any(head[2:5]):
                self.must_close = "a wrong header"
                break
            if len(head) < 6:
                break
            length = head[5]
            if not 2 <= length <= 254:
                self.must_close = "a wrong length"
                break
            if len(data) - at < 6 + length:
                break
            self.frame(data[at : at + 6 + length])
            at += 6 + length
            if self.must_close:
                break
        self.held = data[at:]

    def frame(self, adu: bytes) -> None:
        world, now = self.world, self.world.now
        tid = adu[0] << 8 | adu[1]
        request = self.outstanding.pop(tid, None)
        if request is None:
            if self.owed and tid in self.used_ns:
                self.owed -= 1
                return
            self.strays += 1
            if not self.issued or self.strays > MAX_STRAYS:
                self.must_close = "frames that answer nothing"
            return
        self.strays = 0
        self.may_send_ns = now + self.link.request_gap_ns
        if now > request.deadline_ns + world.grain_ns:
            raise ViolationError(
                f"a reply came {now - request.deadline_ns} ns after the deadline and counted"
            )
        pdu = adu[7:]
        good = adu[6] == request.unit_id and is_answer(request.pdu, pdu)
        refused = adu[6] == request.unit_id and is_exception(request.pdu, pdu)
        if request.call is not None:
            if world.calls.answered(request.call, pdu if adu[6] == request.unit_id else None, good, refused):
                self.must_close = "the echo of another write"
            return
        assert request.block is not None
        unit = request.block.unit
        counts = world.counts[unit.number]
        if good:
            counts.replies += 1
            self.credit(request, unit, pdu)
        elif refused:
            counts.exceptions += 1
        else:
            counts.malformed += 1

    def credit(self, request: Request, unit: Unit, pdu: bytes) -> None:
        """The values of a reply: they must say themselves that they answer this request."""
        world = self.world
        code, address = request.pdu[0], request.pdu[1] << 8 | request.pdu[2]
        end = address + (request.pdu[3] << 8 | request.pdu[4])
        assert request.block is not None
        slot = unit.blocks.index(request.block)
        world.answered(slot * len(world.fleet.units) + unit.number, request.sent_ns)
        for point in request.block.points:
            if address <= point < end:
                at = 2 + 2 * (point - address)
                value = int.from_bytes(pdu[at : at + 8])
                if value >> 32 << 32 != unit.tag(code, point):
                    raise ViolationError(
                        f"unit {unit.number}, address {point}: the value {value:x} is another's"
                    )
                if not request.moment < value & 0xFFFFFFFF <= world.moment:
                    raise ViolationError(f"unit {unit.number}, address {point}: the value {value:x} is stale")
                world.credited(world.fleet.column[unit.number, code, point], value, request.sent_ns)

    # ---- what ends otherwise ----

    def expire(self, now: int) -> None:
        for tid, request in list(self.outstanding.items()):
            if request.deadline_ns <= now:
                del self.outstanding[tid]
                self.owed += 1
                self.may_send_ns = now + self.link.request_gap_ns
                if self.held:
                    self.must_close = "a deadline with half a frame in hand"
                if request.block is not None:
                    self.world.counts[request.block.unit.number].timeouts += 1
                    self.world.timed_out(request.block.unit)
                else:
                    self.world.calls.unanswered(request.call)

    def closed(self) -> None:
        for request in self.outstanding.values():
            if request.block is not None:
                self.world.counts[request.block.unit.number].lost += 1
            else:
                self.world.calls.unanswered(request.call)
        self.outstanding.clear()
        self.must_close = ""
