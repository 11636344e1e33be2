"""The reactor: all links' sockets in one poll set, drained in batches without the GIL.

    begin_tick ─▶ requests of the links whose phase has come; process sends the others theirs
    process    ─▶ receive ─▶ conversation ─▶ decode into columns ─▶ send what is next     (once per wake-up)
    end_tick   ─▶ whatever is unanswered is marked

Its descriptor goes into another loop's set (uvloop's), which wakes it once per batch. It knows no Python
object per link, block or reply: those are C structs, made once. This is their Python face; what a link does
is decided in links.pyx, and its bytes are carried by ports.pyx.

Who owns what: the plan's arrays and the tables' columns are NumPy arrays kept alive by `owners`; links,
schedule and ports are ours, freed in __dealloc__.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fluxfast.link.calls cimport CALL_IDLE, Call, calls_cancel, calls_take
from fluxfast.link.conversation cimport MAX_IN_FLIGHT
from fluxfast.link.links cimport (
    LINK_CONNECTING, LINK_NO_ADDRESS, LINK_UP, LINK_WAITING, links_begin_tick, links_call, links_complete,
    links_down, links_end_tick, links_free, links_make, links_phase_ns, links_run_timers, links_send_next,
    links_sent, links_resume, links_start, links_up,
)
from fluxfast.link.ports cimport (
    RECEIVE_SIZE, WISH_ABORT, WISH_CLOSE, WISH_CONNECT, WISH_SEND, Port, ports_close, ports_data, ports_drain,
    ports_free, ports_make, ports_now,
)
from fluxfast.link.schedule cimport (
    EXCEPTION_CODES, BlockState, Queue, TableTimes, UnitState, schedule_free, schedule_make,
)
from fluxfast.link.structs cimport Block, LinkPlan, UnitPlan
from fluxfast.link.trace cimport TRACE_ALL, TRACE_NONE, TraceRecord, trace_begin
from fluxfast.link.writes cimport (
    WRITE_ACCEPTED, Write, WriteState, write_refusal, writes_accept, writes_end,
)
from fluxfast.modbus.constants cimport FX_MAX_PDU_SIZE
from fluxfast.native.tcp cimport fx_address_set
from fluxfast.table.decode cimport Column, Op
from fluxfast.table.quality cimport Q_LOST, Q_NO_HOST

cdef int64_t SECOND = 1_000_000_000
cdef int64_t SLICE = SECOND // 500       # then the rest of the process gets its turn
cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF


@cython.final
cdef class Reactor:
    """All links of a plan. Not thread-safe: every call comes from the one loop that watches ``fileno()``.

    Arguments are the raw bytes (uint8) of the plan's LINK, UNIT, BLOCK, OP arrays and of the tables' COLUMN,
    the sentinels (uint64), the ``times`` of each table (uint64), ``owners`` (whatever owns that
    memory), the pacing of new connections per second (0: none), the longest wait between two tries of a link
    or a unit that does not answer, a seed for jitter and first transaction_ids, how many calls may be
    under way at once, and what may be written: the WRITE array, and WRITE_STATE, in which it tells what
    became of that.
    """

    def __cinit__(
        self, const uint8_t[::1] links, const uint8_t[::1] units, const uint8_t[::1] blocks,
        const uint8_t[::1] ops, const uint64_t[::1] sentinels, const uint8_t[::1] columns,
        const uint64_t[::1] times, owners, double connects_per_s, int64_t probe_interval_ns, uint64_t seed,
        int n_calls=0, const uint8_t[::1] writes=None, uint8_t[::1] write_states=None,
    ):
        self.ports.poll_set = -1
        self.owners = (links, units, sentinels, columns, times, owners, writes, write_states)
        cdef int32_t n_links = <int32_t>(links.shape[0] // <Py_ssize_t>sizeof(LinkPlan))
        if n_links == 0:
            raise ValueError("a reactor needs at least one link")
        cdef const LinkPlan *plans = <const LinkPlan *>&links[0]
        self.links.connect_interval_ns = <int64_t>(SECOND / connects_per_s) if connects_per_s else 0
        self.links.probe_interval_ns = max(probe_interval_ns, SECOND)
        self.links.schedule.probe_interval_ns = self.links.probe_interval_ns
        self.links.schedule.sentinels = &sentinels[0] if sentinels.shape[0] else NULL
        self.links.schedule.columns = <const Column *>&columns[0] if columns.shape[0] else NULL
        self.links.schedule.times = <const TableTimes *>&times[0] if times.shape[0] else NULL
        self.links.schedule.random = seed | 1
        if writes is not None and writes.shape[0]:
            self.writes.n_writes = <int32_t>(writes.shape[0] // <Py_ssize_t>sizeof(Write))
            size = self.writes.n_writes * <Py_ssize_t>sizeof(WriteState)
            if write_states is None or write_states.shape[0] != size:
                raise ValueError("every write needs its state")
            self.writes.writes = <const Write *>&writes[0]
            self.writes.states = <WriteState *>&write_states[0]
        n_calls += self.writes.n_writes  # which have the first slots
        if not links_make(&self.links, plans, n_links, n_calls) or not schedule_make(
            &self.links.schedule, plans, n_links,
            <const UnitPlan *>&units[0] if units.shape[0] else NULL,
            <int32_t>(units.shape[0] // <Py_ssize_t>sizeof(UnitPlan)),
            <const Block *>&blocks[0] if blocks.shape[0] else NULL,
            <int32_t>(blocks.shape[0] // <Py_ssize_t>sizeof(Block)),
            <const Op *>&ops[0] if ops.shape[0] else NULL,
            <int32_t>(ops.shape[0] // <Py_ssize_t>sizeof(Op)),
        ):
            raise MemoryError()
        if not ports_make(&self.ports, &self.links):
            raise OSError("no descriptor or no memory left for the poll set")
        cdef int32_t i
        for i in range(n_links):
            if not 1 <= plans[i].max_in_flight <= MAX_IN_FLIGHT:
                raise ValueError(f"link {i}: max_in_flight must be 1 to {MAX_IN_FLIGHT}")

    def __dealloc__(self):
        ports_free(&self.ports)
        schedule_free(&self.links.schedule)
        links_free(&self.links)

    def close(self):
        """Close every socket in an orderly way (FIN frees the device's slot) and the poll set."""
        ports_close(&self.ports)

    def fileno(self):
        """Return the poll set's descriptor: readable when ``process`` has something to do."""
        return self.ports.poll_set

    def now_ns(self):
        """Return the reactor's clock (nanoseconds, goes on during suspend)."""
        return ports_now(&self.ports)

    def set_clock(self, int64_t now_ns):
        """From now on it is what the caller says: for a simulated network and its simulated time."""
        self.ports.simulated_ns = now_ns

    # ---- ticks ----

    def begin_tick(self, int64_t tick, int64_t length_ns=NEVER):
        """Begin a tick: send to the links whose phase is 0; return how many blocks that waits for so far.

        ``length_ns`` is when ``end_tick`` will come: what can't be asked for in time is not waited for.
        """
        cdef int64_t now = ports_now(&self.ports)
        with nogil:
            links_begin_tick(&self.links, tick, now, now + min(length_ns, NEVER - now))
            self.send_tick()
        return self.links.schedule.outstanding

    def process(self):
        """Handle what has arrived and whose time has come; return true once the open tick is complete."""
        with nogil:
            ports_drain(&self.ports, SLICE)
            # First: a link whose end has come gets no more.
            links_run_timers(&self.links, ports_now(&self.ports))
            self.send_tick()
        return links_complete(&self.links)

    def end_tick(self):
        """Close the tick: mark what is unanswered (timeout); return how many blocks that were."""
        cdef int missed
        with nogil:
            missed = links_end_tick(&self.links, ports_now(&self.ports))
        return missed

    def next_timer_ns(self):
        """Return when ``process`` must be called even if nothing arrives, on the reactor's clock."""
        first = self.links.timers.due_ns[self.links.timers.heap[0]] if self.links.timers.n else NEVER
        return min(first, links_phase_ns(&self.links))

    # ---- calls ----

    def call(self, int slot, int link, uint8_t unit_id, const uint8_t[::1] pdu, int64_t timeout_ns,
             int64_t expires_ns):
        """Send a request PDU ahead of all reads; its outcome comes with ``take_calls``.

        An answer is waited for timeout_ns, nothing is sent or waited for after expires_ns (reactor's clock).
        What the slot was to send and has not sent yet, this replaces.
        """
        cdef Call *call = self.call_at(slot)
        self.link_at(link)
        if not 1 <= pdu.shape[0] <= FX_MAX_PDU_SIZE:
            raise ValueError(f"a PDU has 1 to {FX_MAX_PDU_SIZE} bytes, not {pdu.shape[0]}")
        if (call.state != CALL_IDLE or call.ended) and (call.link != link or call.unit_id != unit_id):
            raise ValueError(f"call {slot} is under way to another unit, or its outcome has not been taken")
        links_call(
            &self.links, link, self.writes.n_writes + slot, unit_id, &pdu[0], <uint16_t>pdu.shape[0],
            timeout_ns, expires_ns, ports_now(&self.ports),
        )

    def cancel_call(self, int slot):
        """Send nothing more for this slot; what is in flight ends in its own time."""
        self.call_at(slot)
        calls_cancel(&self.links.calls, self.writes.n_writes + slot, ports_now(&self.ports))

    def take_calls(self):
        """Return and forget [(slot, call_outcome, quality code, response PDU or b'')] of calls that ended.

        What became of writes goes to their states.
        """
        cdef list taken = []
        cdef int32_t slot = calls_take(&self.links.calls)
        cdef Call *call
        while slot >= 0:
            call = &self.links.calls.calls[slot]
            if slot < self.writes.n_writes:
                writes_end(&self.writes, slot, call)
            else:
                taken.append(
                    (slot - self.writes.n_writes, call.outcome, call.quality,
                     PyBytes_FromStringAndSize(<char *>call.answer, call.answer_size))
                )
            links_resume(&self.links, slot, ports_now(&self.ports))
            slot = calls_take(&self.links.calls)
        return taken

    @property
    def calls_ended(self):
        """Whether ``take_calls`` has something."""
        return self.links.calls.first_ended >= 0

    # ---- writes ----

    def write(self, const int32_t[::1] which, const double[::1] values, const int64_t[::1] expires_ns):
        """Send values to entries ``which`` of the allow-list; return how many were accepted.

        All three have one row for each. Of those that are refused, the state says why; what is accepted is
        on its way, ahead of all reads, but is not sent any more at expires_ns (reactor's clock).
        """
        if not which.shape[0] == values.shape[0] == expires_ns.shape[0]:
            raise ValueError("writes need an entry, a value and an end for each")
        cdef int64_t now = ports_now(&self.ports)
        cdef Py_ssize_t k, n = which.shape[0]
        cdef int32_t i, accepted = 0
        cdef write_refusal refusal
        cdef const Write *w
        cdef uint8_t pdu[FX_MAX_PDU_SIZE]
        cdef uint16_t size
        for k in range(n):
            if not 0 <= which[k] < self.writes.n_writes:
                raise IndexError(f"write {which[k]} of {self.writes.n_writes}")
        with nogil:
            for k in range(n):
                i = which[k]
                refusal = writes_accept(&self.writes, i, values[k], expires_ns[k], now, pdu, &size)
                if refusal == WRITE_ACCEPTED:
                    w = &self.writes.writes[i]
                    accepted += 1
                    links_call(
                        &self.links, w.link, i, w.unit_id, pdu, size, w.timeout_ns, expires_ns[k],
                        ports_now(&self.ports),
                    )
        return accepted

    # ---- links ----

    def set_address(self, int link, const uint8_t[::1] ip, uint16_t port, uint32_t scope=0):
        """Give a link its address (4 or 16 bytes), and let it connect if it is not up."""
        self.link_at(link)
        if ip.shape[0] != 4 and ip.shape[0] != 16:
            raise ValueError(f"an IP address has 4 or 16 bytes, not {ip.shape[0]}")
        fx_address_set(&self.ports.ports[link].address, &ip[0], <int>ip.shape[0], port, scope)
        links_start(&self.links, link)

    def set_unresolved(self, int link):
        """Say that the link's host name does not resolve."""
        if self.link_at(link).state == LINK_NO_ADDRESS:
            links_down(&self.links, link, Q_NO_HOST, False, ports_now(&self.ports))

    def set_stream(self, int link):
        """Let a link's bytes come and go through Python, and let it connect (``take_wishes``)."""
        self.link_at(link)
        self.ports.ports[link].is_stream = 1
        links_start(&self.links, link)

    def take_wishes(self):
        """Return and forget [(link, connect, bytes to send, close, abort)] of the streams.

        A stream that is to close and to connect closes first.
        """
        cdef list taken = []
        cdef Link *k
        cdef uint8_t wishes
        cdef int32_t i
        while self.ports.n_wishing:
            self.ports.n_wishing -= 1
            i = self.ports.wishing[self.ports.n_wishing]
            k = &self.links.links[i]
            wishes = self.ports.ports[i].wishes
            self.ports.ports[i].wishes = 0
            data = PyBytes_FromStringAndSize(<char *>k.out, k.out_size) if wishes & WISH_SEND else b""
            taken.append(
                (i, bool(wishes & WISH_CONNECT), data, bool(wishes & (WISH_CLOSE | WISH_ABORT)),
                 bool(wishes & WISH_ABORT))
            )
            if wishes & WISH_SEND:
                k.out_size = 0
                links_sent(&self.links, i, ports_now(&self.ports))
        return taken

    def stream_up(self, int link):
        """Say that a stream has connected."""
        if self.link_at(link).state == LINK_CONNECTING:
            links_up(&self.links, link, ports_now(&self.ports))

    def stream_down(self, int link, uint8_t quality=Q_LOST):
        """Say that a stream has ended, or (quality code) why it could not connect."""
        if self.link_at(link).state >= LINK_CONNECTING:
            links_down(&self.links, link, quality, False, ports_now(&self.ports))

    def stream_data(self, int link, const uint8_t[::1] data):
        """Hand over what a stream has received."""
        cdef Link *k = self.link_at(link)
        cdef Py_ssize_t at = 0, size = data.shape[0], n
        while at < size and k.state == LINK_UP:
            n = min(size - at, <Py_ssize_t>RECEIVE_SIZE)
            ports_data(&self.ports, link, &data[at], n)
            at += n

    def failure(self, int link):
        """Return a link's quality code: 0 if it is up, else why not."""
        cdef Link *k = self.link_at(link)
        return 0 if k.state == LINK_UP else k.failure

    def next_try_ns(self, int link):
        """Return when a link that is down tries to connect again (reactor's clock); 0: it does not wait."""
        cdef Link *k = self.link_at(link)
        return k.wake_ns if k.state == LINK_WAITING else 0

    def evidence(self, int link):
        """Return the bytes (260 at most) that showed a link's stream not to be Modbus, while it is down."""
        cdef Link *k = self.link_at(link)
        return PyBytes_FromStringAndSize(<char *>k.conversation.rest, k.evidence)

    def connects(self, int link):
        """Return how often a link has tried to connect."""
        return self.link_at(link).connects

    def take_events(self):
        """Return and forget [(link, quality code)], 0 for a link that came up."""
        taken = [(self.links.events[i], self.links.event_quality[i]) for i in range(self.links.n_events)]
        self.links.n_events = 0
        return taken

    # ---- trace ----

    def trace(self, int link, int unit_id=TRACE_ALL):
        """From now on, copy the frames of a unit (-1: of all units of the link) for ``take_trace``."""
        self.link_at(link)
        if not trace_begin(&self.links.trace, self.links.n_links):
            raise MemoryError()
        if self.links.trace.wanted[link] not in (TRACE_NONE, unit_id):
            unit_id = TRACE_ALL
        self.links.trace.wanted[link] = <int16_t>unit_id

    def untrace(self, int link):
        """Copy no more frames of a link."""
        self.link_at(link)
        if self.links.trace.records != NULL:
            self.links.trace.wanted[link] = TRACE_NONE

    def take_trace(self):
        """Return (records, how many more there were): what was copied since the last time.

        A record is (time_ns, sent_ns, link, transaction_id, trace_kind, quality code, ADU). At most 1,024 are
        kept; sent_ns is when its request was sent, or 0.
        """
        cdef TraceRecord *r
        cdef list taken = []
        cdef int32_t i
        for i in range(self.links.trace.n):
            r = &self.links.trace.records[i]
            taken.append(
                (r.time_ns, r.sent_ns, r.link, r.id, r.kind, r.quality,
                 PyBytes_FromStringAndSize(<char *>r.bytes, r.size))
            )
        lost = self.links.trace.lost
        self.links.trace.n = 0
        self.links.trace.lost = 0
        return taken, lost

    # ---- counters ----

    @property
    def n_links(self):
        """All links."""
        return self.links.n_links

    @property
    def up(self):
        """Links that are connected."""
        return self.links.up

    @property
    def settled(self):
        """Links that have come up or failed at least once."""
        return self.links.settled

    @property
    def requests(self):
        """Requests sent since the start."""
        return self.links.requests

    @property
    def outstanding(self):
        """Blocks that the open tick waits for."""
        return self.links.schedule.outstanding

    @property
    def values(self):
        """Values decoded since the start."""
        return self.links.schedule.values

    def read_counters(self, uint64_t[:, ::1] units, uint64_t[:, ::1] links):
        """Copy the counters: units[units, 20], links[links, 3] in the order of counters.py."""
        cdef int32_t u, i, code
        cdef UnitState *unit
        for u in range(min(self.links.schedule.n_units, <int32_t>units.shape[0])):
            unit = &self.links.schedule.units[u]
            units[u, 0] = unit.requests
            units[u, 1] = unit.replies
            units[u, 2] = unit.timeouts
            units[u, 3] = 0
            units[u, 4] = unit.malformed
            units[u, 5] = unit.mismatched
            units[u, 6] = unit.lost
            units[u, 7] = unit.retries
            for code in range(EXCEPTION_CODES):
                units[u, 3] += unit.exceptions[code]
                units[u, 8 + code] = unit.exceptions[code]
        for i in range(min(self.links.n_links, <int32_t>links.shape[0])):
            links[i, 0] = self.links.links[i].connects
            links[i, 1] = self.links.links[i].late
            links[i, 2] = self.links.links[i].foreign

    def read_round_trips(self, uint32_t[:, ::1] buckets, uint32_t[::1] longest_us):
        """Copy how long replies took: buckets[units, 80] as round_trips.py has them, longest_us[units]."""
        cdef int32_t u
        cdef UnitState *unit
        for u in range(min(self.links.schedule.n_units, <int32_t>buckets.shape[0])):
            unit = &self.links.schedule.units[u]
            memcpy(&buckets[u, 0], unit.round_trips, sizeof(unit.round_trips))
            longest_us[u] = unit.longest_us

    # ---- without the GIL ----

    cdef Link *link_at(self, int link) except NULL:
        if not 0 <= link < self.links.n_links:
            raise IndexError(f"link {link} of {self.links.n_links}")
        return &self.links.links[link]

    cdef Call *call_at(self, int slot) except NULL:
        cdef int32_t n_calls = self.links.calls.n_calls - self.writes.n_writes
        if not 0 <= slot < n_calls:
            raise IndexError(f"call {slot} of {n_calls}")
        return &self.links.calls.calls[self.writes.n_writes + slot]

    cdef void send_tick(self) noexcept nogil:
        # As far as the links' phases have come.
        while links_send_next(&self.links, ports_now(&self.ports)):
            if self.links.next_link % SEND_RUN == 0:
                ports_drain(&self.ports, 0)


def struct_sizes():
    """Return the sizes of LinkPlan, UnitPlan, Block, Write, WriteState: the NumPy dtypes must agree."""
    return sizeof(LinkPlan), sizeof(UnitPlan), sizeof(Block), sizeof(Write), sizeof(WriteState)


def memory_per_device(int n_blocks=1):
    """Return the bytes of ours for a device that has a link to itself, without columns and the kernel's."""
    return (
        sizeof(Link) + sizeof(Port) + sizeof(Queue) + sizeof(UnitState)
        + 4 * sizeof(int32_t) + sizeof(int64_t)  # timers, wishes, calls
        + n_blocks * (sizeof(Block) + sizeof(BlockState))
    )
