"""What is to be read next, and what became of it: blocks, units and ticks, without sockets or clocks.

    begin_tick, begin_link ─▶ blocks are due      next ─▶ the block to send       reply │
    end_tick               ─▶ the rest is marked                                  fail  ├▶ cells, health
                                                                             link_down  │

Invariants (tests/unit/link/books.pyx checks them after every step):
1. A block is idle, due, a probe, in flight or a hole; only an idle block becomes due, so a block is never in
   flight twice.
2. A cell is written only by the reply to its own block, or marked when that block fails.
3. `outstanding` counts the blocks that the open tick still waits for; each is taken off exactly once.
4. No unit holds up another beyond its share. One that was silent or busy stands behind: its reads wait until
   the link has nothing else to do, and then go one at a time. The first retry comes at once, the next ones
   after 1 s, 2 s, ...; after `retry_count` retries it is dead: one read, behind all others and no tick waits
   for it, after a wait that grows to the probe interval. On a link that is never idle it gets a turn like any
   other once it has waited for a second, or as a dead unit for the probe interval; but of two requests in a
   row one is for a unit that answers, if one is due.
5. Turns go round: a link goes on after the block it sent last, in whichever tick.

A block that the unit refuses (exceptions 2 and 3) is cut in two (cut.pyx) until what is refused is a single
point: a hole, remembered for this unit alone. `blocks` and `ops` belong to the schedule and grow by that.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from fluxfast.link.cut cimport schedule_cut
from fluxfast.table.decode cimport decode_block, mark_block
from fluxfast.table.quality cimport Q_EXCEPTION, Q_GOOD, Q_LATE, Q_MISMATCH, Q_TIMEOUT

cdef extern from *:
    int leading_zeros "__builtin_clzll"(unsigned long long) noexcept nogil

cdef enum:
    MAX_FAILURES = 1000
    SHORTEST_OCTAVE = 16
    SHORTEST_BUCKET = 1 << SHORTEST_OCTAVE

cdef int64_t SECOND = 1_000_000_000
cdef int64_t BUSY_WAIT = SECOND // 10        # after exceptions 5 and 6: the unit works, but not for us now
cdef int64_t PATIENCE = SECOND               # of a unit that stands behind, on a link that is never idle
cdef int64_t PROBE_BASE = SECOND // 2
cdef int64_t HOLE_AGAIN = 60 * SECOND
cdef int64_t LONGEST_US = 0xFFFFFFFF
cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF
cdef uint64_t XORSHIFT_STAR = 0x2545F4914F6CDD1D


cdef bint schedule_make(
    Schedule *s, const LinkPlan *links, int32_t n_links, const UnitPlan *units, int32_t n_units,
    const Block *blocks, int32_t n_blocks, const Op *ops, int32_t n_ops,
) noexcept nogil:
    # Copies blocks and ops; links and units stay the caller's. False if there is no memory.
    cdef int32_t i, b
    s.links = links
    s.n_links = n_links
    s.unit_plans = units
    s.n_units = n_units
    s.n_blocks = n_blocks
    s.n_ops = n_ops
    s.block_room = max(n_blocks, 1)
    s.op_room = max(n_ops, 1)
    s.blocks = <Block *>malloc(s.block_room * sizeof(Block))
    s.states = <BlockState *>calloc(s.block_room, sizeof(BlockState))
    s.ops = <Op *>malloc(s.op_room * sizeof(Op))
    s.units = <UnitState *>calloc(n_units + 1, sizeof(UnitState))
    s.queues = <Queue *>calloc(n_links, sizeof(Queue))
    if s.blocks == NULL or s.states == NULL or s.ops == NULL or s.units == NULL or s.queues == NULL:
        return False
    if n_blocks:  # a client has none, and no array of them
        memcpy(s.blocks, blocks, n_blocks * sizeof(Block))
        memcpy(s.ops, ops, n_ops * sizeof(Op))
    for i in range(n_links):
        for b in range(links[i].first_block, links[i].first_block + links[i].n_blocks):
            s.states[b].next = b + 1 if b + 1 < links[i].first_block + links[i].n_blocks else -1
        s.queues[i].cursor = -1
        s.queues[i].n[BLOCK_IDLE] = links[i].n_blocks
    return True


cdef void schedule_free(Schedule *s) noexcept nogil:
    free(s.blocks)
    free(s.states)
    free(s.ops)
    free(s.units)
    free(s.queues)


cdef void move(Schedule *s, int32_t b, uint8_t state) noexcept nogil:
    # The one place where a block's state changes.
    cdef UnitState *unit = &s.units[s.blocks[b].unit]
    cdef Queue *q = &s.queues[s.unit_plans[s.blocks[b].unit].link]
    cdef uint8_t before = s.states[b].state
    q.n[before] -= 1
    q.n[state] += 1
    unit.in_flight += (state == BLOCK_IN_FLIGHT) - (before == BLOCK_IN_FLIGHT)
    s.states[b].state = state


# ---- ticks ----

cdef void schedule_begin_tick(Schedule *s, int64_t now_ns, int64_t deadline_ns) noexcept nogil:
    s.tick_begin_ns = now_ns
    s.tick_deadline_ns = deadline_ns
    s.tick_open = True


cdef void schedule_begin_link(Schedule *s, int32_t link, int64_t tick, int64_t now_ns) noexcept nogil:
    # Make due what the tick reads over this link, which is up.
    cdef int32_t b = first_block(s, link)
    cdef const Block *block
    cdef BlockState *state
    cdef UnitState *unit
    while b >= 0:
        block = &s.blocks[b]
        state = &s.states[b]
        state.kept = 0
        unit = &s.units[block.unit]
        if unit.dead:
            if b == s.unit_plans[block.unit].first_block:
                probe_next(s, b)
        elif state.state == BLOCK_HOLE:
            if now_ns - state.received_ns > HOLE_AGAIN:
                move(s, b, BLOCK_PROBE)
        elif state.state != BLOCK_PROBE:
            if state.state == BLOCK_IDLE and (not state.fresh or tick % block.every == block.phase):
                if unit.behind and unit.hold_until_ns >= s.tick_deadline_ns:
                    mark(s, b, unit.reason)
                else:
                    move(s, b, BLOCK_BEHIND if unit.behind else BLOCK_DUE)
            if state.state != BLOCK_IDLE and not state.counted:
                state.counted = 1
                s.outstanding += 1
        b = state.next


cdef int schedule_end_tick(Schedule *s, int64_t now_ns) noexcept nogil:
    # Mark what is unanswered; return how many blocks that were.
    cdef int32_t b
    cdef int missed = 0
    cdef BlockState *state
    cdef const UnitState *unit
    if s.outstanding:
        for b in range(s.n_blocks):
            state = &s.states[b]
            if not state.counted:
                continue
            state.counted = 0
            unit = &s.units[s.blocks[b].unit]
            if state.state == BLOCK_DUE or state.state == BLOCK_BEHIND:
                move(s, b, BLOCK_IDLE)
            # A reply that came after the last tick's end is this tick's value, late.
            if state.received_ns <= s.tick_end_ns:
                if not state.reason:
                    state.reason = unit.reason if unit.behind else Q_TIMEOUT
                mark(s, b, state.reason)
                missed += 1
            state.reason = 0
    s.outstanding = 0
    s.tick_open = False
    s.tick_deadline_ns = 0
    s.tick_end_ns = now_ns
    return missed


# ---- what to send ----

cdef int32_t schedule_next(Schedule *s, int32_t link, int64_t now_ns, int64_t *wait_until_ns) noexcept nogil:
    # The next block to ask for, now in flight; or -1, and in wait_until_ns when to look again at the latest.
    cdef Queue *q = &s.queues[link]
    cdef int32_t start = q.cursor if q.cursor >= 0 else first_block(s, link)
    cdef int32_t b = start, later = -1
    cdef uint8_t state
    cdef UnitState *unit
    wait_until_ns[0] = NEVER
    if q.n[BLOCK_DUE] == 0 and q.n[BLOCK_BEHIND] == 0 and q.n[BLOCK_PROBE] == 0:
        return -1
    while True:
        state = s.states[b].state
        if BLOCK_DUE <= state <= BLOCK_PROBE:
            unit = &s.units[s.blocks[b].unit]
            if unit.hold_until_ns > now_ns:
                wait_until_ns[0] = min(wait_until_ns[0], unit.hold_until_ns)
            elif state == BLOCK_DUE or (not q.favoured and has_waited(s, unit, now_ns)):
                break
            elif unit.in_flight == 0 and (later < 0 or state < s.states[later].state):
                later = b
        b = s.states[b].next
        if b < 0:
            b = first_block(s, link)
        if b == start:
            b = later
            break
    if b < 0:
        return -1
    q.favoured = s.states[b].state != BLOCK_DUE
    move(s, b, BLOCK_IN_FLIGHT)
    q.cursor = s.states[b].next
    unit = &s.units[s.blocks[b].unit]
    unit.requests += 1
    unit.retries += unit.behind or unit.dead
    unit.tried_ns = now_ns
    return b


cdef inline bint has_waited(const Schedule *s, const UnitState *unit, int64_t now_ns) noexcept nogil:
    # Long enough for a turn like any other's, although it was silent or busy.
    if unit.in_flight:
        return False
    if now_ns - unit.tried_ns >= s.probe_interval_ns:
        return unit.behind or unit.dead
    return unit.behind and now_ns - unit.hold_until_ns >= PATIENCE


cdef inline int32_t first_block(const Schedule *s, int32_t link) noexcept nogil:
    return s.links[link].first_block if s.links[link].n_blocks else -1


# ---- what became of it ----

cdef void schedule_reply(
    Schedule *s, int32_t b, const uint8_t *data, int64_t sent_ns, int64_t now_ns
) noexcept nogil:
    # `data` has the length that the block asked for. Late is what its own tick did not wait for.
    cdef const Block *block = &s.blocks[b]
    cdef UnitState *unit = &s.units[block.unit]
    cdef const TableTimes *times = &s.times[block.table]
    cdef bint in_time = s.tick_open and sent_ns >= s.tick_begin_ns
    decode_block(
        &s.ops[block.first_op], block.n_ops, s.sentinels, data, s.columns, block.row,
        Q_GOOD if in_time else Q_LATE,
    )
    (<int64_t *>times.requested_ns)[block.slot * times.rows + block.row] = sent_ns
    (<int64_t *>times.received_ns)[block.slot * times.rows + block.row] = now_ns
    s.states[b].received_ns = now_ns
    s.states[b].fresh = 1
    s.values += block.n_ops
    unit.replies += 1
    count_round_trip(unit, now_ns - sent_ns)
    unit_answers(s, block.unit)
    finish(s, b)


cdef void schedule_fail(
    Schedule *s, int32_t b, uint8_t quality, int64_t sent_ns, int64_t now_ns
) noexcept nogil:
    cdef BlockState *state = &s.states[b]
    cdef int32_t u = s.blocks[b].unit
    cdef UnitState *unit = &s.units[u]
    cdef bint refused = quality == Q_EXCEPTION + 2 or quality == Q_EXCEPTION + 3
    if quality == Q_TIMEOUT:
        unit.timeouts += 1
    elif quality >= Q_EXCEPTION:
        unit.exceptions[quality - Q_EXCEPTION if quality < Q_EXCEPTION + EXCEPTION_CODES else 0] += 1
    else:
        unit.malformed += 1
        unit.mismatched += quality == Q_MISMATCH

    if quality == Q_TIMEOUT or quality == Q_EXCEPTION + 10 or quality == Q_EXCEPTION + 11:
        unit_silent(s, b, quality, sent_ns, now_ns)
        return
    unit_answers(s, u)
    if quality == Q_EXCEPTION + 5 or quality == Q_EXCEPTION + 6:
        unit.hold_until_ns = now_ns + BUSY_WAIT
        step_behind(s, b, quality, True)
        return
    if refused and s.blocks[b].n_ops > 1 and schedule_cut(s, b):
        state = &s.states[b]  # may have moved
        if state.counted:
            s.states[state.next].counted = 1
            s.outstanding += 1
            move(s, state.next, BLOCK_DUE)
            move(s, b, BLOCK_DUE)
        else:
            finish(s, b)
        return
    mark(s, b, quality)
    finish(s, b)
    if refused:
        move(s, b, BLOCK_HOLE)
        s.states[b].received_ns = now_ns


cdef void count_round_trip(UnitState *unit, int64_t ns) noexcept nogil:
    # Four buckets to an octave: its number, and the two bits after the leading one.
    cdef int octave, bucket = 0
    if ns >= SHORTEST_BUCKET:
        octave = 63 - leading_zeros(<uint64_t>ns)
        bucket = 4 * (octave - SHORTEST_OCTAVE) + <int>((ns >> (octave - 2)) & 3)
    unit.round_trips[min(bucket, ROUND_TRIP_BUCKETS - 1)] += 1
    unit.longest_us = max(unit.longest_us, <uint32_t>min((ns + 999) // 1000, LONGEST_US))


# ---- units that answer, and others ----

cdef bint schedule_expects_silence(const Schedule *s, int32_t b) noexcept nogil:
    # Another silence of this block's unit would say nothing new about the link: others on it do answer.
    cdef int32_t u = s.blocks[b].unit
    cdef int32_t link = s.unit_plans[u].link
    return s.units[u].failures > 0 and s.queues[link].n_silent < s.links[link].n_units


cdef inline int32_t next_of_unit(const Schedule *s, int32_t b) noexcept nogil:
    # The unit's next block, or -1 after its last.
    cdef int32_t following = s.states[b].next
    return following if following >= 0 and s.blocks[following].unit == s.blocks[b].unit else -1


cdef void unit_answers(Schedule *s, int32_t u) noexcept nogil:
    # Whatever it says, it is there: back to full rate.
    cdef UnitState *unit = &s.units[u]
    cdef int32_t b
    if unit.failures:
        unit.failures = 0
        unit.hold_until_ns = 0
        s.queues[s.unit_plans[u].link].n_silent -= 1
    if not (unit.behind or unit.dead):
        return
    b = s.unit_plans[u].first_block
    while b >= 0:
        if s.states[b].state == BLOCK_BEHIND:
            move(s, b, BLOCK_DUE)
        elif unit.dead and s.states[b].state == BLOCK_PROBE:
            move(s, b, BLOCK_IDLE)
        b = next_of_unit(s, b)
    unit.behind = 0
    unit.dead = 0


cdef void unit_silent(
    Schedule *s, int32_t b, uint8_t quality, int64_t sent_ns, int64_t now_ns
) noexcept nogil:
    # It did not answer, or its gateway says that it does not. A unit alone on its link is never dead because
    # of timeouts: the second in a row closes the link, and then it is connecting that waits and grows.
    cdef int32_t u = s.blocks[b].unit
    cdef UnitState *unit = &s.units[u]
    cdef const UnitPlan *plan = &s.unit_plans[u]
    cdef bint alone = quality == Q_TIMEOUT and s.links[plan.link].n_units == 1
    cdef int64_t wait, ceiling
    if sent_ns >= unit.silent_ns:  # several requests that were in flight together are one silence
        s.queues[plan.link].n_silent += unit.failures == 0
        unit.failures += unit.failures < MAX_FAILURES
        unit.silent_ns = now_ns
        if alone:
            wait = 0
        elif unit.failures <= plan.retry_count:
            wait = (unit.failures - 1) * SECOND
        else:
            ceiling = min(PROBE_BASE << min(unit.failures - 1, 16), s.probe_interval_ns)
            wait = ceiling // 2 + <int64_t>(schedule_random(s) % <uint64_t>ceiling) // 2
        unit.hold_until_ns = min(now_ns + wait, unit.tried_ns + s.probe_interval_ns)
    if unit.failures > plan.retry_count and not alone:
        unit_dies(s, b, quality)
    else:
        step_behind(s, b, quality, unit.failures <= plan.retry_count)


cdef void step_behind(Schedule *s, int32_t b, uint8_t quality, bint retry) noexcept nogil:
    # What the unit is still to be asked in this tick waits behind the other units' work, if there is time.
    cdef int32_t u = s.blocks[b].unit, other = s.unit_plans[u].first_block
    cdef UnitState *unit = &s.units[u]
    unit.behind = 1
    unit.reason = quality
    retry = retry and unit.hold_until_ns < s.tick_deadline_ns
    if retry and s.states[b].counted:
        s.states[b].reason = quality
        move(s, b, BLOCK_BEHIND)
    else:
        mark(s, b, quality)
        finish(s, b)
    while other >= 0:
        if s.states[other].state == BLOCK_DUE or s.states[other].state == BLOCK_BEHIND:
            if retry:
                move(s, other, BLOCK_BEHIND)
            else:
                mark(s, other, quality)
                finish(s, other)
        other = next_of_unit(s, other)


cdef void unit_dies(Schedule *s, int32_t b, uint8_t quality) noexcept nogil:
    # From now on it is only probed; nothing that it has said before stands.
    cdef int32_t u = s.blocks[b].unit, other = s.unit_plans[u].first_block
    cdef uint8_t state
    mark(s, b, quality)
    finish(s, b)
    while other >= 0:
        state = s.states[other].state
        if state <= BLOCK_BEHIND:
            mark(s, other, quality)
            finish(s, other)
        other = next_of_unit(s, other)
    s.units[u].behind = 0
    s.units[u].dead = 1
    probe_next(s, b)


cdef void probe_next(Schedule *s, int32_t b) noexcept nogil:
    # Let a dead unit be asked for one block, after b another one: no single block may keep it dead.
    cdef int32_t other = s.unit_plans[s.blocks[b].unit].first_block, first = -1, following = -1
    cdef bint is_after = False
    while other >= 0:
        if s.states[other].state == BLOCK_PROBE or s.states[other].state == BLOCK_IN_FLIGHT:
            return
        if s.states[other].state == BLOCK_IDLE:
            if first < 0:
                first = other
            if is_after and following < 0:
                following = other
        is_after = is_after or other == b
        other = next_of_unit(s, other)
    move(s, following if following >= 0 else first if first >= 0 else b, BLOCK_PROBE)


cdef void schedule_link_down(Schedule *s, int32_t link, uint8_t quality) noexcept nogil:
    # Everything on the link has failed; when it is up again, everything is asked for at once. Many a device
    # closes after each reply: what it has said in the open tick stands until the next one begins.
    cdef int32_t b = first_block(s, link)
    cdef BlockState *state
    cdef UnitState *unit
    while b >= 0:
        state = &s.states[b]
        unit = &s.units[s.blocks[b].unit]
        unit.hold_until_ns = 0
        if s.links[link].n_units == 1:
            unit.dead = unit.behind = 0
        state.kept = s.tick_open and not state.counted and (state.fresh or state.kept)
        if state.kept:
            state.fresh = 0
        else:
            mark(s, b, quality)
        unit.lost += state.state == BLOCK_IN_FLIGHT
        if state.state == BLOCK_HOLE:
            state.received_ns = 0
        else:
            finish(s, b)
        b = state.next


cdef void schedule_begin_down(Schedule *s, int32_t link, uint8_t quality) noexcept nogil:
    # A tick begins while the link is down: what was kept of the last one is over.
    cdef int32_t b = first_block(s, link)
    while b >= 0:
        if s.states[b].kept:
            s.states[b].kept = 0
            mark(s, b, quality)
        b = s.states[b].next


cdef void mark(Schedule *s, int32_t b, uint8_t quality) noexcept nogil:
    cdef const Block *block = &s.blocks[b]
    mark_block(&s.ops[block.first_op], block.n_ops, s.columns, block.row, quality)
    # A legal refusal will not change by the next tick; all else is asked again even if its group is slow.
    s.states[b].fresh = Q_EXCEPTION <= quality <= Q_EXCEPTION + 4


cdef void finish(Schedule *s, int32_t b) noexcept nogil:
    # The request has ended, one way or another.
    cdef BlockState *state = &s.states[b]
    move(s, b, BLOCK_IDLE)
    state.reason = 0
    if state.counted:
        state.counted = 0
        s.outstanding -= 1


cdef uint64_t schedule_random(Schedule *s) noexcept nogil:
    # xorshift64*: jitter and first identifiers need no better.
    s.random ^= s.random >> 12
    s.random ^= s.random << 25
    s.random ^= s.random >> 27
    return (s.random * XORSHIFT_STAR) >> 16
