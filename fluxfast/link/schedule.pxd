# What is to be read next, and what became of it: blocks, units and ticks, without sockets or clocks.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from fluxfast.link.structs cimport Block, LinkPlan, UnitPlan
from fluxfast.table.decode cimport Column, Op

cdef enum:
    EXCEPTION_CODES = 12     # 1 to 11
    ROUND_TRIP_BUCKETS = 80  # four to an octave, from 2**16 ns (66 us) to 2**36 ns (69 s)


cdef enum:                   # block_state
    BLOCK_IDLE = 0
    BLOCK_DUE = 1
    BLOCK_BEHIND = 2         # due behind the other units' work: its unit was silent or busy
    BLOCK_PROBE = 3          # due behind everything else, and no tick waits for it
    BLOCK_IN_FLIGHT = 4
    BLOCK_HOLE = 5           # the unit refuses this address: asked again only now and then
    BLOCK_STATES = 6


ctypedef struct BlockState:
    int64_t received_ns      # newest reply (a hole: newest try)
    int32_t next             # the link's next block, or -1
    uint8_t state            # block_state
    uint8_t counted          # the open tick waits for it
    uint8_t fresh            # answered since the link came up: a slow block may wait for its slot
    uint8_t kept             # the link is gone, its answer in the open tick still counts
    uint8_t reason           # quality_code of a failure that may still be mended within the tick


ctypedef struct UnitState:
    int64_t hold_until_ns    # nothing is sent to it before
    int64_t tried_ns         # newest request
    int64_t silent_ns        # end of its newest failure; what was sent before says nothing new
    int32_t failures         # in a row: timeouts, and a gateway's word that it does not answer
    int32_t in_flight
    uint8_t behind           # one read at a time, behind the other units' work, until it answers
    uint8_t dead             # only probed, one read at a time, until it answers
    uint8_t reason           # quality_code of what put it behind
    uint64_t requests
    uint64_t replies
    uint64_t timeouts
    uint64_t malformed
    uint64_t mismatched
    uint64_t lost            # with their connection
    uint64_t retries         # requests sent while an earlier one had found no answer; probes too
    uint32_t exceptions[EXCEPTION_CODES]   # by code; [0]: any other
    uint32_t longest_us      # round trip
    uint32_t round_trips[ROUND_TRIP_BUCKETS]   # replies by the time they took: round_trips.py


ctypedef struct Queue:
    int32_t cursor           # the block to look at first: the one after that which was sent last
    int32_t n_silent         # units that have not answered their last request
    int32_t n[BLOCK_STATES]  # blocks in each state
    uint8_t favoured         # what was sent last was a turn of a unit that does not answer


ctypedef struct TableTimes:
    uint64_t requested_ns    # address of int64 [slots, rows], when what was answered had been asked for
    uint64_t received_ns     # the same, of the reply
    int64_t rows


ctypedef struct Schedule:
    const LinkPlan *links
    const UnitPlan *unit_plans
    const uint64_t *sentinels
    const Column *columns
    const TableTimes *times      # of each table
    Block *blocks                # ours: splitting a block appends
    BlockState *states
    Op *ops
    UnitState *units
    Queue *queues
    int32_t n_links
    int32_t n_units
    int32_t n_blocks
    int32_t n_ops
    int32_t block_room
    int32_t op_room
    int32_t outstanding          # blocks that the open tick waits for
    bint tick_open
    int64_t probe_interval_ns    # longest wait between two tries of a dead unit
    int64_t tick_begin_ns
    int64_t tick_deadline_ns     # what cannot be asked for by then is lost at once
    int64_t tick_end_ns
    uint64_t random
    uint64_t values


cdef bint schedule_make(
    Schedule *s, const LinkPlan *links, int32_t n_links, const UnitPlan *units, int32_t n_units,
    const Block *blocks, int32_t n_blocks, const Op *ops, int32_t n_ops,
) noexcept nogil
cdef void schedule_free(Schedule *s) noexcept nogil
cdef void schedule_begin_tick(Schedule *s, int64_t now_ns, int64_t deadline_ns) noexcept nogil
cdef void schedule_begin_link(Schedule *s, int32_t link, int64_t tick, int64_t now_ns) noexcept nogil
cdef void schedule_begin_down(Schedule *s, int32_t link, uint8_t quality) noexcept nogil
cdef int schedule_end_tick(Schedule *s, int64_t now_ns) noexcept nogil
cdef int32_t schedule_next(Schedule *s, int32_t link, int64_t now_ns, int64_t *wait_until_ns) noexcept nogil
cdef void schedule_reply(
    Schedule *s, int32_t b, const uint8_t *data, int64_t sent_ns, int64_t now_ns
) noexcept nogil
cdef void schedule_fail(
    Schedule *s, int32_t b, uint8_t quality, int64_t sent_ns, int64_t now_ns
) noexcept nogil
cdef bint schedule_expects_silence(const Schedule *s, int32_t b) noexcept nogil
cdef void schedule_link_down(Schedule *s, int32_t link, uint8_t quality) noexcept nogil
cdef void count_round_trip(UnitState *unit, int64_t ns) noexcept nogil
cdef uint64_t schedule_random(Schedule *s) noexcept nogil
