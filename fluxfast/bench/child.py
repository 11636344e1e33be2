"""A process of the bench, seen from the command: started, told its job, heard line by line, ended."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Self

from fluxfast.bench.job import Job
from fluxfast.errors import FluxfastError

LOOK_EVERY_S: Final = 0.1  # while waiting
ENDS_WITHIN_S: Final = 10.0  # a log is written out

Waiting = Callable[[], None]


class OutOfMemoryError(FluxfastError):
    """A process of the bench has found no memory, or was killed, as the system does where there is none."""


class Child:
    """``python -m MODULE`` for the length of a with block. It ends with us, however we end."""

    def __init__(self, module: str, what: str) -> None:
        """Start nothing yet; ``what`` names it in errors."""
        self._command = [sys.executable, "-m", module]
        self._what = what
        self._unread = b""

    def __enter__(self) -> Self:
        """Start it; it does nothing before it is told its job."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        try:
            with suppress(BrokenPipeError):  # of what it was told after it had died
                process.stdin.close()
            process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.wait()

    def begin(self, job: Job) -> None:
        """Tell it what to do."""
        self._write(job.line())

    def ask(self, waiting: Waiting, within_s: float) -> dict[str, Any]:
        """Return its answer to an empty line."""
        self._write(b"\n")
        return self.hear(waiting, within_s)

    def hear(self, waiting: Waiting, within_s: float) -> dict[str, Any]:
        """Return what it says next; ``waiting`` is called meanwhile, ten times a second.

        Raises FluxfastError with its own words, or if it has ended or says nothing in time.
        """
        assert self._process.stdout is not None
        end = time.monotonic() + within_s
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if time.monotonic() > end:
                    raise FluxfastError(f"{self._what} has not answered for {within_s:.0f} s")
                waiting()
                if ready.select(LOOK_EVERY_S):
                    data = os.read(self._process.stdout.fileno(), 65536)
                    if not data:
                        raise self._ended()
                    self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise (OutOfMemoryError if said["memory"] else FluxfastError)(f"{self._what}: {said['error']}")
        return said

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _ended(self) -> FluxfastError:
        try:
            code = self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            code = None
        if code == -signal.SIGKILL:
            return OutOfMemoryError(f"{self._what} was killed, as the system does where memory is short")
        return FluxfastError(f"{self._what} has ended by itself (exit code {code})")
