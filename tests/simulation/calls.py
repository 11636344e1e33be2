"""What single requests must end as, said independently of the engine: slots, submissions and their outcomes.

What is claimed of a write, and what proves it (the device's own count of what it carried out):

    ANSWERED, good        carried out, once        CONFIRMED   carried out, once (the values are unique)
    ANSWERED, exception   nothing is claimed       DIFFERS     it held something else when it was asked
    FAILED                never, not even later    UNKNOWN     nothing is claimed
"""

import random
import struct
from typing import TYPE_CHECKING

from fluxfast.table import quality

from .fleet import CALL_ROOM, CALLS_FROM, Unit
from .model import ViolationError, is_answer

if TYPE_CHECKING:
    from .world import World

ANSWERED, FAILED, CONFIRMED, DIFFERS, UNKNOWN = range(5)
WRITES = (5, 6, 15, 16, 22, 23)
READABLE = (5, 6, 15, 16)  # by a read of the same address


def make_pdu(rng: random.Random, slot: int, serial: int) -> bytes:
    """A request PDU that no other submission of the schedule has, if it is a write."""
    base = CALLS_FROM + CALL_ROOM * slot
    code = rng.choice((6, 6, 6, 16, 16, 16, 5, 15, 22, 23, 3, 3, 4, 1, 43, 8))
    if code == 6:
        return struct.pack(">BHH", 6, base, serial)
    if code == 16:
        count = rng.choice((1, 2, 3, 123))
        address = base if count < 4 else 10000 + 200 * slot
        words = [serial, *[rng.randrange(65536) for _ in range(count - 1)]]
        return struct.pack(f">BHHB{count}H", 16, address, count, 2 * count, *words)
    if code == 5:
        return struct.pack(">BHH", 5, 40000 + serial, 0xFF00)
    if code == 15:
        count = rng.randrange(17, 40)
        size = (count + 7) // 8
        return struct.pack(">BHHB", 15, base, count, size) + (serial | 1 << 16).to_bytes(size, "little")
    if code == 22:
        return struct.pack(">BHHH", 22, base, 0, serial)
    if code == 23:
        return struct.pack(">BHHHHBH", 23, base, 1, base, 1, 2, serial)
    if code <= 4:
        return struct.pack(">BHH", code, base, rng.randrange(1, CALL_ROOM))
    return struct.pack(">BBH", code, slot, serial)


class Submission:
    """One call as it was submitted."""

    __slots__ = (
        "back", "code", "done", "expected", "expires_ns", "link", "number", "outcome", "pdu", "phase", "slot",
        "timeout_ns", "unit",
    )  # fmt: skip

    def __init__(
        self, number: int, slot: int, unit: Unit, pdu: bytes, timeout_ns: int, expires_ns: int
    ) -> None:
        self.number, self.slot, self.unit, self.link = number, slot, unit, unit.link
        self.pdu, self.code = pdu, pdu[0]
        self.timeout_ns, self.expires_ns = timeout_ns, expires_ns
        self.phase = "due"  # asked, unclear, back
        self.expected: tuple[int, int, bytes] | None = None  # (outcome, quality or -1, answer)
        self.done = 0  # how often the device has carried it out
        self.outcome = -1

    @property
    def is_write(self) -> bool:
        return self.code in WRITES or self.code == 8  # 8 may restart a device

    def read_back(self) -> bytes:
        quantity = b"\0\1" if self.code in (5, 6) else self.pdu[3:5]
        return bytes([1 if self.code in (5, 15) else 3]) + self.pdu[1:3] + quantity

    def holds(self, data: bytes) -> bool:
        if self.code in (5, 15):
            value = 1 if self.code == 5 else int.from_bytes(self.pdu[6:], "little")
            return int.from_bytes(data, "little") == value
        return data == (self.pdu[3:5] if self.code == 6 else self.pdu[6:])


class Slot:
    __slots__ = ("due", "flying", "last_sent")

    def __init__(self) -> None:
        self.due: Submission | None = None  # the newest, not sent yet
        self.flying: Submission | None = None  # sent, and not ended
        self.last_sent = -1


class CallsModel:
    """All slots; raises ViolationError where the reactor's word is not what it must be."""

    def __init__(self, world: "World", n_slots: int) -> None:
        self.world = world
        self.slots = [Slot() for _ in range(n_slots)]
        self.by_pdu: dict[tuple[int, bytes], Submission] = {}
        self.all: list[Submission] = []
        self.ending: list[Submission] = []  # whose outcome must come before the step is over

    # ---- in ----

    def submitted(self, submission: Submission) -> None:
        self.slots[submission.slot].due = submission
        self.all.append(submission)
        if submission.code in WRITES:
            self.by_pdu[submission.unit.number, submission.pdu] = submission

    def cancelled(self, number: int) -> None:
        slot = self.slots[number]
        if slot.flying is None:
            if slot.due is not None:
                self.expect(slot.due, FAILED)
        else:
            slot.due = None
            if slot.flying.phase == "unclear":
                self.expect(slot.flying, UNKNOWN)

    def due_on(self, link: int) -> str:
        for slot in self.slots:
            call = slot.flying or slot.due
            if (
                call is not None
                and call.link == link
                and call.phase in ("due", "unclear")
                and self.world.now < call.expires_ns
                and call.expected is None
            ):
                return f"#{call.number}"
        return ""

    # ---- out ----

    def sent(self, link: int, adu: bytes) -> Submission:
        """The submission whose frame this is, or whose read back."""
        pdu = adu[7:]
        for slot in self.slots:
            call = slot.flying
            if self.is_of(call, link, adu[6]) and call.phase == "unclear" and call.read_back() == pdu:
                call.phase = "back"
                return self.in_time(call)
            call = slot.due
            if self.is_of(call, link, adu[6]) and call.pdu == pdu:
                if slot.flying is not None:
                    raise ViolationError(
                        f"call #{call.number} went out before #{slot.flying.number} had ended"
                    )
                if call.number <= slot.last_sent:
                    raise ViolationError(f"call #{call.number} went out after the newer #{slot.last_sent}")
                slot.last_sent = call.number
                slot.flying, slot.due = call, None
                call.phase = "asked"
                return self.in_time(call)
        raise ViolationError(f"link {link} sent {adu.hex()}, which nobody asked for, or not again")

    @staticmethod
    def is_of(call: Submission | None, link: int, unit_id: int) -> bool:
        return call is not None and call.link == link and call.unit.unit_id == unit_id

    def in_time(self, call: Submission) -> Submission:
        if self.world.now >= call.expires_ns:
            raise ViolationError(f"call #{call.number} went out after it had expired")
        return call

    # ---- what became of it ----

    def expect(self, call: Submission, outcome: int, code: int = -1, answer: bytes = b"") -> None:
        call.expected = (outcome, code, answer)
        self.ending.append(call)

    def answered(self, call: Submission, pdu: bytes | None, good: bool, refused: bool) -> bool:
        """Take the PDU (None: another unit's) that came for it; return whether the link must close."""
        if call.phase == "back":
            request = call.read_back()
            if pdu is None or not is_answer(request, pdu):
                self.expect(call, UNKNOWN)
            else:
                self.expect(call, CONFIRMED if call.holds(pdu[2:]) else DIFFERS)
            return False
        if pdu is not None and good:
            self.expect(call, ANSWERED, quality.GOOD, pdu)
        elif pdu is not None and refused and not (call.is_write and pdu[1] == 11):
            code = quality.EXCEPTION + (pdu[1] if pdu[1] <= 62 else 0)
            self.expect(call, ANSWERED, code, pdu)
        else:
            self.unanswered(call)
            size = 7 if call.code == 22 else 5
            return (
                pdu is not None
                and call.code in (*READABLE, 22)
                and pdu[0] == call.code
                and len(pdu) == size
                and pdu[1:3] != call.pdu[1:3]
            )
        return False

    def unanswered(self, call: Submission | None) -> None:
        assert call is not None
        if call.phase == "back":
            self.expect(call, UNKNOWN)
        elif not call.is_write:
            self.expect(call, FAILED)
        elif call.code in READABLE and self.world.now < call.expires_ns:
            call.phase = "unclear"
        else:
            self.expect(call, UNKNOWN)

    def carried_out(self, unit: Unit, pdu: bytes) -> None:
        call = self.by_pdu.get((unit.number, pdu))
        if call is None:
            raise ViolationError(f"unit {unit.number} was given {pdu.hex()}, which nobody wrote")
        call.done += 1
        if call.outcome == FAILED:
            raise ViolationError(f"call #{call.number} is carried out after it was said to have failed")

    def outcome(self, number: int, outcome: int, code: int, answer: bytes) -> None:
        """Compare what take_calls has said."""
        slot = self.slots[number]
        call = slot.flying
        newer = slot.due is not None
        if call is None:
            call, slot.due = slot.due, None
            if call is None:
                raise ViolationError(f"slot {number} has an outcome, {outcome}, and no call")
            if outcome != FAILED or code == quality.GOOD:
                raise ViolationError(f"call #{call.number} was never sent, and ends as {outcome}")
        else:
            slot.flying = None
        if call.expected is not None:
            wanted, wanted_code, wanted_answer = call.expected
            if newer:
                wanted_answer = b""  # its room is the newer one's
            if outcome != wanted or wanted_code not in (-1, code) or answer != wanted_answer:
                told = f"call #{call.number} ends as {outcome}, quality {code}, {answer.hex()}"
                raise ViolationError(f"{told}: not as {call.expected}")
            self.ending.remove(call)
        elif call.phase == "asked" or call.phase == "back":
            raise ViolationError(f"call #{call.number} ends as {outcome} while its answer may still come")
        elif call.phase == "unclear" and outcome != UNKNOWN:
            raise ViolationError(f"call #{call.number} ends as {outcome} without having been read back")
        call.outcome = outcome
        if call.code in WRITES:
            wrong = (
                call.done != 1
                if outcome == CONFIRMED or (outcome == ANSWERED and code == quality.GOOD)
                else call.done
                if outcome == FAILED
                else call.done > 1
            )
            if wrong:
                raise ViolationError(f"call #{call.number} ends as {outcome}, carried out {call.done} times")

    def settled(self) -> None:
        """At the end of each step."""
        if self.ending:
            call = self.ending[0]
            raise ViolationError(f"call #{call.number} should have ended as {call.expected}")

    def check_expired(self) -> None:
        for slot in self.slots:
            call = slot.flying or slot.due  # the newer one waits for the end of the other
            if call is not None and self.world.now > call.expires_ns + self.world.grain_ns:
                late = self.world.now - call.expires_ns
                raise ViolationError(f"call #{call.number} ({call.phase}) goes on {late} ns after it expired")
