"""Cuts a block that a unit refuses in two, so that only what it refuses is missing in the end.

    block b   | p0 p1 p2 p3 p4 |   ──▶   b | p0 p1 |   new | p2 p3 p4 |

The schedule's `blocks`, `states` and `ops` grow by that, and may move. A point never does: it stays where it
was on the wire.
"""

from libc.stdint cimport int32_t, uint16_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy, memset

from fluxfast.link.schedule cimport BLOCK_IDLE, BlockState, Schedule
from fluxfast.link.structs cimport Block
from fluxfast.table.decode cimport RAW_BIT, Op


cdef bint schedule_cut(Schedule *s, int32_t b) noexcept nogil:
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
    s.queues[s.unit_plans[left.unit].link].n[BLOCK_IDLE] += 1
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
