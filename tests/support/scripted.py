"""A Modbus server that does exactly what a test tells it to: a coroutine answers each request."""

import asyncio
import contextlib
import os
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

Answer = Callable[["Peer"], Awaitable[None]]


@dataclass
class Request:
    """A read request as it came in."""

    transaction_id: int
    unit_id: int
    function_code: int
    address: int
    quantity: int

    def reply(self, values=None, *, transaction_id=None, unit_id=None, pdu=None) -> bytes:
        """Build a reply: registers ``address + i`` unless told otherwise."""
        if pdu is None:
            if values is None:
                values = [(self.address + i) & 0xFFFF for i in range(self.quantity)]
            data = struct.pack(f">{len(values)}H", *values)
            pdu = bytes([self.function_code, len(data)]) + data
        tid = self.transaction_id if transaction_id is None else transaction_id
        unit = self.unit_id if unit_id is None else unit_id
        return struct.pack(">HHHB", tid & 0xFFFF, 0, len(pdu) + 1, unit) + pdu


class Peer:
    """One connection, seen from the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.count = 0  # requests read on this connection

    async def request(self) -> Request:
        adu = await self.reader.readexactly(12)
        self.count += 1
        tid, protocol, length, unit, code, address, quantity = struct.unpack(">HHHBBHH", adu)
        assert (protocol, length) == (0, 6)
        return Request(tid, unit, code, address, quantity)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def duplicate(self) -> int:
        """Return a descriptor of the same socket, for what asyncio has no name for."""
        return os.dup(self.writer.get_extra_info("socket").fileno())

    def reset(self) -> None:
        """End the connection with RST."""
        at_once = struct.pack("ii", 1, 0)  # abort() alone sends FIN
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.writer.transport.abort()


async def well_behaved(peer: Peer) -> None:
    """Answer everything as a good device does."""
    while True:
        await peer.send((await peer.request()).reply())


class ScriptedServer:
    """One listener and what it has counted; its port is known once it listens."""

    def __init__(self, answer: Answer, host: str = "127.0.0.1", port: int = 0) -> None:
        self._answer = answer
        self.host = host
        self.connections = 0
        self.port = port
        self.writers: list[asyncio.StreamWriter] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def listen(self) -> None:
        listener = await asyncio.start_server(self._connected, self.host, self.port)
        self.port = listener.sockets[0].getsockname()[1]
        self._loop = asyncio.get_running_loop()
        self._listener = listener

    def stop_listening(self) -> None:
        """From any thread: accept no more connections."""
        self._loop.call_soon_threadsafe(self._listener.close)

    def end_connections(self) -> None:
        """From any thread: close every connection."""
        for writer in self.writers.copy():
            self._loop.call_soon_threadsafe(writer.close)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        self.tasks.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await self._answer(Peer(reader, writer))
        writer.close()


class Servers:
    """Scripted servers in one thread of their own."""

    def __init__(self, servers: Sequence[ScriptedServer]) -> None:
        self._servers = servers

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for server in self._servers:
            await server.listen()
        self._ready.set()
        await self._stop.wait()
        for server in self._servers:
            server.stop_listening()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for server in self._servers:
                for task in server.tasks:
                    task.cancel()
            await asyncio.wait(others)  # asyncio's own too: what it has just accepted becomes a writer
        writers = [writer for server in self._servers for writer in server.writers]
        for writer in writers:  # also of tasks that were cancelled before they began
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    def __enter__(self) -> Self:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[ScriptedServer]:
    """Run a scripted server for the length of a with block."""
    server = ScriptedServer(answer)
    with Servers([server]):
        yield server
