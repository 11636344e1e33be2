# What the plan hands to the link, as C structs; plan/structs.py has the same layouts as NumPy dtypes.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t


ctypedef packed struct Block:
    int64_t timeout_ns
    int32_t unit        # index into the plan's units
    int32_t table
    int32_t row
    int32_t first_op
    int32_t n_ops
    int32_t every       # read when tick % every == phase
    int32_t phase
    uint16_t address
    uint16_t quantity
    uint8_t unit_id
    uint8_t function_code
    uint8_t aliases[2]  # other unit_ids that its replies may bear, or unit_id again
    uint16_t slot       # its number among the unit's blocks as planned


ctypedef packed struct UnitPlan:
    int32_t link
    int32_t first_block
    int32_t n_blocks
    int32_t retry_count  # so often what got no answer is repeated, then the unit is dead


ctypedef packed struct LinkPlan:
    int64_t request_gap_ns
    int64_t connect_delay_ns
    int64_t timeout_ns
    int32_t first_block
    int32_t n_blocks
    int32_t n_units
    int32_t max_in_flight
    int32_t zero_ids     # replies may bear transaction_id 0; then max_in_flight is 1
    int64_t phase_ns     # sent to so long after a tick begins; never before the link before it
