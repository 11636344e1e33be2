"""The stations of this machine, as they tell of themselves: what they poll, what they may write, how it goes.

Each opens a socket for its user where all stations do (view_socket). They are asked here, without hanging on
one that hangs. Sites that act are operated here too (control_socket).
"""

import asyncio
import json
import os
import selectors
import socket
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from fluxfast.errors import FluxfastError
from fluxfast.status import SiteStatus, Status
from fluxfast.watchdog import FOLDERS, VIEW_SOCKETS

if TYPE_CHECKING:
    import pyarrow as pa

ASKED_S: Final = 0.8  # for all stations together
OPERATED_S: Final = 5.0  # for a station to do what it is told
AGAIN_S: Final = 0.05
ANSWER_S: Final = 3.0  # for one answer to who watches
MAX_ANSWER: Final = 64 << 20  # bytes
NO_STATION: Final = "what is there is no station of this version"
ABOUT: Final = frozenset({"pid", "file", "sites", "every_ms"})
STATUS: Final = frozenset(field.name for field in fields(Status)) | {"devices_good", "devices_bad"}
DEVICE: Final = frozenset({"id", "link", "requests", "control", "points", "frames"})
FLEET: Final = ("device", "name", "site", "profile", "kind", "endpoint", "unit")
NEWEST: Final = (
    "code", "latency_ms", "age_s", "soe_pct", "power_kw", "shown_kw", "setpoint_kw", "usable"
)  # fmt: skip
_LIMIT: Final = 1 << 20  # bytes that wait to be read


@dataclass(frozen=True)
class Running:
    """One station.

    ``endpoints``: each (host, port) that it polls, by the host as written and by its IP address.
    ``commanded``: each (host, port, unit) that it may write to, likewise.
    """

    pid: int
    file: str
    sites: tuple[str, ...]
    socket: Path
    endpoints: frozenset[tuple[str, int]]
    commanded: frozenset[tuple[str, int, int]]

    @classmethod
    def from_dict(cls, path: Path, about: dict[str, Any]) -> Self:
        """Return it of what a station says; ValueError, TypeError or KeyError if that makes no sense."""
        names: dict[str, set[str]] = {}
        ends = [(str(host), int(port), ip) for host, port, ip in about["endpoints"]]
        for host, _, ip in ends:
            names.setdefault(host, {host}).update([str(ip)] if ip else [])
        units = [(str(host), int(port), int(unit)) for host, port, unit in about["commanded"]]
        return cls(
            pid=int(about["pid"]),
            file=str(about["file"]),
            sites=tuple(map(str, about["sites"])),
            socket=path,
            endpoints=frozenset((name, port) for host, port, _ in ends for name in names[host]),
            commanded=frozenset(
                (name, port, unit) for host, port, unit in units for name in names.get(host, {host})
            ),
        )


def running_stations(folders: Sequence[Path] = FOLDERS) -> list[Running]:
    """Return the stations of this machine that let us look on, the oldest process first, within a second.

    Those of other users do not, unless we are root; nor does one that hangs. Never raises. What a dead
    station has left is removed where that is allowed.
    """
    found = []
    with selectors.DefaultSelector() as selector:
        for path in _sockets(folders):
            if asked := _Asked.ask(path):
                selector.register(asked.peer, selectors.EVENT_READ, asked)
        end = time.monotonic() + ASKED_S
        while selector.get_map() and (left_s := end - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                if key.data.hear():
                    continue
                selector.unregister(key.data.peer)
                key.data.peer.close()
                if (station := key.data.station()) is not None:
                    found.append(station)
        for key in list(selector.get_map().values()):
            key.data.peer.close()
    return sorted(found, key=lambda station: (station.pid, station.socket))


@dataclass
class _Asked:
    """A station that was asked about itself, and what it has said so far."""

    path: Path
    peer: socket.socket
    said: bytearray = field(default_factory=bytearray)

    @classmethod
    def ask(cls, path: Path) -> "_Asked | None":
        peer = socket.socket(socket.AF_UNIX)
        peer.setblocking(False)
        try:
            peer.connect(str(path))
            peer.send(b'{"do": "about"}\n')
        except ConnectionRefusedError:
            with suppress(OSError):  # a station listens before its socket has this name: it is dead
                path.unlink()
        except OSError:
            pass
        else:
            return cls(path, peer)
        peer.close()
        return None

    def hear(self) -> bool:
        """Take what has come; false once there is no more to wait for."""
        try:
            data = self.peer.recv(_LIMIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.said += data
        return bool(data) and not data.endswith(b"\n") and len(self.said) < MAX_ANSWER

    def station(self) -> Running | None:
        try:
            return Running.from_dict(self.path, json.loads(self.said)["about"])
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            return None


def _sockets(folders: Sequence[Path]) -> list[Path]:
    """Return those of our own, and of root; root sees all. Anybody may put a socket there, to tell lies."""
    found: list[Path] = []
    for path in (path for folder in folders for path in folder.glob(VIEW_SOCKETS)):
        with suppress(OSError):
            state = path.lstat()
            if stat.S_ISSOCK(state.st_mode) and (state.st_uid in (0, os.geteuid()) or os.geteuid() == 0):
                found.append(path)
    return found


class View:
    """A connection to one station, to watch it. Use as an async context manager.

    Every request raises FluxfastError where the station refuses it, does not answer in time, or has ended; so
    does the end of the block if the answers made no sense in it: the station may be of another version.
    """

    def __init__(self, path: Path) -> None:
        """``path``: its socket, as ``Running.socket``."""
        self._path = path
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        """Connect."""
        try:
            async with asyncio.timeout(ANSWER_S):
                self._reader, self._writer = await asyncio.open_unix_connection(str(self._path), limit=_LIMIT)
        except TimeoutError:
            raise FluxfastError("the station does not answer") from None
        except PermissionError:
            raise FluxfastError("the station belongs to another user") from None
        except OSError:
            raise FluxfastError("the station has ended") from None
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, _: object) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.transport.abort()
        if isinstance(error, LookupError | TypeError | ValueError):
            raise FluxfastError(NO_STATION) from error

    async def about(self) -> dict[str, Any]:
        """Return who it is: ``pid``, ``file``, ``sites``, ``every_ms``, ``since`` (UTC µs), ``version``, …"""
        return await self._about("about", {"do": "about"}, ABOUT)

    async def status(self) -> dict[str, Any]:
        """Return its Status as ``run --json`` shows it, a second old at the most."""
        return await self._about("status", {"do": "status"}, STATUS)

    async def fleet(self) -> "pa.RecordBatch":
        """Return what does not change, a row per device (DeviceColumns.fleet)."""
        return _batch((await self._ask({"do": "fleet"}))[1], FLEET)

    async def devices(self, after: int | None = None) -> "tuple[int, pa.RecordBatch | None]":
        """Return the ticks done, and the newest values, in the rows of ``fleet`` (DeviceColumns.newest).

        ``after``: what this returned before; while there was no tick since, there are no values.
        """
        request = {"do": "devices"} if after is None else {"do": "devices", "after": after}
        answer, stream = await self._ask(request)
        if not isinstance(answer.get("tick"), int):
            raise FluxfastError(NO_STATION)
        return answer["tick"], _batch(stream, NEWEST) if stream else None

    async def device(self, id_: str) -> dict[str, Any]:
        """Return all of one device; its ``frames`` are those since the last time (DeviceView.as_dict)."""
        return await self._about("device", {"do": "device", "id": id_}, DEVICE)

    async def _about(self, what: str, request: dict[str, Any], keys: frozenset[str]) -> dict[str, Any]:
        found = (await self._ask(request))[0].get(what)
        if not isinstance(found, dict) or not keys <= found.keys():
            raise FluxfastError(NO_STATION)
        return found

    async def _ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        if self._reader is None or self._writer is None:
            raise FluxfastError("a view asks inside `async with`")
        try:
            async with asyncio.timeout(ANSWER_S):
                self._writer.write(json.dumps(request).encode() + b"\n")
                line = await self._reader.readline()
                answer, stream = json.loads(line) if line.endswith(b"\n") else {"ended": True}, b""
                if isinstance(answer, dict) and (size := answer.get("bytes", 0)):
                    stream = await self._reader.readexactly(min(int(size), MAX_ANSWER))
        except TimeoutError:
            raise FluxfastError("the station does not answer") from None
        except (OSError, asyncio.IncompleteReadError):
            answer = {"ended": True}
        except (ValueError, TypeError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise FluxfastError(NO_STATION)
        if "ended" in answer:
            raise FluxfastError("the station has ended")
        if "error" in answer:
            raise FluxfastError(str(answer["error"]))
        return answer, stream


def _batch(stream: bytes, columns: Sequence[str]) -> "pa.RecordBatch":
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(stream) as reader:
            return reader.read_next_batch().select(columns)
    except (pa.ArrowException, KeyError, StopIteration):
        raise FluxfastError(NO_STATION) from None


# ---- operating one: the other side of control_socket ----


async def operate(site: str, request: dict[str, str], folders: Sequence[Path]) -> SiteStatus:
    """Have a site's station do something, and return its status then.

    Raises FluxfastError with what the station says, or if none controls the site or it does not answer.
    """
    try:
        async with asyncio.timeout(OPERATED_S):
            while True:
                if answer := await _try(site, request, folders):
                    break
                await asyncio.sleep(AGAIN_S)  # it had too many connections
    except TimeoutError:
        raise FluxfastError(f"site {site}: its station does not answer") from None
    if "error" in answer:
        raise FluxfastError(str(answer["error"]))
    return SiteStatus.from_dict(answer["site"])


async def _try(site: str, request: dict[str, str], folders: Sequence[Path]) -> dict[str, Any] | None:
    """Return the answer, or None when the connection was cut off without one."""
    try:
        reader, writer = await _connect(site, folders)
    except BlockingIOError:
        return None
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        line = await reader.readline()
    except OSError:
        return None
    finally:
        writer.transport.abort()
    answer: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
    return answer


async def _connect(site: str, folders: Sequence[Path]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for folder in folders:
        with suppress(FileNotFoundError, ConnectionRefusedError):
            try:
                return await asyncio.open_unix_connection(str(folder / f"{site}.sock"))
            except PermissionError as error:
                raise FluxfastError(f"site {site} is controlled by another user") from error
    raise FluxfastError(f"no station controls site {site}: start `fluxfast run` for it first")
