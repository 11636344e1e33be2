"""The job of meters.py by other clients, each at its best.

    python benchmarks/rivals.py NAME SITE TICKS

One connection per device, kept open. What was measured to be fastest of each: pymodbus with all devices'
reads at once on uvloop, modbus-rs by its blocking client (its asyncio client costs twice as much),
pyModbusTCP from one thread, modbus-tcp-cython by the call that returns bytes. NumPy makes the values, of all
devices at once, as that is cheapest; their own converters cost several times as much.
"""

import asyncio
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
from apart import say
from meters import COUNT, FIRST, FLOATS, is_right

from fluxfast.config import load
from fluxfast.config.fleet import Device

# Reads all devices once: 180 bytes each, or None.
Reader = Callable[[], list[bytes | None]]
Opener = Callable[[list[Device]], AbstractContextManager[Reader]]
FREQUENCY = 0  # its column
PACK = struct.Struct(f">{COUNT}H").pack  # the cheapest way from a list of registers to an array
NOTHING = bytes(2 * COUNT)


@contextmanager
def pymodbus(devices: list[Device]) -> Iterator[Reader]:
    import uvloop
    from pymodbus.client import AsyncModbusTcpClient

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        async def connect() -> list[Any]:
            made = [AsyncModbusTcpClient(d.modbus.host, port=d.modbus.port, retries=0) for d in devices]
            for client in made:
                await client.connect()
            return made

        async def read(client: Any, unit: int) -> bytes | None:
            reply = await client.read_holding_registers(FIRST, count=COUNT, device_id=unit)
            return None if reply.isError() else PACK(*reply.registers)

        async def read_all() -> list[bytes | None]:
            return await asyncio.gather(*map(read, clients, units))

        async def close() -> None:
            for client in clients:
                client.close()

        clients, units = runner.run(connect()), [d.modbus.unit for d in devices]
        yield lambda: runner.run(read_all())
        runner.run(close())


@contextmanager
def pymodbustcp(devices: list[Device]) -> Iterator[Reader]:
    from pyModbusTCP.client import ModbusClient

    clients = [
        ModbusClient(host=d.modbus.host, port=d.modbus.port, unit_id=d.modbus.unit, auto_open=True)
        for d in devices
    ]
    for client in clients:
        client.open()

    def read(client: Any) -> bytes | None:
        registers = client.read_holding_registers(FIRST, COUNT)
        return None if registers is None else PACK(*registers)

    yield lambda: list(map(read, clients))
    for client in clients:
        client.close()


@contextmanager
def modbus_rs(devices: list[Device]) -> Iterator[Reader]:
    from modbus_rs import ModbusError, TcpTransport

    transports = [TcpTransport.connect(d.modbus.host, d.modbus.port) for d in devices]
    clients = [t.create_client(d.modbus.unit) for t, d in zip(transports, devices, strict=True)]

    def read(client: Any) -> bytes | None:
        try:
            return PACK(*client.read_holding_registers(FIRST, COUNT))
        except ModbusError:
            return None

    yield lambda: list(map(read, clients))
    for transport in transports:
        transport.close()


@contextmanager
def modbus_tcp_cython(devices: list[Device]) -> Iterator[Reader]:
    from modbus_tcp import ModbusTcpClient, ModbusTcpError

    clients = [ModbusTcpClient(d.modbus.host, d.modbus.port, request_retries=0) for d in devices]
    for client in clients:
        client.connect()
    units, pdu = [d.modbus.unit for d in devices], struct.pack(">BHH", 3, FIRST, COUNT)

    def read(client: Any, unit: int) -> bytes | None:
        try:
            return client.request_pdu(unit, pdu)[2:]
        except (ModbusTcpError, OSError):
            return None

    yield lambda: list(map(read, clients, units))
    for client in clients:
        client.close()


def decode(replies: list[bytes | None], values: np.ndarray, quality: np.ndarray) -> None:
    """Decode into values[45, devices], and quality[devices]: 0 or 1."""
    raw = np.frombuffer(b"".join(reply or NOTHING for reply in replies), ">u4").reshape(len(replies), -1)
    values[:FLOATS] = raw[:, :FLOATS].view(">f4").T
    values[FLOATS:] = raw[:, FLOATS:].T / 10
    quality[:] = [reply is None for reply in replies]


def run(open_reader: Opener, devices: list[Device], period_s: float, ticks: int) -> None:
    values, quality = np.zeros((COUNT // 2, len(devices))), np.zeros(len(devices), np.uint8)
    unanswered, times = 0, []
    with open_reader(devices) as reader:
        before, begin = time.process_time(), time.monotonic()
        for tick in range(ticks):
            due = begin + tick * period_s
            time.sleep(max(0.0, due - time.monotonic()))
            decode(reader(), values, quality)
            times.append((time.monotonic() - due) * 1e6)
            unanswered += int(quality.sum())
        used_s = time.process_time() - before

    # To the last digit by reading one meter alone: a slow client's tick is longer than values stand still.
    with open_reader(devices[-1:]) as reader:

        def read_last(_: int) -> list[float]:
            decode(reader(), values[:, -1:], quality[-1:])
            return values[:, -1].tolist()

        right = is_right(devices, read_last)
    right = right and bool(((values[FREQUENCY] > 45) & (values[FREQUENCY] < 65)).all())
    say(used_s * 1e6 / (ticks * len(devices)), right, times=times, said={"unanswered": unanswered})


RIVALS = {
    "pymodbus": pymodbus,
    "pyModbusTCP": pymodbustcp,
    "modbus-rs": modbus_rs,
    "modbus-tcp-cython": modbus_tcp_cython,
}

if __name__ == "__main__":
    fleet = load(sys.argv[2])
    run(RIVALS[sys.argv[1]], list(fleet.devices), fleet.poll.every_ns / 1e9, int(sys.argv[3]))
