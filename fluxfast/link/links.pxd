# All links of a plan, without sockets or clocks (sans-IO); see links.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t

from fluxfast.link.calls cimport Calls
from fluxfast.link.conversation cimport MAX_IN_FLIGHT, Conversation
from fluxfast.link.schedule cimport Schedule
from fluxfast.link.structs cimport LinkPlan
from fluxfast.link.timers cimport Timers
from fluxfast.link.trace cimport Trace
from fluxfast.modbus.constants cimport FX_MAX_TCP_ADU_SIZE

cdef enum:
    REQUEST_SIZE = 12
    OUT_SIZE = MAX_IN_FLIGHT * REQUEST_SIZE + FX_MAX_TCP_ADU_SIZE   # all reads in flight, and one call
    EVENTS = 1024            # link events kept until Python fetches them
    MAX_TIMEOUTS = 2         # in a row, before the connection of one unit is given up
    MAX_TIMEOUTS_OF_UNITS = 3   # the same where several units share it, who may be silent each for itself


cdef enum link_state:
    LINK_NO_ADDRESS = 0
    LINK_WAITING = 1         # for wake_ns, to connect
    LINK_CONNECTING = 2      # until wake_ns at most
    LINK_UP = 3


ctypedef struct Link:
    int64_t wake_ns
    int64_t tried_ns         # when it last began to connect, or sent a request
    int64_t next_send_ns     # request_gap and connect_delay
    int32_t out_size
    uint8_t state            # link_state
    uint8_t failure          # quality_code: why it is not up
    uint8_t attempts         # connects since the last good reply
    uint8_t has_slot         # this connect has been given its time by the pacing
    uint8_t settled          # it has been up, or has failed once
    uint16_t evidence        # bytes of the conversation's `rest` that broke its stream, while it is down
    uint64_t connects
    uint64_t late
    uint64_t foreign
    Conversation conversation
    uint8_t out[OUT_SIZE]    # requests that the transport has not taken yet


# What carries the bytes. Each function may call back into links_up, links_down and links_sent.
ctypedef struct Transport:
    void *owner
    void (*connect)(void *owner, int32_t link, int64_t now_ns) noexcept nogil  # ends in links_up or _down
    long (*send)(void *owner, int32_t link, const uint8_t *p, long n) noexcept nogil  # bytes taken; -1: lost
    void (*close)(void *owner, int32_t link, bint abort) noexcept nogil


ctypedef struct Links:
    const LinkPlan *plans
    Link *links
    Schedule schedule
    Calls calls
    Timers timers
    Trace trace
    Transport transport
    int32_t n_links
    int32_t next_link        # the first one that the open tick has not been sent to; n_links: all have
    int64_t tick             # its number
    int64_t connect_interval_ns   # pacing: one connect each; 0: none
    int64_t connect_slot_ns       # the next one's time
    int64_t probe_interval_ns     # the longest wait between two tries of a link that does not answer
    int32_t up
    int32_t settled
    uint64_t requests
    int32_t events[EVENTS]
    uint8_t event_quality[EVENTS]
    int32_t n_events


cdef bint links_make(Links *s, const LinkPlan *plans, int32_t n_links, int32_t n_calls) noexcept nogil
cdef void links_free(Links *s) noexcept nogil
cdef void links_start(Links *s, int32_t i) noexcept nogil
cdef void links_begin_tick(Links *s, int64_t tick, int64_t now_ns, int64_t deadline_ns) noexcept nogil
cdef bint links_send_next(Links *s, int64_t now_ns) noexcept nogil
cdef int64_t links_phase_ns(const Links *s) noexcept nogil
cdef bint links_complete(const Links *s) noexcept nogil
cdef int links_end_tick(Links *s, int64_t now_ns) noexcept nogil
cdef void links_pump(Links *s, int32_t i, int64_t now_ns) noexcept nogil
cdef void links_call(
    Links *s, int32_t i, int32_t slot, uint8_t unit_id, const uint8_t *pdu, uint16_t size,
    int64_t timeout_ns, int64_t expires_ns, int64_t now_ns
) noexcept nogil
cdef void links_resume(Links *s, int32_t slot, int64_t now_ns) noexcept nogil
cdef void links_sent(Links *s, int32_t i, int64_t now_ns) noexcept nogil
cdef void links_receive(
    Links *s, int32_t i, const uint8_t *p, const uint8_t *end, int64_t now_ns
) noexcept nogil
cdef void links_run_timers(Links *s, int64_t now_ns) noexcept nogil
cdef void links_up(Links *s, int32_t i, int64_t now_ns) noexcept nogil
cdef void links_down(Links *s, int32_t i, uint8_t quality, bint abort, int64_t now_ns) noexcept nogil
