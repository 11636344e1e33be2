import numpy as np
from numpy.typing import NDArray

def decode_replies(
    ops: NDArray[np.uint8],
    sentinels: NDArray[np.uint64],
    data: NDArray[np.uint8],
    columns: NDArray[np.uint8],
    rows: NDArray[np.int32],
    quality: int = ...,
) -> None: ...
def close_rows(
    quality: NDArray[np.uint8],
    row_quality: NDArray[np.uint8],
    valid: NDArray[np.uint8],
    received_ns: NDArray[np.int64],
    began_ns: int,
    latency_ms: NDArray[np.float32],
) -> None: ...
def struct_sizes() -> tuple[int, int]: ...
