"""The reactor: all links' sockets in one poll set, drained in batches without the GIL.

    begin_tick ─▶ requests of every link that is up
    process    ─▶ receive ─▶ conversation ─▶ decode into columns ─▶ send what is next     (once per wake-up)
    end_tick   ─▶ whatever is unanswered is marked

Its descriptor goes into another loop's set (uvloop's), which wakes it once per batch. It knows no Python
object per link, block or reply: those are C structs, made once.

Invariants:
1. A link that is not up has no descriptor and nothing in flight; its cells say why.
2. Every event of the conversation, and every end of a link, reaches the schedule, which keeps the books.

Who owns what: the plan's arrays and the tables' columns are NumPy arrays kept alive by `owners`; links, the
schedule and buffers are ours, freed in __dealloc__. One receive buffer serves all links, because no bytes
stay in it between two events: an unfinished frame (< 260 bytes) moves into its conversation.
"""

cimport cython
from libc.errno cimport ECONNREFUSED
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove
from posix.unistd cimport close

from fluxfast.link.conversation cimport (
    EVENT_BROKEN, EVENT_FOREIGN, EVENT_LATE, EVENT_NONE, EVENT_REPLY, Conversation, Event,
    conversation_deadline, conversation_expire, conversation_next, conversation_open,
    conversation_ready_ns, conversation_request,
)
from fluxfast.link.schedule cimport (
    UnitState, schedule_begin_down, schedule_begin_link, schedule_begin_tick, schedule_end_tick,
    schedule_fail, schedule_free,
    schedule_link_down, schedule_make, schedule_next, schedule_random, schedule_reply,
)
from fluxfast.link.structs cimport Block, LinkPlan, UnitPlan
from fluxfast.link.timers cimport timers_free, timers_make, timers_pop, timers_want
from fluxfast.native.poll cimport (
    FX_POLL_BATCH, FX_POLL_READ, FX_POLL_WRITE, fx_now_ns, fx_poll_add, fx_poll_create, fx_poll_event,
    fx_poll_modify, fx_poll_wait,
)
from fluxfast.native.tcp cimport (
    fx_abort, fx_address_set, fx_connect, fx_connect_result, fx_receive, fx_send,
)
from fluxfast.table.decode cimport Column, Op
from fluxfast.table.quality cimport (
    Q_LOST, Q_NEVER, Q_NO_HOST, Q_REFUSED, Q_TIMEOUT, Q_UNREACHABLE,
)

cdef int64_t SECOND = 1_000_000_000
cdef int64_t BACKOFF_BASE = SECOND // 2
cdef int64_t BACKOFF_FIRST = SECOND // 50
cdef int64_t CONNECT_BURST = SECOND // 100  # pacing may catch up on this much of a late wake-up
cdef int64_t SLICE = SECOND // 500       # then the rest of the process gets its turn
cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF


@cython.final
cdef class Reactor:
    """All links of a plan. Not thread-safe: every call comes from the one loop that watches ``fileno()``.

    Arguments are the raw bytes (uint8) of the plan's LINK, UNIT, BLOCK, OP arrays and of the tables' COLUMN,
    the sentinels (uint64), the addresses of each table's received_ns (uint64), ``owners`` (whatever owns that
    memory), the pacing of new connections per second (0: none), the longest wait between two tries of a link
    or a unit that does not answer, and a seed for jitter and first transaction_ids.
    """

    def __cinit__(
        self, const uint8_t[::1] links, const uint8_t[::1] units, const uint8_t[::1] blocks,
        const uint8_t[::1] ops, const uint64_t[::1] sentinels, const uint8_t[::1] columns,
        const uint64_t[::1] received, owners, double connects_per_s, int64_t probe_interval_ns, uint64_t seed,
    ):
        self.poll_set = -1
        self.owners = (links, units, sentinels, columns, received, owners)
        self.n_links = <int>(links.shape[0] // <Py_ssize_t>sizeof(LinkPlan))
        cdef int32_t n_blocks = <int32_t>(blocks.shape[0] // <Py_ssize_t>sizeof(Block))
        if self.n_links == 0 or n_blocks == 0:
            raise ValueError("a reactor needs at least one link and one block")
        self.plans = <const LinkPlan *>&links[0]
        self.connect_interval_ns = <int64_t>(SECOND / connects_per_s) if connects_per_s > 0 else 0
        self.probe_interval_ns = self.schedule.probe_interval_ns = max(probe_interval_ns, SECOND)
        self.schedule.sentinels = &sentinels[0] if sentinels.shape[0] else NULL
        self.schedule.columns = <const Column *>&columns[0]
        self.schedule.received = &received[0]
        self.schedule.random = seed | 1
        self.links = <Link *>calloc(self.n_links, sizeof(Link))
        self.buffer = <uint8_t *>calloc(1, RECEIVE_SIZE + sizeof(self.links.conversation.rest))
        if not timers_make(&self.timers, self.n_links) or not schedule_make(
            &self.schedule, self.plans, self.n_links,
            <const UnitPlan *>&units[0], <int32_t>(units.shape[0] // <Py_ssize_t>sizeof(UnitPlan)),
            <const Block *>&blocks[0], n_blocks,
            <const Op *>&ops[0], <int32_t>(ops.shape[0] // <Py_ssize_t>sizeof(Op)),
        ):
            raise MemoryError()
        if self.links == NULL or self.buffer == NULL:
            raise MemoryError()
        self.poll_set = fx_poll_create()
        if self.poll_set < 0:
            raise OSError("no descriptor left for the poll set")
        cdef int32_t i
        for i in range(self.n_links):
            if not 1 <= self.plans[i].max_in_flight <= MAX_IN_FLIGHT:
                raise ValueError(f"link {i}: max_in_flight must be 1 to {MAX_IN_FLIGHT}")
            self.links[i].fd = -1
            self.links[i].failure = Q_NEVER

    def __dealloc__(self):
        self.close()
        timers_free(&self.timers)
        schedule_free(&self.schedule)
        free(self.links)
        free(self.buffer)

    def close(self):
        """Close every socket in an orderly way (FIN frees the device's slot) and the poll set."""
        cdef int32_t i
        if self.links != NULL:
            for i in range(self.n_links):
                if self.links[i].fd >= 0:
                    close(self.links[i].fd)
                    self.links[i].fd = -1
                    self.links[i].state = LINK_NO_ADDRESS
        if self.poll_set >= 0:
            close(self.poll_set)
            self.poll_set = -1

    def fileno(self):
        """Return the poll set's descriptor: readable when ``process`` has something to do."""
        return self.poll_set

    def now_ns(self):
        """Return the reactor's clock (nanoseconds, goes on during suspend)."""
        return fx_now_ns()

    def set_address(self, int link, const uint8_t[::1] ip, uint16_t port, uint32_t scope=0):
        """Give a link its address (4 or 16 bytes), and let it connect if it is not up."""
        cdef Link *k = self.link_at(link)
        if ip.shape[0] != 4 and ip.shape[0] != 16:
            raise ValueError(f"an IP address has 4 or 16 bytes, not {ip.shape[0]}")
        fx_address_set(&k.address, &ip[0], <int>ip.shape[0], port, scope)
        if k.state == LINK_NO_ADDRESS:
            k.state = LINK_WAITING
            k.wake_ns = 0
            timers_want(&self.timers, link, 0)

    def set_unresolved(self, int link):
        """Say that the link's host name does not resolve."""
        if self.link_at(link).state == LINK_NO_ADDRESS:
            self.link_down(link, Q_NO_HOST, False)

    def failure(self, int link):
        """Return a link's quality code: 0 if it is up, else why not."""
        cdef Link *k = self.link_at(link)
        return 0 if k.state == LINK_UP else k.failure

    def connects(self, int link):
        """Return how often a link has tried to connect."""
        return self.link_at(link).connects

    def take_events(self):
        """Return and forget [(link, quality code)], 0 for a link that came up."""
        taken = [(self.events[i], self.event_quality[i]) for i in range(self.n_events)]
        self.n_events = 0
        return taken

    def next_timer_ns(self):
        """Return when ``process`` must be called even if nothing arrives, on the reactor's clock."""
        return self.timers.due_ns[self.timers.heap[0]] if self.timers.n else NEVER

    def begin_tick(self, int64_t tick):
        """Make due what the tick reads and send what may be sent; return how many blocks it waits for."""
        with nogil:
            schedule_begin_tick(&self.schedule, fx_now_ns())
            self.send_tick(tick)
        return self.schedule.outstanding

    def process(self):
        """Handle what has arrived and whose time has come; return true once the open tick is complete."""
        with nogil:
            self.drain(SLICE)
            self.run_timers()
        return self.schedule.tick_open and self.schedule.outstanding == 0

    def end_tick(self):
        """Close the tick: mark what is unanswered (timeout); return how many blocks that were."""
        cdef int missed
        with nogil:
            missed = schedule_end_tick(&self.schedule, fx_now_ns())
        return missed

    @property
    def outstanding(self):
        """Blocks that the open tick waits for."""
        return self.schedule.outstanding

    @property
    def values(self):
        """Values decoded since the start."""
        return self.schedule.values

    def read_counters(self, uint64_t[:, ::1] units, uint64_t[:, ::1] links):
        """Copy the counters: units[units, 5], links[links, 3] in the order of counters.py."""
        cdef int32_t u, i
        cdef UnitState *unit
        for u in range(min(self.schedule.n_units, <int32_t>units.shape[0])):
            unit = &self.schedule.units[u]
            units[u, 0] = unit.requests
            units[u, 1] = unit.replies
            units[u, 2] = unit.timeouts
            units[u, 3] = unit.exceptions
            units[u, 4] = unit.malformed
        for i in range(min(self.n_links, <int32_t>links.shape[0])):
            links[i, 0] = self.links[i].connects
            links[i, 1] = self.links[i].late
            links[i, 2] = self.links[i].foreign

    cdef Link *link_at(self, int link) except NULL:
        if not 0 <= link < self.n_links:
            raise IndexError(f"link {link} of {self.n_links}")
        return &self.links[link]

    cdef void send_tick(self, int64_t tick) noexcept nogil:
        cdef int32_t i
        cdef int64_t now
        for i in range(self.n_links):
            if self.links[i].state == LINK_UP:
                now = fx_now_ns()
                schedule_begin_link(&self.schedule, i, tick, now)
                self.pump(i, now)
            else:
                schedule_begin_down(&self.schedule, i, self.links[i].failure)
            if i % SEND_RUN == SEND_RUN - 1:
                self.drain(0)

    # ---- sending ----

    cdef void pump(self, int32_t i, int64_t now) noexcept nogil:
        # Send what is next, as much as the link's depth and gap allow, in one segment.
        cdef Link *k = &self.links[i]
        cdef const LinkPlan *plan = &self.plans[i]
        cdef int32_t b
        cdef int64_t wait
        if k.out_size > 0:
            return
        while k.conversation.in_flight < plan.max_in_flight:
            wait = max(k.next_send_ns, conversation_ready_ns(&k.conversation, 2 * plan.timeout_ns))
            if now >= wait:
                b = schedule_next(&self.schedule, i, now, &wait)
                if b >= 0:
                    conversation_request(&k.conversation, self.schedule.blocks, b, now, k.out + k.out_size)
                    k.out_size += REQUEST_SIZE
                    self.requests += 1
                    if plan.request_gap_ns:
                        k.next_send_ns = NEVER  # until the reply
                        break
                    continue
            if wait != NEVER:
                timers_want(&self.timers, i, wait)
            break
        if k.out_size > 0:
            k.tried_ns = now
            timers_want(&self.timers, i, conversation_deadline(&k.conversation))
            self.flush(i)

    cdef void flush(self, int32_t i) noexcept nogil:
        cdef Link *k = &self.links[i]
        cdef long sent = fx_send(k.fd, k.out, k.out_size)
        if sent < 0:
            self.link_down(i, Q_LOST, False)
            return
        k.out_size -= <int32_t>sent
        if k.out_size > 0:
            memmove(k.out, k.out + sent, k.out_size)
            fx_poll_modify(self.poll_set, k.fd, <uint32_t>i, FX_POLL_READ | FX_POLL_WRITE)

    # ---- receiving ----

    cdef void drain(self, int64_t slice_ns) noexcept nogil:
        # Handle what is there; and while an open tick waits for replies and they keep coming, stay here for
        # up to slice_ns. Waiting here costs one system call a batch, going round through the outer loop ten
        # times that.
        cdef fx_poll_event events[FX_POLL_BATCH]
        cdef int n, e, wait_ms
        cdef int32_t i
        cdef Link *k
        cdef int64_t end = fx_now_ns() + slice_ns if slice_ns else 0
        while True:
            wait_ms = 1 if slice_ns and self.schedule.tick_open and self.schedule.outstanding else 0
            n = fx_poll_wait(self.poll_set, events, FX_POLL_BATCH, wait_ms)
            for e in range(n):
                i = <int32_t>events[e].id
                k = &self.links[i]
                if k.state == LINK_CONNECTING:
                    self.connected(i)
                elif k.state == LINK_UP:
                    if events[e].events & FX_POLL_WRITE and k.out_size > 0:
                        fx_poll_modify(self.poll_set, k.fd, <uint32_t>i, FX_POLL_READ)
                        self.flush(i)
                    if k.state == LINK_UP and events[e].events & ~<uint32_t>FX_POLL_WRITE:
                        self.receive(i)
            if n <= 0 or fx_now_ns() >= end:
                return

    cdef void receive(self, int32_t i) noexcept nogil:
        cdef Link *k = &self.links[i]
        cdef Conversation *c = &k.conversation
        cdef const uint8_t *p = self.buffer
        cdef const uint8_t *end
        cdef int64_t now
        cdef long n
        cdef Event event
        memcpy(self.buffer, c.rest, c.held)
        n = fx_receive(k.fd, self.buffer + c.held, RECEIVE_SIZE)
        if n < 0:
            self.link_down(i, Q_LOST, False)
            return
        if n == 0:
            return
        now = fx_now_ns()
        end = self.buffer + c.held + n
        c.held = 0
        while True:
            conversation_next(c, self.schedule.blocks, &p, end, &event)
            if event.kind == EVENT_NONE:
                break
            if event.kind == EVENT_BROKEN:
                self.link_down(i, event.quality, True)
                return
            if event.kind == EVENT_LATE:
                k.late += 1
            elif event.kind == EVENT_FOREIGN:
                k.foreign += 1
            else:
                self.credit(i, &event, now)
        self.pump(i, now)

    cdef void credit(self, int32_t i, Event *event, int64_t now) noexcept nogil:
        cdef Link *k = &self.links[i]
        if self.plans[i].request_gap_ns:
            k.next_send_ns = now + self.plans[i].request_gap_ns
        if event.kind == EVENT_REPLY:
            schedule_reply(&self.schedule, event.block, event.data, event.sent_ns, now)
            k.attempts = 0
        else:
            schedule_fail(&self.schedule, event.block, event.quality, now)

    # ---- links coming and going ----

    cdef void run_timers(self) noexcept nogil:
        cdef int64_t now = fx_now_ns()
        cdef int32_t i = timers_pop(&self.timers, now)
        cdef Link *k
        while i >= 0:
            k = &self.links[i]
            if k.state == LINK_UP:
                self.expire(i, now)
            elif k.state != LINK_NO_ADDRESS and now < k.wake_ns:
                timers_want(&self.timers, i, k.wake_ns)
            elif k.state == LINK_WAITING:
                self.connect(i, now)
            elif k.state == LINK_CONNECTING:
                self.link_down(i, Q_UNREACHABLE, False)
            i = timers_pop(&self.timers, now)

    cdef void expire(self, int32_t i, int64_t now) noexcept nogil:
        cdef Link *k = &self.links[i]
        cdef Conversation *c = &k.conversation
        cdef Event event
        while conversation_expire(c, self.schedule.blocks, now, &event):
            if self.schedule.units[self.schedule.blocks[event.block].unit].dead:
                c.timeouts -= 1  # a probe's silence says nothing new about the link
            self.credit(i, &event, now)
            if event.kind == EVENT_BROKEN or c.timeouts >= (
                MAX_TIMEOUTS if self.plans[i].n_units == 1 else MAX_TIMEOUTS_OF_UNITS
            ):
                self.link_down(i, Q_TIMEOUT, True)
                return
        if c.in_flight:
            timers_want(&self.timers, i, conversation_deadline(c))
        self.pump(i, now)

    cdef void connect(self, int32_t i, int64_t now) noexcept nogil:
        cdef Link *k = &self.links[i]
        cdef int64_t patience = self.plans[i].timeout_ns
        if not k.has_slot:
            k.wake_ns = max(self.connect_slot_ns, now - CONNECT_BURST)
            k.has_slot = 1
            self.connect_slot_ns = k.wake_ns + self.connect_interval_ns
            if k.wake_ns > now:
                timers_want(&self.timers, i, k.wake_ns)
                return
        k.has_slot = 0
        k.tried_ns = now
        k.connects += 1
        k.fd = fx_connect(&k.address, <int>(max(3 * patience, 2 * SECOND) // 1_000_000))
        if k.fd < 0 or fx_poll_add(self.poll_set, k.fd, <uint32_t>i, FX_POLL_WRITE) < 0:
            self.link_down(i, Q_REFUSED if k.fd == -ECONNREFUSED else Q_UNREACHABLE, False)
            return
        k.state = LINK_CONNECTING
        k.wake_ns = now + patience
        timers_want(&self.timers, i, k.wake_ns)

    cdef void connected(self, int32_t i) noexcept nogil:
        # Up or refused: the socket is writable, so the kernel knows.
        cdef Link *k = &self.links[i]
        cdef int error = fx_connect_result(k.fd)
        if error or fx_poll_modify(self.poll_set, k.fd, <uint32_t>i, FX_POLL_READ) < 0:
            self.link_down(i, Q_REFUSED if error == ECONNREFUSED else Q_UNREACHABLE, False)
            return
        k.state = LINK_UP
        k.next_send_ns = fx_now_ns() + self.plans[i].connect_delay_ns
        conversation_open(&k.conversation, <uint16_t>schedule_random(&self.schedule))
        self.up += 1
        self.settle(i, 0)

    cdef void link_down(self, int32_t i, uint8_t quality, bint abort) noexcept nogil:
        # Close the connection, fail all that waits for it, and try again after a jittered, growing wait.
        cdef Link *k = &self.links[i]
        cdef int64_t ceiling, now = fx_now_ns()
        cdef bint news = k.state == LINK_UP or k.failure != quality
        if k.fd >= 0:
            if abort:
                fx_abort(k.fd)
            else:
                close(k.fd)
        k.fd = -1
        k.conversation.in_flight = 0
        k.conversation.held = 0
        k.out_size = 0
        schedule_link_down(&self.schedule, i, quality)
        if k.state == LINK_UP:
            self.up -= 1
        k.failure = quality
        if news:
            self.settle(i, quality)
        if quality == Q_NO_HOST:
            return  # stays without an address until set_address
        # A link that has just served well may come back at once; the pacing keeps many of them from a storm.
        # The wait is counted from the end of this try, its cap from the beginning: a try that itself lasts
        # (a black hole) is followed by the next one within probe_interval all the same.
        ceiling = BACKOFF_FIRST
        if k.attempts:
            ceiling = min(BACKOFF_BASE << min(k.attempts, 16), self.probe_interval_ns)
        k.attempts += k.attempts < 255
        k.state = LINK_WAITING
        k.has_slot = 0
        k.wake_ns = min(
            now + <int64_t>(schedule_random(&self.schedule) % <uint64_t>ceiling),
            max(now, k.tried_ns + self.probe_interval_ns),
        )
        timers_want(&self.timers, i, k.wake_ns)

    cdef void settle(self, int32_t i, uint8_t quality) noexcept nogil:
        # The link's first outcome is known; and there is news to tell (the oldest is kept if nobody listens).
        if not self.links[i].settled:
            self.links[i].settled = 1
            self.settled += 1
        if self.n_events < EVENTS:
            self.events[self.n_events] = i
            self.event_quality[self.n_events] = quality
            self.n_events += 1


def struct_sizes():
    """Return sizeof(LinkPlan), sizeof(UnitPlan), sizeof(Block): the NumPy dtypes of the plan must agree."""
    return sizeof(LinkPlan), sizeof(UnitPlan), sizeof(Block)


def memory_per_link():
    """Return the bytes of ours that one link takes, without its blocks, columns and the kernel's socket."""
    return sizeof(Link) + 2 * sizeof(int32_t) + sizeof(int64_t)
