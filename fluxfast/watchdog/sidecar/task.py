"""What the station and its sidecar share: some memory, a pipe, and the words that are said.

The memory::

    0   uint64  heartbeat   the station adds 1 for every finished tick
    8   uint64  pulse       the sidecar adds 1 each time it looks
    16  uint64  units       how many (n)
    24  uint64  length      of the JSON text
    32  uint64  source      [n]  what this unit's Command Source was before
        uint8   commanded   [n]  1: this unit is to be stopped
        uint8   known       [n]  1: `source` is filled in
        uint8   silent      [n]  1: it did not answer of late, and others behind its endpoint go first
            text            JSON: what `Task` holds
"""

import json
import mmap
import socket
import struct
from typing import Any, Final

from .stopper import Job, Line

HEAD: Final = struct.Struct("=QQQQ")
PULSE_AT: Final = 8
READY, GOODBYE, HAND_OVER = b"ready", b"goodbye", b"hand over"  # the pipe's words
STOPPING: Final = b"stopping  "  # over the first word of each lock file

STOP_WITHIN_S: Final = 30.0
SHARED_PATIENCE_S: Final = 0.5  # for the first answer where other units wait behind the same endpoint

EXIT_GOODBYE, EXIT_STOPPED, EXIT_SOURCE_KEPT, EXIT_NOT_STOPPED = 0, 10, 11, 12


def places(units: int) -> tuple[int, int, int, int, int]:
    """Return where ``source``, ``commanded``, ``known``, ``silent`` and the text begin."""
    commanded = HEAD.size + 8 * units
    return HEAD.size, commanded, commanded + units, commanded + 2 * units, commanded + 3 * units


class Task:
    """What the station has written down: all that is needed when it is no more."""

    def __init__(self, shared: mmap.mmap) -> None:
        """Read it; host addresses become socket addresses now."""
        self.shared = shared
        _, _, self.units, length = HEAD.unpack_from(shared)
        self._source, self._commanded, self._known, self._silent, text = places(self.units)
        said: dict[str, Any] = json.loads(shared[text : text + length])
        self.station: int = said["station"]
        self.pidfd: int = said["pidfd"]  # -1: this system has none
        self.pipe = socket.socket(fileno=said["pipe"])
        self.pipe.setblocking(False)
        self.locks: list[int] = said["locks"]
        self.hang_s: float = said["hang_s"]
        self.report: str | None = said["report"]
        self.stop_within_s: float = said["stop_within_s"]
        self._unit = [
            (
                name,
                (host, port),
                bytes.fromhex(stop),
                None if release is None else bytes.fromhex(release),
                order,
                delay_s,
                gap_s,
            )
            for name, host, port, stop, release, order, delay_s, gap_s in said["unit"]
        ]
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        self._address: list[tuple[int, Any]] = []
        for _, (host, port), *_ in self._unit:
            family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)[0]
            self._address.append((family, place))

    def anything_commanded(self) -> bool:
        """Return whether there is a unit to stop."""
        return self.shared.find(b"\1", self._commanded, self._known) >= 0

    def jobs(self) -> "tuple[list[Job], list[Line]]":
        """Return the first job for each commanded unit, and the lines that they wait on."""
        jobs: list[Job] = []
        lines: dict[Any, Line] = {}
        commanded = [index for index in range(self.units) if self.shared[self._commanded + index]]
        for index in sorted(commanded, key=lambda index: self.shared[self._silent + index]):
            name, endpoint, stop, release, order, delay_s, gap_s = self._unit[index]
            then = None
            if release is not None and self.shared[self._known + index]:
                (source,) = struct.unpack_from("=Q", self.shared, self._source + 8 * index)
                value = source.to_bytes(8, "big")[-len(order) :]
                frame = release[: -len(order)] + bytes(value[place] for place in order)
                then = Job(name, "give Command Source back", frame, None)
            job = Job(name, "0 kW", stop, then)
            job.is_last = bool(self.shared[self._silent + index])
            jobs.append(job)
            line = lines.get(endpoint)
            if line is None:
                line = lines[endpoint] = Line(self._address[index])
            line.jobs.append(job)
            line.delay_s, line.gap_s = max(line.delay_s, delay_s), max(line.gap_s, gap_s)
        for line in lines.values():
            if len(line.jobs) > 1:
                for job in line.jobs:
                    job.patience_s = SHARED_PATIENCE_S
        return jobs, list(lines.values())
