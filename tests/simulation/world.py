"""A world in simulated time around the real Reactor: a heap of events, one seed, checks after every event.

    storm: ticks and calls while the peers misbehave ─▶ heal ─▶ every unit good again, at full rate ─▶ end

The same seed gives the same schedule to the byte: ``digest`` is over all bytes and their times.
"""

import random
import zlib
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import numpy as np

from fluxfast.link.counters import read_counters
from fluxfast.table import quality

from .calls import CallsModel, Submission, make_pdu
from .devices import Connection, Peer
from .fleet import MS, Block, Columns, Unit, make_fleet, make_reactor
from .model import Counts, LinkModel, ViolationError

SECOND = 1000 * MS
GRAIN_NS = 2 * MS  # of the driver's timer
BURST_NS = 11 * MS  # of connects that may catch up
HEALED_TICK_NS = SECOND
HOLE_AGAIN_NS = 60 * SECOND  # after that a refused address is asked for again
SLOW_NS = 8 * SECOND  # ticks until a slow block's turn, and a little
GOOD_TICKS = 6  # every block's turn comes within that many


class World:
    """One schedule. ``run`` raises ViolationError where an invariant does not hold."""

    def __init__(self, seed: int, trace: list[str] | None = None) -> None:
        self.rng = rng = random.Random(seed)
        self.trace = trace
        self.now = 1000 * SECOND
        self.digest = 0
        self.moment = 0  # counts what devices have carried out
        self.events: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self.n_events = 0
        self.grain_ns = rng.choice((0, 0, GRAIN_NS))
        self.fleet = fleet = make_fleet(rng)
        self.columns = Columns(fleet)
        self.n_slots = rng.choice((0, 1, 3, 6))
        self.probe_interval_ns = rng.choice((1, 5, 30)) * SECOND
        self.connects_per_s = rng.choice((400.0, 400.0, 20.0, 3.0))
        self.reactor = make_reactor(
            fleet, self.columns, self.connects_per_s, self.probe_interval_ns, seed, self.n_slots
        )
        self.reactor.set_clock(self.now)
        self.peers = [Peer(self, link, rng) for link in fleet.links]
        self.models = [LinkModel(self, link) for link in fleet.links]
        self.connections: list[Connection | None] = [None] * len(fleet.links)
        self.connects_ns: list[int] = []
        self.calls = CallsModel(self, self.n_slots)
        self.counts = [Counts() for _ in fleet.units]
        # The cells as they must be, and of each when its request went out and when it was answered.
        self.shadow = memoryview(np.zeros_like(self.columns.values))
        self.cells = memoryview(self.columns.values)
        self.quality = memoryview(self.columns.quality)
        self.cell_sent = [-1] * len(self.shadow)
        self.cell_received = [-1] * len(self.shadow)
        self.times: dict[int, tuple[int, int]] = {}  # of the blocks answered in this step
        self.just_credited: list[tuple[int, int]] = []
        # Links whose only fault is, if any, that some units never answer: the others must not wait for long.
        self.fair = [False] * len(fleet.links)
        self.timeouts_of_link = [0] * len(fleet.links)
        self.reads_of_link = [0] * len(fleet.links)
        for peer in self.peers:
            if rng.random() < 0.2:
                self.make_fair(peer)
        self.tick = rng.randrange(100)
        self.tick_open = False
        self.tick_begin_ns = -1
        self.tick_end_ns = -1
        self.before_ns = {id(b): -1 for u in fleet.units for b in u.blocks}  # end of the tick before its turn
        self.period_ns = rng.randrange(50, 500) * MS
        long_outage = rng.random() < (0.3 if any(self.fair) else 0.03)
        if long_outage:
            self.period_ns = SECOND
        self.storm_ticks = rng.randrange(40, 80) if long_outage else rng.randrange(3, 20)
        self.healed_ns = -1
        self.good_ticks = 0
        self.finished = False

    def make_fair(self, peer: Peer) -> None:
        peer.heal()
        peer.holes.clear()
        silent = self.rng.sample(peer.link.units, self.rng.randrange(len(peer.link.units)))
        peer.always_silent = {unit.unit_id for unit in silent}
        self.fair[peer.link.number] = True

    # ---- time ----

    def at(self, when_ns: int, action: Callable[..., None], *args: Any) -> None:
        self.n_events += 1
        heappush(self.events, (when_ns, self.n_events, action, args))

    def say(self, text: str, link: int = -1) -> None:
        if self.trace is not None:
            where = f"link {link}" if link >= 0 else "-"
            self.trace.append(f"{self.now / MS:12.3f} ms  {where:8} {text}")

    def run(self) -> int:
        """Live through the schedule; return the digest of all that went over the wire."""
        reactor = self.reactor
        for link in self.fleet.links:
            reactor.set_stream(link.number)
        self.at(self.now + self.rng.randrange(self.period_ns), self.begin_tick)
        if self.n_slots:
            self.at(self.now, self.submit)
        self.step()
        spins = 0
        while not self.finished:
            timer = max(reactor.next_timer_ns(), self.now) + self.grain_ns
            if self.events and self.events[0][0] <= timer:
                self.now, _, action, args = heappop(self.events)
                reactor.set_clock(self.now)
                action(*args)
                self.fulfil()
                spins = 0
            else:
                spins = spins + 1 if timer == self.now else 0
                if spins > 100:
                    raise ViolationError("the timer fires again and again, and the time stands still")
                self.now = timer
                reactor.set_clock(self.now)
            self.step()
        self.check_counters()
        reactor.close()
        return self.digest

    def step(self) -> None:
        """What the driver does after each event; and the checks."""
        now = self.now
        complete = self.reactor.process()
        for model in self.models:
            if model.outstanding:
                model.expire(now)
        self.fulfil()
        while self.reactor.calls_ended:
            for number, outcome, code, answer in self.reactor.take_calls():
                if self.trace is not None:
                    self.say(f"call of slot {number} ends: outcome {outcome}, quality {code}, {answer.hex()}")
                self.calls.outcome(number, outcome, code, answer)
            self.fulfil()
        self.calls.settled()
        for model in self.models:
            if model.must_close:
                raise ViolationError(f"link {model.link.number} goes on after {model.must_close}")
        if self.cells != self.shadow:
            raise ViolationError("a cell is not what the replies said")
        for cell, expected in self.just_credited:
            # Bad it may be already, if its unit or its link was lost with the same bytes.
            if self.quality[cell] != expected and self.quality[cell] < quality.BAD:
                raise ViolationError(f"cell {cell} was credited as {self.quality[cell]}, not {expected}")
        self.just_credited.clear()
        for time, told in self.times.items():
            if (self.columns.requested_ns[time], self.columns.received_ns[time]) != told:
                raise ViolationError(f"the times of a block are not {told}")
        self.times.clear()
        if complete and self.tick_open:
            self.end_tick(self.tick)

    def fulfil(self) -> None:
        """Do with the connections what the reactor wishes."""
        for link, connect, data, close, abort in self.reactor.take_wishes():
            if close:
                self.close(link, abort)
            if data:
                self.digest = zlib.crc32(data, self.digest ^ self.now & 0xFFFFFFFF)
                connection = self.connections[link]
                if connection is None:
                    raise ViolationError(f"link {link} sends without a connection")
                self.models[link].sent(data)
                connection.send(data)
            if connect:
                self.connect(link)

    # ---- connections ----

    def connect(self, link: int) -> None:
        if self.connections[link] is not None:
            raise ViolationError(f"link {link} has two connections")
        self.connects_ns.append(self.now)
        if len(self.connects_ns) > 10:
            took = self.now - self.connects_ns.pop(0)
            if took < 10 * SECOND / self.connects_per_s - BURST_NS:
                raise ViolationError("connects are not paced")
        connection = self.connections[link] = Connection(self, self.peers[link], self.n_events)
        self.say("connects", link)
        self.peers[link].connect(connection)

    def accepted(self, connection: Connection) -> None:
        if not connection.closed:
            self.say("is up", connection.link)
            self.models[connection.link].opened(self.now)
            self.reactor.stream_up(connection.link)

    def refused(self, connection: Connection, code: int) -> None:
        if not connection.closed:
            self.say(f"is refused ({quality.reason(code)})", connection.link)
            self.reactor.stream_down(connection.link, code)

    def receive(self, connection: Connection, data: bytes) -> None:
        link = connection.link
        if self.trace is not None:
            self.say(f"receives {data.hex()}", link)
        self.digest = zlib.crc32(data, self.digest ^ self.now & 0xFFFFFFFF)
        self.models[link].receive(data)
        self.reactor.stream_data(link, data)

    def peer_ended(self, connection: Connection) -> None:
        if not connection.closed:
            self.say(f"gets {connection.ended}", connection.link)
            self.reactor.stream_down(connection.link)

    def close(self, link: int, abort: bool) -> None:
        connection = self.connections[link]
        if connection is None:
            raise ViolationError(f"link {link} closes what it has not")
        self.say("aborts" if abort else "closes", link)
        connection.closed = True
        self.connections[link] = None
        self.models[link].closed()

    # ---- what the models tell ----

    def credited(self, cell: int, value: int, sent_ns: int) -> None:
        self.shadow[cell] = value
        self.cell_sent[cell] = sent_ns
        self.cell_received[cell] = self.now
        good = self.tick_open and sent_ns >= self.tick_begin_ns
        self.just_credited.append((cell, quality.GOOD if good else quality.LATE))

    def answered(self, time: int, sent_ns: int) -> None:
        self.times[time] = sent_ns, self.now

    def carried_out(self, unit: Unit, pdu: bytes) -> None:
        self.calls.carried_out(unit, pdu)

    def timed_out(self, unit: Unit) -> None:
        self.timeouts_of_link[unit.link] += 1
        if self.fair[unit.link]:
            self.check_turns(unit.link)

    def asked(self, block: Block) -> None:
        link = block.unit.link
        self.reads_of_link[link] += 1
        if self.fair[link]:
            block.asked = self.reads_of_link[link], self.timeouts_of_link[link]
            self.check_turns(link)

    def check_turns(self, link: int) -> None:
        """A good unit's block waits for the others', but for each of them twice at the most."""
        peer = self.peers[link]
        blocks = [block for unit in peer.link.units for block in unit.blocks]
        silent = sum(block.unit.unit_id in peer.always_silent for block in blocks)
        for block in blocks:
            if block.every == 1 and block.unit.unit_id not in peer.always_silent:
                reads = self.reads_of_link[link] - block.asked[0]
                timeouts = self.timeouts_of_link[link] - block.asked[1]
                if reads > 2 * len(blocks) + 2 or timeouts > 2 * silent + 3:
                    raise ViolationError(
                        f"unit {block.unit.number}, address {block.address} has waited for {reads} reads and "
                        f"{timeouts} timeouts of others"
                    )

    # ---- calls ----

    def submit(self) -> None:
        rng = self.rng
        if self.healed_ns >= 0:
            return
        self.at(self.now + rng.randrange(rng.choice((1, 20, 200)) * MS), self.submit)
        slot = rng.randrange(self.n_slots)
        if rng.random() < 0.05:
            self.say(f"call of slot {slot} is cancelled")
            self.reactor.cancel_call(slot)
            self.calls.cancelled(slot)
            return
        # A slot is one unit's. Where only silence is tried, no call disturbs it.
        unit = self.fleet.units[slot % len(self.fleet.units)]
        if self.fair[unit.link]:
            return
        number = len(self.calls.all) + 1
        pdu = make_pdu(rng, slot, number)
        timeout_ns = rng.randrange(20, 300) * MS
        expires_ns = self.now + rng.randrange(1, rng.choice((20, 1000))) * MS
        self.say(f"call #{number} of slot {slot}, {timeout_ns // MS} ms: {pdu.hex()}", unit.link)
        self.calls.submitted(Submission(number, slot, unit, pdu, timeout_ns, expires_ns))
        self.reactor.call(slot, unit.link, unit.unit_id, pdu, timeout_ns, expires_ns)

    # ---- ticks ----

    def begin_tick(self) -> None:
        if self.tick_open:
            self.end_tick(self.tick)
        self.calls.check_expired()
        self.tick += 1
        self.say(f"tick {self.tick} begins")
        for unit in self.fleet.units:
            for block in unit.blocks:
                if self.tick % block.every == block.phase:
                    block.due_ns = self.now
                    self.before_ns[id(block)] = self.tick_end_ns
        self.tick_begin_ns = self.now
        self.tick_open = True
        length_ns = self.period_ns * 4 // 5
        self.reactor.begin_tick(self.tick, length_ns)
        self.at(self.now + length_ns, self.end_tick, self.tick)
        self.at(self.now + self.period_ns, self.begin_tick)

    def end_tick(self, tick: int) -> None:
        if not self.tick_open or tick != self.tick:
            return
        self.tick_open = False
        missed = self.reactor.end_tick()
        self.tick_end_ns = self.now
        self.say(f"tick {tick} ends, {missed} missed")
        if self.reactor.outstanding:
            raise ViolationError("blocks are outstanding and no tick is open")
        self.check_fresh()
        self.reactor.take_events()
        self.storm_ticks -= 1
        if self.storm_ticks == 0:
            self.heal()
        elif self.healed_ns >= 0:
            self.check_healed()

    def check_fresh(self) -> None:
        """A good value is of this tick, or of its block's newest turn; a late one came since."""
        for unit in self.fleet.units:
            for block in unit.blocks:
                for point in block.points:
                    cell = self.fleet.column[unit.number, block.function_code, point]
                    code = self.quality[cell]
                    if (code == quality.GOOD and self.cell_sent[cell] < block.due_ns) or (
                        code == quality.LATE and self.cell_received[cell] < self.before_ns[id(block)]
                    ):
                        raise ViolationError(f"unit {unit.number}, address {point}: {code} and out of date")

    def heal(self) -> None:
        self.say("heals")
        self.healed_ns = self.now
        self.period_ns = HEALED_TICK_NS
        self.fair = [False] * len(self.peers)
        for peer in self.peers:
            peer.heal()

    def check_healed(self) -> None:
        bad = []
        for (number, function_code, point), cell in self.fleet.column.items():
            peer = self.peers[self.fleet.units[number].link]
            hole = (number, function_code, point) in peer.holes
            if self.quality[cell] != (quality.EXCEPTION + 2 if hole else quality.GOOD):
                bad.append((number, point, self.quality[cell]))
        if not bad:
            self.good_ticks += 1
            self.finished = self.good_ticks == GOOD_TICKS
            return
        if self.good_ticks:
            raise ViolationError(f"healed and well, and now not: (unit, address, quality) {bad}")
        of_holes = (quality.EXCEPTION + 2, quality.EXCEPTION + 3, quality.LATE)
        refused = all(code in of_holes for _, _, code in bad)
        allowed_ns = SLOW_NS + (HOLE_AGAIN_NS if refused else self.probe_interval_ns)
        if self.now - self.healed_ns > allowed_ns:
            raise ViolationError(f"not healed in time: (unit, address, quality) {bad}")

    # ---- the end ----

    def check_counters(self) -> None:
        units, _ = read_counters(self.reactor, len(self.fleet.units))
        rows = units[["requests", "replies", "exceptions", "malformed"]].tolist()
        for counts, told, timeouts in zip(self.counts, rows, units["timeouts"].tolist(), strict=True):
            if told != (counts.requests, counts.replies, counts.exceptions, counts.malformed):
                raise ViolationError(f"requests, replies, exceptions, malformed are {told}, not {counts}")
            # Those that time out together with their connection count as lost.
            if not timeouts <= counts.timeouts <= timeouts + counts.requests:
                raise ViolationError(f"{timeouts} timeouts are counted, there were {counts.timeouts}")
        for slot in self.calls.slots:
            if slot.flying is not None or slot.due is not None:
                raise ViolationError("a call has not ended")
