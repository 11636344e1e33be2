"""The station's side of the dead man: what it shall know, and whether it still watches."""

import ipaddress
import json
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluxfast.errors import FluxfastError
from fluxfast.watchdog.sidecar import task

SIDECAR: Final = Path(__file__).absolute().parent / "sidecar" / "__main__.py"
READY_WITHIN_S: Final = 5.0
GOODBYE_WITHIN_S: Final = 5.0

Index = int | slice | NDArray[np.integer] | NDArray[np.bool_]


@dataclass(frozen=True)
class StopUnit:
    """How one unit is stopped.

    ``host`` is an IPv4 or IPv6 address, names are resolved beforehand. ``stop`` and ``release`` are whole
    Modbus TCP frames (ADUs) of a write; their transaction identifiers do not matter. The last bytes of
    ``release`` are filled in with what ``Watchdog.release`` was told: with its byte ``order[0]``, 0 being the
    most significant, then ``order[1]`` … The times are the profile's quirks.
    """

    name: str
    host: str
    port: int
    stop: bytes
    release: bytes | None = None
    order: Sequence[int] = (0, 1)
    connect_delay_s: float = 0.0
    request_gap_s: float = 0.0


class Watchdog:
    """A process that stops the units which this one has commanded, when this one dies or hangs.

    Units are named by their index in ``units``; every method takes one index, a slice, or an array. The order
    that leaves no gap: ``release``, ``arm``, take the Command Source, write setpoints … write 0, give the
    Command Source back, ``disarm``. While any unit is armed ``beat`` must be called more often than every
    ``hang_s``, also while the station stops its units itself. A station that is stopped by SIGSTOP (Ctrl-Z)
    for that long is killed.

    ``silent``: bool [units], to be filled in: these do not answer, so others behind their endpoint go first.
    """

    def __init__(
        self,
        units: Sequence[StopUnit],
        hang_s: float,
        report: Path | None,
        *,
        locks: Sequence[int] = (),
        stop_within_s: float = task.STOP_WITHIN_S,
    ) -> None:
        """Start it; a ``FluxfastError`` when it is not ready within 5 s, for then nothing may be commanded.

        ``report``: the file that it appends JSON lines to. ``locks``: descriptors that stay open in it, so
        that the locks on the sites last until their units are stopped (``SiteLocks.descriptors``).
        """
        if os.getpid() == 1:
            raise FluxfastError(
                "as process 1 of a container fluxfast takes its watchdog along when it dies; "
                "start it below an init (docker run --init)"
            )
        rows = [_row(unit) for unit in units]
        n = len(units)
        source, commanded, known, silent, text = task.places(n)
        theirs, self._pipe = socket.socketpair()
        pidfd = _pidfd()
        said = json.dumps(
            {
                "station": os.getpid(),
                "pidfd": pidfd,
                "pipe": theirs.fileno(),
                "locks": list(locks),
                "hang_s": hang_s,
                "report": None if report is None else str(report.absolute()),
                "stop_within_s": stop_within_s,
                "unit": rows,
            }
        ).encode()
        memory = _memory(text + len(said))
        shared = mmap.mmap(memory, text + len(said))
        task.HEAD.pack_into(shared, 0, 0, 0, n, len(said))
        shared[text:] = said
        self._heartbeat = np.frombuffer(shared, np.uint64, 1, 0)
        self._pulse = np.frombuffer(shared, np.uint64, 1, task.PULSE_AT)
        self._commanded = np.frombuffer(shared, np.uint8, n, commanded)
        self._known = np.frombuffer(shared, np.uint8, n, known)
        self.silent = np.frombuffer(shared, np.bool_, n, silent)
        self._source = np.frombuffer(shared, np.int64, n, source)
        self._hang_s = hang_s
        self._seen, self._unchanged_since = -1, 0.0
        kept = [memory, theirs.fileno(), *([pidfd] if pidfd >= 0 else []), *locks]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SIDECAR), str(memory)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=kept,
                cwd="/",
                start_new_session=True,  # Ctrl-C and Ctrl-Z are for the station
            )
        except OSError as e:
            self._pipe.close()
            raise FluxfastError(f"the watchdog cannot be started: {e}") from e
        finally:
            theirs.close()
            os.close(memory)
            if pidfd >= 0:
                os.close(pidfd)
        self._await_ready()

    @property
    def pid(self) -> int:
        """The process that watches."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still watches: neither gone nor standing still. Costs one system call."""
        try:
            self._pipe.recv(1, socket.MSG_DONTWAIT)
            return False  # it says nothing more, so this was the end
        except BlockingIOError:
            pass
        except OSError:
            return False
        pulse = int(self._pulse[0])
        if pulse != self._seen:
            self._seen, self._unchanged_since = pulse, 0.0
            return True
        # Counted from the first time it has not moved: this process may have slept in between.
        now = time.monotonic()
        self._unchanged_since = self._unchanged_since or now
        return now - self._unchanged_since <= self._hang_s

    def beat(self) -> None:
        """Say that a tick has been finished."""
        self._heartbeat += np.uint64(1)

    def release(self, index: Index, raw: ArrayLike) -> None:
        """Say what the units' Command Source was before: whole numbers, one or one each."""
        self._source[index] = raw
        self._known[index] = 1

    def arm(self, index: Index) -> None:
        """Say that these units are to be stopped; before anything is written to them."""
        self._commanded[index] = 1

    def disarm(self, index: Index) -> None:
        """Say that these units have confirmed 0 kW, and have their Command Source back."""
        self._commanded[index] = 0
        self._known[index] = 0

    def close(self, clean: bool = True) -> None:
        """End it without a write, or (``clean=False``) let it stop the units that are still armed.

        For the latter this process writes no more and has closed its connections; it may end at once.
        """
        with suppress(OSError):
            self._pipe.send(task.GOODBYE if clean else task.HAND_OVER)
        if clean and self.wait(GOODBYE_WITHIN_S) is None:
            self._process.kill()  # it was stopped: it must not wake up and find the pipe closed
            self._process.wait()
        self._pipe.close()

    def wait(self, timeout_s: float) -> int | None:
        """Return its exit code (``sidecar.task.EXIT_…``), or None when it has not ended in that time."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def _await_ready(self) -> None:
        self._pipe.settimeout(READY_WITHIN_S)
        word = b""
        with suppress(OSError):
            word = self._pipe.recv(len(task.READY))
        self._pipe.settimeout(None)
        if word != task.READY:
            self._process.kill()
            code = self._process.wait()
            self._pipe.close()
            raise FluxfastError(
                f"the watchdog does not start (exit code {code}), so nothing can be controlled"
            )


def _row(unit: StopUnit) -> list[object]:
    # What is wrong must show now: later there is nobody to hear of it.
    ipaddress.ip_address(unit.host)
    for frame in (unit.stop, unit.stop if unit.release is None else unit.release):
        if len(frame) < 12 or len(frame) != 6 + int.from_bytes(frame[4:6], "big"):
            raise ValueError(f"unit {unit.name}: {frame.hex(' ')} is no whole write")
    release = None if unit.release is None else unit.release.hex()
    times = [unit.connect_delay_s, unit.request_gap_s]
    return [unit.name, unit.host, unit.port, unit.stop.hex(), release, list(unit.order), *times]


def _pidfd() -> int:
    """Return a descriptor of this process; -1 where the system has no such thing, or a sandbox forbids it."""
    try:
        return os.pidfd_open(os.getpid())
    except (AttributeError, OSError):
        return -1


def _memory(size: int) -> int:
    """Return a descriptor of so many bytes without a name."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("fluxfast-watchdog")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
