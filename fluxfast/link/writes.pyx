"""The one way by which a setpoint reaches a wire: a checked encoder over a list that is frozen at start.

``Write`` i of the list may be written with ``Write`` i's function, address and type, inside its bounds, and
nothing else: what is not in the list has no bytes. Everything that Python or NumPy do silently (int16(40000.)
is -25536, int16(nan) is 0) is refused here, before and after rounding to what the register can hold.

What became of the newest write of each entry is in ``WriteState``, a row of a NumPy array that Python owns.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.math cimport NAN, isfinite, ldexp, nextafterf, rint
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fluxfast.link.calls cimport CALL_ANSWERED, CALL_CONFIRMED, CALL_FAILED, Call
from fluxfast.modbus.constants cimport FX_WRITE_SINGLE_REGISTER
from fluxfast.native.endian cimport store_u16
from fluxfast.table.decode cimport RAW_FLOAT, RAW_INT, RAW_UINT, SWAP_BYTES, SWAP_WORDS
from fluxfast.table.quality cimport Q_GOOD

cdef enum:
    SINGLE_DATA = 3       # where the value begins in the PDU of function 6
    MULTIPLE_DATA = 6     # of function 16


cdef write_refusal write_encode(
    const Write *w, double value, uint8_t *pdu, uint16_t *size, double *held
) noexcept nogil:
    # Writes the PDU (14 bytes at the most), its size, and the value that the register will then stand for.
    cdef double raw, low, high
    cdef uint64_t bits = 0
    cdef int64_t whole
    cdef float single
    cdef int32_t i, at
    cdef uint32_t word
    if not isfinite(value):
        return WRITE_NOT_FINITE
    if not w.low <= value <= w.high:
        return WRITE_OUT_OF_BOUNDS
    raw = (value * w.factor * w.div - w.add) / w.mul
    if w.raw == RAW_FLOAT and w.size == 8:
        memcpy(&bits, &raw, 8)
    elif w.raw == RAW_FLOAT and w.size == 4:
        single = <float>raw
        if not w.low <= engineering(w, single) <= w.high:
            single = nextafterf(single, 0)   # a bound that float32 cannot hold can be asked for all the same
        raw = single
        if not isfinite(raw):
            return WRITE_OUT_OF_BOUNDS
        memcpy(&word, &single, 4)
        bits = word
    elif w.raw != RAW_INT and w.raw != RAW_UINT:
        return WRITE_OUT_OF_BOUNDS
    else:
        raw = rint(raw)   # halves to even
        high = ldexp(1.0, <int>(8 * w.size) - (1 if w.raw == RAW_INT else 0))
        low = -high if w.raw == RAW_INT else 0.0
        if not low <= raw < high:
            return WRITE_OUT_OF_BOUNDS
        if raw < 0:
            whole = <int64_t>raw
            bits = <uint64_t>whole
        else:
            bits = <uint64_t>raw
    held[0] = engineering(w, raw)
    if not isfinite(held[0]) or not w.low <= held[0] <= w.high:
        return WRITE_OUT_OF_BOUNDS

    pdu[0] = w.function_code
    store_u16(pdu + 1, w.address)
    at = SINGLE_DATA
    if w.function_code != FX_WRITE_SINGLE_REGISTER:
        store_u16(pdu + 3, w.size // 2)
        pdu[5] = w.size
        at = MULTIPLE_DATA
    for i in range(w.size):
        pdu[at + place(w, i)] = <uint8_t>(bits >> (8 * (w.size - 1 - i)))
    size[0] = <uint16_t>(at + w.size)
    return WRITE_ACCEPTED


cdef inline double engineering(const Write *w, double raw) noexcept nogil:
    # The value that a register stands for; no -0.
    return (raw * w.mul + w.add) / w.div / w.factor + 0.0


cdef inline int32_t place(const Write *w, int32_t i) noexcept nogil:
    # Where big-endian byte i of the value goes.
    if w.swap & SWAP_WORDS:
        i = w.size - 2 - i // 2 * 2 + i % 2
    return i ^ 1 if w.swap & SWAP_BYTES else i


cdef double decode(const Write *w, const uint8_t *pdu) noexcept nogil:
    # What a PDU of write_encode stands for.
    cdef int32_t at = SINGLE_DATA if w.function_code == FX_WRITE_SINGLE_REGISTER else MULTIPLE_DATA, i
    cdef uint32_t word
    cdef uint64_t bits = 0
    cdef int64_t whole
    cdef float single
    cdef double raw
    for i in range(w.size):
        bits = bits << 8 | pdu[at + place(w, i)]
    if w.raw == RAW_FLOAT and w.size == 4:
        word = <uint32_t>bits
        memcpy(&single, &word, 4)
        raw = single
    elif w.raw == RAW_FLOAT:
        memcpy(&raw, &bits, 8)
    elif w.raw == RAW_INT:
        whole = <int64_t>(bits << (64 - 8 * w.size)) >> (64 - 8 * w.size)
        raw = <double>whole
    else:
        raw = <double>bits
    return engineering(w, raw)


cdef write_refusal writes_accept(
    Writes *s, int32_t i, double value, int64_t expires_ns, int64_t now_ns, uint8_t *pdu, uint16_t *size
) noexcept nogil:
    # Check and encode; what is accepted is now under way. A 0 is never held back for being too soon.
    cdef const Write *w = &s.writes[i]
    cdef WriteState *state = &s.states[i]
    cdef double held
    cdef write_refusal refusal = write_encode(w, value, pdu, size, &held)
    if refusal == WRITE_ACCEPTED:
        if expires_ns <= now_ns:
            refusal = WRITE_EXPIRED
        elif w.max_writes and state.n_asked >= w.max_writes:
            refusal = WRITE_USED_UP
        elif held != 0 and state.n_asked and now_ns - state.asked_ns < w.min_interval_ns:
            refusal = WRITE_TOO_OFTEN
    state.refusal = <uint8_t>refusal
    if refusal != WRITE_ACCEPTED:
        return refusal
    state.asked_ns = now_ns
    state.asked = held
    state.n_asked += 1
    state.under_way = 1
    return WRITE_ACCEPTED


cdef void writes_end(Writes *s, int32_t i, const Call *call) noexcept nogil:
    # Its outcome has been taken. A newer value may wait in the same slot: then one is still under way.
    cdef const Write *w = &s.writes[i]
    cdef WriteState *state = &s.states[i]
    state.ended = decode(w, call.pdu)
    state.sent_ns = call.sent_ns
    state.ended_ns = call.ended_ns
    state.outcome = call.outcome
    state.quality = call.quality
    state.under_way = call.newer_size != 0
    state.n_ended += 1
    if call.outcome == CALL_CONFIRMED or (call.outcome == CALL_ANSWERED and call.quality == Q_GOOD):
        state.held = state.ended
    elif call.sent_ns != 0 and not (call.outcome == CALL_ANSWERED or call.outcome == CALL_FAILED):
        state.held = NAN   # unknown, or another value was read back


def encode_write(const uint8_t[::1] writes, int32_t i, double value):
    """Return (write_refusal, the request's PDU, the value that its register then stands for) of one entry.

    ``writes``: the bytes of a structs.WRITE array. What the reactor sends is made by the same code.
    """
    cdef uint8_t pdu[16]
    cdef uint16_t size = 0
    cdef double held = NAN
    if not 0 <= i < writes.shape[0] // <Py_ssize_t>sizeof(Write):
        raise IndexError(f"write {i} of {writes.shape[0] // <Py_ssize_t>sizeof(Write)}")
    cdef write_refusal refusal = write_encode(&(<const Write *>&writes[0])[i], value, pdu, &size, &held)
    return <int>refusal, PyBytes_FromStringAndSize(<char *>pdu, 0 if refusal else size), held
