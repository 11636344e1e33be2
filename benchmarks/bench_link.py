"""CPU per poll, beside the floor and the peers: one 90-register read per link and tick, over loopback.

    python benchmarks/bench_link.py [--links 500 2000] [--ticks 20] [--repeats 5] [--no-peers]

The simulator runs on one core; each client in turn alone on the other, in a process of its own. CPU is user
+ system of the whole client process between the first tick and the last, divided by requests; a client's
ratio is to the floor of the same repetition. Every client's last values are compared with the meters'.
The log encodes every 30 s, and weighs encodings when it does so first: `--no-peers --ticks 180` has that in.
What it does not show: a real network, slow devices, and the simulator's own cost.
"""

import argparse
import gc
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

from meters import COUNT, FIRST, Result, is_right, site_file

from fluxfast.config import Fleet, load
from fluxfast.station import Station

HERE = Path(__file__).parent
FIRST_IP, PORT = "127.44.8.1", 5410
CHECK_S = 20.0
# Client → the module it needs.
PEERS = {
    "pymodbus": "pymodbus",
    "pyModbusTCP": "pyModbusTCP",
    "modbus-rs": "modbus_rs",
    "modbus-tcp-cython": "modbus_tcp",
}


def run_client(site: str, ticks: int, log: str) -> None:
    """Poll with a whole Station, as ``fluxfast run`` does, and print JSON: meters.Result."""
    import uvloop

    async def poll(fleet: Fleet) -> Result:
        async with Station(fleet, log_dir=log or None) as station:
            gc.freeze()
            requests, before, unanswered = station.reactor.requests, time.process_time(), 0
            async for tick in station.ticks(ticks * fleet.poll.every_ns / 1e9):
                unanswered += tick.unanswered
            used, requests = time.process_time() - before, station.reactor.requests - requests
            (table,) = station.tables.values()
            devices, right = list(fleet.devices), False
            async for _ in station.ticks(CHECK_S):
                right = is_right(devices, lambda row: [float(column[row]) for column in table.values], 1)
                if right:
                    break
        return Result(requests, used * 1e6 / requests, unanswered, right)

    print(json.dumps(astuple(uvloop.run(poll(load(site))))))


def commands(floor: Path, site: Path, ticks: int, period_ms: int, log: str) -> dict[str, list[str | Path]]:
    """Return the command of every client; the floor first."""
    own: list[str | Path] = [sys.executable, __file__, "--client", site, str(ticks)]
    plain: list[str | Path] = [floor, str(COUNT), str(ticks), str(period_ms)]
    clients = {
        "C floor, no decode": plain,
        "C floor, decodes": [*plain, "decode"],
        "fluxfast, no log": [*own, ""],
        "fluxfast, log on": [*own, log],
    }
    for name, module in PEERS.items():
        if importlib.util.find_spec(module):
            clients[name] = [sys.executable, HERE / "rivals.py", name, site, str(ticks)]
    return clients


def pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)]


def machine() -> str:
    """Return processor, cores, kernel and versions in one line."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model = next(named, platform.processor())
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python " + (
        platform.python_version()
    )


@contextmanager
def simulator(site: Path, core: int) -> Iterator[None]:
    command = [*pinned(core), sys.executable, "-m", "fluxfast", "simulate", str(site)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        print(server.stdout.readline().strip())
        yield
    finally:
        server.terminate()
        server.wait()


def measure(links: int, ticks: int, period_ms: int, repeats: int, folder: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    site, floor = folder / f"site{links}.yaml", folder / "floor"
    site.write_text(site_file(links, period_ms, FIRST_IP, PORT))
    subprocess.run(["cc", "-O2", "-o", floor, HERE / "floor.c"], check=True)
    ends = "".join(f"{d.modbus.host} {d.modbus.port} {d.modbus.unit} {FIRST}\n" for d in load(site).devices)
    results: dict[str, list[Result]] = defaultdict(list)
    with simulator(site, cores[-1]):
        for repeat in range(repeats):
            for name, command in commands(floor, site, ticks, period_ms, f"{folder}/log{repeat}").items():
                ran = subprocess.run(
                    [*pinned(cores[0]), *command], input=ends, capture_output=True, text=True
                )
                if ran.returncode:
                    sys.exit(f"{name} failed: {ran.stderr.strip() or ran.returncode}")
                results[name].append(Result(*json.loads(ran.stdout)))
    report(links, results)


def report(links: int, results: dict[str, list[Result]]) -> None:
    floors = [result.cpu_us for result in next(iter(results.values()))]
    print(f"{links} links, {len(floors)} repetitions: CPU per request, and its ratio to the floor's")
    print(f"{'client':20} {'us, median':>10} {'min':>7} {'median':>7} {'max':>7}  unanswered  values")
    for name, runs in results.items():
        ratios = sorted(run.cpu_us / floor for run, floor in zip(runs, floors, strict=True))
        print(
            f"{name:20} {statistics.median(run.cpu_us for run in runs):10.2f} {ratios[0]:7.2f}"
            f" {statistics.median(ratios):7.2f} {ratios[-1]:7.2f}"
            f"  {sum(run.unanswered for run in runs):10}"
            f"  {'right' if all(run.right for run in runs) else 'WRONG'}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--links", type=int, nargs="+", default=[500])
    parser.add_argument("--ticks", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--period-ms", type=int, default=500)
    parser.add_argument("--no-peers", action="store_true")
    asked = parser.parse_args()
    print(machine())
    if asked.no_peers:
        PEERS.clear()
    for rival, module in PEERS.items():
        if not importlib.util.find_spec(module):
            print(f"{rival} is not installed (pip install --group bench): left out")
    with tempfile.TemporaryDirectory() as folder:
        for links in asked.links:
            measure(links, asked.ticks, asked.period_ms, asked.repeats, Path(folder))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        run_client(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main()
