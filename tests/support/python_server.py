"""A Modbus TCP server of another library: ``python_server.py pymodbus|pyModbusTCP HOST PORT SPEC``.

SPEC holds lines ``unit table address value``, table one of c d h i. Prints ``ready`` once it listens.
"""

import asyncio
import sys
from collections import defaultdict
from pathlib import Path

Image = dict[str, dict[int, int]]


def read_spec(path: Path) -> dict[int, Image]:
    units: dict[int, Image] = defaultdict(lambda: {table: {} for table in "cdhi"})
    for line in path.read_text().splitlines():
        unit, table, address, value = line.split()
        units[int(unit)][table][int(address)] = int(value)
    return units


def listed(cells: dict[int, int], least: int) -> list[int]:
    """Return everything from address 0 to the last, or to ``least``."""
    return [cells.get(address, 0) for address in range(max([least, *cells]) + 1)]


async def serve_pymodbus(host: str, port: int, units: dict[int, Image]) -> None:
    """Each unit has registers of its own, like devices behind a gateway."""
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    devices = []
    for unit, image in units.items():
        blocks = tuple(
            [SimData(0, values=[bool(v) for v in listed(image[table], 63)], datatype=DataType.BITS)]
            if table in "cd"
            else [SimData(0, values=listed(image[table], 0), datatype=DataType.REGISTERS)]
            for table in "cdhi"
        )
        devices.append(SimDevice(id=unit, simdata=blocks))
    server = ModbusTcpServer(devices, address=(host, port))
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.Event().wait()


def serve_py_modbus_tcp(host: str, port: int, units: dict[int, Image]) -> None:
    """All units share one set of registers."""
    import threading

    from pyModbusTCP.server import DataBank, ModbusServer

    bank = DataBank()
    for image in units.values():
        for table, put in (
            ("c", bank.set_coils),
            ("d", bank.set_discrete_inputs),
            ("h", bank.set_holding_registers),
            ("i", bank.set_input_registers),
        ):
            for address, value in image[table].items():
                put(address, [value])
    ModbusServer(host, port, no_block=True, data_bank=bank).start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    library, host, port, spec = sys.argv[1:]
    if library == "pymodbus":
        asyncio.run(serve_pymodbus(host, int(port), read_spec(Path(spec))))
    else:
        serve_py_modbus_tcp(host, int(port), read_spec(Path(spec)))
