"""One link's conversation as a state machine without sockets or clocks (sans-IO).

    request(block, now) ──▶ bytes to send               bytes of the peer ──▶ next() ──▶ events
    call(slot, now)     ──▶                             the time          ──▶ expire() ──▶ events

Invariants:
1. A request ends exactly once: as EVENT_REPLY, as EVENT_FAILED, or with the connection (EVENT_BROKEN).
2. A reply is credited only to the request in flight that has its transaction_id, and only if unit_id,
   function code, byte count and length are those which that request asked for (MIG 4.4.2; reliability cases
   13-35). Of a call (negative block: ~slot) all but the identifiers is for calls.pyx to judge.
3. A transaction that has timed out is forgotten, so its late reply is dropped. Identifiers count up from a
   random start, and none comes round again within twice the timeout (the caller asks conversation_ready_ns).
4. Where replies may bear the identifier 0 (`zero_ids`), one request is in flight at a time, and whatever
   could make a reply seem the answer to another request ends the stream: a timeout, a frame that answers
   nothing or does not match, and exception 5, which the true reply may follow.
5. A stream is broken by a wrong header (at once), by a frame before any request, by more than 8 frames in a
   row that answer nothing (late answers aside), or by a deadline that passes with half a frame received:
   there is no resynchronising.

The struct owns the bytes of an unfinished frame (`rest`); all other bytes are the caller's.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t
from libc.string cimport memmove, memset

from fluxfast.link.structs cimport Block
from fluxfast.modbus.frame cimport (
    FX_COMPLETE,
    FX_EXCEPTION,
    FX_NEED_DATA,
    FX_WRONG_FUNCTION,
    build_read,
    check_read_response,
    frame_status,
    split_mbap,
)
from fluxfast.native.endian cimport load_u16, store_u16
from fluxfast.table.quality cimport Q_FRAMING, Q_MALFORMED, Q_MISMATCH, Q_TIMEOUT, exception_quality


cdef enum:
    RUN = 65536 // ID_RUNS
    ACKNOWLEDGE = 5


cdef void conversation_open(Conversation *c, uint16_t first_id, uint8_t zero_ids) noexcept nogil:
    # A new connection begins: nothing in flight, nothing held.
    c.in_flight = 0
    c.strays = 0
    c.owed = 0
    c.timeouts = 0
    c.held = 0
    c.issued = 0
    c.zero_ids = zero_ids
    c.next_id = first_id
    memset(c.run_ended_ns, 0, sizeof(c.run_ended_ns))


cdef void conversation_request(
    Conversation *c, const Block *blocks, int32_t block, int64_t now_ns, uint8_t *out
) noexcept nogil:
    # Writes the 12 bytes of the request. The caller keeps in_flight below the link's limit (<=
    # MAX_IN_FLIGHT).
    cdef const Block *b = &blocks[block]
    cdef Transaction *t = begin(c, block, b.unit_id, b.aliases, now_ns, now_ns + b.timeout_ns)
    build_read(out, t.id, b.unit_id, b.function_code, b.address, b.quantity)


cdef Py_ssize_t conversation_call(
    Conversation *c, int32_t slot, uint8_t unit_id, const uint8_t *aliases, uint16_t pdu_size,
    int64_t deadline_ns, int64_t now_ns, uint8_t *out
) noexcept nogil:
    # Writes the header for the PDU that stands at out + 7 already, and returns the size of the whole frame.
    cdef Transaction *t = begin(c, ~slot, unit_id, aliases, now_ns, deadline_ns)
    store_u16(out, t.id)
    store_u16(out + 2, 0)
    store_u16(out + 4, pdu_size + 1)
    out[6] = unit_id
    return 7 + pdu_size


cdef Transaction *begin(
    Conversation *c, int32_t block, uint8_t unit_id, const uint8_t *aliases, int64_t now_ns,
    int64_t deadline_ns
) noexcept nogil:
    cdef Transaction *t = &c.transactions[c.in_flight]
    t.id = c.next_id
    t.block = block
    t.unit_id = unit_id
    t.aliases[0], t.aliases[1] = aliases[0], aliases[1]
    t.sent_ns = now_ns
    t.deadline_ns = deadline_ns
    if (t.id & (RUN - 1)) == RUN - 1:
        c.run_ended_ns[t.id // RUN] = now_ns
    c.next_id += 1
    c.in_flight += 1
    c.issued += c.issued < 0xFFFF
    return t


cdef void forget(Conversation *c, int32_t slot) noexcept nogil:
    c.in_flight -= 1
    memmove(
        &c.transactions[slot], &c.transactions[slot + 1], (c.in_flight - slot) * sizeof(Transaction)
    )


cdef void conversation_next(
    Conversation *c, const Block *blocks, const uint8_t **p, const uint8_t *end, Event *event
) noexcept nogil:
    # Takes one frame from [p, end) and says what it means. On EVENT_NONE the unfinished rest has been moved
    # into `rest`, and the caller puts it in front of the next bytes.
    cdef Py_ssize_t size = 0
    cdef const uint8_t *adu = p[0]
    cdef frame_status status = split_mbap(adu, end, &size)
    cdef int32_t slot
    cdef uint16_t id
    cdef uint8_t code = 0
    cdef bint is_its_unit
    cdef const Block *b
    event.ends_stream = False
    event.quality = Q_FRAMING
    event.sent_ns = 0
    if status == FX_NEED_DATA:
        c.held = <int32_t>(end - adu)  # < 260: a whole frame would have been cut off
        memmove(c.rest, adu, c.held)
        p[0] = end
        event.kind = EVENT_NONE
        return
    if status != FX_COMPLETE:
        event.kind = EVENT_BROKEN
        return
    p[0] = adu + size

    id = event.id = load_u16(adu)
    slot = 0
    while slot < c.in_flight and c.transactions[slot].id != id:
        slot += 1
    if slot == 1 and id == 0 and c.zero_ids:
        slot = 0  # the only one in flight
    if slot == c.in_flight:
        if c.owed and <uint16_t>(c.next_id - 1 - id) < c.issued and not (id == 0 and c.zero_ids):
            c.owed -= 1  # the answer that a request did not wait for: the device is slow, the stream is sound
            event.kind = EVENT_LATE
            return
        c.strays += 1
        if c.issued == 0 or c.strays > MAX_STRAYS or (id == 0 and c.zero_ids):
            event.kind = EVENT_BROKEN
        elif <uint16_t>(c.next_id - 1 - id) < c.issued:
            event.kind = EVENT_LATE
        else:
            event.kind = EVENT_FOREIGN
        return

    event.block = c.transactions[slot].block
    event.sent_ns = c.transactions[slot].sent_ns
    event.id = c.transactions[slot].id  # the request's own, where the reply bears 0
    is_its_unit = answers_for(&c.transactions[slot], adu[6])
    forget(c, slot)
    c.strays = 0
    c.timeouts = 0
    if event.block < 0:
        event.data = adu + 7
        event.end = adu + size
        event.kind = EVENT_ANSWER if is_its_unit else EVENT_FAILED
        event.quality = Q_MISMATCH
        event.ends_stream = c.zero_ids and (not is_its_unit or is_acknowledge(adu + 7, adu + size))
        return
    b = &blocks[event.block]
    event.kind = EVENT_FAILED
    if not is_its_unit:
        event.quality = Q_MISMATCH
        event.ends_stream = c.zero_ids
        return
    status = check_read_response(adu + 7, adu + size, b.function_code, b.quantity, &code)
    if status == FX_COMPLETE:
        event.kind = EVENT_REPLY
        event.data = adu + 9
    elif status == FX_EXCEPTION:
        event.quality = exception_quality(code)
    elif status == FX_WRONG_FUNCTION:
        event.quality = Q_MISMATCH
    else:
        event.quality = Q_MALFORMED
    if c.zero_ids:
        event.ends_stream = event.kind == EVENT_FAILED and (status != FX_EXCEPTION or code == ACKNOWLEDGE)


cdef inline bint answers_for(const Transaction *t, uint8_t unit_id) noexcept nogil:
    return unit_id == t.unit_id or unit_id == t.aliases[0] or unit_id == t.aliases[1]


cdef inline bint is_acknowledge(const uint8_t *pdu, const uint8_t *end) noexcept nogil:
    return end - pdu == 2 and pdu[0] >= 0x80 and pdu[1] == ACKNOWLEDGE


cdef bint conversation_expire(Conversation *c, int64_t now_ns, Event *event) noexcept nogil:
    # One request whose deadline has passed; false if there is none. Half a frame in hand at that moment
    # means that the connection is of no use any more, and so does a late reply that could not be told from a
    # good one. `timeouts` counts those in a row, for the caller.
    cdef int32_t slot
    for slot in range(c.in_flight):
        if c.transactions[slot].deadline_ns <= now_ns:
            event.block = c.transactions[slot].block
            event.sent_ns = c.transactions[slot].sent_ns
            event.id = c.transactions[slot].id
            event.quality = Q_TIMEOUT
            forget(c, slot)
            c.timeouts += 1
            c.owed += c.owed < MAX_IN_FLIGHT
            event.kind = EVENT_BROKEN if c.held or c.zero_ids else EVENT_FAILED
            return True
    return False


cdef int64_t conversation_ready_ns(const Conversation *c, int64_t quarantine_ns) noexcept nogil:
    # When the next identifier may be used: its run's last use must be over for the quarantine. Once that is
    # so for the first of a run, it is so for all.
    cdef int64_t ended
    if c.next_id & (RUN - 1):
        return 0
    ended = c.run_ended_ns[c.next_id // RUN]
    return ended + quarantine_ns if ended else 0


cdef int64_t conversation_deadline(const Conversation *c) noexcept nogil:
    # The earliest deadline in flight, or the end of time.
    cdef int64_t first = 0x7FFFFFFFFFFFFFFF
    cdef int32_t slot
    for slot in range(c.in_flight):
        if c.transactions[slot].deadline_ns < first:
            first = c.transactions[slot].deadline_ns
    return first
