import numpy as np
from numpy.typing import NDArray

def encode_write(writes: NDArray[np.uint8], i: int, value: float) -> tuple[int, bytes, float]: ...
