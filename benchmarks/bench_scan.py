"""A network on one port with devices in it: fluxfast scan and nmap's modbus-discover, by time and findings.

127.0.0.0/24 with 18 simulated devices, and /20 with 300. scan/refusing: all other addresses refuse.
scan/mixed: of 100 addresses, one accepts and says nothing, one resets, one drops every SYN, and one is HTTP,
SSH, TLS, echo or random bytes. A device that is not reported is missed; anything else that is reported as
Modbus is false. nmap runs until the first unit of each host and, in the /24, for all units, as its manual
has it. What has not ended after NMAP_S is ended, and wrong: let run to the end once, the mixed /24 took nmap
602 s.

What it does not show: a real network, where nobody refuses for an address that is not there.
"""

import json
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from apart import CORES, Apart, pinned, python, say

from fluxfast.config import load
from fluxfast.sim import Simulator
from tests.support.scan_peers import Zoo, echo, random_bytes, replies, resets, says_first, silence

PORT = 15502
NMAP_S = 12.0
SIZES = {24: 256, 20: 4096}  # addresses of a network
# How many there are in the largest.
DEVICES, BLACK_HOLES = 300, 40
OTHERS = {
    "silence": (silence, 40),
    "resets": (resets, 40),
    "http": (replies(b"HTTP/1.1 400 Bad Request\r\n\r\n"), 8),
    "ssh": (says_first(b"SSH-2.0-OpenSSH_9.2\r\n"), 8),
    "tls": (replies(b"\x15\x03\x03\x00\x02\x02\x46"), 8),
    "echo": (echo, 8),
    "random": (random_bytes, 8),
}


def addresses(prefix: int) -> tuple[list[str], dict[str, list[str]]]:
    """Return where the devices are, and the others by kind; spread over the network."""
    counts = {"device": DEVICES, "black hole": BLACK_HOLES} | {kind: n for kind, (_, n) in OTHERS.items()}
    part = SIZES[20] // SIZES[prefix]
    kinds = [kind for kind, count in counts.items() for _ in range(max(count // part, 1))]
    places: dict[str, list[str]] = {}
    for number in range(len(kinds)):  # 7 is prime to their number: neighbours differ
        where = 0x7F000000 + 5 + number * (SIZES[prefix] // len(kinds))
        host = socket.inet_ntoa(struct.pack(">I", where))
        places.setdefault(kinds[number * 7 % len(kinds)], []).append(host)
    return places.pop("device"), places


def site_file(hosts: list[str]) -> str:
    types = ("powerpack", "acuvim2", "acuvim2_vendor")
    lines: dict[str, list[str]] = {"bess": [], "meters": []}
    for number, host in enumerate(hosts):
        type_ = types[number % 3]
        lines["bess" if type_ == "powerpack" else "meters"].append(
            f"    - {{id: d{number}, type: {type_}, modbus: {{host: {host}, port: {PORT}}}}}\n"
        )
    return "devices:\n" + "".join(f"  {kind}:\n{''.join(some)}" for kind, some in lines.items())


def serve(site: str, others: Mapping[str, list[str]]) -> None:
    """Be the devices and the others, until stdin ends."""
    peers = {(host, PORT): OTHERS[kind][0] for kind in OTHERS for host in others.get(kind, ())}
    kept = []
    for host in others.get("black hole", ()):  # a queue for one, ours: the kernel drops what else comes
        listener = socket.create_server((host, PORT), backlog=0)
        kept += [listener, socket.create_connection((host, PORT))]
    with Simulator(load(site)).running(), Zoo(peers):
        print("ready", flush=True)
        sys.stdin.read()


def scan(network: str) -> tuple[set[str], dict[str, int]]:
    command = [sys.executable, "-m", "fluxfast", "scan", network, "-p", str(PORT), "--json"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    results = [json.loads(line) for line in out.splitlines()]
    found = {r["host"] for r in results if r.get("verdict") in ("device", "exception", "gateway")}
    named = sum("profiles" in unit for r in results[:-1] for unit in r["units"])
    return found, {"profiles": named, "requests": results[-1]["requests"]}


def nmap(network: str, *arguments: str) -> tuple[set[str], dict[str, int]]:
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = ["nmap", "-p", str(PORT), "-n", "-Pn", "-T5", "--script", "+modbus-discover", *arguments,
                   "-oX", report.name, network]  # fmt: skip
        try:
            subprocess.run(command, capture_output=True, timeout=NMAP_S, check=True)
            return _reported(Path(report.name).read_text()), {"ended": 1}
        except subprocess.TimeoutExpired:  # what it has written is what it has found
            text = Path(report.name).read_text().rpartition("</host>")[0] + "</host></nmaprun>"
            return _reported(text), {"ended": 0}


def _reported(xml: str) -> set[str]:
    if "<host " not in xml and "<host>" not in xml:
        return set()
    return {
        host.find("address").get("addr")  # type: ignore[union-attr]
        for host in ET.fromstring(xml).iter("host")
        if any(script.get("id") == "modbus-discover" for script in host.iter("script"))
    }


WAYS = {
    "fluxfast": scan,
    "nmap, first unit": nmap,
    "nmap, all units": lambda network: nmap(network, "--script-args", "modbus-discover.aggressive=true"),
}


def run_scan(way: str, prefix: int) -> None:
    """Scan, and compare what was found with what is there; the cost is how long that took."""
    begin = time.monotonic()
    found, said = WAYS[way](f"127.0.0.0/{prefix}")
    took_s = time.monotonic() - begin
    devices = set(addresses(prefix)[0])
    missed, false = len(devices - found), len(found - devices)
    right = not missed and not false and said.get("ended", 1) == 1
    say(took_s, right, said={"missed": missed, "false": false} | said)


@contextmanager
def network(prefix: int, mixed: bool, folder: Path) -> Iterator[Mapping[str, list[str]]]:
    """Serve a network; the command of every scanner."""
    devices, others = addresses(prefix)
    site = folder / "site.yaml"
    site.write_text(site_file(devices))
    command = [*pinned(CORES[-1]), *python(__file__, "serve", site, json.dumps(others if mixed else {}))]
    ways = ["fluxfast"]
    if not shutil.which("nmap"):
        print("nmap is left out: it is not installed", file=sys.stderr)
    else:  # where it would only be ended, once is enough
        ways += ["nmap, first unit"] if prefix == 24 or not mixed else []
        ways += ["nmap, all units"] if prefix == 24 and not mixed else []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == b"ready\n"
            yield {way: python(__file__, way, prefix) for way in ways}
        finally:
            server.stdin.close()


CASES = [
    Apart(f"scan/{'mixed' if mixed else 'refusing'}/{size}", "s", partial(network, prefix, mixed))
    for mixed in (False, True)
    for prefix, size in SIZES.items()
]

if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], json.loads(sys.argv[3]))
    else:
        run_scan(sys.argv[1], int(sys.argv[2]))
