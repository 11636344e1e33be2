"""What the simulator's tests share: a fleet from YAML text, a free port, clients."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient

from fluxfast.config import Fleet, load
from fluxfast.sim import Simulator
from tests.support.profiles import EVERYTHING
from tests.support.raw_modbus import HOST, Raw


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        found: int = probe.getsockname()[1]
        return found


@pytest.fixture
def fleet(tmp_path: Path) -> Callable[[str], Fleet]:
    """Load a site file given as text; the profile ``everything`` lies beside it."""

    def make(text: str) -> Fleet:
        (tmp_path / "everything.yaml").write_text(EVERYTHING)
        (tmp_path / "site.yaml").write_text(text)
        return load(tmp_path / "site.yaml")

    return make


@pytest.fixture
def everything(fleet: Callable[[str], Fleet], port: int) -> Iterator[Simulator]:
    """Two units of ``everything`` at one address, running."""
    text = "site: T\ndevices:\n  bess:\n"
    for unit in (1, 2):
        modbus = f"{{host: {HOST}, port: {port}, address: {unit}}}"
        text += f"    - {{id: d{unit}, type: everything.yaml, modbus: {modbus}}}\n"
    with Simulator(fleet(text), seed=5).running() as simulator:
        yield simulator


@pytest.fixture
def raw(everything: Simulator, port: int) -> Iterator[Raw]:
    client = Raw(HOST, port)
    yield client
    client.close()


@pytest.fixture
def client(everything: Simulator, port: int) -> Iterator[ModbusTcpClient]:
    with ModbusTcpClient(HOST, port=port, timeout=10, retries=0) as connected:
        yield connected
