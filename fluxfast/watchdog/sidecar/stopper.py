"""Writes to many units at once until each has answered as it should, or the time is over."""

import errno
import heapq
import itertools
import os
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

PAUSES_S: Final = (0.05, 1.0)  # between tries, doubling
PATIENCE_S: Final = (1.0, 8.0)  # for an answer or a connection, doubling
BATCH: Final = 256  # connections begun between two looks at those that are there


class Job:
    """One write to one unit, repeated until its answer is right."""

    def __init__(self, unit: str, what: str, frame: bytes, then: "Job | None") -> None:
        """Write ``frame``, an ADU whose transaction identifier is filled in, and then do ``then``."""
        self.unit, self.what, self.frame, self.then = unit, what, frame, then
        # Writes of several coils or registers are answered by address and quantity, others by an echo.
        self.answer = frame[7:12] if frame[7] in (15, 16) else frame[7:]
        self.patience_s, self.pause_s = PATIENCE_S[0], PAUSES_S[0]
        self.ready = 0.0  # not before
        self.is_last = False  # all others behind the same endpoint go first
        self.tries = 0
        self.done = 0.0  # when, by the wall clock
        self.why = "not tried"


class Line:
    """One endpoint: its connection, and the jobs that take turns on it."""

    def __init__(self, address: tuple[int, Any]) -> None:
        """Start without a connection."""
        self.address = address
        self.jobs: deque[Job] = deque()
        self.current: Job | None = None  # whose answer is awaited
        self.sock: socket.socket | None = None
        self.received = b""
        self.due = 0.0  # when something is to be done without an event
        self.delay_s = self.gap_s = 0.0
        self.patience_s, self.pause_s = PATIENCE_S[0], PAUSES_S[0]
        self.tid = 0


class Stopper:
    """Does all jobs of all lines."""

    def __init__(self, lines: Iterable[Line], room: int) -> None:
        """Keep at most ``room`` connections open at a time."""
        self._waiting = deque(lines)
        self._left = sum(len(line.jobs) for line in self._waiting)
        self._room = room
        self._open: dict[Line, bool] = {}  # True: it is still connecting
        self._timers: list[tuple[float, int, Line]] = []
        self._number = itertools.count()
        self._selector = selectors.DefaultSelector()

    def run(self, seconds: float) -> None:
        """Return when all is done or the time is over."""
        end = time.monotonic() + seconds
        while self._left and (now := time.monotonic()) < end:
            for _ in range(min(BATCH, len(self._waiting), self._room - len(self._open))):
                self._do(self._connect, self._waiting.popleft())
            more = self._waiting and len(self._open) < self._room
            until = min(end, self._timers[0][0]) if self._timers else end
            for key, _ in self._selector.select(0 if more else max(0.0, until - now)):
                self._do(self._event, key.data)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                due, _, line = heapq.heappop(self._timers)
                if line.due == due:
                    self._do(self._time_is_up, line)
        for line in list(self._open):
            self._close(line)
        self._selector.close()

    def _do(self, step: Callable[[Line], None], line: Line) -> None:
        try:
            step(line)
        except OSError as error:
            self._fail(line, error.strerror or str(error))
        except Exception as error:  # whatever is wrong with one line, the others are still to be stopped
            self._fail(line, repr(error))

    def _wake(self, line: Line, due: float) -> None:
        line.due = due
        heapq.heappush(self._timers, (due, next(self._number), line))

    def _connect(self, line: Line) -> None:
        family, address = line.address
        line.sock = sock = socket.socket(family, socket.SOCK_STREAM)
        self._open[line] = True
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        self._selector.register(sock, selectors.EVENT_WRITE, line)
        self._wake(line, time.monotonic() + line.patience_s)

    def _event(self, line: Line) -> None:
        sock = line.sock
        if sock is None:  # closed by what came before it in the same batch
            return
        if not self._open[line]:
            data = sock.recv(4096)
            if not data:
                raise ConnectionError("it closes the connection")
            self._take(line, data)
            return
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))
        self._open[line] = False
        self._selector.modify(sock, selectors.EVENT_READ, line)
        self._go_on(line, line.delay_s)

    def _go_on(self, line: Line, pause_s: float) -> None:
        line.current = None
        if pause_s:
            self._wake(line, time.monotonic() + pause_s)
        else:
            self._ask(line)

    def _ask(self, line: Line) -> None:
        assert line.sock is not None
        now = time.monotonic()
        job = next((job for job in line.jobs if job.ready <= now), None)
        if job is None:
            self._wake(line, min(job.ready for job in line.jobs))
            return
        line.tid = line.tid % 0xFFFF + 1
        line.current = job
        job.tries += 1
        line.sock.send(line.tid.to_bytes(2, "big") + job.frame[2:])
        self._wake(line, now + job.patience_s)

    def _take(self, line: Line, data: bytes) -> None:
        line.received += data
        while len(line.received) >= 6:
            tid, protocol, length = struct.unpack_from(">HHH", line.received)
            if protocol or not 3 <= length <= 254:
                raise ConnectionError("it answers something else than Modbus")
            if len(line.received) < 6 + length:
                return
            pdu, line.received = line.received[7 : 6 + length], line.received[6 + length :]
            # Some devices answer 0 for every transaction. The unit may have another name for itself.
            if line.current is None or tid not in (line.tid, 0):
                raise ConnectionError("it answers what was not asked")
            self._answered(line, line.current, pdu)
            if line.sock is None:
                return

    def _answered(self, line: Line, job: Job, pdu: bytes) -> None:
        if pdu == job.answer:
            self._finish(line, job)
        elif len(pdu) == 2 and pdu[0] == job.frame[7] | 0x80:
            self._put_off(line, job, f"exception {pdu[1]}")
        else:
            raise ConnectionError("it answers a write by something else than its echo")
        line.pause_s = PAUSES_S[0]
        if line.jobs:
            self._go_on(line, line.gap_s)
        else:
            self._close(line)

    def _finish(self, line: Line, job: Job) -> None:
        job.done = time.time()
        line.jobs.remove(job)
        if job.then is None:
            self._left -= 1
        else:
            job.then.patience_s = job.patience_s
            # Behind the other units' 0 kW, but for those that keep everybody waiting.
            place = (at for at, other in enumerate(line.jobs) if other.is_last)
            line.jobs.insert(next(place, len(line.jobs)), job.then)

    def _put_off(self, line: Line, job: Job, why: str) -> None:
        job.why = why
        job.ready = time.monotonic() + job.pause_s
        job.pause_s = min(2 * job.pause_s, PAUSES_S[1])
        job.is_last = True
        line.jobs.remove(job)
        line.jobs.append(job)

    def _time_is_up(self, line: Line) -> None:
        job = line.current
        if line.sock is None:
            self._waiting.append(line)
        elif self._open[line]:
            line.patience_s = min(2 * line.patience_s, PATIENCE_S[1])
            raise TimeoutError("it does not take the connection")
        elif job is None:
            self._ask(line)
        else:
            job.patience_s = min(2 * job.patience_s, PATIENCE_S[1])
            raise TimeoutError("it does not answer")  # on a new connection no late answer can be mistaken

    def _fail(self, line: Line, why: str) -> None:
        self._close(line)
        if line.current is not None:
            self._put_off(line, line.current, why)
            line.current = None
        else:
            for job in line.jobs:
                job.why = why
        self._wake(line, time.monotonic() + line.pause_s)
        line.pause_s = min(2 * line.pause_s, PAUSES_S[1])

    def _close(self, line: Line) -> None:
        sock, line.sock = line.sock, None
        line.due, line.received = 0.0, b""
        self._open.pop(line, None)
        if sock is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(sock)
            sock.close()
