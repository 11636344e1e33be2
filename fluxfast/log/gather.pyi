from typing import Any

import numpy as np
from numpy.typing import NDArray

def gather(
    memory: NDArray[np.uint8],
    places: NDArray[np.int64],
    dtypes: list[np.dtype[Any]],
    tick: int,
    arrays: list[NDArray[Any]],
) -> bool: ...
def pack(memory: NDArray[np.uint8], packings: NDArray[np.int64], length: int) -> None: ...
