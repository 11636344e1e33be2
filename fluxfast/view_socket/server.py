"""Who looks on: a Unix socket, for its owner only, in the folder that all stations of this machine share.

A request is one line of JSON. So is the answer; where it says ``"bytes": N``, an Arrow stream of N bytes
follows. Any number of requests may follow one another on a connection::

    {"do": "about"}                 {"about": {…}}: process, file, sites, endpoints, who may be commanded
    {"do": "status"}                {"status": {…}}: a Status, a second old at the most
    {"do": "fleet"}                 {"devices": N, "bytes": N}, then what does not change, a row per device
    {"do": "devices"}               {"tick": N, "bytes": N}, then the newest of each, in the same rows
    {"do": "devices", "after": N}   the same; {"tick": N} alone while there has been no tick after N
    {"do": "device", "id": ID}      {"device": {…}}: all of one; its frames are traced while somebody asks

or ``{"error": TEXT}``. Whoever sends nonsense without end, or does not take an answer, is cut off; who asks
on and on is answered PER_S times a second. A tick never waits for anybody: what all see is made once a tick,
and only when somebody asks.
"""

import asyncio
import json
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Self

from fluxfast.controller import Controller
from fluxfast.errors import FluxfastError
from fluxfast.poller import Poller
from fluxfast.view_socket.columns import DeviceColumns
from fluxfast.view_socket.device import DeviceView
from fluxfast.watchdog import FOLDERS, open_folder

MAX_LINE: Final = 4096  # bytes, of a request
MAX_PEERS: Final = 8  # at a time; as many again are only told about the station, then cut off
PEER_S: Final = 1.0  # in which a peer takes an answer
IDLE_S: Final = 60.0  # without a request
WATCHED_S: Final = 5.0  # without one for a device whose frames are traced
PER_S: Final = 20.0  # answers, to one peer
STATUS_S: Final = 1.0  # a status is shown so long
ALIVE_S: Final = 0.1  # in which a station accepts
NAMES: Final = 16  # sockets of one process, or of several that have the same number


class ViewSocket:
    """Lets others look on while a poller, or station, is open. Use as an async context manager around it.

    ``path`` is its socket; None if there can be none, which the poller's messages tell.
    """

    def __init__(
        self, poller: Poller, controller: Controller | None = None, folders: Sequence[Path] = FOLDERS
    ) -> None:
        """``controller``: that of a station whose sites decide. Nothing is opened yet."""
        self.path: Path | None = None
        self._poller, self._controller, self._folders = poller, controller, folders
        self._since_us = time.time_ns() // 1000
        self._server: asyncio.Server | None = None
        self._peers: set[asyncio.Task[None]] = set()
        self._columns: DeviceColumns | None = None  # from the first look on
        self._fleet = self._newest = self._about = b""
        self._newest_tick = -1
        self._names: tuple[str | None, ...] = ()
        self._status: tuple[float, bytes] = (-STATUS_S, b"")

    async def __aenter__(self) -> Self:
        """Listen."""
        try:
            bound = _bound(self._folders)
        except (OSError, FluxfastError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            self._poller.messages.append(f"nobody can look on (`fluxfast top`): {why}")
            return self
        self.path = Path(bound.getsockname())
        self._server = await asyncio.start_unix_server(self._connected, sock=bound, limit=MAX_LINE)
        named = self.path.with_suffix("")  # only what listens has its name: whoever refuses is dead
        os.replace(self.path, named)
        self.path = named
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close and remove the socket."""
        if self._server is None or self.path is None:
            return
        self._server.close()
        for peer in self._peers:
            peer.cancel()
        with suppress(OSError):
            self.path.unlink()
        self.path = self._server = None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        n = len(self._peers)
        if n >= 2 * MAX_PEERS:
            writer.transport.abort()
            return
        peer = asyncio.get_running_loop().create_task(self._serve(reader, writer, crowded=n >= MAX_PEERS))
        self._peers.add(peer)
        peer.add_done_callback(self._peers.discard)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, crowded: bool
    ) -> None:
        writer.transport.set_write_buffer_limits(0)  # `drain` is done when the answer is with the kernel
        watch = _Watch(self._poller, self._controller)
        try:
            while True:
                line = await watch.line(reader)
                async with asyncio.timeout(PEER_S):
                    writer.write(self._answer(line, None if crowded else watch))
                    await writer.drain()
                if crowded or not line:
                    break
                await asyncio.sleep(1 / PER_S)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            watch.end()
            writer.transport.abort()

    def _answer(self, line: bytes, watch: "_Watch | None") -> bytes:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return _line({"error": "not one line of JSON"})
        try:
            match request:
                case {"do": "about"}:
                    return self._about_line()
                case _ if watch is None:
                    return _line({"error": f"{MAX_PEERS} others look on already"})
                case {"do": "status"}:
                    return self._status_line()
                case {"do": "fleet"}:
                    return self._fleet_answer()
                case {"do": "devices", "after": int(tick)} if tick == self._poller.ticks_done:
                    return _line({"tick": tick})
                case {"do": "devices"}:
                    watch.end()
                    return self._devices_answer()
                case {"do": "device", "id": str(id_)}:
                    return _line({"device": watch.of(id_)})
        except FluxfastError as error:
            return _line({"error": str(error)})
        return _line({"error": "not a request that this station knows"})

    def _about_line(self) -> bytes:
        poller = self._poller
        ends = poller.endpoints()
        names = tuple(ip for host, _, ip in ends if host != ip)
        if not self._about or names != self._names:
            self._names = names
            sites = [] if self._controller is None else self._controller.plan.sites
            modbus = [unit.modbus for site in sites if site.control.action == "act" for unit in site.units]
            files = {os.path.abspath(device.file) for device in poller.fleet.devices}
            about = {
                "pid": os.getpid(),
                "file": os.path.commonpath(files),
                "sites": [site.name for site in poller.fleet.sites],
                "every_ms": poller.fleet.poll.every_ns / 1e6,
                "since": self._since_us,
                "version": _version(),
                "endpoints": ends,
                "commanded": [(unit.host, unit.port, unit.unit) for unit in modbus],
            }
            self._about = _line({"about": about})
        return self._about

    def _status_line(self) -> bytes:
        now_s = time.monotonic()
        if now_s - self._status[0] >= STATUS_S:
            self._status = (now_s, _line({"status": self._poller.status().as_dict()}))
        return self._status[1]

    def _known(self) -> DeviceColumns:
        if self._columns is None:
            self._columns = DeviceColumns(self._poller, self._controller)
        return self._columns

    def _fleet_answer(self) -> bytes:
        columns = self._known()
        if not self._fleet:
            stream = columns.fleet()
            self._fleet = _line({"devices": len(columns.devices), "bytes": len(stream)}) + stream
        return self._fleet

    def _devices_answer(self) -> bytes:
        tick = self._poller.ticks_done
        if self._newest_tick != tick:
            stream = self._known().newest()
            self._newest = _line({"tick": tick, "bytes": len(stream)}) + stream
            self._newest_tick = tick
        return self._newest


class _Watch:
    """What one peer watches: at most one device at a time, whose frames are traced."""

    def __init__(self, poller: Poller, controller: Controller | None) -> None:
        self._poller, self._controller = poller, controller
        self._view: DeviceView | None = None

    async def line(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next request; nothing if it is too long."""
        until = asyncio.get_running_loop().time() + IDLE_S
        request = asyncio.ensure_future(reader.readuntil(b"\n"))
        request.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # when the wait is cancelled
        try:
            if self._view is not None:
                await asyncio.wait([request], timeout=WATCHED_S)
                if not request.done():
                    self.end()
            async with asyncio.timeout_at(until):
                return await request
        except asyncio.LimitOverrunError:
            return b""
        finally:
            request.cancel()

    def of(self, id_: str) -> dict[str, Any]:
        """Return all of a device; raises FluxfastError if it is not polled here."""
        if self._view is None or self._view.id != id_:
            self.end()
            self._view = DeviceView(self._poller, self._controller, id_)
        return self._view.as_dict()

    def end(self) -> None:
        """Trace no frames any more."""
        if self._view is not None:
            self._view.close()
            self._view = None


def _line(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def _version() -> str:
    try:
        return version("fluxfast")
    except PackageNotFoundError:
        return ""


def _bound(folders: Sequence[Path]) -> socket.socket:
    """Return a socket that is bound to its name and ``.new``."""
    folder, descriptor = open_folder(folders)
    os.close(descriptor)
    for number in range(NAMES):
        path = folder / f"station-{os.getpid()}{f'-{number}' if number else ''}.sock"
        with suppress(FileNotFoundError, PermissionError):  # not there; or not ours, then the next one
            if not _is_alive(path):
                path.unlink()
        if os.path.lexists(path):
            continue
        bound = socket.socket(socket.AF_UNIX)
        try:
            with suppress(OSError):  # where it can be done before anybody can connect
                os.fchmod(bound.fileno(), 0o600)
            new = path.with_name(path.name + ".new")
            new.unlink(missing_ok=True)
            bound.bind(str(new))
            new.chmod(0o600)
        except BaseException:
            bound.close()
            raise
        return bound
    raise FluxfastError(f"{folder} has too many sockets of dead stations; remove station-*.sock there")


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ALIVE_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except FileNotFoundError:
            raise
        except OSError:
            pass  # busy, or another user's
    return True
