from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def gather(
    memory: NDArray[np.uint8], places: NDArray[np.int64], tick: int, arrays: Sequence[NDArray[Any]]
) -> None: ...
def pack(memory: NDArray[np.uint8], packings: NDArray[np.int64], length: int) -> None: ...
