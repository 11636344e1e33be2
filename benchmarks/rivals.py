"""The same job by other clients: 90 registers of every meter, once a tick, decoded into 45 values.

    python benchmarks/rivals.py NAME SITE TICKS

Each at its best: one connection per device, kept open; pymodbus on uvloop with all devices' reads at once and
NumPy for the values (its own converter costs ten times as much); pyModbusTCP, which blocks, from one thread.
Prints JSON: requests, CPU us per request, reads that gave no answer.
"""

import asyncio
import json
import sys
import time

import numpy as np

from fluxfast.config import load

FIRST, COUNT = 0x4000, 90


def decode(registers: list[int], out: np.ndarray) -> None:
    raw = np.array(registers, ">u2")
    out[:36] = raw[:72].view(">f4")
    out[36:] = raw[72:].view(">u4") / 10


def run_pymodbus(devices: list, period_s: float, ticks: int) -> tuple[int, float, int]:
    import uvloop
    from pymodbus.client import AsyncModbusTcpClient

    values = np.zeros((len(devices), 45))

    async def poll() -> tuple[int, float, int]:
        clients = [AsyncModbusTcpClient(d.modbus.host, port=d.modbus.port, retries=0) for d in devices]
        for client in clients:
            await client.connect()
        missed = 0

        async def read(row: int) -> int:
            reply = await clients[row].read_holding_registers(
                FIRST, count=COUNT, device_id=devices[row].modbus.unit
            )
            if reply.isError():
                return 1
            decode(reply.registers, values[row])
            return 0

        before, begin = time.process_time(), time.monotonic()
        for tick in range(ticks):
            await asyncio.sleep(begin + tick * period_s - time.monotonic())
            missed += sum(await asyncio.gather(*map(read, range(len(clients)))))
        used = time.process_time() - before
        for client in clients:
            client.close()
        return ticks * len(clients), used, missed

    return uvloop.run(poll())


def run_pymodbustcp(devices: list, period_s: float, ticks: int) -> tuple[int, float, int]:
    from pyModbusTCP.client import ModbusClient

    values = np.zeros((len(devices), 45))
    clients = [
        ModbusClient(host=d.modbus.host, port=d.modbus.port, unit_id=d.modbus.unit, auto_open=True)
        for d in devices
    ]
    for client in clients:
        client.open()
    missed = 0
    before, begin = time.process_time(), time.monotonic()
    for tick in range(ticks):
        time.sleep(max(0.0, begin + tick * period_s - time.monotonic()))
        for row, client in enumerate(clients):
            registers = client.read_holding_registers(FIRST, COUNT)
            if registers is None:
                missed += 1
            else:
                decode(registers, values[row])
    return ticks * len(clients), time.process_time() - before, missed


RIVALS = {"pymodbus": run_pymodbus, "pyModbusTCP": run_pymodbustcp}

if __name__ == "__main__":
    fleet = load(sys.argv[2])
    requests, cpu_s, missed = RIVALS[sys.argv[1]](
        list(fleet.devices), fleet.poll.every_ns / 1e9, int(sys.argv[3])
    )
    print(json.dumps([requests, cpu_s * 1e6 / requests, missed]))
