"""NumPy dtypes of what the plan hands to table and link: byte for byte the C structs that read them.

OP is ``Op`` of table/decode.pxd; BLOCK, UNIT and LINK are ``Block``, ``UnitPlan`` and ``LinkPlan``
of link/structs.pxd; WRITE and WRITE_STATE those of link/writes.pxd.
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
        ("scaled", np.uint8),
        ("plain", np.uint8),
        ("alike", np.uint16),
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

WRITE: Final = np.dtype(
    [
        ("timeout_ns", np.int64),
        ("min_interval_ns", np.int64),  # between two that are not 0; 0: any
        ("factor", np.float64),  # raw = (value * factor * div - add) / mul
        ("mul", np.float64),
        ("add", np.float64),
        ("div", np.float64),
        ("low", np.float64),  # bounds of the value
        ("high", np.float64),
        ("link", np.int32),
        ("max_writes", np.uint32),  # of one run; 0: any number
        ("address", np.uint16),
        ("unit_id", np.uint8),
        ("function_code", np.uint8),  # 6 or 16
        ("size", np.uint8),  # bytes
        ("raw", np.uint8),
        ("swap", np.uint8),
        ("spare", np.uint8),
    ]
)

WRITE_STATE: Final = np.dtype(
    [
        ("asked_ns", np.int64),  # the newest that was accepted
        ("sent_ns", np.int64),  # the newest that ended: when it went out, 0: never did
        ("ended_ns", np.int64),
        ("asked", np.float64),  # the value of the newest that was accepted, as the register will show it
        ("ended", np.float64),  # of the newest that ended
        ("held", np.float64),  # what the device has confirmed last; nan: not known
        ("n_asked", np.uint32),
        ("n_ended", np.uint32),
        ("outcome", np.uint8),  # call_outcome of the newest that ended
        ("quality", np.uint8),
        ("under_way", np.uint8),  # accepted, and its outcome not known yet
        ("refusal", np.uint8),  # write_refusal of the newest that was asked for
    ]
)
