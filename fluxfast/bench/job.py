"""What a process of the bench is told to do, as one line of JSON, and how it speaks: the same on both sides.

Two processes besides the command's own: one with the station (``python -m fluxfast.bench.station``), one
with the devices (``python -m fluxfast.bench.devices``), on a core each where there are two. They end with
their input, so none outlives the command, however that ends.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Self

from fluxfast.bench.measure import Window
from fluxfast.errors import FluxfastError


@dataclass(frozen=True)
class Job:
    """One trial. ``site``: a file, polled without the devices ``left_out``; None: a fleet of our own.

    ``core``: the one to run on; None: any.
    """

    every_us: int
    window: Window
    site: str | None = None
    left_out: Sequence[str] = ()
    devices: int = 0
    registers: int = 0
    port: int = 0
    log: bool = False
    core: int | None = None

    def line(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def heard(cls) -> Self:
        """Read it from this process's input, and go to its core."""
        line = b""
        while not line.endswith(b"\n"):  # no buffer: what comes later is heard by others
            byte = os.read(0, 1)
            if not byte:
                sys.exit()
            line += byte
        told = json.loads(line)
        job = cls(**{**told, "window": Window(**told["window"])})
        if job.core is not None:
            os.sched_setaffinity(0, {job.core})
        return job


def say(**what: Any) -> None:
    """Tell whoever started this process; who has gone need not be told."""
    try:
        os.write(1, json.dumps(what).encode() + b"\n")
    except BrokenPipeError:
        sys.exit()


@contextmanager
def telling_errors() -> Iterator[None]:
    """Say what went wrong, and end."""
    try:
        yield
    except (FluxfastError, OSError, MemoryError) as error:
        say(error=str(error) or type(error).__name__, memory=isinstance(error, MemoryError))
        sys.exit(1)
