# The reactor's own state, as C structs; see reactor.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fluxfast.link.conversation cimport MAX_IN_FLIGHT, Conversation, Event
from fluxfast.link.schedule cimport Schedule
from fluxfast.link.structs cimport LinkPlan
from fluxfast.link.timers cimport Timers
from fluxfast.native.tcp cimport fx_address

cdef enum:
    RECEIVE_SIZE = 65536
    REQUEST_SIZE = 12
    SEND_RUN = 64            # links served between two looks at the replies, when a tick begins
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
    int32_t fd
    int32_t out_size
    uint8_t state            # link_state
    uint8_t failure          # quality_code: why it is not up
    uint8_t attempts         # connects since the last good reply
    uint8_t has_slot         # this connect has been given its time by the pacing
    uint8_t settled          # it has been up, or has failed once
    uint64_t connects
    uint64_t late
    uint64_t foreign
    fx_address address
    Conversation conversation
    uint8_t out[MAX_IN_FLIGHT * REQUEST_SIZE]   # requests that the kernel has not taken yet


@cython.final
cdef class Reactor:
    cdef object owners
    cdef const LinkPlan *plans
    cdef Schedule schedule
    cdef Link *links
    cdef uint8_t *buffer
    cdef Timers timers
    cdef int poll_set
    cdef readonly int n_links
    cdef int64_t connect_interval_ns
    cdef int64_t probe_interval_ns
    cdef int64_t connect_slot_ns
    cdef int32_t events[EVENTS]
    cdef uint8_t event_quality[EVENTS]
    cdef int32_t n_events
    cdef readonly int up
    cdef readonly int settled
    cdef readonly uint64_t requests

    cdef Link *link_at(self, int link) except NULL
    cdef void send_tick(self, int64_t tick) noexcept nogil
    cdef void pump(self, int32_t i, int64_t now) noexcept nogil
    cdef void flush(self, int32_t i) noexcept nogil
    cdef void drain(self, int64_t slice_ns) noexcept nogil
    cdef void receive(self, int32_t i) noexcept nogil
    cdef void credit(self, int32_t i, Event *event, int64_t now) noexcept nogil
    cdef void run_timers(self) noexcept nogil
    cdef void expire(self, int32_t i, int64_t now) noexcept nogil
    cdef void connect(self, int32_t i, int64_t now) noexcept nogil
    cdef void connected(self, int32_t i) noexcept nogil
    cdef void link_down(self, int32_t i, uint8_t quality, bint abort) noexcept nogil
    cdef void settle(self, int32_t i, uint8_t quality) noexcept nogil
