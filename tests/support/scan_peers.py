"""What a scan may meet on a port: devices with habits, gateways, and everything that is no Modbus.

A peer is a coroutine function ``(reader, writer)`` that has the connection to itself, like those of
``asyncio.start_server``. ``Zoo`` listens for many of them in a thread of its own, and keeps the books: how
each connection ended, how many there were at once, and every request.
"""

import asyncio
import os
import struct
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Answer = Callable[[int, bytes], bytes | None]  # unit and request PDU to response PDU; none: silence


class Zoo:
    """Listens at (host, port) for each peer while the block runs."""

    def __init__(self, peers: Mapping[tuple[str, int], Peer]) -> None:
        self._peers = peers
        self.ends: defaultdict[str, list[str]] = defaultdict(list)  # by host: fin or rst, of each connection
        self.requests: defaultdict[str, list[bytes]] = defaultdict(list)  # by host: what came at once
        self.most: defaultdict[str, int] = defaultdict(int)
        self._now: defaultdict[str, int] = defaultdict(int)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        servers = [
            await asyncio.start_server(self._watched(host, peer), host, port)
            for (host, port), peer in self._peers.items()
        ]
        self._ready.set()
        await self._stop.wait()
        for server in servers:
            server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def _watched(self, host: str, peer: Peer) -> Peer:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._now[host] += 1
            self.most[host] = max(self.most[host], self._now[host])
            watched = _Watched(reader, self.requests[host])
            try:
                await peer(watched, writer)  # type: ignore[arg-type]
                self.ends[host].append("ours")
            except (asyncio.IncompleteReadError, EOFError):
                self.ends[host].append("fin")
            except ConnectionError:
                self.ends[host].append("rst")
            except asyncio.CancelledError:
                pass
            finally:
                self._now[host] -= 1
                writer.close()

        return serve

    def __enter__(self) -> Self:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10), "no room to listen: somebody else has the port"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)


class _Watched:
    """A reader that remembers what it has read, and raises EOFError at the end."""

    def __init__(self, reader: asyncio.StreamReader, requests: list[bytes]) -> None:
        self._reader, self._requests = reader, requests

    async def read(self, size: int) -> bytes:
        data = await self._reader.read(size)
        if not data:
            raise EOFError
        self._requests.append(data)
        return data


# ---- what speaks Modbus ----


def mbap(transaction_id: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", transaction_id, 0, len(pdu) + 1, unit) + pdu


def split(adu: bytes) -> tuple[int, int, bytes]:
    transaction_id, _, _, unit = struct.unpack(">HHHB", adu[:7])
    return transaction_id, unit, adu[7:]


def exception(pdu: bytes, code: int) -> bytes:
    return bytes((pdu[0] | 0x80, code))


def holding(registers: Mapping[int, int], *, known: tuple[int, ...] = (3,)) -> Callable[[bytes], bytes]:
    """Answer reads of registers that are there; other functions are illegal."""

    def answer(pdu: bytes) -> bytes:
        if pdu[0] not in known:
            return exception(pdu, 1)
        address, quantity = struct.unpack(">HH", pdu[1:5])
        if not all(a in registers for a in range(address, address + quantity)):
            return exception(pdu, 2)
        words = [registers[a] for a in range(address, address + quantity)]
        return struct.pack(f">BB{quantity}H", pdu[0], 2 * quantity, *words)

    return answer


def identity(*texts: str | bytes, then: Callable[[bytes], bytes] | None = None) -> Callable[[bytes], bytes]:
    """Answer FC43/14 with the basic objects."""
    objects = b"".join(
        bytes((n, len(t))) + t for n, t in enumerate(t.encode() if isinstance(t, str) else t for t in texts)
    )

    def answer(pdu: bytes) -> bytes:
        if pdu[:2] == b"\x2b\x0e":
            return pdu[:3] + bytes((1, 0, 0, len(texts))) + objects
        return then(pdu) if then else exception(pdu, 1)

    return answer


def device(
    answer: Callable[[bytes], bytes | None],
    units: tuple[int, ...] | None = None,
    absent: int | None = None,
    after_s: float = 0.0,
) -> Peer:
    """Answer for some units, or for any; for others with an exception, or not at all."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            transaction_id, unit, pdu = split(await reader.read(260))
            if units is None or unit in units:
                response = answer(pdu)
            else:
                response = None if absent is None else exception(pdu, absent)
            if response is not None:
                await asyncio.sleep(after_s)
                writer.write(mbap(transaction_id, unit, response))

    return peer


def only(
    functions: tuple[int, ...], answer: Callable[[bytes], bytes], otherwise: bytes | None = None
) -> Peer:
    """Answer some functions; for another one close the connection, or say what is given."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            transaction_id, unit, pdu = split(await reader.read(260))
            if pdu[0] in functions:
                writer.write(mbap(transaction_id, unit, answer(pdu)))
            elif otherwise is None:
                return
            else:
                writer.write(otherwise)

    return peer


def closes_after_each(answer: Callable[[bytes], bytes]) -> Peer:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transaction_id, unit, pdu = split(await reader.read(260))
        writer.write(mbap(transaction_id, unit, answer(pdu)))

    return peer


def one_at_a_time(answer: Callable[[bytes], bytes]) -> Peer:
    """A device with one connection: whoever else comes is closed at once."""
    inside = device(answer)
    taken = 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        if taken:
            return
        taken += 1
        try:
            await inside(reader, writer)
        finally:
            taken -= 1

    return peer


def byte_by_byte(answer: Callable[[bytes], bytes], pause_s: float) -> Peer:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            transaction_id, unit, pdu = split(await reader.read(260))
            for byte in mbap(transaction_id, unit, answer(pdu)):
                writer.write(bytes((byte,)))
                await asyncio.sleep(pause_s)

    return peer


# ---- what does not ----


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await reader.read(260)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(await reader.read(260))


async def closes_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    return


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(1, 13, linger)  # SOL_SOCKET, SO_LINGER
    writer.transport.abort()


async def random_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await reader.read(260)
        writer.write(os.urandom(64))


async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(os.urandom(65536))
        await writer.drain()


async def floods_frames(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"".join(mbap(n, 1, b"\x03\x02\x00\x01") for n in range(1000)))
        await writer.drain()


def says_first(banner: bytes) -> Peer:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(banner)
        while True:
            await reader.read(260)

    return peer


def replies(answer: bytes) -> Peer:
    """Say the same to whatever comes, and close."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(260)
        writer.write(answer)

    return peer


def bent(bend: Callable[[int, int, bytes], bytes]) -> Peer:
    """Answer every request by bytes made of its transaction identifier, unit and PDU."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(bend(*split(await reader.read(260))))

    return peer
