"""What it costs to look on: a station alone, then watched by ``fluxfast top`` on small and large screens.

Four of five of 2,000 devices are PowerPacks that control decides for (shadow), the fifth is a meter. Every
200 ms there is a tick, a decision, and a new screen. The cost is the station's CPU; said are the
view's, in parts of a core, and what it draws. The simulator and the view share one core, the station has the
other.

What it does not show: an ssh in between; and the log, whose encoding every 30 s would fall to one of them.
"""

import asyncio
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from apart import CORES, Apart, pinned, python, say, simulator

from fluxfast.running import View, running_stations

PORT, DEVICES, PERIOD_MS = 5415, 2_000, 200
SETTLE_S, SECONDS = 2.0, 4.0
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


def ticks(socket: str) -> int:
    """Return the number of the station's last tick."""

    async def ask() -> int:
        async with View(Path(socket)) as view:
            return (await view.devices())[0]

    return asyncio.run(ask())


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def view(station: str, columns: int, rows: int) -> Iterator[tuple[int, list[int]]]:
    """Run ``fluxfast top`` on a terminal of its own; its process and how many bytes it has drawn."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    top = [sys.executable, "-m", "fluxfast", "top", station, "--every", f"{PERIOD_MS}ms"]
    process = subprocess.Popen(
        [*pinned(CORES[-1]), *top], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
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
        while not drawn[0] and process.poll() is None:
            time.sleep(0.1)
        yield process.pid, drawn
    finally:
        process.terminate()
        process.wait()
        reader.join()
        os.close(master)


def look(station: str, socket: str, pid: int, *screen: int) -> None:
    """Say what the station takes while somebody looks at it, or nobody."""
    if not screen:
        say(_used_ms(socket, pid), True)
        return
    with view(station, *screen) as (top, drawn):
        time.sleep(SETTLE_S)
        of_top, bytes_ = cpu_s(top), drawn[0]
        used_ms = _used_ms(socket, pid)
        of_top, bytes_ = cpu_s(top) - of_top, drawn[0] - bytes_
    say(used_ms, bytes_ > 0, said={"top_pct": 100 * of_top / SECONDS, "kB_s": bytes_ / SECONDS / 1e3})


def _used_ms(socket: str, pid: int) -> float:
    """Return the station's CPU in ms, a tick."""
    before, first = cpu_s(pid), ticks(socket)
    time.sleep(SECONDS)
    return (cpu_s(pid) - before) * 1e3 / (ticks(socket) - first)


@contextmanager
def station(folder: Path) -> Iterator[Mapping[str, list[str]]]:
    """Run a station; the commands that look at it."""
    site, packs = folder / "site.yaml", DEVICES * 4 // 5
    site.write_text(SITE.format(period=PERIOD_MS, packs=packs, meters=DEVICES - packs, port=PORT))
    command = [*pinned(CORES[0]), sys.executable, "-m", "fluxfast", "run", str(site), "--json"]
    with (
        simulator(site),
        subprocess.Popen(command, stdout=subprocess.DEVNULL) as process,
    ):
        while not (found := [one.socket for one in running_stations() if one.pid == process.pid]):
            if process.poll() is not None:
                sys.exit("the station did not start")
            time.sleep(0.2)
        time.sleep(5)  # until it has all links
        of_station = site, found[0], process.pid
        try:
            yield {"fluxfast, nobody looks": python(__file__, *of_station)} | {
                f"fluxfast, watched at {columns} × {rows}": python(__file__, *of_station, columns, rows)
                for columns, rows in SCREENS
            }
        finally:
            process.terminate()


CASES = [Apart("top/watched", "ms CPU a tick", station)]

if __name__ == "__main__":
    look(*sys.argv[1:3], *map(int, sys.argv[3:]))
