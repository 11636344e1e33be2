"""A process that commands batteries as a station does, holds its connections, and ends as it is told.

``FakeStation`` starts this file as a program, and says on its stdin what is to happen.
"""

import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fluxfast.watchdog import SiteLocks, StopUnit, Watchdog
from tests.support.batteries import POWER, Battery
from tests.support.command import PATIENCE_S, Process

ROOT = Path(__file__).parents[2]
DISCHARGE_KW = 50
SOURCE_BEFORE = 7


class FakeStation(Process):
    """Commands 50 kW to each battery, over and over. It does so once this is made."""

    def __init__(
        self, batteries: Sequence[Battery], folder: Path, hang_s: float = 10, *, pidfd: bool = True
    ) -> None:
        self.report = folder / "watchdog.jsonl"
        units = [(b.unit().name, b.host, b.server.port, b.unit().stop.hex()) for b in batteries]
        releases = [b.unit().release.hex() for b in batteries]
        spec = folder / "station.json"
        told = {"units": units, "releases": releases, "hang_s": hang_s, "folder": str(folder), "pidfd": pidfd}
        spec.write_text(json.dumps(told))
        super().__init__([sys.executable, "-m", "tests.support.fake_station", str(spec)], cwd=ROOT)
        self.sidecar = int(self.line())
        self._sidecar_end = os.pidfd_open(self.sidecar)

    def say(self, word: str) -> None:
        """Let it end in some way: see ``main``."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(f"{word}\n".encode())
        self.popen.stdin.flush()

    def wait(self) -> int:
        """Wait until it has ended; return its exit code, negative for a signal."""
        return self.popen.wait(PATIENCE_S)

    def await_sidecar(self) -> None:
        """Wait until its sidecar has done what it does and ended."""
        poll = select.poll()
        poll.register(self._sidecar_end, select.POLLIN)
        assert poll.poll(PATIENCE_S * 1000), "the sidecar does not end"

    def signal_sidecar(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._sidecar_end, number)

    def outcomes(self) -> list[dict[str, str]]:
        """Return what the sidecar has reported."""
        return [json.loads(line) for line in self.report.read_text().splitlines()]

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.await_sidecar()
        os.close(self._sidecar_end)


def write(connection: socket.socket, frame: bytes, value: int) -> None:
    connection.sendall(frame[:10] + value.to_bytes(2, "big"))
    assert len(connection.recv(12)) == 12


def end(word: str, watchdog: Watchdog) -> None:
    """End in the way that was said."""
    if word == "goodbye":
        watchdog.close()
        sys.exit(0)
    elif word == "hang":
        time.sleep(1000)
    elif word == "close":
        os.closerange(3, 1000)
        time.sleep(1000)
    elif word == "raise":
        raise RuntimeError("as told")
    elif word == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (1, 1))
        print(bytes(1 << 30))
    elif word == "cpu":  # the kernel kills it, as it does when there is no memory left
        used = int(time.process_time()) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (used, used))
        while True:
            watchdog.beat()


def main(spec: Path) -> None:
    told = json.loads(spec.read_text())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = Path(told["folder"])
    if not told["pidfd"]:
        del os.pidfd_open
    locks = SiteLocks(["Plant-7"], "plant.yaml", [folder / "locks"])
    units = [
        StopUnit(name, host, port, bytes.fromhex(stop), bytes.fromhex(release))
        for (name, host, port, stop), release in zip(told["units"], told["releases"], strict=True)
    ]
    watchdog = Watchdog(units, told["hang_s"], folder / "watchdog.jsonl", locks=locks.descriptors)
    connections = [socket.create_connection((unit.host, unit.port)) for unit in units]
    watchdog.release(slice(None), SOURCE_BEFORE)
    watchdog.arm(slice(None))
    said = False
    while watchdog.alive:
        for connection, unit in zip(connections, units, strict=True):
            write(connection, unit.stop, DISCHARGE_KW)
        watchdog.beat()
        if not said:
            print(watchdog.pid, flush=True)
            said = True
        if select.select([sys.stdin], [], [], 0.01)[0]:
            end(sys.stdin.readline().strip(), watchdog)
    for connection, unit in zip(connections, units, strict=True):
        write(connection, unit.stop, 0)
    print("watchdog lost", flush=True)


def check_stopped(batteries: Sequence[Battery], since_s: float, within_s: float = 2.0) -> None:
    """Every battery was told 0 kW in time and last of all, and then has its Command Source back."""
    for battery in batteries:
        assert DISCHARGE_KW in battery.values(POWER)
        assert battery.stopped_at() - since_s <= within_s, battery.host
        assert battery.writes[-1].value == SOURCE_BEFORE


if __name__ == "__main__":
    main(Path(sys.argv[1]))
