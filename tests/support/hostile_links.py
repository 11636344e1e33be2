"""Peers that misbehave as connections: they refuse, swallow, reset, stay silent, fill up, or talk first."""

import contextlib
import ctypes
import fcntl
import select
import socket
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.support.scripted import Peer

SO_ATTACH_FILTER = 26


@contextlib.contextmanager
def refuses(host: str) -> Iterator[int]:
    """Case 59: a port on which nobody listens, and nobody else can."""
    with socket.socket() as bound:
        bound.bind((host, 0))
        yield bound.getsockname()[1]


@contextlib.contextmanager
def black_hole(host: str) -> Iterator[int]:
    """Case 60: every SYN is swallowed."""
    with socket.create_server((host, 0)) as listener:
        swallow_everything(listener)
        check_that_it_swallows(listener)
        yield listener.getsockname()[1]


@contextlib.contextmanager
def full_queue(host: str) -> Iterator[int]:
    """Case 61: nobody accepts, and the queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((host, 0), backlog=0))
        stack.enter_context(socket.create_connection(listener.getsockname()))
        check_that_it_swallows(listener)
        yield listener.getsockname()[1]


def swallow_everything(sock: socket.socket) -> None:
    """Drop all that arrives for a socket, before TCP sees it: no answer, no acknowledgement, no RST."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux can filter what arrives for a TCP socket")
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0
    program = struct.pack("HL", 1, ctypes.addressof(drop))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def check_that_it_swallows(listener: socket.socket) -> None:
    with socket.socket() as probe:
        probe.settimeout(0.05)
        with pytest.raises(TimeoutError):
            probe.connect(listener.getsockname())


async def resets(peer: Peer) -> None:
    """Case 62: accepts, then RST."""
    peer.reset()


async def mute(peer: Peer) -> None:
    """Case 63: accepts, then silence for ever."""
    await peer.reader.read()


class Vanishes:
    """Case 64: answers once, then is gone without a word: no acknowledgement, no FIN, no RST."""

    def __init__(self) -> None:
        self._connections = 0

    async def __call__(self, peer: Peer) -> None:
        self._connections += 1
        first = self._connections == 1
        while True:
            await peer.send((await peer.request()).reply())
            if first:
                with socket.socket(fileno=peer.duplicate()) as same:
                    swallow_everything(same)


class OneSlot:
    """Case 65: has room for one client; the old one goes when a new one comes."""

    def __init__(self) -> None:
        self._guest: Peer | None = None

    async def __call__(self, peer: Peer) -> None:
        if self._guest is not None:
            self._guest.writer.close()
        self._guest = peer
        while True:
            await peer.send((await peer.request()).reply())


class TalksFirst:
    """Case 70: a whole frame before anything was asked, on its first connection."""

    def __init__(self) -> None:
        self._connections = 0

    async def __call__(self, peer: Peer) -> None:
        self._connections += 1
        if self._connections == 1:
            await peer.send(b"\x00\x01\x00\x00\x00\x17\x01\x03\x14" + bytes(20))
        while True:
            await peer.send((await peer.request()).reply())


class Deaf:
    """Case 68: never reads, and yet answers each request; on its second connection it behaves.

    Nothing but the closed window tells it from a good device. It cannot know what was asked for, so it is
    told how many requests there were, and every register is ``VALUE``.
    """

    VALUE = 4242

    def __init__(self, requests: Callable[[], int]) -> None:
        self._requests = requests
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the least there is
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        self.unread = 0  # bytes that came and were not read
        self._stopping = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Deaf":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        with self._listener.accept()[0] as deaf:
            first = deaf.recv(12)
            answered = 0
            while not self._wait(self._listener):
                requests = self._requests()
                for n in range(answered, requests):
                    deaf.send(self._reply(first, n))
                answered = requests
                self.unread = struct.unpack("i", fcntl.ioctl(deaf, termios.FIONREAD, bytes(4)))[0]
                if self._stopping:
                    return
            with self._listener.accept()[0] as good:
                while not self._stopping:
                    if self._wait(good):
                        for request in _pieces(good.recv(16 * 12)):
                            good.send(self._reply(request, 0))

    def _wait(self, readable: socket.socket) -> bool:
        return bool(select.select([readable], [], [], 0.005)[0])

    def _reply(self, request: bytes, later: int) -> bytes:
        id_, _, _, unit, code, _, quantity = struct.unpack(">HHHBBHH", request)
        data = struct.pack(">H", self.VALUE) * quantity
        header = struct.pack(">HHHBBB", id_ + later & 0xFFFF, 0, 3 + len(data), unit, code, len(data))
        return header + data


def _pieces(data: bytes) -> list[bytes]:
    return [data[at : at + 12] for at in range(0, len(data), 12)]
