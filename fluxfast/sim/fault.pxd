# What is wrong with an endpoint, and what that means for one request. faults.py says who is ill and when.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum fault_kind:
    FAULT_NONE = 0
    FAULT_HANG = 1           # the order of faults.py's KINDS
    FAULT_BLACKHOLE = 2
    FAULT_RESET = 3
    FAULT_REFUSE = 4
    FAULT_SLOW = 5
    FAULT_LOSSY = 6
    FAULT_BUSY = 7
    FAULT_SILENT = 8
    FAULT_GATEWAY = 9

cdef enum fate:
    FATE_ANSWER = 0          # 1 to 255: the exception code to answer with
    FATE_SILENCE = 256
    FATE_RESET = 257

cdef struct fault:
    uint32_t kind            # fault_kind
    uint32_t unit_id         # of FAULT_SILENT and FAULT_GATEWAY
    uint32_t share           # of requests that FAULT_LOSSY drops, in 2**-32
    int64_t delay_ns         # of FAULT_SLOW: the mean; each wait is half to one and a half of it


# xorshift64*, of a state that is not 0.
cdef inline uint32_t fault_random(uint64_t *state) noexcept nogil:
    state[0] ^= state[0] >> 12
    state[0] ^= state[0] << 25
    state[0] ^= state[0] >> 27
    return <uint32_t>((state[0] * <uint64_t>0x2545F4914F6CDD1D) >> 32)


# What becomes of a whole request ADU.
cdef inline int fault_judge(const fault *f, const uint8_t *adu, uint64_t *random) noexcept nogil:
    if f.kind == FAULT_HANG or f.kind == FAULT_BLACKHOLE:
        return FATE_SILENCE
    if f.kind == FAULT_RESET:
        return FATE_RESET
    if f.kind == FAULT_LOSSY:
        return FATE_SILENCE if fault_random(random) < f.share else FATE_ANSWER
    if f.kind == FAULT_BUSY:
        return 6             # server device busy
    if f.kind == FAULT_SILENT and adu[6] == f.unit_id:
        return FATE_SILENCE
    if f.kind == FAULT_GATEWAY and adu[6] == f.unit_id:
        return 11            # gateway target device failed to respond
    return FATE_ANSWER
