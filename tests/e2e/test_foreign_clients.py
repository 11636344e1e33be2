"""Clients that we did not write use `fluxfast simulate`: mbpoll, libmodbus, pymodbus, pyModbusTCP."""

import re
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient
from pyModbusTCP.client import ModbusClient

from tests.support.command import free_port, simulating

HOST = "127.50.2.1"
BATTERY, METER, RELAY = 1, 2, 3  # units
STATUS, TARGET_POWER, COMMAND_SOURCE, SOE = 2000, 2008, 2010, 2026
ILLEGAL_ADDRESS = "illegal data address"
PROFILE = """\
name: relay
points:
  level: {register: input, address: 5, type: uint16}
  word: {register: holding, address: 9, type: int32, access: rw}
  open: {register: coil, address: 3, type: bool, access: rw}
  trip: {register: coil, address: 4, type: bool, access: rw}
  fixed: {register: coil, address: 5, type: bool}
  alarm: {register: discrete, address: 0, type: bool}
"""


@dataclass
class Client:
    """One foreign client; registers are lists of words. ``LookupError`` is an exception response."""

    read: Callable[[int, str, int, int], list[int]]
    write: Callable[[int, str, int, Sequence[int]], None]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder, port = tmp_path_factory.mktemp("simulated"), free_port(HOST)
    (folder / "relay.yaml").write_text(PROFILE)
    site = folder / "site.yaml"
    where = f"host: {HOST}, port: {port}"
    site.write_text(
        "devices:\n"
        f"  bess: [{{id: b, type: powerpack, modbus: {{{where}, address: {BATTERY}}}}}]\n"
        "  meters:\n"
        f"    - {{id: m, type: acuvim2, modbus: {{{where}, address: {METER}}}}}\n"
        f"    - {{id: r, type: ./relay.yaml, modbus: {{{where}, address: {RELAY}}}}}\n"
    )
    with simulating(site):
        yield port


def run_libmodbus(program: Path, port: int, unit: int, table: str, address: int, *rest: int) -> list[int]:
    command = [program, HOST, port, unit, table, address, *rest]
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=30, check=False)
    if ended.returncode:
        raise LookupError(ended.stderr.strip().lower())
    return list(map(int, ended.stdout.split()))


@pytest.fixture
def libmodbus_client(libmodbus: dict[str, Path], port: int) -> Client:
    program = libmodbus["client"]
    return Client(
        lambda unit, table, address, count: run_libmodbus(program, port, unit, table, address, count),
        lambda unit, table, address, values: (
            run_libmodbus(program, port, unit, table, address, len(values), *values) and None
        ),
    )


@pytest.fixture
def pymodbus_client(port: int) -> Iterator[Client]:
    client = ModbusTcpClient(HOST, port=port, timeout=10)
    assert client.connect()

    def checked(response):
        if response.isError():
            raise LookupError(ILLEGAL_ADDRESS if response.exception_code == 2 else str(response))
        return response

    def read(unit, table, address, count):
        call = {
            "c": client.read_coils,
            "d": client.read_discrete_inputs,
            "h": client.read_holding_registers,
            "i": client.read_input_registers,
        }[table]
        response = checked(call(address, count=count, device_id=unit))
        return list(map(int, response.bits[:count] if table in "cd" else response.registers))

    def write(unit, table, address, values):
        if table == "c":
            checked(client.write_coils(address, list(map(bool, values)), device_id=unit))
        elif len(values) == 1:
            checked(client.write_register(address, values[0], device_id=unit))
        else:
            checked(client.write_registers(address, list(values), device_id=unit))

    yield Client(read, write)
    client.close()


@pytest.fixture
def py_modbus_tcp_client(port: int) -> Iterator[Client]:
    client = ModbusClient(HOST, port, timeout=10, auto_close=False)

    def checked(answer):
        if not answer:
            raise LookupError(client.last_except_as_txt.lower() or client.last_error_as_txt)
        return answer

    def read(unit, table, address, count):
        client.unit_id = unit
        call = {
            "c": client.read_coils,
            "d": client.read_discrete_inputs,
            "h": client.read_holding_registers,
            "i": client.read_input_registers,
        }[table]
        return list(map(int, checked(call(address, count))))

    def write(unit, table, address, values):
        client.unit_id = unit
        if table == "c":
            checked(client.write_multiple_coils(address, list(map(bool, values))))
        elif len(values) == 1:
            checked(client.write_single_register(address, values[0]))
        else:
            checked(client.write_multiple_registers(address, list(values)))

    yield Client(read, write)
    client.close()


@pytest.fixture(params=["libmodbus_client", "pymodbus_client", "py_modbus_tcp_client"])
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.getfixturevalue(request.param)
    return found


def floats(content: list[int]) -> list[float]:
    data = struct.pack(f">{len(content)}H", *content)
    return list(struct.unpack(f">{len(content) // 2}f", data))


def test_reads(client):
    (soe,) = client.read(BATTERY, "h", SOE, 1)
    assert 30 <= soe <= 80
    assert client.read(BATTERY, "h", STATUS, 1) == [1]
    block = client.read(BATTERY, "h", STATUS, 29)
    assert (block[0], block[26], block[28]) == (1, soe, 10)
    meter = floats(client.read(METER, "h", 0, 66))
    assert 200 < meter[0] < 260  # volts
    assert meter[8] > 0  # amperes, at 0x0010
    (energy,) = floats(client.read(METER, "h", 0x0100, 2))
    assert energy > 0
    assert len(client.read(RELAY, "i", 5, 1)) == 1
    assert client.read(RELAY, "d", 0, 1)[0] in (0, 1)


def test_writes(client):
    for power in (50, (-50) & 0xFFFF, 0):
        client.write(BATTERY, "h", TARGET_POWER, [power])
        assert client.read(BATTERY, "h", TARGET_POWER, 1) == [power]
    client.write(RELAY, "h", 9, [0xFFFF, 0xFF9C])
    assert client.read(RELAY, "h", 9, 2) == [0xFFFF, 0xFF9C]
    for bits in ([1, 0], [0, 1], [0, 0]):
        client.write(RELAY, "c", 3, bits)
        assert client.read(RELAY, "c", 3, 2) == bits


def test_refusals(client):
    before = client.read(BATTERY, "h", SOE, 1)
    for refused in (
        lambda: client.write(BATTERY, "h", SOE, [7]),  # read-only
        lambda: client.write(RELAY, "c", 4, [1, 1]),  # its second coil is read-only
        lambda: client.read(BATTERY, "h", 100, 1),
        lambda: client.read(BATTERY, "i", STATUS, 1),
        lambda: client.read(METER, "h", 0x00FF, 4),
    ):
        with pytest.raises(LookupError, match=ILLEGAL_ADDRESS):
            refused()
    assert client.read(BATTERY, "h", SOE, 1) == before
    assert client.read(RELAY, "c", 3, 3)[1] == 0


def poll(mbpoll: str, port: int, unit: int, *args: object) -> "subprocess.CompletedProcess[str]":
    """Run mbpoll; ``-0`` among the arguments makes its references addresses, or they count from 1."""
    command = [mbpoll, "-m", "tcp", "-p", port, "-a", unit, "-o", 10, *args]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=30, check=False)


def polled(ended: "subprocess.CompletedProcess[str]") -> dict[int, float]:
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = re.findall(r"^\[(\d+)\]:\s+(\S+)", ended.stdout, re.MULTILINE)
    return {int(reference): float(value) for reference, value in found}


def test_mbpoll_reads(mbpoll, port, py_modbus_tcp_client):
    read = py_modbus_tcp_client.read
    soe = read(BATTERY, "h", SOE, 1)[0]
    assert polled(poll(mbpoll, port, BATTERY, "-0", "-r", 2026, "-1", HOST)) == {2026: soe}
    assert polled(poll(mbpoll, port, BATTERY, "-r", 2027, "-1", HOST)) == {2027: soe}
    block = polled(poll(mbpoll, port, BATTERY, "-0", "-r", 2000, "-c", 29, "-1", HOST))
    assert list(block.values()) == read(BATTERY, "h", 2000, 29)
    energies = [floats(read(METER, "h", 0x0100, 2))[0]]
    meter = polled(poll(mbpoll, port, METER, "-0", "-r", 0, "-c", 33, "-t", "4:float", "-B", "-1", HOST))
    energy = polled(poll(mbpoll, port, METER, "-0", "-r", 256, "-t", "4:float", "-B", "-1", HOST))
    energies.append(floats(read(METER, "h", 0x0100, 2))[0])
    assert 200 < meter[0] < 260
    assert meter[16] > 0
    assert abs(meter[64]) > 0
    assert energies[0] * (1 - 1e-5) <= energy[256] <= energies[1] * (1 + 1e-5)  # six digits are printed
    assert polled(poll(mbpoll, port, RELAY, "-0", "-t", 0, "-r", 3, "-c", 3, "-1", HOST)).keys() == {3, 4, 5}
    assert polled(poll(mbpoll, port, RELAY, "-0", "-t", 1, "-r", 0, "-1", HOST)).keys() == {0}
    assert polled(poll(mbpoll, port, RELAY, "-0", "-t", 3, "-r", 5, "-1", HOST)).keys() == {5}


def test_mbpoll_writes(mbpoll, port, py_modbus_tcp_client):
    for power in (50, 65486):  # 65486 is -50: mbpoll takes no sign for 16 bits
        written = poll(mbpoll, port, BATTERY, "-0", "-r", TARGET_POWER, HOST, power)
        assert (written.returncode, "Written 1 references." in written.stdout) == (0, True)
        assert py_modbus_tcp_client.read(BATTERY, "h", TARGET_POWER, 1) == [power]
    negative = poll(mbpoll, port, RELAY, "-0", "-t", "4:int", "-B", "-r", 9, HOST, "--", -100_000)
    assert negative.returncode == 0, negative.stderr
    raw = struct.pack(">2H", *py_modbus_tcp_client.read(RELAY, "h", 9, 2))
    assert struct.unpack(">i", raw) == (-100_000,)
    for address in (SOE, STATUS):
        refused = poll(mbpoll, port, BATTERY, "-0", "-r", address, HOST, 7)
        assert refused.returncode == 1
        assert "Illegal data address" in refused.stderr
    py_modbus_tcp_client.write(BATTERY, "h", TARGET_POWER, [0])
