"""A bad network in front of a real server: a seeded proxy that cuts, repeats, drops, delays and mixes frames.

with proxied(host, port, seed=1) as proxy:
    ... a client connects to proxy.host, proxy.port; proxy.done counts what was done to it
"""

import asyncio
import contextlib
import random
import struct
import threading
from collections import Counter, deque
from collections.abc import Iterator

# What happens to a frame, and how often: the rest of a hundred go through as they are.
TO_CLIENT = {
    "delay": 8, "split": 12, "bytewise": 3, "twice": 5, "drop": 3, "again": 4,
    "swap": 8, "stall": 1, "cut": 2, "reset": 1,
}  # fmt: skip
TO_SERVER = {"delay": 4, "split": 6, "twice": 4, "drop": 2, "swap": 4}
DELAY_S = (0.002, 0.05)
PIECE_S = 0.002
SWAP_S = 0.02  # what is held back for another to overtake goes on after that
STALL_S = (0.3, 0.8)
KEPT = 8  # frames of the past that may come again


class FaultProxy:
    """Listens on ``host`` in a thread of its own; each connection gets one to the server."""

    def __init__(self, server: tuple[str, int], host: str, seed: int) -> None:
        self._server, self.host = server, host
        self._random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.quiet = False  # let everything through
        self._tasks: set[asyncio.Task[None]] = set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.done["connections"] += 1
        writers = [writer]
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._server)
            writers.append(server_writer)
            directions = (
                asyncio.create_task(self._pump(reader, server_writer, TO_SERVER)),
                asyncio.create_task(self._pump(server_reader, writer, TO_CLIENT)),
            )
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in directions:
                    direction.cancel()
                await asyncio.gather(*directions, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in writers:
                each.close()
            self._tasks.discard(task)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, odds: dict[str, int]
    ) -> None:
        past: deque[bytes] = deque(maxlen=KEPT)
        held = b""
        while True:
            try:
                # With a frame held back, wait for the next one only for a while.
                header = await asyncio.wait_for(reader.readexactly(7), SWAP_S if held else None)
            except TimeoutError:
                writer.write(held)
                held = b""
                continue
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            frame = header + await reader.readexactly(struct.unpack(">H", header[4:6])[0] - 1)
            what = self._choose(odds)
            if what == "swap" and not held:
                held = frame
                continue
            if what == "again" and past:
                writer.write(self._random.choice(past))
            if not await self._deliver(frame, what, writer):
                return
            past.append(frame)
            writer.write(held)
            held = b""
            await writer.drain()

    def _choose(self, odds: dict[str, int]) -> str:
        ball = self._random.randrange(100)
        for what, weight in () if self.quiet else odds.items():
            ball -= weight
            if ball < 0:
                self.done[what] += 1
                return what
        return "pass"

    async def _deliver(self, frame: bytes, what: str, writer: asyncio.StreamWriter) -> bool:
        """Send a frame in the way that ``what`` says; false ends the connection."""
        rng = self._random
        if what == "drop":
            return True
        if what in ("cut", "reset"):
            writer.write(frame[: rng.randrange(len(frame))] if what == "cut" else b"")
            if what == "reset":
                writer.transport.abort()
            return False
        if what in ("delay", "stall"):
            await asyncio.sleep(rng.uniform(*(DELAY_S if what == "delay" else STALL_S)))
        cuts: list[int] = []
        if what == "bytewise":
            cuts = list(range(1, len(frame)))
        elif what == "split":
            cuts = sorted(rng.sample(range(1, len(frame)), 2))
        for begin, end in zip([0, *cuts], [*cuts, len(frame)], strict=True):
            writer.write(frame[begin:end])
            if end < len(frame):
                await asyncio.sleep(PIECE_S if what == "split" else 0)
        if what == "twice":
            writer.write(frame)
        return True

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connected, self.host, 0)
        self.port: int = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.wait(others)

    def __enter__(self) -> "FaultProxy":
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


@contextlib.contextmanager
def proxied(host: str, port: int, *, at: str, seed: int) -> Iterator[FaultProxy]:
    """Run a proxy at the address ``at`` in front of a server, for the length of a with block."""
    with FaultProxy((host, port), at, seed) as proxy:
        yield proxy
