# The schedule as a Python object that checks its books after every step.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memset

from fluxfast.link.schedule cimport (
    BLOCK_BEHIND, BLOCK_DUE, BLOCK_HOLE, BLOCK_IN_FLIGHT, BLOCK_PROBE, BLOCK_STATES, ROUND_TRIP_BUCKETS,
    Schedule, TableTimes, UnitState, count_round_trip,
    schedule_begin_link, schedule_begin_tick, schedule_end_tick, schedule_expects_silence, schedule_fail,
    schedule_free, schedule_link_down, schedule_make, schedule_next, schedule_reply,
)
from fluxfast.link.structs cimport Block, LinkPlan, UnitPlan
from fluxfast.table.decode cimport Column, Op


cdef class Book:
    cdef Schedule s
    cdef object owners
    cdef uint8_t data[256]

    def __cinit__(
        self, const uint8_t[::1] links, const uint8_t[::1] units, const uint8_t[::1] blocks,
        const uint8_t[::1] ops, const uint8_t[::1] columns, const uint64_t[::1] times, uint64_t seed,
    ):
        self.owners = (links, units, columns, times)
        memset(self.data, 0, sizeof(self.data))
        self.s.columns = <const Column *>&columns[0]
        self.s.times = <const TableTimes *>&times[0]
        self.s.random = seed | 1
        self.s.probe_interval_ns = 30_000_000_000
        if not schedule_make(
            &self.s, <const LinkPlan *>&links[0], <int32_t>(links.shape[0] // <Py_ssize_t>sizeof(LinkPlan)),
            <const UnitPlan *>&units[0], <int32_t>(units.shape[0] // <Py_ssize_t>sizeof(UnitPlan)),
            <const Block *>&blocks[0], <int32_t>(blocks.shape[0] // <Py_ssize_t>sizeof(Block)),
            <const Op *>&ops[0], <int32_t>(ops.shape[0] // <Py_ssize_t>sizeof(Op)),
        ):
            raise MemoryError

    def __dealloc__(self):
        schedule_free(&self.s)

    @property
    def outstanding(self):
        return self.s.outstanding

    @property
    def n_blocks(self):
        return self.s.n_blocks

    def begin(self, int64_t tick, int64_t now_ns, int64_t length_ns=80_000_000):
        schedule_begin_tick(&self.s, now_ns, now_ns + length_ns)
        for link in range(self.s.n_links):
            schedule_begin_link(&self.s, link, tick, now_ns)

    def end(self, int64_t now_ns):
        return schedule_end_tick(&self.s, now_ns)

    def next(self, int32_t link, int64_t now_ns):
        cdef int64_t wait
        return schedule_next(&self.s, link, now_ns, &wait)

    def wait_until(self, int32_t link, int64_t now_ns):
        cdef int64_t wait
        assert schedule_next(&self.s, link, now_ns, &wait) < 0
        return wait

    def reply(self, int32_t b, int64_t sent_ns, int64_t now_ns):
        schedule_reply(&self.s, b, self.data, sent_ns, now_ns)

    def fail(self, int32_t b, uint8_t quality, int64_t sent_ns, int64_t now_ns):
        schedule_fail(&self.s, b, quality, sent_ns, now_ns)

    def expects_silence(self, int32_t b):
        return schedule_expects_silence(&self.s, b)

    def is_dead(self, int32_t u):
        return bool(self.s.units[u].dead)

    def link_down(self, int32_t link, uint8_t quality):
        schedule_link_down(&self.s, link, quality)

    def set_probe_interval(self, int64_t interval_ns):
        self.s.probe_interval_ns = interval_ns

    def unit(self, int32_t b):
        return self.s.blocks[b].unit

    def is_hole(self, int32_t b):
        return self.s.states[b].state == BLOCK_HOLE

    def check(self, in_flight):
        """Assert that counts, lists and points agree; ``in_flight`` are the blocks that the test has."""
        cdef Block *block
        cdef int32_t b, link, u
        states = [self.s.states[b].state for b in range(self.s.n_blocks)]
        assert self.s.outstanding == sum([self.s.states[b].counted for b in range(self.s.n_blocks)])
        assert {b for b, state in enumerate(states) if state == BLOCK_IN_FLIGHT} == set(in_flight)
        seen = []
        columns = []
        for link in range(self.s.n_links):
            counts = [0] * BLOCK_STATES
            b = self.s.links[link].first_block
            while b >= 0:
                seen.append(b)
                block = &self.s.blocks[b]
                assert self.s.unit_plans[block.unit].link == link
                counts[states[b]] += 1
                assert states[b] != BLOCK_DUE or not self.s.units[block.unit].behind
                assert states[b] != BLOCK_BEHIND or self.s.units[block.unit].behind
                for k in range(block.first_op, block.first_op + block.n_ops):
                    columns.append((block.row, self.s.ops[k].column))
                    assert self.s.ops[k].source + self.s.ops[k].size <= 2 * block.quantity
                    # The address of a point never changes, however often its block was cut.
                    assert block.address + self.s.ops[k].source // 2 == 100 + 2 * self.s.ops[k].column
                b = self.s.states[b].next
            assert counts == [self.s.queues[link].n[state] for state in range(BLOCK_STATES)]
            silent = [self.s.units[u].failures > 0 for u in range(self.s.n_units)
                      if self.s.unit_plans[u].link == link]
            assert sum(silent) == self.s.queues[link].n_silent
        for u in range(self.s.n_units):
            own = [state for b, state in enumerate(states) if self.s.blocks[b].unit == u]
            assert own.count(BLOCK_IN_FLIGHT) == self.s.units[u].in_flight
            if self.s.units[u].dead:
                assert not self.s.units[u].behind
                assert BLOCK_DUE not in own and BLOCK_BEHIND not in own
                assert own.count(BLOCK_PROBE) <= 1
        assert sorted(seen) == list(range(self.s.n_blocks))
        assert len(columns) == len(set(columns))
        return len(columns)


def bucket_of(int64_t ns):
    """Return the bucket of the histogram in which a round trip is counted."""
    cdef UnitState unit
    memset(&unit, 0, sizeof(unit))
    count_round_trip(&unit, ns)
    assert unit.longest_us == (ns + 999) // 1000
    (bucket,) = [i for i in range(ROUND_TRIP_BUCKETS) if unit.round_trips[i]]
    return bucket
