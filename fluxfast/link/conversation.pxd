# One link's conversation: which requests are in flight, which reply answers which, what is late, when the
# stream is broken. Sans-IO: bytes and the time go in, bytes and events come out; see conversation.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t

from fluxfast.link.structs cimport Block
from fluxfast.modbus.constants cimport FX_MAX_TCP_ADU_SIZE

cdef enum:
    MAX_IN_FLIGHT = 16       # MIG 4.2: NumberMaxOfClientTransaction is 1..16
    MAX_STRAYS = 8           # frames that answer nothing, in a row, before the stream counts as broken
    ID_RUNS = 16             # the identifiers in runs of 4,096, each with the time of its last use


cdef enum event_kind:
    EVENT_NONE = 0           # the bytes are used up
    EVENT_REPLY = 1          # data answer the request for `block`
    EVENT_FAILED = 2         # that request failed; `quality` says why
    EVENT_LATE = 3           # dropped: the answer to a request that has ended, or a duplicate
    EVENT_FOREIGN = 4        # dropped: its identifier was never issued on this connection
    EVENT_BROKEN = 5         # close the connection; every request in flight fails
    EVENT_ANSWER = 6         # [data, end) is the response PDU to a call; whether it fits, calls.pyx judges


ctypedef struct Transaction:
    int64_t deadline_ns
    int64_t sent_ns
    int32_t block            # index into the plan's blocks; of a call, ~slot
    uint16_t id
    uint8_t unit_id
    uint8_t aliases[2]       # other unit identifiers that its reply may bear, or unit_id again


ctypedef struct Event:
    event_kind kind
    int32_t block            # negative: a call, ~slot
    uint8_t quality          # quality_code of a failure
    bint ends_stream         # after it the connection is of no use any more
    uint16_t id              # of the frame, or of the request that has timed out
    int64_t sent_ns
    const uint8_t *data      # into the caller's bytes: valid until they move
    const uint8_t *end       # of an answer


ctypedef struct Conversation:
    Transaction transactions[MAX_IN_FLIGHT]   # [0, in_flight), oldest first
    int32_t in_flight
    int32_t strays           # frames dropped since the last good one, late answers aside
    int32_t owed             # requests that have timed out and whose late answers may still come
    int32_t timeouts         # in a row
    int32_t held             # bytes of `rest` that are the beginning of a frame
    uint8_t zero_ids         # replies may bear the identifier 0
    uint16_t next_id
    uint16_t issued          # identifiers used on this connection, 65,535 at the most
    int64_t run_ended_ns[ID_RUNS]   # when the last identifier of a run was issued
    uint8_t rest[FX_MAX_TCP_ADU_SIZE]


cdef void conversation_open(Conversation *c, uint16_t first_id, uint8_t zero_ids) noexcept nogil
cdef void conversation_request(
    Conversation *c, const Block *blocks, int32_t block, int64_t now_ns, uint8_t *out
) noexcept nogil
cdef Py_ssize_t conversation_call(
    Conversation *c, int32_t slot, uint8_t unit_id, const uint8_t *aliases, uint16_t pdu_size,
    int64_t deadline_ns, int64_t now_ns, uint8_t *out
) noexcept nogil
cdef void conversation_next(
    Conversation *c, const Block *blocks, const uint8_t **p, const uint8_t *end, Event *event
) noexcept nogil
cdef bint conversation_expire(Conversation *c, int64_t now_ns, Event *event) noexcept nogil
cdef int64_t conversation_ready_ns(const Conversation *c, int64_t quarantine_ns) noexcept nogil
cdef int64_t conversation_deadline(const Conversation *c) noexcept nogil
