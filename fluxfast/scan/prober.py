"""Thousands of conversations at once: sockets, pacing and patience of a scan.

Each host is a generator that yields what it wants (``Connect``, ``Ask``) and is sent what came of it, so what
a scan asks, and in which order, is written as if there were only one host and no time. All sockets are in one
poll set. It is not the reactor of ``fluxfast run``, which exists to keep connections: this one connects once,
ends every connection with FIN, waits for the peer's before it connects again, and keeps what peers say that
is no Modbus.
"""

import errno
import heapq
import itertools
import os
import resource
import selectors
import socket
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Generic, TypeVar

from fluxfast.errors import TransportError
from fluxfast.scan.exchange import Exchange, Kind, Reply
from fluxfast.scan.questions import Question

MAX_OPEN: Final = 4096  # connections at once
SPARE_DESCRIPTORS: Final = 64
PATIENCE: Final = 5  # an answer that has begun may take so many timeouts, as long as bytes keep coming
DRAIN_S: Final = 0.5  # for the peer's FIN after ours
MAX_DRAINED: Final = 1 << 16  # bytes read meanwhile
NO_ROOM_S: Final = 0.1
_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN)

T = TypeVar("T")


class Opened(Enum):
    """What became of a connect."""

    UP = auto()
    CLOSED = auto()  # refused
    UNREACHABLE = auto()  # no answer, or the network says so
    ENDED = auto()  # accepted, and closed before anything was asked


_OPENED_BY_ERRNO: Final = {errno.ECONNREFUSED: Opened.CLOSED, errno.ECONNRESET: Opened.ENDED}


@dataclass(frozen=True, slots=True)
class Connect:
    """Wish for a new connection, in place of the present one; is sent an ``Opened``.

    It waits ``pause_s`` first, and afterwards listens for ``listen_s`` whether the peer closes at once.
    """

    ip: str
    port: int
    pause_s: float = 0.0
    listen_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Ask:
    """Wish for an answer; is sent a list of replies, the question's own last, late ones before it."""

    unit: int
    question: Question
    patience_s: float


Wish = Connect | Ask
Outcome = Opened | list[Reply] | None
Talk = Generator[Wish, Outcome, T]


class _State(Enum):
    PAUSING = auto()
    DUE = auto()  # waits for the pacing
    CONNECTING = auto()
    LISTENING = auto()
    ASKING = auto()
    DRAINING = auto()


@dataclass(eq=False, slots=True)
class _Visit(Generic[T]):
    """One host that is being talked to."""

    talk: Talk[T]
    state: _State = _State.DUE
    wish: Wish | None = None
    sock: socket.socket | None = None
    ended: bool = False  # the peer has closed
    exchange: Exchange = field(default_factory=Exchange)
    deadline_s: float = 0.0
    last_s: float = 0.0  # when an answer that has begun must have ended
    drained: int = 0


class Prober(Generic[T]):
    """Talks to many hosts at once, one connection each."""

    def __init__(self, rate_per_s: float, timeout_s: float, max_unanswered: int | None = None) -> None:
        """Begin at most ``rate_per_s`` connections a second; connecting may take ``timeout_s``.

        At most ``max_unanswered`` of them may wait for the peer's first word (none: any number).
        """
        self._interval_s = 1 / rate_per_s
        self._timeout_s = timeout_s
        self._slot_s = 0.0
        self._max_unanswered = max_unanswered
        self._unanswered = 0
        self._selector = selectors.DefaultSelector()
        self._max_open = min(MAX_OPEN, _room())
        self._waiting: Iterator[Talk[T]] = iter(())
        self._more = False  # whether there may be talks that have not begun
        self._due: deque[_Visit[T]] = deque()
        self._timers: list[tuple[float, int, _Visit[T]]] = []
        self._numbers = itertools.count()
        self._visits: set[_Visit[T]] = set()
        self._results: deque[T] = deque()
        self._now_s = time.monotonic()
        self.connects = 0
        self.requests = 0

    def run(self, talks: Iterable[Talk[T]]) -> Iterator[T]:
        """Hold the talks; yield what each returns as it ends. Connections are closed whatever happens."""
        self._waiting, self._more = iter(talks), True
        try:
            while self._more or self._visits:
                self._now_s = time.monotonic()
                self._begin_due()
                while self._results:
                    yield self._results.popleft()
                ready = self._selector.select(self._wait_s())
                heard_s = time.monotonic()
                for key, _ in ready:
                    self._on_ready(key.data)
                    self._begin_due()  # so that much to hear does not hold up whom nobody has asked yet
                self._run_timers(heard_s)
            while self._results:
                yield self._results.popleft()
        finally:
            for visit in self._visits:
                self._close(visit)
            self._selector.close()

    # ---- connecting ----

    def _begin_due(self) -> None:
        """Begin the connections whose time has come: those that are due, then those of new talks."""
        while self._slot_s <= self._now_s:
            if not self._due and not self._begin_talk():
                return
            if not self._due:
                continue  # it has ended without a connection
            if self._max_unanswered is not None and self._unanswered >= self._max_unanswered:
                return
            visit = self._due.popleft()
            assert isinstance(visit.wish, Connect)
            # A late wake-up may catch up on 10 ms.
            self._slot_s = max(self._slot_s, self._now_s - 0.01) + self._interval_s
            self._connect(visit, visit.wish)

    def _begin_talk(self) -> bool:
        """Begin a talk; return whether there was one, and room for it."""
        if not self._more or len(self._visits) >= self._max_open:
            return False
        talk = next(self._waiting, None)
        if talk is None:
            self._more = False
            return False
        visit = _Visit(talk)
        self._visits.add(visit)
        self._go_on(visit, None)
        return True

    def _connect(self, visit: _Visit[T], wish: Connect) -> None:
        visit.ended, visit.drained = False, 0
        visit.exchange = Exchange()
        try:
            visit.sock = socket.socket(socket.AF_INET6 if ":" in wish.ip else socket.AF_INET)
            visit.sock.setblocking(False)
            visit.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = visit.sock.connect_ex((wish.ip, wish.port))
        except OSError as error:  # no descriptor; no IPv6 here
            number = error.errno or errno.EINVAL
        if number in _NO_ROOM:
            self._no_room(visit, number)
            return
        self.connects += 1
        self._unanswered += 1
        visit.state = _State.CONNECTING
        if number in (0, errno.EINPROGRESS) and visit.sock is not None:
            self._selector.register(visit.sock, selectors.EVENT_WRITE, visit)
            self._wait(visit, self._timeout_s)
        else:
            self._connected(visit, number)

    def _connected(self, visit: _Visit[T], number: int) -> None:
        """Go on with what became of a connect: 0 or an errno."""
        self._unanswered -= 1
        assert isinstance(visit.wish, Connect)
        if number or visit.sock is None:
            self._close(visit)
            self._go_on(visit, _OPENED_BY_ERRNO.get(number, Opened.UNREACHABLE))
            return
        self._selector.modify(visit.sock, selectors.EVENT_READ, visit)
        if visit.wish.listen_s:
            visit.state = _State.LISTENING
            self._wait(visit, visit.wish.listen_s)
        else:
            self._go_on(visit, Opened.UP)

    def _no_room(self, visit: _Visit[T], number: int) -> None:
        """No descriptor or buffer is left: fewer at once from now on, and this one again a little later."""
        self._close(visit)
        others = len(self._visits) - 1
        if not others:
            raise TransportError(f"cannot open a connection: {os.strerror(number)} (see ulimit -n)")
        self._max_open = max(others // 2, 1)
        self._slot_s = self._now_s + NO_ROOM_S
        self._due.append(visit)

    # ---- talking ----

    def _go_on(self, visit: _Visit[T], outcome: Outcome) -> None:
        """Tell a host's talk what came, and begin what it wants next."""
        visit.deadline_s = 0.0
        while True:
            try:
                wish = visit.wish = visit.talk.send(outcome)
            except StopIteration as end:
                self._results.append(end.value)
                visit.wish = None
                self._leave(visit)
                return
            if isinstance(wish, Connect):
                self._leave(visit)
                return
            failure = self._ask(visit, wish)
            if failure is None:
                return
            outcome = self._replies(visit, visit.exchange.end(failure, self._now_s))

    def _ask(self, visit: _Visit[T], wish: Ask) -> Kind | None:
        """Send a question; or return why there is nobody to send it to."""
        data = visit.exchange.ask(wish.unit, wish.question, self._now_s)
        if visit.exchange.is_broken:
            return Kind.GARBAGE
        if visit.sock is None or visit.ended:
            return Kind.LOST
        try:
            if visit.sock.send(data) != len(data):
                return Kind.LOST
        except OSError:
            visit.ended = True
            return Kind.LOST
        self.requests += 1
        visit.state = _State.ASKING
        visit.last_s = self._now_s + PATIENCE * wish.patience_s
        self._wait(visit, wish.patience_s)
        return None

    def _replies(self, visit: _Visit[T], reply: Reply | None) -> list[Reply]:
        assert reply is not None
        replies = [*visit.exchange.late, reply]
        visit.exchange.late.clear()
        return replies

    def _on_ready(self, visit: _Visit[T]) -> None:
        if visit.sock is None:
            return  # closed by an earlier event of the same batch
        self._now_s = time.monotonic()
        if visit.state is _State.CONNECTING:
            self._connected(visit, visit.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            return
        try:
            data = visit.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if visit.state is _State.DRAINING:
            visit.drained += len(data)
            if not data or visit.drained > MAX_DRAINED:
                self._left(visit)
        elif not data:
            self._ended(visit)
        else:
            self._received(visit, data)

    def _received(self, visit: _Visit[T], data: bytes) -> None:
        exchange = visit.exchange
        reply = exchange.receive(data, self._now_s)
        if reply is not None:
            self._go_on(visit, self._replies(visit, reply))
        elif exchange.is_waiting and exchange.in_frame:
            assert isinstance(visit.wish, Ask)
            self._wait(visit, min(visit.wish.patience_s, visit.last_s - self._now_s))

    def _ended(self, visit: _Visit[T]) -> None:
        visit.ended = True
        assert visit.sock is not None
        self._selector.unregister(visit.sock)
        if visit.state is _State.LISTENING:
            self._go_on(visit, Opened.ENDED)
        elif visit.exchange.is_waiting:
            self._go_on(visit, self._replies(visit, visit.exchange.end(Kind.LOST, self._now_s)))

    # ---- time ----

    def _wait(self, visit: _Visit[T], seconds: float) -> None:
        visit.deadline_s = self._now_s + seconds
        heapq.heappush(self._timers, (visit.deadline_s, next(self._numbers), visit))

    def _wait_s(self) -> float | None:
        times = [self._timers[0][0]] if self._timers else []
        more = self._due or (self._more and len(self._visits) < self._max_open)
        if more and self._slot_s > self._now_s:
            times.append(self._slot_s)
        return max(min(times) - self._now_s, 0) if times else 0.05

    def _run_timers(self, heard_s: float) -> None:
        """End what has come to its time by ``heard_s``: what came since then has not been looked at."""
        self._now_s = time.monotonic()
        while self._timers and self._timers[0][0] <= heard_s:
            at_s, _, visit = heapq.heappop(self._timers)
            if at_s == visit.deadline_s:  # nothing has come in the meantime
                self._expire(visit)

    def _expire(self, visit: _Visit[T]) -> None:
        if visit.state is _State.PAUSING:
            visit.state = _State.DUE
            self._due.append(visit)
        elif visit.state is _State.CONNECTING:
            self._connected(visit, errno.ETIMEDOUT)
        elif visit.state is _State.LISTENING:
            self._go_on(visit, Opened.UP)
        elif visit.state is _State.DRAINING:
            self._left(visit)
        elif visit.exchange.is_waiting:
            self._go_on(visit, self._replies(visit, visit.exchange.expire(self._now_s)))

    # ---- leaving ----

    def _leave(self, visit: _Visit[T]) -> None:
        """Say goodbye by FIN and wait for the peer's, so that it has its slot free before anything else."""
        if visit.sock is None or visit.ended:
            self._left(visit)
            return
        visit.state = _State.DRAINING
        with suppress(OSError):  # gone already
            visit.sock.shutdown(socket.SHUT_WR)
        self._wait(visit, DRAIN_S)

    def _left(self, visit: _Visit[T]) -> None:
        visit.deadline_s = 0.0
        self._close(visit)
        if visit.wish is None:
            self._visits.discard(visit)
            return
        assert isinstance(visit.wish, Connect)
        visit.state = _State.PAUSING
        if visit.wish.pause_s:
            self._wait(visit, visit.wish.pause_s)
        else:
            self._expire(visit)

    def _close(self, visit: _Visit[T]) -> None:
        if visit.sock is None:
            return
        with suppress(KeyError, ValueError):
            self._selector.unregister(visit.sock)
        visit.sock.close()
        visit.sock = None


def _room() -> int:
    """Raise the limit of open files as far as allowed; return how many connections there may be at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS calls it infinite, and refuses
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return MAX_OPEN if soft == resource.RLIM_INFINITY else max(soft - SPARE_DESCRIPTORS, soft // 2)
