"""A /20 with 300 devices: fluxfast scan and nmap's modbus-discover, by time and findings.

    python benchmarks/bench_scan.py [NMAP_LIMIT_S]

127.0.0.0/20, one port, twice: 300 simulated devices where all other addresses refuse; and the same where
40 addresses each accept and say nothing, reset, or drop every SYN, and 8 each are HTTP, SSH, TLS, echo and
random bytes. A device that is not reported is missed; anything else that is reported as Modbus is false. nmap
runs until the first unit of each host and, as its manual has it, for all of them, NMAP_LIMIT_S each (300).
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

NETWORK = "127.0.0.0/20"
PORT = 15502
LIMIT_S = 300.0
DEVICES = 300
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


def addresses() -> tuple[list[str], dict[str, list[str]]]:
    """Return where the devices are, and the others by kind; spread over the network."""
    counts = {"device": DEVICES, "black hole": BLACK_HOLES} | {kind: n for kind, (_, n) in OTHERS.items()}
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    places: dict[str, list[str]] = {}
    for number in range(len(kinds)):  # 7 is prime to their number: neighbours differ
        where = 5 + number * (4096 // len(kinds))
        places.setdefault(kinds[number * 7 % len(kinds)], []).append(address(where))
    return places.pop("device"), places


def site_file() -> str:
    types = ("powerpack", "acuvim2", "acuvim2_vendor")
    lines: dict[str, list[str]] = {"bess": [], "meters": []}
    for number, host in enumerate(addresses()[0]):
        type_ = types[number % 3]
        lines["bess" if type_ == "powerpack" else "meters"].append(
            f"    - {{id: d{number}, type: {type_}, modbus: {{host: {host}, port: {PORT}}}}}\n"
        )
    return "devices:\n" + "".join(f"  {kind}:\n{''.join(some)}" for kind, some in lines.items())


def serve(site: Path, *, alone: bool) -> None:
    """Be the devices, and all others unless they are alone, until stdin ends."""
    others = {} if alone else addresses()[1]
    peers = {(host, PORT): OTHERS[kind][0] for kind in OTHERS for host in others.get(kind, ())}
    kept = []
    for host in others.get("black hole", ()):  # a queue for one, ours: the kernel drops what else comes
        listener = socket.create_server((host, PORT), backlog=0)
        kept += [listener, socket.create_connection((host, PORT))]
    with Simulator(load(site)).running(), Zoo(peers):
        print("ready", flush=True)
        sys.stdin.read()


def scan() -> tuple[set[str], float, str]:
    began = time.monotonic()
    command = [sys.executable, "-m", "fluxfast", "scan", NETWORK, "-p", str(PORT), "--json"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    took_s = time.monotonic() - began
    results = [json.loads(line) for line in out.splitlines()]
    found = {r["host"] for r in results if r.get("verdict") in ("device", "exception", "gateway")}
    named = sum("profiles" in unit for r in results[:-1] for unit in r["units"])
    return found, took_s, f"{named} profiles, {results[-1]['requests']:,} requests"


def nmap(limit_s: float, *, aggressive: bool) -> tuple[set[str], float, str]:
    began = time.monotonic()
    arguments = ["--script-args", "modbus-discover.aggressive=true"] if aggressive else []
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = ["nmap", "-p", str(PORT), "-n", "-Pn", "-T5", "--script", "+modbus-discover", *arguments,
                   "-oX", report.name, NETWORK]  # fmt: skip
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


def measure(title: str, site: Path, limit_s: float, *mode: str) -> None:
    command = [sys.executable, __file__, "serve", str(site), *mode]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    runs = {"fluxfast scan": scan()}
    if shutil.which("nmap"):
        runs["nmap, first unit"] = nmap(limit_s, aggressive=False)
        runs["nmap, aggressive"] = nmap(limit_s, aggressive=True)
    server.communicate()
    devices = set(addresses()[0])
    print(f"{title:26} {'time':>8} {'found':>6} {'missed':>6} {'false':>6}")
    for name, (found, took_s, note) in runs.items():
        hits, missed, false = len(found & devices), len(devices - found), len(found - devices)
        print(f"  {name:24} {took_s:7.1f}s {hits:6} {missed:6} {false:6}  {note}", flush=True)


def main() -> None:
    limit_s = float(sys.argv[1]) if len(sys.argv) > 1 else LIMIT_S
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site.yaml"
        site.write_text(site_file())
        measure("devices, others refuse", site, limit_s, "alone")
        measure("among everything else", site, limit_s)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(Path(sys.argv[2]), alone="alone" in sys.argv)
    else:
        main()
