"""The job of the link benchmarks: 90 registers of every meter, once a tick, decoded into 45 columns.

The meters are the simulator's, of profile acuvim2_vendor: 36 float32, then 9 uint32 that count in tenths.
"""

import gc
import os
import socket
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

FIRST, COUNT = 0x4000, 90
FLOATS, COUNTERS = 36, 9
FREQUENCY = 0  # its column


class Meter(NamedTuple):
    """Where a meter is; written as ``host port unit`` for the clients that are not ours."""

    host: str
    port: int
    unit: int

    def __str__(self) -> str:
        return f"{self.host} {self.port} {self.unit}"


def site_file(links: int, period_ms: float, first_ip: str, port: int, connects_per_s: int = 0) -> str:
    return (
        f"poll: {{every: {period_ms}ms, deadline: 90%, connects_per_s: {connects_per_s}}}\n"
        "devices:\n  meters:\n"
        f'    - {{id: "m{{n}}", count: {links}, type: acuvim2_vendor,'
        f" modbus: {{host: {first_ip}, port: {port}}}}}\n"
    )


def read_meters(lines: Iterable[str]) -> list[Meter]:
    """Read the lines of a file of meters."""
    split = (line.split() for line in lines)
    return [Meter(host, int(port), int(unit)) for host, port, unit in split]


def read_registers(meter: Meter, first: int, count: int) -> bytes:
    """Read holding registers with nothing but a socket and ``struct``."""
    with socket.create_connection(meter[:2], 60) as s:  # of a loaded machine
        s.sendall(struct.pack(">HHHBBHH", 1, 0, 6, meter.unit, 3, first, count))
        reply = b""
        while len(reply) < 9 + 2 * count:
            reply += s.recv(512)
    return reply[9:]


def read_plainly(meter: Meter) -> list[float]:
    """Read a meter's 45 values."""
    values = struct.unpack(f">{FLOATS}f{COUNTERS}I", read_registers(meter, FIRST, COUNT))
    return [*values[:FLOATS], *(raw / 10 for raw in values[FLOATS:])]


def all_read(frequency: np.ndarray) -> bool:
    """Whether every meter was read at all, by its frequency in Hz."""
    return bool(((frequency > 45) & (frequency < 65)).all())


def is_right(meter: Meter, read: Callable[[], list[float]], tries: int = 40) -> bool:
    """Whether ``read()``, of this meter alone, gives what it says.

    Values stand still for 100 ms, so they may change in between, hence the tries.
    """
    return any(read() == read_plainly(meter) for _ in range(tries))


def resident() -> int:
    """Return what this process holds of the machine's memory, in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
