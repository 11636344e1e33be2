"""The job of the link benchmarks: 90 registers of every meter, once a tick, decoded into 45 columns.

The meters are the simulator's, of profile acuvim2_vendor: 36 float32, then 9 uint32 that count in tenths.
"""

import socket
import struct
from collections.abc import Callable

from fluxfast.config.fleet import Device

FIRST, COUNT = 0x4000, 90
FLOATS, COUNTERS = 36, 9


def site_file(links: int, period_ms: float, first_ip: str, port: int, connects_per_s: int = 0) -> str:
    return (
        f"poll: {{every: {period_ms}ms, deadline: 90%, connects_per_s: {connects_per_s}}}\n"
        "devices:\n  meters:\n"
        f'    - {{id: "m{{n}}", count: {links}, type: acuvim2_vendor,'
        f" modbus: {{host: {first_ip}, port: {port}}}}}\n"
    )


def read_registers(device: Device, first: int, count: int) -> bytes:
    """Read holding registers with nothing but a socket and ``struct``."""
    with socket.create_connection((device.modbus.host, device.modbus.port), 5) as s:
        s.sendall(struct.pack(">HHHBBHH", 1, 0, 6, device.modbus.unit, 3, first, count))
        reply = b""
        while len(reply) < 9 + 2 * count:
            reply += s.recv(512)
    return reply[9:]


def read_plainly(device: Device) -> list[float]:
    """Read a meter's 45 values."""
    values = struct.unpack(f">{FLOATS}f{COUNTERS}I", read_registers(device, FIRST, COUNT))
    return [*values[:FLOATS], *(raw / 10 for raw in values[FLOATS:])]


def is_right(devices: list[Device], read: Callable[[int], list[float]], tries: int = 40) -> bool:
    """Whether ``read(row)`` gives what a meter says; its values may change in between, hence the tries."""
    row = len(devices) - 1
    return any(read(row) == read_plainly(devices[row]) for _ in range(tries))
