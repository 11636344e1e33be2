"""Waits until the station ends, in whichever way."""

import os
import select
import signal
import struct
import time
from contextlib import suppress
from typing import Final

from .task import GOODBYE, HAND_OVER, PULSE_AT, Task

LOOK_S: Final = 0.1
CLOSING_S: Final = 0.2  # a process that ends by an exception closes its pipe a little before
GONE_WITHIN_S: Final = 1.0  # a killed process that takes longer (in the kernel) cannot write any more either


class Watch:
    """Waits until the station ends, in whichever way."""

    def __init__(self, task: Task) -> None:
        """Begin to watch."""
        self._task = task
        self._poll = select.poll()
        self._poll.register(task.pipe, select.POLLIN)
        if task.pidfd >= 0:
            self._poll.register(task.pidfd, select.POLLIN)

    def wait(self) -> str | None:
        """Return what happened to the station, which cannot write any more then; None: it said goodbye."""
        task, pulse, beat = self._task, 0, -1
        look_s = min(LOOK_S, task.hang_s / 8)
        looked = since = time.monotonic()
        while True:
            self._poll.poll(look_s * 1000)
            word = self._word()
            if word == GOODBYE:
                return None
            if word == HAND_OVER:
                return f"station {task.station} handed over"
            if word == b"" or self._gone():
                self._await_end(CLOSING_S)
                self._end_station()  # a pipe may have been closed by mistake
                return f"station {task.station} ended without a goodbye"
            now = time.monotonic()
            before, (beat,) = beat, struct.unpack_from("=Q", task.shared)
            # If this process itself was stopped (with the machine, by a debugger), the station may have been
            # too: what was not looked at counts for nothing.
            if beat != before or now - looked > task.hang_s / 2 or not task.anything_commanded():
                since = now
            elif now - since > task.hang_s:
                self._end_station()
                return f"station {task.station} gave no sign of life for {now - since:.1f} s and was killed"
            looked = now
            pulse += 1
            struct.pack_into("=Q", task.shared, PULSE_AT, pulse)

    def _end_station(self) -> None:
        # Until its sockets are closed: some devices have room for one connection only.
        task = self._task
        with suppress(ProcessLookupError, PermissionError):
            if task.pidfd >= 0:
                signal.pidfd_send_signal(task.pidfd, signal.SIGKILL)
            elif not self._gone():
                os.kill(task.station, signal.SIGKILL)
        self._await_end(GONE_WITHIN_S)

    def _await_end(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._gone() and time.monotonic() < end:
            time.sleep(0.002)

    def _word(self) -> bytes | None:
        try:
            return self._task.pipe.recv(64)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _gone(self) -> bool:
        if self._task.pidfd < 0:
            return os.getppid() != self._task.station
        poll = select.poll()
        poll.register(self._task.pidfd, select.POLLIN)
        return bool(poll.poll(0))
