"""Host names: looked up on threads of their own, that the end of the process does not wait for."""

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any


async def look_up(host: str, port: int) -> list[Any]:
    """Return what ``getaddrinfo`` says, or nothing where the name does not resolve.

    On a thread that the end of the process does not wait for (it does for uvloop's and asyncio's own): a
    silent name server can hold a look-up for half a minute.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[Any]] = loop.create_future()

    def work() -> None:
        try:
            addresses: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            addresses = []
        with suppress(RuntimeError):  # the loop has ended in the meantime
            loop.call_soon_threadsafe(deliver, addresses)

    def deliver(addresses: list[Any]) -> None:
        if not found.done():
            found.set_result(addresses)

    threading.Thread(target=work, name="fluxfast-names", daemon=True).start()
    return await found
