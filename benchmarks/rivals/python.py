"""The job of meters.py by other Python clients, each at its best: one connection per device, kept open.

    python benchmarks/rivals/python.py NAME TICKS PERIOD_MS < "host port unit" lines

What was measured to be fastest of each, with 500 links on one core:

- pymodbus: its asyncio client on uvloop, all devices at once (on asyncio's own loop +35 to 70 %, its
  blocking client in threads about as much, in one thread +60 %). It makes a list of registers by a
  ``struct.unpack`` for each; "raw replies" is the same with a response class of our own that keeps the
  bytes, registered as its documentation has it (-20 to -50 %).
- async-modbus: streams of uvloop (of asyncio +10 to 60 %); its replies are NumPy arrays.
- pyModbusTCP, modbus-rs, modbus-tcp-cython block: a thread for each eighth of the devices, so that replies
  come while others are asked (one thread +30 to 60 %, 32 threads +20 to 100 %). pyModbusTCP and
  modbus-tcp-cython by the call that returns bytes (a list of registers +25 to 45 %). modbus-rs only returns
  lists; its asyncio client costs more than its blocking one in one thread.

NumPy makes the values, of all devices at once, as that is cheapest; their own converters cost several times
as much. As with us, the objects that stay are frozen, out of the garbage collector's way.
"""

import asyncio
import gc
import struct
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from apart import say
from meters import COUNT, FIRST, FLOATS, FREQUENCY, Meter, all_read, is_right, read_meters, resident

# Reads all meters once: 180 bytes each, or None. Made by connecting to them.
Reader = Callable[[], list[bytes | None]]
PACK = struct.Struct(f">{COUNT}H").pack  # the cheapest way from a list of registers to an array
READ = struct.pack(">BHH", 3, FIRST, COUNT)  # a PDU
NOTHING = bytes(2 * COUNT)
THREADS = 8
TIMEOUT_S = 30.0  # a slow client's tick on a loaded machine is long


def pymodbus(meters: list[Meter], raw: bool = False) -> Reader:
    import uvloop
    from pymodbus.client import AsyncModbusTcpClient
    from pymodbus.pdu.register_message import ReadHoldingRegistersResponse

    class Raw(ReadHoldingRegistersResponse):
        def decode(self, data: bytes) -> None:
            self.registers = data[1:]

    async def connect() -> list[Any]:
        made = [AsyncModbusTcpClient(m.host, port=m.port, retries=0, timeout=TIMEOUT_S) for m in meters]
        for client in made:
            await client.connect()
            if raw:
                client.register(Raw)
        return made

    async def read(client: Any, unit: int) -> bytes | None:
        reply = await client.read_holding_registers(FIRST, count=COUNT, device_id=unit)
        if reply.isError():
            return None
        return reply.registers if raw else PACK(*reply.registers)

    async def read_all() -> list[bytes | None]:
        return await asyncio.gather(*map(read, clients, units))

    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    clients, units = runner.run(connect()), [m.unit for m in meters]
    return lambda: runner.run(read_all())


def pymodbus_raw(meters: list[Meter]) -> Reader:
    return pymodbus(meters, raw=True)


def async_modbus(meters: list[Meter]) -> Reader:
    import uvloop
    from async_modbus import AsyncTCPClient

    async def connect() -> list[Any]:
        return [AsyncTCPClient(await asyncio.open_connection(m.host, m.port)) for m in meters]

    async def read_all() -> list[bytes | None]:
        asked = (c.read_holding_registers(unit, FIRST, COUNT) for c, unit in zip(clients, units, strict=True))
        async with asyncio.timeout(TIMEOUT_S):  # it has none of its own
            replies = await asyncio.gather(*asked, return_exceptions=True)
        return [None if isinstance(reply, BaseException) else reply.tobytes() for reply in replies]

    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    clients, units = runner.run(connect()), [m.unit for m in meters]
    return lambda: runner.run(read_all())


def pymodbustcp(meters: list[Meter]) -> Reader:
    from pyModbusTCP.client import ModbusClient

    clients = [ModbusClient(m.host, m.port, m.unit, TIMEOUT_S) for m in meters]
    for client in clients:
        client.open()

    def read(client: Any) -> bytes | None:
        reply = client.custom_request(READ)
        return None if reply is None else reply[2:]

    return in_threads(read, clients)


def modbus_rs(meters: list[Meter]) -> Reader:
    from modbus_rs import ModbusError, TcpTransport

    transports = [TcpTransport.connect(m.host, m.port, int(TIMEOUT_S * 1e3)) for m in meters]

    def read(client: Any) -> bytes | None:
        try:
            return PACK(*client.read_holding_registers(FIRST, COUNT))
        except ModbusError:
            return None

    return in_threads(read, [t.create_client(m.unit) for t, m in zip(transports, meters, strict=True)])


def modbus_tcp_cython(meters: list[Meter]) -> Reader:
    from modbus_tcp import ModbusTcpClient, ModbusTcpError

    clients = [ModbusTcpClient(m.host, m.port, TIMEOUT_S, request_retries=0) for m in meters]
    for client in clients:
        client.connect()

    def read(client: Any, unit: int) -> bytes | None:
        try:
            return client.request_pdu(unit, READ)[2:]
        except (ModbusTcpError, OSError):
            return None

    return in_threads(read, clients, [m.unit for m in meters])


def in_threads(read: Callable[..., bytes | None], *columns: list[Any]) -> Reader:
    """Call a blocking ``read`` for every row of the columns, each thread for its part of them."""
    if len(columns[0]) < THREADS:
        return lambda: list(map(read, *columns))
    part = -(-len(columns[0]) // THREADS)
    parts = [[column[i : i + part] for column in columns] for i in range(0, len(columns[0]), part)]
    pool = ThreadPoolExecutor(THREADS)
    return lambda: list(chain.from_iterable(pool.map(lambda part: list(map(read, *part)), parts)))


def decode(replies: list[bytes | None], values: np.ndarray, quality: np.ndarray) -> None:
    """Decode into values[45, meters], and quality[meters]: 0 or 1."""
    raw = np.frombuffer(b"".join(reply or NOTHING for reply in replies), ">u4").reshape(len(replies), -1)
    values[:FLOATS] = raw[:, :FLOATS].view(">f4").T
    values[FLOATS:] = raw[:, FLOATS:].T / 10
    quality[:] = [reply is None for reply in replies]


def run(connect: Callable[[list[Meter]], Reader], meters: list[Meter], ticks: int, period_s: float) -> None:
    values, quality = np.zeros((COUNT // 2, len(meters))), np.zeros(len(meters), np.uint8)
    unanswered, times = 0, []
    used, begin = time.process_time(), time.monotonic()
    read_all = connect(meters)
    said = {"connect_us": (time.process_time() - used) * 1e6 / len(meters), "up_s": time.monotonic() - begin}
    gc.freeze()
    decode(read_all(), values, quality)  # the first tick warms up
    used, begin = time.process_time(), time.monotonic()
    for tick in range(1, ticks):
        due = begin + tick * period_s
        time.sleep(max(0.0, due - time.monotonic()))
        decode(read_all(), values, quality)
        times.append((time.monotonic() - due) * 1e6)
        unanswered += int(quality.sum())
    cost = (time.process_time() - used) * 1e6 / ((ticks - 1) * len(meters))
    said |= {"unanswered": unanswered, "resident": resident()}

    # To the last digit by reading one meter alone: a slow client's tick is longer than values stand still.
    read_last = connect(meters[-1:])

    def last() -> list[float]:
        decode(read_last(), values[:, -1:], quality[-1:])
        return values[:, -1].tolist()

    right = all_read(values[FREQUENCY]) and is_right(meters[-1], last)
    say(cost, right, times=times, said=said)


RIVALS = {
    "pymodbus": pymodbus,
    "pymodbus, raw replies": pymodbus_raw,
    "async-modbus": async_modbus,
    "pyModbusTCP": pymodbustcp,
    "modbus-rs": modbus_rs,
    "modbus-tcp-cython": modbus_tcp_cython,
}

if __name__ == "__main__":
    run(RIVALS[sys.argv[1]], read_meters(sys.stdin), int(sys.argv[2]), float(sys.argv[3]) / 1e3)
