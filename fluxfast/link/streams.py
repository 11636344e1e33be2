"""Links whose bytes go through asyncio streams: slower than the reactor's own sockets, and open to all.

TLS, a serial line behind a pseudo terminal, a tunnel: whatever ``connect`` opens. The conversation on it is
the reactor's, as everywhere.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from fluxfast.link.reactor import Reactor
from fluxfast.table import quality

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

RECEIVE_SIZE: Final = 65536


class Streams:
    """The open streams of a reactor's links; does what ``Reactor.take_wishes`` asks for."""

    def __init__(self, reactor: Reactor, connect: Mapping[int, Connect], wake: Callable[[], None]) -> None:
        """``connect[link]`` opens that link's stream; ``wake`` is called after the reactor got something."""
        self._reactor = reactor
        self._connect = connect
        self._wake = wake
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self.failures: dict[
            int, str
        ] = {}  # why a link could not connect the last time, in the stream's words

    def carries(self, link: int) -> bool:
        """Return whether a link's bytes go through a stream."""
        return link in self._connect

    def fulfil(self) -> None:
        """Connect, send and close what the reactor wants connected, sent and closed."""
        if not self._connect:
            return
        for link, connect, data, close, abort in self._reactor.take_wishes():
            if close:
                self._end(link, abort=abort)
            if connect:
                self._tasks[link] = asyncio.create_task(self._run(link))
            if data and (writer := self._writers.get(link)) is not None:
                writer.write(data)

    def close(self) -> None:
        """Close all streams."""
        for link in list(self._tasks):
            self._end(link, abort=False)

    def _end(self, link: int, *, abort: bool) -> None:
        if (task := self._tasks.pop(link, None)) is not None:
            task.cancel()
        if (writer := self._writers.pop(link, None)) is not None:
            if abort:
                writer.transport.abort()
            else:
                writer.close()

    async def _run(self, link: int) -> None:
        # Cancelled by _end; so what it says is always said of the link's present stream.
        try:
            reader, writer = await self._connect[link]()
        except ConnectionRefusedError:
            self._reactor.stream_down(link, quality.REFUSED)
        except OSError as error:
            self.failures[link] = str(error)
            self._reactor.stream_down(link, quality.UNREACHABLE)
        except Exception as error:  # a mistake in what the caller gave us: no reason to wait for a timeout
            self._tell(error)
            self.failures[link] = repr(error)
            self._reactor.stream_down(link, quality.UNREACHABLE)
        else:
            self._writers[link] = writer
            self.failures.pop(link, None)
            self._reactor.stream_up(link)
            self._wake()
            try:
                while data := await reader.read(RECEIVE_SIZE):
                    self._reactor.stream_data(link, data)
                    self._wake()
            except OSError:
                pass
            except Exception as error:
                self._tell(error)
            self._reactor.stream_down(link)
        self._wake()

    def _tell(self, error: Exception) -> None:
        asyncio.get_running_loop().call_exception_handler({"message": f"a stream failed: {error!r}"})
