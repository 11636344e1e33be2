"""The frames of chosen devices, decoded: what was asked, what was answered, when, and what it means.

The reactor copies them aside as they pass; here, off the hot path, they become lines for people and objects
for programs.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from fluxfast.constants import exception_name
from fluxfast.errors import FluxfastError
from fluxfast.link import Reactor
from fluxfast.plan import Plan
from fluxfast.plan.blocks import READ_FUNCTION, BlockLayout
from fluxfast.profiles import Profile
from fluxfast.profiles.findings import nearest
from fluxfast.table import quality
from fluxfast.values import Decoder

# trace_kind of link/trace.pxd
SENT, REPLY, FAILED, LATE, FOREIGN, BROKEN, UP, DOWN = range(8)
KINDS: Final = ("sent", "reply", "failed", "late", "foreign", "broken", "up", "down")
_ARROWS: Final = ("─▶", "◀─", "◀╳", "◀?", "◀?", "◀╳", "══", "╳═")
_REMEMBERED: Final = 1024  # requests whose answers may still come
_KEPT: Final = 1024  # frames that nobody has taken yet
_Record = tuple[int, int, int, int, int, int, bytes]  # as Reactor.take_trace has it
_FUNCTIONS: Final = {
    1: "read coils", 2: "read discrete inputs", 3: "read holding registers", 4: "read input registers",
    5: "write coil", 6: "write register", 15: "write coils", 16: "write registers", 22: "mask write register",
    23: "read and write registers", 43: "read device identification",
}  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """One frame of a device, or the coming and going of its connection.

    ``time_us`` is UTC; ``round_trip_ms`` since its request was sent, None where there is none; ``text`` says
    what it means; ``values`` are the points that a reply brought, decoded; ``adu`` its bytes.
    """

    device: str
    time_us: int
    kind: str
    transaction_id: int
    round_trip_ms: float | None
    text: str
    values: dict[str, Any]
    adu: bytes

    @property
    def arrow(self) -> str:
        """Which way it went, and whether it was of use: two characters."""
        return _ARROWS[KINDS.index(self.kind)]

    def line(self) -> str:
        """Return it on one line: time, device, direction, number, round trip, meaning, bytes."""
        time = np.datetime_as_string(np.datetime64(self.time_us, "us"), "us")[11:]
        number = f"#{self.transaction_id:<5}" if self.kind not in ("up", "down", "broken") else " " * 6
        took = "" if self.round_trip_ms is None else f"{self.round_trip_ms:.2f} ms"
        values = " ".join(f"{name}={value}" for name, value in self.values.items())
        text = f"{self.text}: {values}" if values else self.text
        return f"{time} {self.device} {self.arrow} {number} {took:>9}  {text}{_hex(self.adu)}"

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**vars(self), "adu": self.adu.hex()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Frame":
        """Return the one that ``as_dict`` made into ``data``."""
        return cls(**{**data, "adu": bytes.fromhex(data["adu"])})


def _hex(adu: bytes) -> str:
    if not adu:
        return ""
    shown = adu[:32].hex(" ")
    return f"  [{shown}{' …' if len(adu) > 32 else ''}]"


@dataclass(frozen=True)
class _Request:
    """A request that was sent: what it asks, and of which device."""

    device: str
    profile: Profile
    function_code: int
    address: int
    quantity: int


class Tap:
    """What the reactor copies aside, for all traces of a poller: each gets the frames of its own links."""

    def __init__(self, reactor: Reactor) -> None:
        """Take the reactor, whose ``take_trace`` nobody else calls."""
        self.reactor = reactor
        self._traces: list[Trace] = []

    def open(self, trace: "Trace") -> None:
        """Let a trace have its frames from now on."""
        self._traces.append(trace)
        for link, unit in trace.wanted:
            self.reactor.trace(link, unit)

    def close(self, trace: "Trace") -> None:
        """Copy no more than the other traces want."""
        if trace not in self._traces:
            return
        self.drain()
        self._traces.remove(trace)
        for link, _ in trace.wanted:
            self.reactor.untrace(link)
        for other in self._traces:
            for link, unit in other.wanted:
                self.reactor.trace(link, unit)

    def drain(self) -> None:
        """Hand out what has been copied since the last time."""
        records, lost = self.reactor.take_trace()
        for trace in self._traces:
            trace.hear(records, lost)


class Trace:
    """The frames of ``devices`` (ids), from now until ``close``. Raises FluxfastError for an unknown id.

    ``wanted``: the (link, unit identifier, or -1: all of them) that they pass. ``raw``: of each point, its
    registers as the newest answer had them; of a coil or discrete input a byte.
    """

    def __init__(self, plan: Plan, tap: Tap, devices: Sequence[str], wall_offset_ns: int) -> None:
        """``wall_offset_ns`` is UTC minus the reactor's clock."""
        self._tap = tap
        self._records: deque[_Record] = deque(maxlen=_KEPT)
        self._lost = 0
        self.wanted: list[tuple[int, int]] = []
        self.raw: dict[str, bytes] = {}
        self._wall_offset_ns = wall_offset_ns
        self._owner: dict[tuple[int, int], tuple[str, Profile]] = {}  # (link, unit identifier)
        self._sent: OrderedDict[tuple[int, int], _Request] = OrderedDict()  # (link, transaction_id)
        self._decoders: dict[tuple[int, int, int, int], Decoder] = {}
        for name in devices:
            found = [u for u, device in enumerate(plan.unit_devices) if device.id == name]
            if not found:
                near = nearest(name, (device.id for device in plan.unit_devices))
                raise FluxfastError(f"no device {name} is polled here ({near})")
            for unit in found:
                device = plan.unit_devices[unit]
                link = int(plan.units[unit]["link"])
                self._owner[link, device.modbus.unit] = (device.id, device.profile)
                alone = plan.links[link]["n_units"] == 1 or device.profile.quirks.unit_aliases
                self.wanted.append((link, -1 if alone else device.modbus.unit))
        self._links = {link for link, _ in self.wanted}
        tap.open(self)

    def close(self) -> None:
        """End it: from now on its frames are not copied any more."""
        self._tap.close(self)

    def hear(self, records: Sequence[_Record], lost: int) -> None:
        """Keep what concerns it, until it is taken; ``lost`` is how many more there were."""
        ours = [record for record in records if record[2] in self._links]
        self._lost += lost + max(len(self._records) + len(ours) - _KEPT, 0)
        self._records.extend(ours)

    def take(self) -> list[Frame]:
        """Return what has passed since the last time; a last frame says how many more there were."""
        self._tap.drain()
        frames = [frame for record in self._records if (frame := self._frame(*record)) is not None]
        lost, self._lost = self._lost, 0
        self._records.clear()
        if lost and frames:
            frames.append(replace(frames[-1], kind="broken", text=f"{lost} more were not shown", adu=b""))
        return frames

    def _frame(
        self, time_ns: int, sent_ns: int, link: int, number: int, kind: int, code: int, adu: bytes
    ) -> Frame | None:
        values: dict[str, Any] = {}
        reason = quality.reason(code) or ""
        request = self._sent.get((link, number))
        if kind == SENT:
            owner = self._owner.get((link, adu[6]))
            if owner is None:
                return None  # another unit on the same link
            request = self._remember(link, number, owner, adu)
            device, text = owner[0], _asked(request, adu)
        elif kind in (REPLY, FAILED):
            if request is None:
                return None
            device, text = request.device, _answered(adu) if adu else reason
            if kind == REPLY:
                values = self._decoded(request, adu)
            elif adu and adu[7] & 0x80 == 0:
                text = reason
        else:
            device = next(name for (of, _), (name, _) in self._owner.items() if of == link)
            text = {
                LATE: "late: its request had ended", FOREIGN: "foreign: never asked for", BROKEN: reason,
                UP: "connected", DOWN: reason,
            }[kind]  # fmt: skip
            if kind == BROKEN:
                text = quality.framing_reason(adu)
        round_trip = (time_ns - sent_ns) / 1e6 if sent_ns and kind != SENT else None
        time_us = (time_ns + self._wall_offset_ns) // 1000
        return Frame(device, time_us, KINDS[kind], number, round_trip, text, values, adu)

    def _remember(self, link: int, number: int, owner: tuple[str, Profile], adu: bytes) -> _Request:
        address, quantity = (int.from_bytes(adu[at : at + 2]) for at in (8, 10))
        request = self._sent[link, number] = _Request(*owner, adu[7], address, quantity)
        while len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)
        return request

    def _decoded(self, request: _Request, adu: bytes) -> dict[str, Any]:
        if request.function_code not in READ_FUNCTION.values() or adu[7] != request.function_code:
            return {}
        key = (id(request.profile), request.function_code, request.address, request.quantity)
        if key not in self._decoders:
            self._decoders[key] = Decoder(_read(request))
        readings = self._decoders[key].decode(adu[9:])
        self.raw.update((reading.point.name, reading.raw) for reading in readings)
        return {reading.point.name: reading.shown for reading in readings}


def _read(request: _Request) -> BlockLayout:
    """Return what a request reads, with all points of the profile that lie inside it."""
    last = request.address + request.quantity
    points = tuple(
        p
        for p in request.profile.points.values()
        if READ_FUNCTION[p.register] == request.function_code
        and request.address <= p.address
        and p.address + p.size <= last
        and p.readable
    )
    return BlockLayout(request.function_code, request.address, request.quantity, 1, points)


def _asked(request: _Request, adu: bytes) -> str:
    name = _FUNCTIONS.get(request.function_code, f"function {request.function_code}")
    if request.function_code in (5, 6):
        return f"{name} {request.address} := {int.from_bytes(adu[10:12])}"
    if request.quantity == 1:
        return f"{name} {request.address}"
    return f"{name} {request.address} to {request.address + request.quantity - 1}"


def _answered(adu: bytes) -> str:
    if adu[7] & 0x80:
        return f"exception {adu[8]} {exception_name(adu[8])}" if len(adu) == 9 else "malformed exception"
    return f"{len(adu) - 9} bytes" if adu[7] <= 4 else "done"
