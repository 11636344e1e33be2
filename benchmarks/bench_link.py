"""CPU per poll, beside the floor: one 90-register read per link and tick, over loopback.

    python benchmarks/bench_link.py [LINKS] [TICKS] [PERIOD_MS]

The simulator runs on one core; each client in turn alone on the other, in a process of its own. CPU is user
+ system of the whole client process between the first tick and the last, divided by requests. What it does
not show: a real network, slow devices, and the simulator's own cost.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
PORT = 5030
REPEATS = 3


def site_file(links: int, period_ms: int) -> str:
    return (
        f"poll: {{every: {period_ms}ms, deadline: 90%}}\ndevices:\n  meters:\n"
        f'    - {{id: "m{{n}}", count: {links}, type: acuvim2_vendor,'
        f" modbus: {{host: 127.30.0.1, port: {PORT}}}}}\n"
    )


def run_client(site: str, ticks: int, log: str) -> None:
    """Poll with a whole Station and print JSON: requests, CPU us per request, unanswered reads."""
    import uvloop

    from fluxfast.config import load
    from fluxfast.station import Station

    async def poll() -> tuple[int, float, int]:
        fleet = load(site)
        async with Station(fleet, log_dir=log or None) as station:
            gc.freeze()  # as `fluxfast run` does
            before = time.process_time()
            requests, missed = station.reactor.requests, 0
            async for tick in station.ticks(ticks * fleet.poll.every_ns / 1e9):
                missed += tick.unanswered
        return station.reactor.requests - requests, time.process_time() - before, missed

    requests, cpu_s, missed = uvloop.run(poll())
    print(json.dumps([requests, cpu_s * 1e6 / requests, missed]))


def _clients(
    floor: Path, site: Path, ticks: int, period_ms: int, log: str
) -> list[tuple[str, list[str | Path]]]:
    """Return (name, command) of every client; the floor first."""
    own: list[str | Path] = [sys.executable, __file__, "--client", site, str(ticks)]
    rival = [sys.executable, HERE / "rivals.py"]
    return [
        ("C floor, no decode", [floor, "90", str(ticks), str(period_ms)]),
        ("fluxfast, no log", [*own, ""]),
        ("fluxfast, log on", [*own, log]),
        ("pymodbus on uvloop", [*rival, "pymodbus", site, str(ticks)]),
        ("pyModbusTCP", [*rival, "pyModbusTCP", site, str(ticks)]),
    ]


def main() -> None:
    links, ticks, period_ms = [*map(int, sys.argv[1:4]), *(500, 20, 500)[len(sys.argv) - 1 :]]
    cores = sorted(os.sched_getaffinity(0))
    client_core, server_core = cores[0], cores[-1]

    def pinned(core: int) -> list[str]:
        return ["taskset", "-c", str(core)]

    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site.yaml"
        site.write_text(site_file(links, period_ms))
        floor = Path(folder) / "floor"
        subprocess.run(["cc", "-O2", "-o", floor, HERE / "floor.c"], check=True)
        fluxfast = [sys.executable, "-m", "fluxfast"]
        server = subprocess.Popen(
            [*pinned(server_core), *fluxfast, "simulate", str(site)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            print(server.stdout.readline().strip())
            from fluxfast.config import load

            ends = "".join(
                f"{d.modbus.host} {d.modbus.port} {d.modbus.unit} 16384\n" for d in load(site).devices
            )
            for repeat in range(REPEATS):
                print(
                    f"{'client':24} {'requests':>9} {'us CPU/request':>15} {'x floor':>8} {'unanswered':>11}"
                )
                floor_us = 0.0
                for name, command in _clients(floor, site, ticks, period_ms, f"{folder}/log{repeat}"):
                    out = subprocess.run(
                        [*pinned(client_core), *command],
                        input=ends,
                        capture_output=True,
                        text=True,
                        check=True,
                    ).stdout
                    requests, us, missed = json.loads(out)
                    floor_us = floor_us or us
                    print(f"{name:24} {requests:>9} {us:15.2f} {us / floor_us:8.2f} {missed:>11}")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        run_client(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main()
