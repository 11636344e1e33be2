"""Faults: what each looks like from outside, over real sockets, and that health comes back."""

import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fluxfast.config import Fleet
from fluxfast.errors import ConfigError, FluxfastError
from fluxfast.sim import KINDS, Simulator, listen
from fluxfast.sim.faults import Fault, Schedule, parse_fault
from tests.support.raw_modbus import Raw, adu

HOSTS = ("127.41.4.1", "127.41.4.2")
READ = bytes.fromhex("03 07D0 0001")
GOOD = "03020001"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="queues elsewhere are not Linux's")


@pytest.fixture
def site(port: int) -> str:
    """Return three devices: two units behind the first address, one behind the second."""
    places = ((HOSTS[0], 1), (HOSTS[0], 2), (HOSTS[1], 1))
    devices = "".join(
        f"    - {{id: d{n}, type: powerpack, modbus: {{host: {host}, port: {port}, address: {unit}}}}}\n"
        for n, (host, unit) in enumerate(places, start=1)
    )
    return f"site: T\ndevices:\n  bess:\n{devices}"


@pytest.fixture
def simulator(fleet: Callable[[str], Fleet], site: str) -> Iterator[Simulator]:
    with Simulator(fleet(site), seed=5).running() as running:
        yield running


@pytest.fixture
def connect(port: int) -> Iterator[Callable[..., Raw]]:
    """Connect; every connection is closed at the end."""
    clients: list[Raw] = []

    def make(host: str = HOSTS[0]) -> Raw:
        clients.append(Raw(host, port))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def is_silent(client: Raw) -> bool:
    """Return whether nothing comes for a while, neither bytes nor an end."""
    return not select.select([client.socket], [], [], 0.3)[0]


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_hang(simulator: Simulator, connect: Callable[..., Raw]) -> None:
    before, other = connect(), connect(HOSTS[1])
    assert before.ask(READ).hex() == GOOD
    simulator.set_fault(["d1"], "hang")
    assert simulator.counters().faulty == 1
    after = connect()
    for client in (before, after):
        client.send(adu(READ) + adu(READ)[:5])
        assert is_silent(client)
    assert other.ask(READ).hex() == GOOD
    simulator.set_fault(["d1"], None)
    assert simulator.counters().faulty == 0
    for client in (before, after):
        client.send(adu(READ, transaction_id=7)[5:])  # the rest of what had begun
        assert client.receive(11).hex() == "000700000005" + "01" + GOOD
        assert client.ask(READ, unit_id=2).hex() == GOOD


@linux_only
def test_blackhole(simulator: Simulator, connect: Callable[..., Raw], port: int) -> None:
    before, other = connect(), connect(HOSTS[1])
    simulator.set_fault(["d1"], "blackhole")
    before.send(adu(READ))
    assert is_silent(before)
    with socket.socket() as unanswered:
        unanswered.settimeout(0.5)
        with pytest.raises(TimeoutError):
            unanswered.connect((HOSTS[0], port))
    assert other.ask(READ).hex() == GOOD
    simulator.set_fault(["d1"], None)
    before.send(adu(READ, transaction_id=8))
    answers = [before.receive(11)]
    if answers[0][:2] == b"\0\7":  # as root: it was not acknowledged, so the kernel has sent it again
        answers.append(before.receive(11))
    assert answers[-1].hex() == "000800000005" + "01" + GOOD
    assert connect().ask(READ).hex() == GOOD


@linux_only
def test_a_peer_that_left_a_black_hole_unheard_is_noticed(
    simulator: Simulator, connect: Callable[..., Raw]
) -> None:
    client = connect()
    assert client.ask(READ).hex() == GOOD
    simulator.set_fault(["d1"], "blackhole")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    time.sleep(0.2)  # as root the simulator hears nothing of it
    simulator.set_fault(["d1"], None)
    wait_until(lambda: simulator.counters().connections == 0)


def test_reset(simulator: Simulator, connect: Callable[..., Raw]) -> None:
    before = connect()
    assert before.ask(READ).hex() == GOOD
    simulator.set_fault(["d1"], "reset")
    after = connect()
    for client in (before, after):
        assert is_silent(client)
        client.send(adu(READ))
        with pytest.raises(ConnectionResetError):
            client.socket.recv(1)
    simulator.set_fault(["d1"], None)
    assert connect().ask(READ).hex() == GOOD


def test_refuse(simulator: Simulator, connect: Callable[..., Raw]) -> None:
    before, other = connect(), connect(HOSTS[1])
    assert before.ask(READ).hex() == GOOD
    simulator.set_fault(["d1"], "refuse")
    assert before.is_closed()
    with pytest.raises(ConnectionRefusedError):
        connect()
    assert other.ask(READ).hex() == GOOD
    simulator.set_fault(["d1"], None)
    assert connect().ask(READ).hex() == GOOD


def test_slow(simulator: Simulator, connect: Callable[..., Raw]) -> None:
    client = connect()
    simulator.set_fault(["d1"], "slow=800ms")
    for n in range(3):  # the least wait is half of it
        client.send(b"".join(adu(READ, transaction_id=t) for t in range(n, n + 3)))
        assert is_silent(client)
        assert [struct.unpack(">H", client.receive(11)[:2]) for _ in range(3)] == [(n,), (n + 1,), (n + 2,)]
    client.send(adu(READ))
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()  # while it waits
    wait_until(lambda: simulator.counters().connections == 0)
    simulator.set_fault(["d1"], None)
    assert connect().ask(READ).hex() == GOOD


def test_lossy(simulator: Simulator, connect: Callable[..., Raw]) -> None:
    client = connect()
    simulator.set_fault(["d1"], "lossy=50%")
    client.send(b"".join(adu(READ, transaction_id=t) for t in range(400)))
    simulator.set_fault(["d1"], None)
    client.send(adu(READ, transaction_id=400))
    answered = []
    while answered[-1:] != [400]:
        answered.append(struct.unpack(">H", client.receive(11)[:2])[0])
    assert answered == sorted(set(answered))
    assert 100 < len(answered) < 300


def test_busy(simulator: Simulator, connect: Callable[..., Raw]) -> None:
    simulator.set_fault(["d1"], "busy")
    client = connect()
    assert [client.ask(READ, unit).hex() for unit in (1, 2)] == ["8306", "8306"]
    simulator.set_fault(["d1"], None)
    assert client.ask(READ).hex() == GOOD


def test_one_unit_of_two(simulator: Simulator, connect: Callable[..., Raw]) -> None:
    client = connect()
    simulator.set_fault(["d2"], "gateway")
    assert [client.ask(READ, unit).hex() for unit in (1, 2)] == [GOOD, "830b"]
    simulator.set_fault(["d2"], "silent")
    client.send(adu(READ, unit_id=2))
    assert is_silent(client)
    assert client.ask(READ, unit_id=1).hex() == GOOD
    simulator.set_fault(["d1", "d2"], None)
    assert client.ask(READ, unit_id=2).hex() == GOOD


def test_one_fault_after_another(simulator: Simulator, connect: Callable[..., Raw]) -> None:
    kinds = [kind for kind in KINDS if kind != "blackhole" or sys.platform == "linux"]
    for kind in (*kinds, *reversed(kinds)):
        simulator.set_fault(["d1", "d3"], kind)
        assert simulator.counters().faulty == 2
    simulator.set_fault(["d1", "d3"], None)
    for host in HOSTS:
        assert connect(host).ask(READ).hex() == GOOD


def test_what_set_fault_does_not_take(simulator: Simulator) -> None:
    with pytest.raises(FluxfastError, match=r"no device 'd9'"):
        simulator.set_fault(["d9"], "hang")
    with pytest.raises(FluxfastError, match=r"set_fault takes one of hang, .*, not 'random'"):
        simulator.set_fault(["d1"], "random")
    with pytest.raises(FluxfastError, match=r"set_fault takes one of hang, .*, not 'hang:10%'"):
        simulator.set_fault(["d1"], "hang:10%")
    assert simulator.counters().faulty == 0


def test_pooled_listeners_cannot_be_closed_one_by_one(
    fleet: Callable[[str], Fleet], site: str, monkeypatch: pytest.MonkeyPatch, connect: Callable[..., Raw]
) -> None:
    monkeypatch.setattr(listen, "_raise_limit", lambda: listen.SPARE_DESCRIPTORS + 3)
    with pytest.raises(FluxfastError, match=r"need a listener for each address: raise `ulimit -n`"):
        Simulator(fleet(site), faults=["refuse:50%"]).open()
    with Simulator(fleet(site)).running() as pooled:
        with pytest.raises(FluxfastError, match="need a listener for each address"):
            pooled.set_fault(["d1"], "refuse")
        pooled.set_fault(["d1"], "busy")
        assert connect().ask(READ).hex() == "8306"
        assert connect(HOSTS[1]).ask(READ).hex() == GOOD


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("hang", Fault("hang")),
        ("hang:10%", Fault("hang", share=0.1)),
        ("reset:12.5%:5s-1m", Fault("reset", share=0.125, from_s=5, to_s=60)),
        ("busy:500ms-2s", Fault("busy", from_s=0.5, to_s=2)),
        ("slow", Fault("slow", 0.2)),
        ("slow=50ms:100%", Fault("slow", 0.05)),
        ("lossy=75%:10%", Fault("lossy", 0.75, share=0.1)),
        ("random:20%:0s-40s", Fault("random", share=0.2, to_s=40)),
    ],
)
def test_how_a_fault_is_written(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hung:10%", "fault: hung:10%: there is no fault 'hung' (use one of hang, blackhole, "),
        ("", "fault: there is no fault '' (use one of "),
        ("hang:10", "fault: hang:10: '10' is no share (write one from 0% to 100%, like 10%)"),
        ("hang:101%", "fault: hang:101%: '101%' is no share"),
        ("hang:10%:5s", "fault: hang:10%:5s: is not KIND[=AMOUNT][:SHARE][:FROM-TO] (write one like "),
        ("hang:10%:5-20s", "fault: hang:10%:5-20s: '5' is no time (write one like 500ms, 5s or 1m)"),
        ("hang:10%:20s-5s", "fault: hang:10%:20s-5s: ends before it begins (write the earlier time first"),
        ("hang:5s-20s:10%", "fault: hang:5s-20s:10%: is not KIND"),
        ("hang=5s", "fault: hang=5s: hang takes no amount (write hang, then :SHARE)"),
        ("slow=10%", "fault: slow=10%: '10%' is no time"),
        ("lossy=5s", "fault: lossy=5s: '5s' is no share"),
    ],
)
def test_how_a_fault_is_not_written(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_fault(text)
    assert str(caught.value).startswith(said)


UNITS = [[1]] * 90 + [[1, 2, 3]] * 10


def test_shares_are_of_all_addresses_and_do_not_overlap() -> None:
    texts = ("hang:10%", "slow:30%:20s-30s", "busy:60%", "reset:30%:5s-20s")
    faults = [parse_fault(text) for text in texts]
    schedule = Schedule(faults, UNITS, seed=3)
    begun = schedule.due(0)
    assert sorted(fault.kind for _, fault in begun if fault) == ["busy"] * 60 + ["hang"] * 10
    resetting = schedule.due(19)
    assert [fault.kind for _, fault in resetting if fault] == ["reset"] * 30
    assert {e for e, _ in begun}.isdisjoint({e for e, _ in resetting})
    changes = schedule.due(20)
    assert [fault.kind for _, fault in changes[30:] if fault] == ["slow"] * 30
    assert changes[:30] == [(endpoint, None) for endpoint, _ in resetting]
    assert schedule.due(1e9) == [(endpoint, None) for endpoint, _ in changes[30:]]
    with pytest.raises(ConfigError, match=r"reset for 50 of 100 addresses: 40 have no other fault"):
        Schedule([parse_fault("hang:60%"), parse_fault("reset:50%")], UNITS, seed=3)


def test_random_faults_follow_the_seed_and_end_in_health() -> None:
    fault = [parse_fault("random:80%:0s-60s")]
    changes = Schedule(fault, UNITS, seed=3).due(100)
    step_by_step = Schedule(fault, UNITS, seed=3)
    assert [change for now in range(101) for change in step_by_step.due(now)] == changes
    assert Schedule(fault, UNITS, seed=4).due(100) != changes
    assert {f.kind for _, f in changes if f} == set(KINDS) - (
        {"blackhole"} if sys.platform != "linux" else set()
    )
    assert len({endpoint for endpoint, _ in changes}) == 80
    ill: dict[int, Fault | None] = {}
    for endpoint, now in changes:
        assert (ill.get(endpoint) is None) == (now is not None)  # one at a time, health between
        if now and now.kind in ("silent", "gateway"):
            assert now.unit in UNITS[endpoint]
        ill[endpoint] = now
    assert set(ill.values()) == {None}


def simulate(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "fluxfast", "simulate", str(folder / "site.yaml"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_the_command(fleet: Callable[[str], Fleet], site: str, tmp_path: Path) -> None:
    fleet(site)  # writes the file
    ended = simulate(
        tmp_path, "--fault", "hang:50%", "--fault", "busy:50%:0s-200ms", "--json", "--duration", "1500ms"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    status = json.loads(ended.stdout.splitlines()[1])
    assert (status["event"], status["faulty"]) == ("status", 1)
    wrong = simulate(tmp_path, "--fault", "hang:50%", "--fault", "hang:10")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "fault: hang:10: '10' is no share (write one from 0% to 100%, like 10%)\n"
    much = simulate(tmp_path, "--fault", "hang:60%", "--fault", "reset")
    assert (much.returncode, much.stdout) == (2, "")
    assert "reset for 2 of 2 addresses: 1 have no other fault meanwhile" in much.stderr
    assert len(much.stderr.splitlines()) == 1
