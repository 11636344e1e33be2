# The frames of a few units, copied aside while they pass, until Python takes them.
#
# A fixed number of records: when Python is late they are counted and lost, and nobody waits. A link that is
# not traced costs one comparison per batch of frames.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fluxfast.modbus.constants cimport FX_MAX_TCP_ADU_SIZE

cdef enum:
    TRACE_RECORDS = 1024
    TRACE_ALL = -1           # every unit of the link
    TRACE_NONE = -2


cdef enum trace_kind:
    TRACE_SENT = 0           # a frame of ours
    TRACE_REPLY = 1          # answers a request
    TRACE_FAILED = 2         # ended its request, no answer of use; quality says why; no bytes: a timeout
    TRACE_LATE = 3
    TRACE_FOREIGN = 4
    TRACE_BROKEN = 5         # bytes that are no frame
    TRACE_UP = 6
    TRACE_DOWN = 7           # quality says why


ctypedef struct TraceRecord:
    int64_t time_ns
    int64_t sent_ns          # when its request was sent, 0: no request
    int32_t link
    uint16_t id
    uint8_t kind
    uint8_t quality
    uint16_t size
    uint8_t bytes[FX_MAX_TCP_ADU_SIZE]


ctypedef struct Trace:
    TraceRecord *records     # NULL: nothing is traced
    int16_t *wanted          # wanted[link]: a unit identifier, TRACE_ALL or TRACE_NONE
    int32_t n
    int64_t lost


cdef inline bint trace_begin(Trace *t, int32_t n_links) noexcept nogil:
    # False if there is no memory.
    cdef int32_t i
    if t.records != NULL:
        return True
    t.wanted = <int16_t *>malloc(n_links * sizeof(int16_t))
    if t.wanted == NULL:
        return False
    for i in range(n_links):
        t.wanted[i] = TRACE_NONE
    t.records = <TraceRecord *>malloc(TRACE_RECORDS * sizeof(TraceRecord))
    return t.records != NULL


cdef inline void trace_free(Trace *t) noexcept nogil:
    free(t.records)
    free(t.wanted)


cdef inline bint is_traced(const Trace *t, int32_t link) noexcept nogil:
    return t.records != NULL and t.wanted[link] != TRACE_NONE


cdef inline void trace_add(
    Trace *t, int32_t link, trace_kind kind, uint8_t quality, uint16_t id, int64_t sent_ns, int64_t now_ns,
    const uint8_t *bytes, Py_ssize_t size
) noexcept nogil:
    cdef TraceRecord *r
    if size >= 7 and t.wanted[link] >= 0 and bytes[6] != t.wanted[link] and kind < TRACE_BROKEN:
        return
    if t.n == TRACE_RECORDS:
        t.lost += 1
        return
    r = &t.records[t.n]
    t.n += 1
    r.time_ns = now_ns
    r.sent_ns = sent_ns
    r.link = link
    r.id = id
    r.kind = kind
    r.quality = quality
    r.size = <uint16_t>min(size, FX_MAX_TCP_ADU_SIZE)
    if size > 0:
        memcpy(r.bytes, bytes, r.size)


cdef inline void trace_sent(
    Trace *t, int32_t link, int64_t now_ns, const uint8_t *p, const uint8_t *end
) noexcept nogil:
    # Whole frames of ours, one after the other.
    cdef Py_ssize_t size
    while p < end:
        size = 6 + ((p[4] << 8) | p[5])
        trace_add(t, link, TRACE_SENT, 0, <uint16_t>((p[0] << 8) | p[1]), now_ns, now_ns, p, size)
        p += size
