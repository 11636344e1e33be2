"""What is to be read next, and what became of it: blocks, units and ticks, without sockets or clocks.

    begin_tick, begin_link ─▶ blocks are due      next ─▶ the block to send       reply │
    end_tick               ─▶ the rest is marked                                  fail  ├▶ cells, health
                                                                             link_down  │

Invariants (tests/unit/link/books.pyx checks them after every step):
1. A block is idle, due, a probe, in flight or a hole; only an idle block becomes due, so a block is never in
   flight twice.
2. A cell is written only by the reply to its own block, or marked when that block fails.
3. `outstanding` counts the blocks that the open tick still waits for; each is taken off exactly once.
4. No unit holds up another beyond its share: one that has not answered in time is not asked again in the
   same tick; after `retry_count` of that it is dead, which means one read, behind all others, after a
   growing wait. One that has waited for the whole probe interval gets a turn like any other. Turns go round:
   a link goes on after the block it sent last, in whichever tick.

A block that the unit refuses (exceptions 2 and 3) is cut in two until what is refused is a single point: a
hole, remembered for this unit alone. `blocks` and `ops` belong to the schedule and grow by that.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from fluxfast.table.decode cimport RAW_BIT, decode_block, mark_block
from fluxfast.table.quality cimport Q_EXCEPTION, Q_GOOD, Q_LATE, Q_TIMEOUT

cdef int64_t SECOND = 1_000_000_000
cdef int64_t BUSY_WAIT = SECOND // 10        # after exceptions 5 and 6: the unit works, but not for us now
cdef int64_t PROBE_BASE = SECOND // 2
cdef int64_t HOLE_AGAIN = 60 * SECOND
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
    s.n_blocks = s.block_room = n_blocks
    s.n_ops = s.op_room = n_ops
    s.blocks = <Block *>malloc(n_blocks * sizeof(Block))
    s.states = <BlockState *>calloc(n_blocks, sizeof(BlockState))
    s.ops = <Op *>malloc(n_ops * sizeof(Op))
    s.units = <UnitState *>calloc(n_units, sizeof(UnitState))
    s.queues = <Queue *>calloc(n_links, sizeof(Queue))
    if s.blocks == NULL or s.states == NULL or s.ops == NULL or s.units == NULL or s.queues == NULL:
        return False
    memcpy(s.blocks, blocks, n_blocks * sizeof(Block))
    memcpy(s.ops, ops, n_ops * sizeof(Op))
    for i in range(n_links):
        for b in range(links[i].first_block, links[i].first_block + links[i].n_blocks):
            s.states[b].next = b + 1 if b + 1 < links[i].first_block + links[i].n_blocks else -1
        s.queues[i].cursor = -1
    return True


cdef void schedule_free(Schedule *s) noexcept nogil:
    free(s.blocks)
    free(s.states)
    free(s.ops)
    free(s.units)
    free(s.queues)


# ---- ticks ----

cdef void schedule_begin_tick(Schedule *s, int64_t now_ns) noexcept nogil:
    s.tick_begin_ns = now_ns
    s.tick_open = True


cdef void schedule_begin_link(Schedule *s, int32_t link, int64_t tick, int64_t now_ns) noexcept nogil:
    # Make due what the tick reads over this link, which is up.
    cdef int32_t b = first_block(s, link), probed = -1
    cdef Queue *q = &s.queues[link]
    cdef const Block *block
    cdef BlockState *state
    cdef UnitState *unit
    while b >= 0:
        block = &s.blocks[b]
        state = &s.states[b]
        state.kept = 0
        unit = &s.units[block.unit]
        if state.state == BLOCK_HOLE:
            if not unit.dead and now_ns - state.received_ns > HOLE_AGAIN:
                state.state = BLOCK_PROBE
                q.n_probes += 1
        elif unit.dead:
            mark(s, b, unit.dead)  # or its slow blocks would seem good for as long as it is dead
            if state.state == BLOCK_IDLE and probed != block.unit:
                probed = block.unit
                state.state = BLOCK_PROBE
                q.n_probes += 1
        elif state.state != BLOCK_PROBE:
            if state.state == BLOCK_IDLE and (not state.fresh or tick % block.every == block.phase):
                state.state = BLOCK_DUE
                q.n_due += 1
            if state.state != BLOCK_IDLE and not state.counted:
                state.counted = 1
                s.outstanding += 1
        b = state.next


cdef int schedule_end_tick(Schedule *s, int64_t now_ns) noexcept nogil:
    # Mark what is unanswered; return how many blocks that were.
    cdef int32_t b
    cdef int missed = 0
    cdef BlockState *state
    if s.outstanding:
        for b in range(s.n_blocks):
            state = &s.states[b]
            if not state.counted:
                continue
            state.counted = 0
            if state.state == BLOCK_DUE:
                state.state = BLOCK_IDLE
                s.queues[s.unit_plans[s.blocks[b].unit].link].n_due -= 1
            # A reply that came after the last tick's end is this tick's value, late.
            if state.received_ns <= s.tick_end_ns:
                mark(s, b, state.reason if state.reason else Q_TIMEOUT)
                missed += 1
            state.reason = 0
    s.outstanding = 0
    s.tick_open = False
    s.tick_end_ns = now_ns
    return missed


# ---- what to send ----

cdef int32_t schedule_next(Schedule *s, int32_t link, int64_t now_ns, int64_t *wait_until_ns) noexcept nogil:
    # The next block to ask for, now in flight; or -1, and in wait_until_ns when to look again at the latest.
    # It goes on after the block that was sent last, in whichever tick, so that a slow unit costs no other one
    # its turn; probes come behind everything else, unless they have waited for too long.
    cdef Queue *q = &s.queues[link]
    cdef int32_t start = q.cursor if q.cursor >= 0 else first_block(s, link)
    cdef int32_t b = start, probe = -1
    cdef UnitState *unit
    wait_until_ns[0] = NEVER
    if q.n_due == 0 and q.n_probes == 0:
        return -1
    while True:
        if s.states[b].state == BLOCK_DUE or s.states[b].state == BLOCK_PROBE:
            unit = &s.units[s.blocks[b].unit]
            if unit.hold_until_ns > now_ns:
                wait_until_ns[0] = min(wait_until_ns[0], unit.hold_until_ns)
            elif s.states[b].state == BLOCK_DUE or now_ns - unit.tried_ns >= s.probe_interval_ns:
                break
            elif probe < 0:
                probe = b
        b = s.states[b].next
        if b < 0:
            b = first_block(s, link)
        if b == start:
            b = probe
            break
    if b < 0:
        return -1
    if s.states[b].state == BLOCK_DUE:
        q.n_due -= 1
    else:
        q.n_probes -= 1
    q.cursor = s.states[b].next
    s.states[b].state = BLOCK_IN_FLIGHT
    unit = &s.units[s.blocks[b].unit]
    unit.requests += 1
    unit.tried_ns = now_ns
    return b


cdef inline int32_t first_block(const Schedule *s, int32_t link) noexcept nogil:
    return s.links[link].first_block if s.links[link].n_blocks else -1


# ---- what became of it ----

cdef void schedule_reply(
    Schedule *s, int32_t b, const uint8_t *data, int64_t sent_ns, int64_t now_ns
) noexcept nogil:
    # `data` has the length that the block asked for. Late is what its own tick did not wait for.
    cdef const Block *block = &s.blocks[b]
    cdef UnitState *unit = &s.units[block.unit]
    cdef bint in_time = s.tick_open and sent_ns >= s.tick_begin_ns
    decode_block(
        &s.ops[block.first_op], block.n_ops, s.sentinels, data, s.columns, block.row,
        Q_GOOD if in_time else Q_LATE,
    )
    (<int64_t *>s.received[block.table])[block.row] = now_ns
    s.states[b].received_ns = now_ns
    s.states[b].fresh = 1
    s.values += block.n_ops
    unit.replies += 1
    unit.failures = 0
    unit.dead = 0
    finish(s, b)


cdef void schedule_fail(Schedule *s, int32_t b, uint8_t quality, int64_t now_ns) noexcept nogil:
    cdef BlockState *state = &s.states[b]
    cdef int32_t u = s.blocks[b].unit
    cdef UnitState *unit = &s.units[u]
    cdef bint refused = quality == Q_EXCEPTION + 2 or quality == Q_EXCEPTION + 3
    cdef bint busy = quality == Q_EXCEPTION + 5 or quality == Q_EXCEPTION + 6
    if quality == Q_TIMEOUT:
        unit.timeouts += 1
    elif quality >= Q_EXCEPTION:
        unit.exceptions += 1
    else:
        unit.malformed += 1

    if quality == Q_TIMEOUT or quality == Q_EXCEPTION + 10 or quality == Q_EXCEPTION + 11:
        mark(s, b, quality)
        finish(s, b)
        unit_silent(s, u, quality, now_ns)
        return
    unit.failures = 0
    unit.dead = 0
    if busy:
        unit.hold_until_ns = now_ns + BUSY_WAIT
        if state.counted:  # there is time left in this tick: again after the wait
            state.reason = quality
            make_due(s, b)
            return
    elif refused and s.blocks[b].n_ops > 1 and split(s, b):
        state = &s.states[b]  # may have moved
        if state.counted:
            s.states[state.next].counted = 1
            s.outstanding += 1
            make_due(s, state.next)
            make_due(s, b)
        else:
            finish(s, b)
        return
    mark(s, b, quality)
    finish(s, b)
    if refused:
        s.states[b].state = BLOCK_HOLE
        s.states[b].received_ns = now_ns


cdef void unit_silent(Schedule *s, int32_t u, uint8_t quality, int64_t now_ns) noexcept nogil:
    # It did not answer, or its gateway says that it does not. What else it was to be asked in this tick would
    # only keep the link from the others. A link of one unit that is silent is closed by the reactor instead.
    cdef UnitState *unit = &s.units[u]
    cdef const UnitPlan *plan = &s.unit_plans[u]
    cdef int32_t b = plan.first_block
    cdef int64_t ceiling
    while b >= 0 and s.blocks[b].unit == u:
        if s.states[b].state == BLOCK_DUE:
            s.queues[plan.link].n_due -= 1
            mark(s, b, quality)
            finish(s, b)
        b = s.states[b].next
    unit.failures += unit.failures < 1000
    if unit.failures > plan.retry_count and (quality != Q_TIMEOUT or s.links[plan.link].n_units > 1):
        unit.dead = quality
        ceiling = min(PROBE_BASE << min(unit.failures - plan.retry_count - 1, 16), s.probe_interval_ns)
        unit.hold_until_ns = min(
            now_ns + ceiling // 2 + <int64_t>(schedule_random(s) % <uint64_t>ceiling) // 2,
            unit.tried_ns + s.probe_interval_ns,
        )


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
            unit.dead = 0
        state.kept = s.tick_open and not state.counted and (state.fresh or state.kept)
        if state.kept:
            state.fresh = 0
        else:
            mark(s, b, quality)
        if state.state == BLOCK_HOLE:
            state.received_ns = 0
        else:
            finish(s, b)
        b = state.next
    s.queues[link].n_due = 0
    s.queues[link].n_probes = 0


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
    state.state = BLOCK_IDLE
    state.reason = 0
    if state.counted:
        state.counted = 0
        s.outstanding -= 1


cdef void make_due(Schedule *s, int32_t b) noexcept nogil:
    s.states[b].state = BLOCK_DUE
    s.queues[s.unit_plans[s.blocks[b].unit].link].n_due += 1


# ---- cutting a refused block in two ----

cdef bint split(Schedule *s, int32_t b) noexcept nogil:
    # Block b keeps the first half of its points; a new block after it gets the others. False without memory.
    cdef int32_t n = s.blocks[b].n_ops, kept = n // 2, new = s.n_blocks, k
    cdef Block *left
    cdef Block *right
    cdef Op *ops
    cdef uint16_t base
    if not make_room(s, n - kept):
        return False
    left = &s.blocks[b]
    right = &s.blocks[new]
    right[0] = left[0]
    ops = &s.ops[s.n_ops]
    memcpy(ops, &s.ops[left.first_op + kept], (n - kept) * sizeof(Op))
    base = ops[0].source  # ops stand in the order of addresses
    for k in range(n - kept):
        ops[k].source -= base
    right.first_op = s.n_ops
    right.n_ops = n - kept
    right.address = left.address + (base if ops[0].raw == RAW_BIT else base // 2)
    right.quantity = quantity_of(ops, n - kept)
    left.n_ops = kept
    left.quantity = quantity_of(&s.ops[left.first_op], kept)
    memset(&s.states[new], 0, sizeof(BlockState))
    s.states[new].next = s.states[b].next
    s.states[b].next = new
    s.n_blocks += 1
    s.n_ops += n - kept
    return True


cdef uint16_t quantity_of(const Op *ops, int32_t n) noexcept nogil:
    # Registers (or bits) from the first op's first to the last one's last.
    cdef int32_t k, end = 0
    for k in range(n):
        end = max(end, ops[k].source + ops[k].size)
    return <uint16_t>(end if ops[0].raw == RAW_BIT else end // 2)


cdef bint make_room(Schedule *s, int32_t ops) noexcept nogil:
    cdef void *grown
    if s.n_blocks == s.block_room:
        grown = realloc(s.blocks, 2 * s.block_room * sizeof(Block))
        if grown == NULL:
            return False
        s.blocks = <Block *>grown
        grown = realloc(s.states, 2 * s.block_room * sizeof(BlockState))
        if grown == NULL:
            return False
        s.states = <BlockState *>grown
        s.block_room *= 2
    if s.n_ops + ops > s.op_room:
        grown = realloc(s.ops, (2 * s.op_room + ops) * sizeof(Op))
        if grown == NULL:
            return False
        s.ops = <Op *>grown
        s.op_room = 2 * s.op_room + ops
    return True


cdef uint64_t schedule_random(Schedule *s) noexcept nogil:
    # xorshift64*: jitter and first identifiers need no better.
    s.random ^= s.random >> 12
    s.random ^= s.random << 25
    s.random ^= s.random >> 27
    return (s.random * XORSHIFT_STAR) >> 16
