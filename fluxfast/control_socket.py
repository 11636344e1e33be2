"""The control socket: how another process of the same user operates a site of a running station.

A Unix socket beside the site's lock, ``<site>.sock``, for its owner only. A request is one line of JSON, and
so is the answer; then the connection is closed. Whoever sends too much, too slowly or nonsense is cut off;
a tick never waits for anybody.

    {"do": "status"}    {"do": "stop"}    {"do": "acknowledge"}    {"do": "enable", "mode": NAME}    "disable"
    {"site": {…}}, a SiteStatus, or {"error": TEXT}
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from fluxfast.errors import FluxfastError
from fluxfast.operate import Operator

MAX_LINE: Final = 4096  # bytes, of a request
MAX_PEERS: Final = 4  # at a time, of one site
PEER_S: Final = 1.0  # for all of a connection


class ControlSockets:
    """Listens for the sites of a station that act. ``open`` needs a running loop."""

    def __init__(self, operator: Operator, folder: Path, sites: Sequence[str]) -> None:
        """Take the folder of the sites' locks, all of which must be ours."""
        self._operator, self._folder, self._sites = operator, folder, sites
        self._servers: list[asyncio.Server] = []
        self._paths: list[Path] = []
        self._peers: dict[str, set[asyncio.Task[None]]] = {site: set() for site in sites}

    async def open(self) -> None:
        """Listen; raises FluxfastError when a socket cannot be made."""
        for site in self._sites:
            path = self._folder / f"{site}.sock"
            try:
                bound = self._bind(path)
            except OSError as error:
                raise FluxfastError(f"no control socket for site {site}: {path}: {error.strerror}") from error
            self._paths.append(path)
            self._servers.append(
                await asyncio.start_unix_server(self._server(site), sock=bound, limit=MAX_LINE)
            )

    def _bind(self, path: Path) -> socket.socket:
        # The lock is ours: what is there was left by a station that died.
        path.unlink(missing_ok=True)
        bound = socket.socket(socket.AF_UNIX)
        try:
            with suppress(OSError):  # where it can be done before anybody can connect
                os.fchmod(bound.fileno(), 0o600)
            bound.bind(str(path))
            path.chmod(0o600)
        except BaseException:
            bound.close()
            raise
        return bound

    def close(self) -> None:
        """Close and remove all sockets, while the locks are still held."""
        for server in self._servers:
            server.close()
        for peers in self._peers.values():
            for peer in peers:
                peer.cancel()
        for path in self._paths:
            with suppress(OSError):
                path.unlink()
        self._servers, self._paths = [], []

    def _server(self, site: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        peers = self._peers[site]

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(peers) >= MAX_PEERS:
                writer.transport.abort()
                return
            peer = asyncio.get_running_loop().create_task(self._serve(site, reader, writer))
            peers.add(peer)
            peer.add_done_callback(peers.discard)

        return connected

    async def _serve(self, site: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PEER_S):
                writer.write(json.dumps(self._answer(site, await _line(reader))).encode() + b"\n")
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            pass
        finally:
            writer.transport.abort()

    def _answer(self, site: str, line: bytes) -> dict[str, Any]:
        operator = self._operator
        try:
            request = json.loads(line)
            match request:
                case {"do": "status"}:
                    pass
                case {"do": "stop"}:
                    operator.stop(site)
                case {"do": "acknowledge"}:
                    operator.acknowledge(site)
                case {"do": "enable" | "disable" as do, "mode": str(mode)}:
                    operator.set_mode(site, mode, do == "enable")
                case _:
                    return {"error": "not a request that this station knows"}
        except FluxfastError as error:
            return {"error": str(error)}
        except (ValueError, RecursionError):
            return {"error": "not one line of JSON"}
        return {"site": asdict(operator.site(site))}


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except (asyncio.LimitOverrunError, asyncio.IncompleteReadError):
        return b""
