"""Addresses: whose they are, how many fit, who is refused."""

import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fluxfast.config import Fleet
from fluxfast.errors import ConfigError, TransportError
from fluxfast.sim import Simulator, listen
from tests.support.raw_modbus import Raw

READ = bytes.fromhex("03 07D0 0001")


def site(*places: str) -> str:
    devices = "".join(
        f"    - {{id: d{i}, type: powerpack, modbus: {place}}}\n" for i, place in enumerate(places)
    )
    return f"site: T\ndevices:\n  bess:\n{devices}"


@pytest.fixture
def few_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that ten addresses need their listeners pooled."""
    monkeypatch.setattr(listen, "_raise_limit", lambda: listen.SPARE_DESCRIPTORS + 15)


@pytest.fixture
def keep_limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.100", "8.8.8.8", "2001:db8::1"])
def test_other_machines_are_refused(fleet: Callable[[str], Fleet], host: str) -> None:
    with pytest.raises(ConfigError, match=r"site\.yaml:\d+: d1: modbus\.host: .* is not a loopback address"):
        Simulator(fleet(site("{host: 127.91.2.1}", f'{{host: "{host}"}}')))


def test_nothing_to_simulate(fleet: Callable[[str], Fleet]) -> None:
    with pytest.raises(ConfigError, match=r"site\.yaml: devices: there is no Modbus TCP device to simulate"):
        Simulator(fleet(site("{device: /dev/ttyS9}")))


def test_every_wrong_host_is_reported(fleet: Callable[[str], Fleet]) -> None:
    with pytest.raises(ConfigError) as caught:
        Simulator(fleet(site("{host: 10.0.0.1}", "{host: 10.0.0.2}", "{host: 127.91.2.1}")))
    assert len(caught.value.problems) == 2


def test_localhost_and_ipv6(fleet: Callable[[str], Fleet], port: int) -> None:
    if not listen.loopback_ips("::1"):
        pytest.skip("this machine has no ::1")
    place = f"port: {port}"
    devices = site(f"{{host: localhost, {place}, address: 3}}", f'{{host: "::1", {place}, address: 4}}')
    with Simulator(fleet(devices)).running():
        for host, unit in (("localhost", 3), ("::1", 4), ("127.0.0.1", 3)):
            client = Raw(host, port)
            assert client.ask(READ, unit).hex() == "03020001"
            client.close()


def test_names_and_numbers_of_one_address_meet(fleet: Callable[[str], Fleet], port: int) -> None:
    devices = site(
        f"{{host: localhost, port: {port}, address: 1}}", f"{{host: 127.0.0.1, port: {port}, address: 2}}"
    )
    with Simulator(fleet(devices)).running():
        client = Raw("127.0.0.1", port)
        assert [client.ask(READ, unit)[0] for unit in (1, 2, 3)] == [3, 3, 0x83]
        client.close()


def test_two_devices_are_not_one(fleet: Callable[[str], Fleet], port: int) -> None:
    devices = site(f"{{host: localhost, port: {port}}}", f"{{host: 127.0.0.1, port: {port}}}")
    with pytest.raises(ConfigError, match="unit 1 is taken by device d0"):
        Simulator(fleet(devices))


def test_a_port_in_use_is_named(fleet: Callable[[str], Fleet], port: int) -> None:
    places = [f"{{host: 127.91.2.{n}, port: {port}}}" for n in (1, 2)]
    with socket.create_server(("127.91.2.2", port)):
        with pytest.raises(
            TransportError, match=rf"cannot listen on 127\.91\.2\.2:{port}: the port is in use"
        ):
            Simulator(fleet(site(*places))).open()
        socket.create_server(("127.91.2.1", port)).close()  # what was opened before is closed again


@pytest.mark.usefixtures("few_descriptors")
def test_wildcard_listeners_serve_declared_addresses_only(fleet: Callable[[str], Fleet], port: int) -> None:
    places = [f"{{host: 127.91.3.{n}, port: {port}, address: {n}}}" for n in range(1, 11)]
    with Simulator(fleet(site(*places))).running() as simulator:
        assert "one listener for each port" in simulator.note
        for n in range(1, 11):
            client = Raw(f"127.91.3.{n}", port)
            assert client.ask(READ, n).hex() == "03020001"
            assert client.ask(READ, n % 10 + 1).hex() == "830b", "units do not leak to other addresses"
            client.close()
        stranger = Raw("127.91.3.11", port)
        assert stranger.is_closed()
        stranger.close()
        assert simulator.counters().refused == 1


@pytest.mark.usefixtures("few_descriptors")
def test_too_few_descriptors_name_the_number(fleet: Callable[[str], Fleet], port: int) -> None:
    places = [f"{{host: 127.91.3.{n}, port: {port}}}" for n in range(1, 101)]
    with pytest.raises(TransportError, match="ulimit -n 165"):
        Simulator(fleet(site(*places))).open()


def test_two_thousand_devices(fleet: Callable[[str], Fleet], port: int, keep_limit: None) -> None:
    places = [f"{{host: 127.92.{n // 200}.{1 + n % 200}, port: {port}}}" for n in range(2000)]
    with Simulator(fleet(site(*places))).running() as simulator:
        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 6200:
            pytest.skip("the limit of open files leaves no room for 2,000 clients here")
        clients = [Raw(f"127.92.{n // 200}.{1 + n % 200}", port) for n in range(2000)]
        for round_ in range(3):
            for number, client in enumerate(clients):
                client.send(bytes.fromhex(f"{number:04x} 0000 0006 01 03 07D0 001D"))
            for number, client in enumerate(clients):
                answer = client.receive(9 + 58)
                assert (len(answer), answer[:2]) == (67, number.to_bytes(2, "big")), round_
        assert simulator.counters().requests == 6000
        assert simulator.counters().connections == 2000
        for client in clients:
            client.close()


def test_a_device_takes_as_many_connections_as_its_profile_says(
    fleet: Callable[[str], Fleet], port: int
) -> None:
    text = "site: T\ndevices:\n  bess:\n    - id: d1\n      type: powerpack\n"
    text += f"      quirks: {{max_connections: 2}}\n      modbus: {{host: 127.91.2.1, port: {port}}}\n"
    with Simulator(fleet(text)).running() as simulator:
        one, two, three = (Raw("127.91.2.1", port) for _ in range(3))
        assert three.is_closed()
        assert [client.ask(READ)[0] for client in (one, two)] == [3, 3]
        one.close()
        while simulator.counters().connections > 1:
            time.sleep(0.01)
        four = Raw("127.91.2.1", port)
        assert four.ask(READ)[0] == 3
        for client in (two, three, four):
            client.close()


def test_a_connection_storm_is_accepted(fleet: Callable[[str], Fleet], port: int) -> None:
    with Simulator(fleet(site(f"{{host: 127.91.2.1, port: {port}}}"))).running():
        answers = []

        def one() -> None:
            client = Raw("127.91.2.1", port)
            answers.append(client.ask(READ).hex())
            client.close()

        threads = [threading.Thread(target=one) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == ["03020001"] * 100


OUT_OF_FILES = """
import resource, socket, sys
from fluxfast.config import load
from fluxfast.sim import Simulator, listen
sys.path.insert(0, sys.argv[3])
from tests.support.raw_modbus import Raw
resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
listen._raise_limit = lambda: 200
port = int(sys.argv[2])
with Simulator(load(sys.argv[1])).running() as simulator:
    clients = []
    try:
        while True:  # each takes two descriptors of this process
            clients.append(Raw("127.91.2.1", port))
    except OSError:
        pass
    assert len(clients) > 50
    for client in clients[10:]:
        client.close()
    last = Raw("127.91.2.1", port)
    assert last.ask(bytes.fromhex("03 07D0 0001")).hex() == "03020001"
    assert clients[0].ask(bytes.fromhex("03 07D0 0001")).hex() == "03020001"
print("fine")
"""


def test_out_of_descriptors_it_refuses_and_goes_on(
    fleet: Callable[[str], Fleet], port: int, tmp_path: Path
) -> None:
    fleet(site(f"{{host: 127.91.2.1, port: {port}}}"))
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", OUT_OF_FILES, str(tmp_path / "site.yaml"), str(port), root]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")
