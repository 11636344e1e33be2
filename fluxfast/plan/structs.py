"""NumPy dtypes of what the plan hands to table and link: byte for byte the C structs that read them.

OP is ``Op`` of table/decode.pxd; BLOCK, UNIT and LINK are ``Block``, ``UnitPlan`` and ``LinkPlan``
of link/structs.pxd.
"""

from typing import Final

import numpy as np

INT, UINT, FLOAT, BIT, STRING = 1, 0, 2, 3, 4  # raw_kind
SWAP_BYTES, SWAP_WORDS = 1, 2

OP: Final = np.dtype(
    [
        ("column", np.int32),
        ("source", np.uint16),
        ("size", np.uint8),
        ("raw", np.uint8),
        ("swap", np.uint8),
        ("shift", np.uint8),
        ("n_sentinels", np.uint16),
        ("first_sentinel", np.int32),
        ("scaled", np.int32),
        ("mask", np.uint64),
        ("mul", np.float64),
        ("add", np.float64),
        ("div", np.float64),
        ("low", np.float64),
        ("high", np.float64),
    ]
)

BLOCK: Final = np.dtype(
    [
        ("timeout_ns", np.int64),
        ("unit", np.int32),
        ("table", np.int32),
        ("row", np.int32),
        ("first_op", np.int32),
        ("n_ops", np.int32),
        ("every", np.int32),  # read when tick % every == phase
        ("phase", np.int32),
        ("address", np.uint16),
        ("quantity", np.uint16),
        ("unit_id", np.uint8),
        ("function_code", np.uint8),
        ("aliases", np.uint8, 2),  # other unit_ids that its replies may bear, or unit_id again
        ("slot", np.uint16),  # its number among the unit's blocks as planned
    ]
)

UNIT: Final = np.dtype(
    [("link", np.int32), ("first_block", np.int32), ("n_blocks", np.int32), ("retry_count", np.int32)]
)

LINK: Final = np.dtype(
    [
        ("request_gap_ns", np.int64),
        ("connect_delay_ns", np.int64),
        ("timeout_ns", np.int64),
        ("first_block", np.int32),
        ("n_blocks", np.int32),
        ("n_units", np.int32),
        ("max_in_flight", np.int32),
        ("zero_ids", np.int32),  # replies may bear transaction_id 0; then max_in_flight is 1
        ("phase_ns", np.int64),  # sent to so long after a tick begins; never before the link before it
    ]
)
