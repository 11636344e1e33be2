"""Single requests beside the plan: setpoints, and what a Client asks. Without sockets or clocks (sans-IO).

    submit ─▶ due ──next──▶ in flight ──answer, fail──▶ an outcome, until it is taken
                 ◀── read back ──┘

A link sends its due calls ahead of all reads of the plan, in the order of their submission.

Invariants:
1. Of a call that has not been sent yet, a newer submission takes the place: the newest setpoint wins. While
   one is in flight, the newest waits until its outcome has been taken; so no outcome hides another.
2. Nothing is sent after ``expires_ns``, and no call ends later than that, or than the one that it waited for.
3. A write is sent once. If what became of it is not clear (no answer, a wrong echo, a lost connection, a
   gateway that got no answer), it is read back while time remains, never repeated.

Every call's memory is a slot of the table, made once; ``pdu`` and ``answer`` are its own.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from fluxfast.modbus.constants cimport (
    FX_MASK_WRITE_REGISTER, FX_READ_COILS, FX_READ_HOLDING_REGISTERS, FX_READ_INPUT_REGISTERS,
    FX_WRITE_MULTIPLE_COILS, FX_WRITE_MULTIPLE_REGISTERS, FX_WRITE_SINGLE_COIL, FX_WRITE_SINGLE_REGISTER,
)
from fluxfast.modbus.frame cimport (
    FX_COMPLETE, FX_EXCEPTION, FX_MALFORMED, FX_WRONG_ECHO, FX_WRONG_FUNCTION, check_read_response,
    check_write_response, frame_status,
)
from fluxfast.native.endian cimport load_u16, store_u16
from fluxfast.table.quality cimport Q_GOOD, Q_MALFORMED, Q_MISMATCH, Q_TIMEOUT, exception_quality

cdef enum:
    READ_BACK_SIZE = 5
    GATEWAY_TARGET_FAILED = 0x0B
# Function codes that change nothing in the device, as bits: 1-4, 7, 11, 12, 17, 20, 24, 43. (client.py has
# them too.)
cdef int64_t READS = (
    0b11110 | 1 << 7 | 1 << 11 | 1 << 12 | 1 << 17 | 1 << 20 | 1 << 24 | <int64_t>1 << 43
)
cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF


cdef bint calls_make(Calls *s, int32_t n_calls, int32_t n_links) noexcept nogil:
    cdef int32_t link
    s.n_calls = n_calls
    s.first_ended = -1
    s.calls = <Call *>calloc(n_calls + 1, sizeof(Call))
    s.heads = <int32_t *>malloc((n_links + 1) * sizeof(int32_t))
    s.tails = <int32_t *>malloc((n_links + 1) * sizeof(int32_t))
    if s.calls == NULL or s.heads == NULL or s.tails == NULL:
        return False
    for link in range(n_links):
        s.heads[link] = s.tails[link] = -1
    return True


cdef void calls_free(Calls *s) noexcept nogil:
    free(s.calls)
    free(s.heads)
    free(s.tails)


# ---- the link's queue ----

cdef void append(Calls *s, int32_t slot) noexcept nogil:
    cdef Call *call = &s.calls[slot]
    call.next = -1
    if s.heads[call.link] < 0:
        s.heads[call.link] = slot
    else:
        s.calls[s.tails[call.link]].next = slot
    s.tails[call.link] = slot
    call.state = CALL_DUE


cdef void put_first(Calls *s, int32_t slot) noexcept nogil:
    cdef Call *call = &s.calls[slot]
    call.next = s.heads[call.link]
    s.heads[call.link] = slot
    if call.next < 0:
        s.tails[call.link] = slot
    call.state = CALL_DUE


cdef void remove(Calls *s, int32_t slot) noexcept nogil:
    cdef int32_t link = s.calls[slot].link, before = -1, at = s.heads[link]
    while at != slot:
        before = at
        at = s.calls[at].next
    if before < 0:
        s.heads[link] = s.calls[slot].next
    else:
        s.calls[before].next = s.calls[slot].next
    if s.tails[link] == slot:
        s.tails[link] = before


# ---- in ----

cdef void calls_submit(
    Calls *s, int32_t slot, int32_t link, uint8_t unit_id, const uint8_t *pdu, uint16_t size,
    int64_t timeout_ns, int64_t expires_ns
) noexcept nogil:
    # A slot keeps to one link and unit while it is not idle. `size` is 1 to FX_MAX_PDU_SIZE.
    cdef Call *call = &s.calls[slot]
    if call.state == CALL_IN_FLIGHT or call.reading_back or call.ended:
        memcpy(call.answer, pdu, size)
        call.answer_size = 0
        call.newer_size = size
        call.newer_timeout_ns = timeout_ns
        call.newer_expires_ns = expires_ns
        return
    call.link = link
    call.unit_id = unit_id
    call.timeout_ns = timeout_ns
    call.expires_ns = expires_ns
    call.size = size
    call.sent_ns = 0
    memcpy(call.pdu, pdu, size)
    if call.state == CALL_IDLE:
        append(s, slot)


cdef void calls_cancel(Calls *s, int32_t slot, int64_t now_ns) noexcept nogil:
    # Nothing more is sent for it; one in flight ends in its own time.
    cdef Call *call = &s.calls[slot]
    call.newer_size = 0
    if call.state == CALL_DUE:
        remove(s, slot)
        end(s, slot, CALL_UNKNOWN if call.reading_back else CALL_FAILED, Q_TIMEOUT, now_ns)


# ---- out ----

cdef int32_t calls_next(Calls *s, int32_t link, int64_t now_ns) noexcept nogil:
    # The link's next call, now in flight; or -1. What has expired ends here.
    cdef int32_t slot
    while s.heads[link] >= 0:
        slot = s.heads[link]
        remove(s, slot)
        if now_ns < s.calls[slot].expires_ns:
            s.calls[slot].state = CALL_IN_FLIGHT
            if not s.calls[slot].reading_back:
                s.calls[slot].sent_ns = now_ns
            return slot
        not_sent(s, slot, Q_TIMEOUT, now_ns)
    return -1


cdef int64_t calls_deadline(const Calls *s, int32_t link) noexcept nogil:
    # When the first of the link's due calls expires, or the end of time.
    cdef int64_t first = NEVER
    cdef int32_t slot = s.heads[link]
    while slot >= 0:
        first = min(first, s.calls[slot].expires_ns)
        slot = s.calls[slot].next
    return first


cdef uint16_t calls_request(const Call *call, uint8_t *out) noexcept nogil:
    # Writes the PDU to be sent, FX_MAX_PDU_SIZE bytes at the most, and returns its size.
    cdef uint8_t code = call.pdu[0]
    if not call.reading_back:
        memcpy(out, call.pdu, call.size)
        return call.size
    out[0] = <uint8_t>(FX_READ_COILS if of_bits(code) else FX_READ_HOLDING_REGISTERS)
    memcpy(out + 1, call.pdu + 1, 2)
    store_u16(out + 3, quantity(call))
    return READ_BACK_SIZE


cdef inline bint of_bits(uint8_t code) noexcept nogil:
    return code == FX_WRITE_SINGLE_COIL or code == FX_WRITE_MULTIPLE_COILS


cdef inline uint16_t quantity(const Call *call) noexcept nogil:
    # How many coils or registers the write names.
    cdef uint8_t code = call.pdu[0]
    return 1 if code == FX_WRITE_SINGLE_COIL or code == FX_WRITE_SINGLE_REGISTER else load_u16(call.pdu + 3)


cdef inline bint can_read_back(const Call *call) noexcept nogil:
    cdef uint8_t code = call.pdu[0]
    if code == FX_WRITE_SINGLE_COIL or code == FX_WRITE_SINGLE_REGISTER:
        return call.size == 5
    if code == FX_WRITE_MULTIPLE_COILS:
        return call.size > 6 and call.size == 6 + (quantity(call) + 7) // 8
    return code == FX_WRITE_MULTIPLE_REGISTERS and call.size > 6 and call.size == 6 + 2 * quantity(call)


cdef inline bint is_read(const Call *call) noexcept nogil:
    return call.pdu[0] < 64 and (READS >> call.pdu[0]) & 1


# ---- what became of it ----

cdef bint calls_answer(
    Calls *s, int32_t slot, const uint8_t *pdu, const uint8_t *end_, int64_t now_ns
) noexcept nogil:
    # A response with the right transaction and unit. True if it shows that the stream can't be trusted.
    cdef Call *call = &s.calls[slot]
    cdef uint8_t request_code = call.pdu[0], code = 0
    cdef frame_status status = FX_COMPLETE
    if call.reading_back:
        status = check_read_response(
            pdu, end_, FX_READ_COILS if of_bits(request_code) else FX_READ_HOLDING_REGISTERS, quantity(call),
            &code,
        )
        if status != FX_COMPLETE:
            end(s, slot, CALL_UNKNOWN, call.quality, now_ns)
        elif holds(call, pdu + 2):
            end(s, slot, CALL_CONFIRMED, call.quality, now_ns)
        else:
            end(s, slot, CALL_DIFFERS, call.quality, now_ns)
        return False

    if request_code <= FX_READ_INPUT_REGISTERS and call.size == 5:
        status = check_read_response(pdu, end_, request_code, load_u16(call.pdu + 3), &code)
    elif can_read_back(call) or (request_code == FX_MASK_WRITE_REGISTER and call.size == 7):
        status = check_write_response(pdu, end_, call.pdu, call.pdu + call.size, &code)
    elif pdu[0] == (request_code | 0x80):
        code = pdu[1] if end_ - pdu == 2 else 0
        status = FX_EXCEPTION if end_ - pdu == 2 else FX_MALFORMED
    elif pdu[0] != request_code:
        status = FX_WRONG_FUNCTION
    if status == FX_COMPLETE or (
        status == FX_EXCEPTION and (is_read(call) or code != GATEWAY_TARGET_FAILED)
    ):
        if not call.newer_size:
            call.answer_size = <uint16_t>(end_ - pdu)
            memcpy(call.answer, pdu, call.answer_size)
        end(
            s, slot, CALL_ANSWERED, Q_GOOD if status == FX_COMPLETE else exception_quality(code), now_ns
        )
        return False
    if status == FX_EXCEPTION:
        calls_fail(s, slot, exception_quality(code), now_ns)
    elif status == FX_WRONG_ECHO or status == FX_WRONG_FUNCTION:
        calls_fail(s, slot, Q_MISMATCH, now_ns)
    else:
        calls_fail(s, slot, Q_MALFORMED, now_ns)
    # Another address is the echo of another write: whose?
    return status == FX_WRONG_ECHO and memcmp(pdu + 1, call.pdu + 1, 2) != 0


cdef bint calls_has_answer(const Calls *s, int32_t slot) noexcept nogil:
    # Whether what calls_answer was given answered the request.
    cdef const Call *call = &s.calls[slot]
    return not call.reading_back and call.outcome != CALL_FAILED and call.outcome != CALL_UNKNOWN


cdef bint holds(const Call *call, const uint8_t *data) noexcept nogil:
    # Whether `data`, the coils or registers that were read back, are what was written.
    cdef uint16_t n = quantity(call)
    cdef uint8_t mask
    if call.pdu[0] == FX_WRITE_SINGLE_COIL:
        return (data[0] & 1) == (call.pdu[3] != 0)
    if call.pdu[0] == FX_WRITE_SINGLE_REGISTER:
        return memcmp(data, call.pdu + 3, 2) == 0
    if call.pdu[0] == FX_WRITE_MULTIPLE_REGISTERS:
        return memcmp(data, call.pdu + 6, 2 * n) == 0
    mask = <uint8_t>(0xFF >> (-n & 7))
    return memcmp(data, call.pdu + 6, (n - 1) // 8) == 0 and (
        (data[(n - 1) // 8] ^ call.pdu[6 + (n - 1) // 8]) & mask
    ) == 0


cdef void calls_fail(Calls *s, int32_t slot, uint8_t quality, int64_t now_ns) noexcept nogil:
    # In flight, without a clear answer.
    cdef Call *call = &s.calls[slot]
    if call.reading_back:
        end(s, slot, CALL_UNKNOWN, call.quality, now_ns)
    elif is_read(call):
        end(s, slot, CALL_FAILED, quality, now_ns)
    elif can_read_back(call) and now_ns < call.expires_ns:
        call.quality = quality
        call.reading_back = 1
        put_first(s, slot)
    else:
        end(s, slot, CALL_UNKNOWN, quality, now_ns)


cdef void calls_expire(Calls *s, int32_t link, int64_t until_ns, uint8_t quality) noexcept nogil:
    # End the link's due calls that expire until then.
    cdef int32_t slot = s.heads[link], following
    while slot >= 0:
        following = s.calls[slot].next
        if s.calls[slot].expires_ns <= until_ns:
            remove(s, slot)
            not_sent(s, slot, quality, until_ns if until_ns != NEVER else s.calls[slot].expires_ns)
        slot = following


cdef void not_sent(Calls *s, int32_t slot, uint8_t quality, int64_t now_ns) noexcept nogil:
    # Of a write that was to be read back, the reason stays why that was needed.
    cdef Call *call = &s.calls[slot]
    if call.reading_back:
        end(s, slot, CALL_UNKNOWN, call.quality, now_ns)
    else:
        end(s, slot, CALL_FAILED, quality, now_ns)


cdef void end(Calls *s, int32_t slot, uint8_t outcome, uint8_t quality, int64_t now_ns) noexcept nogil:
    cdef Call *call = &s.calls[slot]
    call.state = CALL_IDLE
    call.reading_back = 0
    call.outcome = outcome
    call.quality = quality
    call.ended_ns = now_ns
    if outcome != CALL_ANSWERED or call.newer_size:
        call.answer_size = 0
    call.ended = 1
    call.next_ended = s.first_ended
    s.first_ended = slot


cdef int32_t calls_take(Calls *s) noexcept nogil:
    # A slot whose outcome has not been taken, now taken; -1 if there is none. The outcome stays in its slot
    # until that is submitted again.
    cdef int32_t slot = s.first_ended
    if slot >= 0:
        s.first_ended = s.calls[slot].next_ended
        s.calls[slot].ended = 0
    return slot


cdef bint calls_resume(Calls *s, int32_t slot) noexcept nogil:
    # Its outcome has been taken and read: now the request that waited for that is due. Whether there is one.
    cdef Call *call = &s.calls[slot]
    if not call.newer_size:
        return False
    memcpy(call.pdu, call.answer, call.newer_size)
    call.size = call.newer_size
    call.timeout_ns = call.newer_timeout_ns
    call.expires_ns = call.newer_expires_ns
    call.newer_size = 0
    call.sent_ns = 0
    append(s, slot)
    return True
