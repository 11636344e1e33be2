# What may be written, and nothing else; see writes.pyx. plan/structs.py has the same layouts as NumPy dtypes.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from fluxfast.link.calls cimport Call


cdef enum write_refusal:
    WRITE_ACCEPTED = 0
    WRITE_NOT_FINITE = 1
    WRITE_OUT_OF_BOUNDS = 2     # before or after rounding to what the register holds
    WRITE_TOO_OFTEN = 3         # min_interval_ns
    WRITE_USED_UP = 4           # max_writes: its register wears out
    WRITE_EXPIRED = 5           # what it is based on is too old already


ctypedef packed struct Write:
    int64_t timeout_ns
    int64_t min_interval_ns     # between two that are not 0; 0: any
    double factor               # raw = (value * factor * div - add) / mul
    double mul
    double add
    double div
    double low                  # bounds of the value
    double high
    int32_t link
    uint32_t max_writes         # of one run; 0: any number
    uint16_t address
    uint8_t unit_id
    uint8_t function_code       # 6 or 16
    uint8_t size                # bytes of the value: 2, 4 or 8
    uint8_t raw                 # raw_kind: RAW_UINT, RAW_INT, RAW_FLOAT
    uint8_t swap                # swap_bits
    uint8_t spare


ctypedef packed struct WriteState:
    int64_t asked_ns            # the newest that was accepted
    int64_t sent_ns             # the newest that ended: when it went out, 0: never did
    int64_t ended_ns            # and when its outcome was known
    double asked                # the value of the newest that was accepted, as the register will show it
    double ended                # of the newest that ended
    double held                 # what the device has confirmed last; nan: not known
    uint32_t n_asked
    uint32_t n_ended            # n_ended + those replaced before they were sent = n_asked
    uint8_t outcome             # call_outcome of the newest that ended
    uint8_t quality             # quality_code
    uint8_t under_way           # accepted, and its outcome not known yet
    uint8_t refusal             # write_refusal of the newest that was asked for


ctypedef struct Writes:
    const Write *writes
    WriteState *states
    int32_t n_writes


cdef write_refusal write_encode(
    const Write *w, double value, uint8_t *pdu, uint16_t *size, double *held
) noexcept nogil
cdef write_refusal writes_accept(
    Writes *s, int32_t i, double value, int64_t expires_ns, int64_t now_ns, uint8_t *pdu, uint16_t *size
) noexcept nogil
cdef void writes_end(Writes *s, int32_t i, const Call *call) noexcept nogil
