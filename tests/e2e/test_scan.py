"""A scan before everything that may stand at a port, on real sockets: all devices found, none falsely."""

import ipaddress
import json
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from fluxfast.config import load
from fluxfast.modbus import build_rtu, crc16
from fluxfast.scan import Options, Result, Scan, Verdict, candidates, parse_targets
from fluxfast.scan.prober import Connect, Opened, Prober, Talk
from fluxfast.sim import Simulator
from tests.e2e.conftest import descriptors
from tests.support import scan_peers as peers
from tests.support.command import FLUXFAST, free_port
from tests.support.scan_peers import Zoo, device, exception, holding, identity, mbap

pytestmark = pytest.mark.usefixtures("no_descriptor_lost")
PORT = free_port("127.12.1.1")
TIMEOUT_S = 0.4
READS = {3, 4, 17, 43}


def one_register(pdu: bytes) -> bytes:
    """What a plain device has: register 0, and no other function than 3."""
    return holding({0: 7})(pdu)


def words(text: str, size: int) -> tuple[int, ...]:
    return struct.unpack(f">{size}H", text.encode().ljust(2 * size, b"\0"))


def floats(values: dict[int, float]) -> dict[int, int]:
    found = {}
    for address, value in values.items():
        found[address], found[address + 1] = struct.unpack(">2H", struct.pack(">f", value))
    return found


def sunspec(base: int) -> dict[int, int]:
    common = words("Maker", 16) + words("PV-\x1b[31m9", 16) + words("", 8) + words("1.2", 8)
    common += words("SN42", 16)
    content = (0x5375, 0x6E53, 1, 66, *common, 1, 0x8000, 103, 50, *[0] * 50, 0xFFFF, 0)
    return {base + offset: word for offset, word in enumerate(content)}


def endless(pdu: bytes) -> bytes:
    """An identification whose every part is followed by another."""
    if pdu[:2] == b"\x2b\x0e":
        return pdu[:3] + bytes((1, 255, (pdu[3] + 1) % 256, 1, pdu[3], 3)) + b"abc"
    return exception(pdu, 1)


async def rtu(reader, writer) -> None:
    """A serial line behind a converter that knows nothing of Modbus."""
    while True:
        data = await reader.read(260)
        if len(data) >= 4 and crc16(data[:-2]) == int.from_bytes(data[-2:], "little"):
            writer.write(build_rtu(data[0], b"\x03\x02\x00\x05"))


METER = dict.fromkeys(range(0x102), 0) | floats({0: 231.5, 0x10: 12.0, 0x40: 3.5, 0x100: 1e5})
VENDOR = floats({0x4000 + 2 * n: v for n, v in enumerate((50.02, 230.0, 231.0, 229.0, 230.0))})
UNIT = dict.fromkeys(range(2000, 2029), 0) | {2000: 1, 2008: 0xFFCE, 2010: 1, 2026: 80, 2028: 4}


def names_all(units: set[int], code: int) -> peers.Peer:
    """A server that says itself who any unit is, and refuses to read those that are not there."""

    def bend(transaction_id: int, unit: int, pdu: bytes) -> bytes:
        if pdu[0] == 43:
            return mbap(transaction_id, unit, NAME(pdu))
        return mbap(transaction_id, unit, one_register(pdu) if unit in units else exception(pdu, code))

    return peers.bent(bend)


NAMED = "Maker Thing 1.0"
NAME = identity("Maker", "Thing", "1.0", then=one_register)
ANY = "answers for any unit identifier"


@dataclass(frozen=True)
class Case:
    """A peer, the verdict on it, what the result must say, and the units found with what they are."""

    name: str
    peer: peers.Peer
    verdict: Verdict
    detail: str = ""
    units: tuple[tuple[int, str], ...] = ()
    ends_well: bool = True  # every connection by FIN

    def __str__(self) -> str:
        return self.name


def bent(bend) -> peers.Peer:
    return peers.bent(bend)


D, X, G = Verdict.DEVICE, Verdict.EXCEPTION, Verdict.GATEWAY
S, N, B = Verdict.SILENT, Verdict.NOT_MODBUS, Verdict.BUSY
CASES = [
    # devices
    Case("says what it is", device(NAME), D, ANY, ((1, "Maker Thing 1.0"),)),
    Case("plain", device(one_register), D, ANY, ((1, "answers reads"),)),
    Case("only function 4", device(holding({0: 7}, known=(4,))), D, ANY, ((1, "answers reads"),)),
    Case("illegal function", device(lambda pdu: exception(pdu, 1)), X, ANY, ((1, "exception 1"),)),
    Case("illegal address", device(holding({})), X, ANY, ((1, "exception 2"),)),
    Case("unit 255", device(one_register, (255,)), D, "", ((255, "answers reads"),)),
    Case("unit 0", device(one_register, (0,)), D, "", ((0, "answers reads"),)),
    Case("unit 1 alone", device(NAME, (1,), 11), D, "", ((1, "Maker Thing"),)),
    Case("closes on 43", peers.only((3, 4), one_register), D, ANY, ((1, "answers reads"),)),
    Case("ignores 43", peers.only((3, 4), one_register, b""), D, ANY, ((1, "answers reads"),)),
    Case("garbage on 43", peers.only((3, 4), one_register, b"\xde\xad\xbe\xef\0\1\2\3"), D, ANY,
         ((1, "answers reads"),)),
    Case("closes after each", peers.closes_after_each(NAME), D, ANY, ((1, "Maker Thing"),)),
    Case("one connection", peers.one_at_a_time(NAME), D, ANY, ((1, "Maker Thing"),)),
    Case("byte by byte", peers.byte_by_byte(NAME, 0.02), D, ANY, ((1, "Maker Thing"),)),
    Case("slow", device(NAME, after_s=1.6 * TIMEOUT_S), D, ANY, ((1, "Maker Thing"),)),
    Case("answers twice", bent(lambda t, u, p: 2 * mbap(t, u, NAME(p))), D, ANY, ((1, "Maker Thing"),)),
    Case("identification without end", device(endless), D, ANY, ((1, "abc"),)),
    Case("escapes", device(identity("\x1b]0;x\x07", "\x1b[2J", "\u202e")), D, ANY,
         ((1, r"\x1b]0;x\x07 \x1b[2J \x202e"),)),
    Case("SunSpec at 40000", device(holding(sunspec(40000))), D, ANY,
         ((1, r"Maker PV-\x1b[31m9 1.2, serial SN42; SunSpec models 1, 103"),)),
    Case("SunSpec at 50000", device(holding(sunspec(50000))), D, ANY, ((1, "SunSpec models 1, 103"),)),
    Case("meter", device(holding(METER)), D, ANY, ((1, "looks like acuvim2 (voltage_l1_n 231.5 V"),)),
    Case("vendor's meter", device(holding(VENDOR)), D, ANY,
         ((1, "looks like acuvim2_vendor (frequency 50.02 Hz"),)),
    Case("unit of batteries", device(holding(UNIT)), D, ANY,
         ((1, "looks like powerpack (status READY, soe 80 %"),)),
    Case("named by its maker", device(identity("Tesla", "PowerPack 2")), D, ANY,
         ((1, "is PowerPack BESS (says so): profile powerpack"),)),
    Case("all zero", device(holding(dict.fromkeys(range(0x10000), 0), known=(3, 4))), D, ANY,
         ((1, "answers reads"),)),
    Case("all one", device(holding(dict.fromkeys(range(0x10000), 1), known=(3, 4))), D, ANY,
         ((1, "answers reads"),)),
    # gateways
    Case("gateway", device(NAME, (3, 17, 246), 11), G, "",
         tuple((unit, "Maker Thing") for unit in (3, 17, 246))),
    Case("gateway without path", device(NAME, (1, 2, 100), 10), G, "",
         tuple((unit, "Maker Thing") for unit in (1, 2, 100))),
    Case("gateway that names all", names_all({2, 5, 100}, 11), G, "", ((2, NAMED), (5, NAMED), (100, NAMED))),
    Case("gateway that fails for others", names_all({1, 3, 199}, 4), G, "",
         ((1, NAMED), (3, NAMED), (199, NAMED))),
    Case("gateway of nobody", device(NAME, (), 11), G),
    # silence and refusal
    Case("silent", peers.silence, S, "--units 1-247"),
    Case("silent gateway", device(one_register, (17,)), S, "--units 1-247"),
    Case("closes at once", peers.closes_at_once, B),
    Case("resets", peers.resets, B),
    Case("closes on everything", peers.replies(b""), S, "closes the connection"),
    # no Modbus
    Case("echo", peers.echo, N, "sends back what it gets"),
    Case("random bytes", peers.random_bytes, N),
    Case("flood", peers.floods, N, ends_well=False),
    Case("flood of frames", peers.floods_frames, N, ends_well=False),
    Case("SSH", peers.says_first(b"SSH-2.0-OpenSSH_9.2\r\n"), N, "SSH-2.0"),
    Case("HTTP", peers.replies(b"HTTP/1.1 400 Bad Request\r\n\r\n"), N, "HTTP/1.1"),
    Case("TLS", peers.replies(b"\x15\x03\x03\x00\x02\x02\x46"), N, "TLS"),
    Case("telnet", peers.says_first(b"\xff\xfd\x01\xff\xfd\x1f"), N, "telnet"),
    Case("login", peers.says_first(b"login: "), N, "login"),
    Case("RTU over TCP", rtu, N, "RTU over TCP"),
    Case("transaction 0", bent(lambda t, u, p: mbap(0, u, NAME(p))), N, "transaction_id: zero"),
    Case("next transaction", bent(lambda t, u, p: mbap((t + 1) % 65536, u, NAME(p))), N, "transaction"),
    Case("another unit", bent(lambda t, u, p: mbap(t, 9, NAME(p))), N, "answers as unit 9"),
    Case("another function", bent(lambda t, u, p: mbap(t, u, bytes((p[0] ^ 1 | 0x80, 2)))), N, "function"),
    Case("wrong byte count", bent(lambda t, u, p: mbap(t, u, bytes((p[0], 9, 0)))), N),
    Case("half a frame", bent(lambda t, u, p: mbap(t, u, b"\3\4\0\0")[:9]), N, "never ends"),
    Case("length 0", bent(lambda t, u, p: struct.pack(">HHH", t, 0, 0)), N, "impossible length"),
]  # fmt: skip
HOSTS = {case.name: f"127.12.1.{number}" for number, case in enumerate(CASES, start=1)}


@dataclass
class Scanned:
    """What a scan of all cases came to."""

    zoo: Zoo
    results: dict[str, Result]


@pytest.fixture(scope="module")
def scanned() -> Iterator[Scanned]:
    with Zoo({(HOSTS[case.name], PORT): case.peer for case in CASES}) as zoo:
        targets = parse_targets(["127.12.1.0/24"], [PORT])
        scan = Scan(targets, Options(timeout_s=TIMEOUT_S, profiles=candidates()))
        results = {result.ip: result for result in scan.run()}
        assert scan.done == len(results) == 256
        yield Scanned(zoo, results)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_verdict(scanned: Scanned, case: Case) -> None:
    result = scanned.results[HOSTS[case.name]]
    assert result.verdict is case.verdict, result.detail
    assert case.detail in result.detail
    assert [unit.id for unit in result.units] == [unit for unit, _ in case.units]
    for unit, (_, what) in zip(result.units, case.units, strict=True):
        assert what in str(unit)
    assert str(result.as_json()).isprintable()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_manners(scanned: Scanned, case: Case) -> None:
    """One connection at a time, reads only, a goodbye by FIN."""
    host = HOSTS[case.name]
    assert scanned.zoo.most[host] == 1
    if case.ends_well:
        assert "rst" not in scanned.zoo.ends[host]
    sent = b"".join(scanned.zoo.requests[host])
    while sent:
        if sent[:2] == b"\1\3" and crc16(sent[:6]) == int.from_bytes(sent[6:8], "little"):
            sent = sent[8:]  # the one in RTU
            continue
        assert sent[7] in READS
        sent = sent[6 + int.from_bytes(sent[4:6], "big") :]


def test_nobody_else_is_found(scanned: Scanned) -> None:
    others = [r for ip, r in scanned.results.items() if ip not in HOSTS.values()]
    assert {result.verdict for result in others} == {Verdict.CLOSED}
    assert {r.ip for r in scanned.results.values() if r.verdict.is_found} == {
        HOSTS[case.name] for case in CASES if case.verdict.is_found
    }


def test_a_silent_gateway_is_found_by_its_units() -> None:
    with Zoo({("127.12.2.1", PORT): device(one_register, (17,))}):
        targets = parse_targets(["127.12.2.1"], [PORT])
        (result,) = Scan(targets, Options(timeout_s=0.05, units=tuple(range(10, 21)))).run()
    assert result.verdict is Verdict.DEVICE
    assert [unit.id for unit in result.units] == [17]


def test_ports_of_a_host_are_looked_at_one_after_the_other() -> None:
    ports = tuple(range(PORT - 4, PORT + 1))
    with Zoo({("127.12.2.2", port): device(NAME) for port in ports}) as zoo:
        results = list(Scan(parse_targets(["127.12.2.2"], ports), Options()).run())
    assert [(result.port, result.verdict) for result in results] == [(port, D) for port in ports]
    assert zoo.most["127.12.2.2"] == 1


def test_a_scan_that_is_left_closes_everything() -> None:
    hosts = [f"127.12.3.{n}" for n in range(1, 9)]
    with Zoo({(host, PORT): peers.silence for host in hosts[1:]}):
        run = Scan(parse_targets(["127.12.3.0/28"], [PORT]), Options()).run()
        assert next(run).verdict is Verdict.CLOSED
        run.close()


# ---- many at once ----


def network(first: int, types: Sequence[str]) -> tuple[str, set[str]]:
    """Return a site file of simulated devices spread over a network, and their addresses."""
    hosts = [f"127.12.{first + 13 * n // 256}.{13 * n % 256}" for n in range(1, len(types) + 1)]
    lines = [
        f"    - {{id: d{n}, type: {type_}, modbus: {{host: {host}, port: {PORT}}}}}\n"
        for n, (host, type_) in enumerate(zip(hosts, types, strict=True))
    ]
    return "devices:\n  meters:\n" + "".join(lines), set(hosts)


@pytest.mark.parametrize(
    ("prefix", "count"), [(24, 16), pytest.param(20, 300, marks=pytest.mark.long)], ids=["24", "20"]
)
def test_all_are_found_and_none_falsely(prefix: int, count: int, tmp_path: Path) -> None:
    """Simulated devices among silence, resets, black holes and servers of something else."""
    text, devices = network(16 * (prefix == 20) + 32, ["acuvim2", "acuvim2_vendor"] * (count // 2))
    (tmp_path / "site.yaml").write_text(text)
    base = int(ipaddress.ip_address("127.12.48.0" if prefix == 20 else "127.12.32.0"))
    free = [ip for n in range(1 << 32 - prefix) if (ip := str(ipaddress.ip_address(base + n))) not in devices]
    kinds = [case.peer for case in CASES if not case.verdict.is_found] * (count // 16)
    others = dict(zip(free[::3], kinds, strict=False))
    with ExitStack() as stack:
        for ip in free[
            1 : 3 * (count // 8) : 3
        ]:  # a queue for one, which is ours: the kernel drops the others
            listener = stack.enter_context(socket.create_server((ip, PORT), backlog=0))
            stack.enter_context(socket.create_connection(listener.getsockname()))
        stack.enter_context(Simulator(load(tmp_path / "site.yaml")).running())
        zoo = stack.enter_context(Zoo({(ip, PORT): peer for ip, peer in others.items()}))
        targets = parse_targets([f"{ipaddress.ip_address(base)}/{prefix}"], [PORT])
        results = list(Scan(targets, Options(timeout_s=TIMEOUT_S, profiles=candidates())).run())
    assert len(results) == targets.endpoints == 1 << 32 - prefix
    assert {result.ip for result in results if result.verdict.is_found} == devices
    assert all(result.units[0].guesses for result in results if result.verdict.is_found)
    assert sum(result.verdict is Verdict.UNREACHABLE for result in results) == count // 8
    assert {r.ip for r in results if r.verdict.is_open} == devices | others.keys()
    assert set(zoo.most.values()) == {1}


def test_pacing() -> None:
    """Never more often than was allowed, which also a slow machine cannot break."""
    targets = parse_targets(["127.12.5.0-127.12.5.99"], [PORT])
    began_s = time.monotonic()
    assert len(list(Scan(targets, Options(), rate_per_s=200).run())) == 100
    assert time.monotonic() - began_s > 0.9 * 100 / 200 - 0.01


@pytest.mark.long
def test_few_connects_wait_for_an_answer() -> None:
    """Of twenty addresses that drop every SYN, never more than five are tried at once."""

    def talk(ip: str) -> Talk[Opened]:
        opened = yield Connect(ip, PORT)
        most.append(len(descriptors()) - before)
        assert isinstance(opened, Opened)
        return opened

    hosts = [f"127.12.6.{n}" for n in range(1, 21)]
    most: list[int] = []
    with ExitStack() as stack:
        for host in hosts:
            listener = stack.enter_context(socket.create_server((host, PORT), backlog=0))
            stack.enter_context(socket.create_connection(listener.getsockname()))
        prober = Prober[Opened](1000, 0.1, max_unanswered=5)
        before = len(descriptors())
        assert list(prober.run(map(talk, hosts))) == [Opened.UNREACHABLE] * 20
    assert 1 <= max(most) <= 5


@pytest.mark.long
def test_few_descriptors_make_it_slower_not_wrong() -> None:
    hosts = [f"127.12.4.{n}" for n in range(64)]
    script = 'ulimit -n 32; exec "$@"'
    command = [
        "sh",
        "-c",
        script,
        "sh",
        *FLUXFAST,
        "scan",
        "127.12.4.0/26",
        "-p",
        str(PORT),
        "-t",
        "50ms",
        "--json",
    ]
    with Zoo({(host, PORT): device(NAME) if n % 2 else peers.silence for n, host in enumerate(hosts)}):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    results = [json.loads(line) for line in done.stdout.splitlines()[:-1]]
    assert [r["verdict"] for r in results] == ["silent", "device"] * 32
