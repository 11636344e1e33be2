from collections.abc import Sequence
from socket import socket
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from fluxfast.sim.image import Image

SERVED: Final[int]
INTERRUPTED: Final[int]
STOPPED: Final[int]

@final
class Server:
    @property
    def requests(self) -> int: ...
    @property
    def exceptions(self) -> int: ...
    @property
    def broken(self) -> int: ...
    @property
    def accepted(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def connections(self) -> int: ...
    @property
    def faulty(self) -> int: ...
    def __init__(
        self,
        images: Sequence[Image],
        units: NDArray[Any],
        endpoints: NDArray[Any],
        keys: NDArray[np.uint64],
        key_endpoints: NDArray[np.int32],
        listeners: Sequence[socket],
        listener_endpoints: NDArray[np.int32],
        seed: int,
    ) -> None: ...
    def listen(self, number: int, listener: socket) -> None: ...
    def set_fault(self, number: int, kind: int, unit_id: int, share: int, delay_ns: int) -> None: ...
    def serve(self, until_ns: int) -> int: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...

def now_ns() -> int: ...
