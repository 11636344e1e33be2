"""The reactor inside an asyncio loop: its descriptor, its one timer, its host names, its streams.

One callback per batch of socket events; nothing here is per block or per reply.
"""

import asyncio
import ipaddress
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fluxfast.errors import FluxfastError
from fluxfast.link.names import look_up
from fluxfast.link.reactor import Reactor
from fluxfast.link.streams import Connect, Streams

RESOLVE_AGAIN_S: Final = 10.0  # a name that did not resolve, or whose host is down, is looked up again
# The loop's timers count whole milliseconds: one that is nearer would fire again and again until it is due.
TIMER_GRAIN_S: Final = 0.002
NEXT_ADDRESS_S: Final = 1.0  # a name's next address is tried while none has worked
RESOLVERS: Final = 16  # look-ups at once
ONE_AT_A_TIME: Final = "one tick at a time: let one task iterate `ticks()` and tell the others"


class Driver:
    """Drives a Reactor on the running loop: ``open``, then ``settle``, then ``scan`` once per tick."""

    def __init__(
        self,
        reactor: Reactor,
        endpoints: Sequence[tuple[str, int]],
        streams: Mapping[int, Connect] | None = None,
        on_call: Callable[[int, int, int, bytes], None] | None = None,
    ) -> None:
        """Take a reactor and the (host, port) of each of its links.

        ``streams[link]`` opens an asyncio stream that carries this link instead of a socket of the reactor's;
        ``on_call`` is told of each call that has ended, as Reactor.take_calls has it.
        """
        self.reactor = reactor
        self._endpoints = endpoints
        self.streams = Streams(reactor, streams or {}, self.wake)
        self._on_call = on_call
        self._names: list[int] = []  # links whose host is a name
        self._found: dict[int, deque[Any]] = {}  # what these names stand for, as getaddrinfo says it
        self._tried: dict[int, int] = {}  # how often they had connected when they got their address
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0
        self._complete: asyncio.Future[None] | None = None
        self._settled = asyncio.Event()
        self._resolving: asyncio.Task[None] | None = None
        self._open = False
        self.cut_short = False  # ``stop`` has ended a scan before its deadline

    async def open(self) -> None:
        """Start connecting every link; names are resolved off the loop, again and again where they fail."""
        self._loop = asyncio.get_running_loop()
        for link, (host, port) in enumerate(self._endpoints):
            if self.streams.carries(link):
                self.reactor.set_stream(link)
                continue
            try:
                address = ipaddress.ip_address(host)
            except ValueError:
                self._names.append(link)
                continue
            if "%" in host:  # the number of an interface, which may come later, is looked up like a name
                self._names.append(link)
            else:
                self.reactor.set_address(link, address.packed, port)
        self._loop.add_reader(self.reactor.fileno(), self.wake)
        self._open = True
        if self._names:
            self._resolving = asyncio.create_task(self._resolve())
        self.wake()

    def address(self, link: int) -> str | None:
        """Return the IP address that a link connects to; None while its host name is not resolved."""
        if link in self._found:
            return str(self._found[link][0][4][0])
        return None if link in self._names else self._endpoints[link][0]

    async def settle(self, timeout_s: float) -> None:
        """Wait until every link has come up or failed once, ``timeout_s`` at most."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._settled.wait()
        except TimeoutError:
            pass

    async def scan(self, tick: int, deadline_s: float) -> int:
        """Read what tick number ``tick`` reads; return how many blocks gave no answer within deadline_s."""
        if self._complete is not None:
            raise FluxfastError(ONE_AT_A_TIME)
        self._complete = self._loop.create_future()
        deadline = self._loop.call_later(max(deadline_s, 0), self._end_scan)
        try:
            self.reactor.begin_tick(tick, int(max(deadline_s, 0) * 1e9))
            self.wake()  # also if nothing is waited for: a link that failed to send has a timer now
            await self._complete
        finally:  # whoever cancels this may scan again
            deadline.cancel()
            self._complete = None
            unanswered = self.reactor.end_tick()
        return unanswered

    def stop(self, within_s: float) -> None:
        """End ``settle`` at once, and a scan that is running in ``within_s`` at most."""
        self._settled.set()
        if self._complete is not None:
            self._loop.call_later(within_s, self._cut_short)

    def _cut_short(self) -> None:
        if self._complete is not None and not self._complete.done():
            self.cut_short = True
            self._complete.set_result(None)

    def close(self) -> None:
        """Close every connection."""
        if self._resolving is not None:
            self._resolving.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._open:
            self._loop.remove_reader(self.reactor.fileno())
            self._open = False
        self.streams.close()
        self.reactor.close()

    def wake(self) -> None:
        """Let the reactor handle what has arrived and whose time has come."""
        if not self._open:
            return
        if self.reactor.process():
            self._end_scan()
        self.follow()

    def follow(self) -> None:
        """See to what the reactor wants by now; to be called after whatever gives it something to do."""
        if self._on_call is not None and self.reactor.calls_ended:
            for outcome in self.reactor.take_calls():
                self._on_call(*outcome)
        self.streams.fulfil()
        if self.reactor.settled == self.reactor.n_links:
            self._settled.set()
        wait_s = (self.reactor.next_timer_ns() - self.reactor.now_ns()) / 1e9
        wake_at = self._loop.time() + min(max(wait_s, TIMER_GRAIN_S), 3600.0)
        if self._timer is None or wake_at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(wake_at, self._on_timer)
            self._timer_at = wake_at

    def _on_timer(self) -> None:
        self._timer = None
        self.wake()

    def _end_scan(self) -> None:
        if self._complete is not None and not self._complete.done():
            self._complete.set_result(None)

    async def _resolve(self) -> None:
        gate = asyncio.Semaphore(RESOLVERS)
        while True:
            await asyncio.gather(
                *(self._resolve_one(link, gate) for link in self._names if self.reactor.failure(link))
            )
            again_at = self._loop.time() + RESOLVE_AGAIN_S
            while self._loop.time() < again_at:
                await asyncio.sleep(NEXT_ADDRESS_S)
                for link, found in self._found.items():
                    # Each address has its try before the next one.
                    if self.reactor.failure(link) and self.reactor.connects(link) > self._tried[link]:
                        found.rotate(-1)
                        self._set_address(link)

    async def _resolve_one(self, link: int, gate: asyncio.Semaphore) -> None:
        async with gate:
            found = await look_up(*self._endpoints[link])
        if found:
            # `localhost` often means ::1 first, where few devices listen.
            self._found[link] = deque(sorted(found, key=lambda one: one[0] != socket.AF_INET))
            self._set_address(link)
        else:
            self.reactor.set_unresolved(link)
        self.wake()  # now: other look-ups may take half a minute

    def _set_address(self, link: int) -> None:
        port = self._endpoints[link][1]
        family, _, _, _, address = self._found[link][0]
        scope = int(address[-1]) if family == socket.AF_INET6 else 0
        packed = socket.inet_pton(family, str(address[0]).partition("%")[0])
        self._tried[link] = self.reactor.connects(link)
        self.reactor.set_address(link, packed, port, scope)
