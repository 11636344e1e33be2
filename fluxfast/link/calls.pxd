# Single requests beside the plan: setpoints, and what a Client asks. Sans-IO; see calls.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t

from fluxfast.modbus.constants cimport FX_MAX_PDU_SIZE


cdef enum call_state:
    CALL_IDLE = 0
    CALL_DUE = 1
    CALL_IN_FLIGHT = 2


cdef enum call_outcome:
    CALL_ANSWERED = 0        # `answer` is a response to the request, perhaps an exception response
    CALL_FAILED = 1          # no answer, `quality` says why; a write was not carried out
    CALL_CONFIRMED = 2       # a write without a clear answer that was read back: the unit holds it
    CALL_DIFFERS = 3         # ... the unit holds something else
    CALL_UNKNOWN = 4         # ... it could not be read back: it may have been carried out


ctypedef struct Call:
    int64_t expires_ns       # not sent after this, and no answer is waited for beyond
    int64_t timeout_ns       # how long one answer is waited for
    int64_t sent_ns          # when it went out; 0: it did not
    int64_t ended_ns         # when its outcome was known
    int32_t link
    int32_t next             # the link's next due call, or -1
    int32_t next_ended       # the next one whose outcome has not been taken, or -1
    uint8_t state            # call_state
    uint8_t ended            # its outcome has not been taken
    uint8_t reading_back     # what is due or in flight is not the write but the read that follows it
    uint8_t unit_id
    uint8_t outcome          # call_outcome
    uint8_t quality          # quality_code: why there was no clear answer
    uint16_t size            # of pdu
    uint16_t answer_size
    uint16_t newer_size      # of a request that waits until this one's outcome is taken; 0: none
    int64_t newer_expires_ns
    int64_t newer_timeout_ns
    uint8_t pdu[FX_MAX_PDU_SIZE]
    uint8_t answer[FX_MAX_PDU_SIZE]   # the response; while newer_size is not 0, the newer request instead


ctypedef struct Calls:
    Call *calls
    int32_t *heads           # heads[link], tails[link]: its due calls
    int32_t *tails
    int32_t n_calls
    int32_t first_ended


cdef bint calls_make(Calls *s, int32_t n_calls, int32_t n_links) noexcept nogil
cdef void calls_free(Calls *s) noexcept nogil
cdef void calls_submit(
    Calls *s, int32_t slot, int32_t link, uint8_t unit_id, const uint8_t *pdu, uint16_t size,
    int64_t timeout_ns, int64_t expires_ns
) noexcept nogil
cdef void calls_cancel(Calls *s, int32_t slot, int64_t now_ns) noexcept nogil
cdef int32_t calls_next(Calls *s, int32_t link, int64_t now_ns) noexcept nogil
cdef int64_t calls_deadline(const Calls *s, int32_t link) noexcept nogil
cdef uint16_t calls_request(const Call *call, uint8_t *out) noexcept nogil
cdef bint calls_answer(
    Calls *s, int32_t slot, const uint8_t *pdu, const uint8_t *end, int64_t now_ns
) noexcept nogil
cdef bint calls_has_answer(const Calls *s, int32_t slot) noexcept nogil
cdef void calls_fail(Calls *s, int32_t slot, uint8_t quality, int64_t now_ns) noexcept nogil
cdef void calls_expire(Calls *s, int32_t link, int64_t until_ns, uint8_t quality) noexcept nogil
cdef int32_t calls_take(Calls *s) noexcept nogil
cdef bint calls_resume(Calls *s, int32_t slot) noexcept nogil
