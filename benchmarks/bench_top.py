"""What it costs to look on: a station alone, then watched by ``fluxfast top`` on small and large screens.

    python benchmarks/bench_top.py [--devices 2000] [--period 200] [--seconds 20]

Four of five devices are PowerPacks that control decides for (shadow), the fifth is a meter. Every period is a
tick, a decision, a log, and a new screen. CPU is that of the processes, in parts of a core. The simulator and
the view share one core, the station has the other. What it does not show: an ssh in between; its bytes are
counted.
"""

import argparse
import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from apart import pinned, simulator
from measured import machine

from fluxfast.running import running_stations

PORT = 5421
SCREENS = ((80, 24), (200, 50))
SITE = """
poll: {{every: {period}ms, connects_per_s: 0}}
control: {{action: shadow, modes: [{{type: fixed_power, power_kw: 1000}}]}}
devices:
  bess:
    - {{id: "b{{n}}", count: {packs}, type: powerpack, capacity_kwh: 400, rated_power_kw: 200,
       modbus: {{host: 127.83.64.1, port: {port}}}}}
  meters:
    - {{id: "m{{n}}", count: {meters}, type: acuvim2, role: pv, modbus: {{host: 127.83.192.1, port: {port}}}}}
"""


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def view(station: str, size: tuple[int, int], core: int, every_ms: int):
    """Run ``fluxfast top`` on a terminal of its own; yield its process and how many bytes it has drawn."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    command = [*pinned(core), sys.executable, "-m", "fluxfast", "top", station, "--every", f"{every_ms}ms"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    drawn = [0]

    def read() -> None:
        try:
            while data := os.read(master, 1 << 16):
                drawn[0] += len(data)
        except OSError:  # it has ended
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield process, drawn
    finally:
        process.terminate()
        process.wait()
        reader.join()
        os.close(master)


def measure(devices: int, period_ms: int, seconds: float) -> None:
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site.yaml"
        packs = devices * 4 // 5
        site.write_text(SITE.format(period=period_ms, packs=packs, meters=devices - packs, port=PORT))
        command = [*pinned(cores[0]), sys.executable, "-m", "fluxfast", "run", str(site), "--json"]
        with simulator(site):
            station = subprocess.Popen([*command, "--log", f"{folder}/log"], stdout=subprocess.DEVNULL)
            while not any(one.pid == station.pid for one in running_stations()):
                time.sleep(0.2)
            time.sleep(8)
            try:
                for size in (None, *SCREENS, None):
                    look(station.pid, str(site), size, cores[-1], period_ms, seconds)
            finally:
                station.terminate()
                station.wait()


def look(
    pid: int, site: str, size: tuple[int, int] | None, core: int, period_ms: int, seconds: float
) -> None:
    if size is None:
        before = cpu_s(pid)
        time.sleep(seconds)
        print(f"station alone: {100 * (cpu_s(pid) - before) / seconds:.1f} % of a core")
        return
    with view(site, size, core, period_ms) as (process, drawn):
        time.sleep(6)
        before, of_top, bytes_ = cpu_s(pid), cpu_s(process.pid), drawn[0]
        time.sleep(seconds)
        station, top = (100 * (cpu_s(p) - b) / seconds for p, b in ((pid, before), (process.pid, of_top)))
        print(
            f"watched at {size[0]} × {size[1]}: station {station:.1f} %, top {top:.1f} % of a core,"
            f" {(drawn[0] - bytes_) / seconds / 1000:.0f} kB/s drawn"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--period", type=int, default=200, help="ms")
    parser.add_argument("--seconds", type=float, default=20)
    asked = parser.parse_args()
    print(machine())
    measure(asked.devices, asked.period, asked.seconds)


if __name__ == "__main__":
    main()
