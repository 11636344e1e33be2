"""A network with devices among everything else: fluxfast scan and nmap's modbus-discover side by side.

    python benchmarks/bench_scan.py [PREFIX] [NMAP_LIMIT_S]

A /PREFIX (20) on loopback, one port. Of 4,096 addresses 300 are simulated devices; 40 each accept and say
nothing, reset, or drop every SYN; 8 each are HTTP, SSH, TLS, echo and random bytes; all others refuse. A
device that is not reported is missed; anything else that is reported as Modbus is false. nmap runs until the
first unit of each host and, as its manual has it, for all of them, NMAP_LIMIT_S each (600; 0: not at all).
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fluxfast.config import load
from fluxfast.sim import Simulator
from tests.support.scan_peers import Zoo, echo, random_bytes, replies, resets, says_first, silence

PORT = 15502
PREFIX, LIMIT_S = 20, 600.0
DEVICES = 300  # of 4,096 addresses, as are the numbers of the others
OTHERS = {
    "silence": (silence, 40),
    "resets": (resets, 40),
    "http": (replies(b"HTTP/1.1 400 Bad Request\r\n\r\n"), 8),
    "ssh": (says_first(b"SSH-2.0-OpenSSH_9.2\r\n"), 8),
    "tls": (replies(b"\x15\x03\x03\x00\x02\x02\x46"), 8),
    "echo": (echo, 8),
    "random": (random_bytes, 8),
}
BLACK_HOLES = 40


def address(number: int) -> str:
    return socket.inet_ntoa(struct.pack(">I", 0x7F000000 + number))


def addresses(prefix: int) -> tuple[list[str], dict[str, list[str]]]:
    """Return where the devices are, and the others by kind; spread over the network."""
    size = 1 << 32 - prefix
    counts = {"device": DEVICES, "black hole": BLACK_HOLES} | {kind: n for kind, (_, n) in OTHERS.items()}
    kinds = [kind for kind, count in counts.items() for _ in range(max(count * size // 4096, 1))]
    places: dict[str, list[str]] = {}
    for number in range(len(kinds)):  # 7 is prime to their number: neighbours differ
        where = 5 + number * (size // len(kinds))
        places.setdefault(kinds[number * 7 % len(kinds)], []).append(address(where))
    return places.pop("device"), places


def site_file(prefix: int) -> str:
    types = ("powerpack", "acuvim2", "acuvim2_vendor")
    lines: dict[str, list[str]] = {"bess": [], "meters": []}
    for number, host in enumerate(addresses(prefix)[0]):
        type_ = types[number % 3]
        lines["bess" if type_ == "powerpack" else "meters"].append(
            f"    - {{id: d{number}, type: {type_}, modbus: {{host: {host}, port: {PORT}}}}}\n"
        )
    return "devices:\n" + "".join(f"  {kind}:\n{''.join(some)}" for kind, some in lines.items())


def serve(prefix: int, site: Path) -> None:
    """Be all of them until stdin ends."""
    _, others = addresses(prefix)
    peers = {(host, PORT): OTHERS[kind][0] for kind in OTHERS for host in others[kind]}
    kept = []
    for host in others["black hole"]:  # a queue for one, which is ours: the kernel drops what else comes
        listener = socket.create_server((host, PORT), backlog=0)
        kept += [listener, socket.create_connection((host, PORT))]
    with Simulator(load(site)).running(), Zoo(peers):
        print("ready", flush=True)
        sys.stdin.read()


def scan(network: str) -> tuple[set[str], float, str]:
    began = time.monotonic()
    command = [sys.executable, "-m", "fluxfast", "scan", network, "-p", str(PORT), "--json"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    took_s = time.monotonic() - began
    results = [json.loads(line) for line in out.splitlines()]
    found = {r["host"] for r in results if r.get("verdict") in ("device", "exception", "gateway")}
    named = sum("profiles" in unit for r in results[:-1] for unit in r["units"])
    return found, took_s, f"{named} profiles, {results[-1]['requests']:,} requests"


def nmap(network: str, limit_s: float, *, aggressive: bool) -> tuple[set[str], float, str]:
    began = time.monotonic()
    arguments = ["--script-args", "modbus-discover.aggressive=true"] if aggressive else []
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = ["nmap", "-p", str(PORT), "-n", "-Pn", "-T5", "--script", "+modbus-discover", *arguments,
                   "-oX", report.name, network]  # fmt: skip
        try:
            subprocess.run(command, capture_output=True, timeout=limit_s, check=True)
            text = Path(report.name).read_text()
        except subprocess.TimeoutExpired:  # what it has written is what it has found
            text = Path(report.name).read_text().rpartition("</host>")[0] + "</host></nmaprun>"
            return _reported(text)[0], time.monotonic() - began, "not finished"
    found, units = _reported(text)
    return found, time.monotonic() - began, f"{units} units"


def _reported(xml: str) -> tuple[set[str], int]:
    found, units = set(), 0
    if "<host " not in xml and "<host>" not in xml:
        return found, units
    for host in ET.fromstring(xml).iter("host"):
        for script in host.iter("script"):
            if script.get("id") == "modbus-discover":
                found.add(host.find("address").get("addr"))  # type: ignore[union-attr]
                units += len(script.findall("table"))
    return found, units


def main() -> None:
    prefix = int(sys.argv[1]) if len(sys.argv) > 1 else PREFIX
    limit_s = float(sys.argv[2]) if len(sys.argv) > 2 else LIMIT_S
    network, devices = f"{address(0)}/{prefix}", set(addresses(prefix)[0])
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site.yaml"
        site.write_text(site_file(prefix))
        server = subprocess.Popen(
            [sys.executable, __file__, "serve", str(prefix), str(site)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        runs = {"fluxfast scan": scan(network)}
        if shutil.which("nmap") and limit_s:
            runs["nmap, first unit"] = nmap(network, limit_s, aggressive=False)
            runs["nmap, aggressive"] = nmap(network, limit_s, aggressive=True)
        server.communicate()
    print(f"{network:18} {'time':>8} {'found':>6} {'missed':>6} {'false':>6}")
    for name, (found, took_s, note) in runs.items():
        hits = found & devices
        missed, false = len(devices - found), len(found - devices)
        print(f"{name:18} {took_s:7.1f}s {len(hits):6} {missed:6} {false:6}  {note}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
