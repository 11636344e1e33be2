"""The `fluxfast` command as users start it: a process of its own, its output, its exit code, its log."""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from click.testing import CliRunner

from fluxfast.cli.group import cli

FLUXFAST = [sys.executable, "-m", "fluxfast"]
PATIENCE_S = 30.0  # for what takes a second or two on a machine with nothing else to do


def free_port(host: str) -> int:
    """Return a port that is free on ``host`` now; tests have addresses of their own, so it stays free."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def fluxfast(*args: object, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    command = [*FLUXFAST, *map(str, args)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def invoked(*args: object, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command in this process, which spares a second of imports; what it prints is no terminal's."""
    with contextlib.chdir(cwd or Path()):
        result = CliRunner().invoke(cli, list(map(str, args)), prog_name="fluxfast")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return subprocess.CompletedProcess(args, result.exit_code, result.stdout, result.stderr)


class Process:
    """A process that is still running; its stdout is read line by line."""

    def __init__(
        self, command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> None:
        self.popen = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._unread = b""

    def line(self) -> str:
        """Return the next line of stdout; fail if none comes."""
        assert self.popen.stdout is not None
        assert self.popen.stderr is not None
        end = time.monotonic() + PATIENCE_S
        with selectors.DefaultSelector() as selector:
            selector.register(self.popen.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                assert selector.select(end - time.monotonic()), "no line in time"
                data = os.read(self.popen.stdout.fileno(), 65536)
                assert data, f"ended: {self.popen.stderr.read().decode()}"
                self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def wait_for_ticks(self, ticks: int) -> dict[str, Any]:
        """Read the status lines of ``run --json`` until it has done so many ticks; return the last."""
        while True:
            status: dict[str, Any] = json.loads(self.line())
            if status["ticks"] >= ticks:
                return status

    def end(self, number: int = signal.SIGINT) -> tuple[int, str, str, float]:
        """Send a signal and wait; return exit code, rest of stdout, stderr, and the seconds it took."""
        began = time.monotonic()
        self.popen.send_signal(number)
        out, err = self.popen.communicate(timeout=PATIENCE_S)
        took_s = time.monotonic() - began
        return self.popen.returncode, (self._unread + out).decode(), err.decode(), took_s

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.communicate()


def started(*args: object, env: dict[str, str] | None = None) -> Process:
    """Start a command."""
    return Process([*FLUXFAST, *map(str, args)], env=env)


@contextlib.contextmanager
def simulating(site: Path) -> Iterator[Process]:
    """Run ``fluxfast simulate`` from when it answers to the end of the block, which it must survive."""
    with started("simulate", site, "--json") as process:
        assert json.loads(process.line())["event"] == "ready"
        yield process
        code, _, err, _ = process.end(signal.SIGTERM)
        assert (code, err) == (0, "")


def parquet_files(log: Path) -> list[Path]:
    return sorted(log.rglob("date=*/*.parquet"))


def read_log(log: Path, dataset: str) -> list[dict[str, Any]]:
    """Return all rows of a dataset in the order device, time; every file must be whole."""
    rows: list[dict[str, Any]] = []
    for file in parquet_files(log / dataset):
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            rows += parquet.read().to_pylist()
    return sorted(rows, key=lambda row: (row["device"] or "", row["time"]))


def device_rows(log: Path, dataset: str) -> dict[str, list[dict[str, Any]]]:
    """Return each device's rows in the order of time."""
    devices: dict[str, list[dict[str, Any]]] = {}
    for row in read_log(log, dataset):
        devices.setdefault(row["device"], []).append(row)
    return devices
