"""The frames of chosen devices, decoded: what was asked, what was answered, when, and what it means.

The reactor copies them aside as they pass; here, off the hot path, they become lines for people and objects
for programs.
"""

from collections import OrderedDict
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

    def line(self) -> str:
        """Return it on one line: time, device, direction, number, round trip, meaning, bytes."""
        time = np.datetime_as_string(np.datetime64(self.time_us, "us"), "us")[11:]
        number = f"#{self.transaction_id:<5}" if self.kind not in ("up", "down", "broken") else " " * 6
        took = "" if self.round_trip_ms is None else f"{self.round_trip_ms:.2f} ms"
        values = " ".join(f"{name}={value}" for name, value in self.values.items())
        text = f"{self.text}: {values}" if values else self.text
        arrow = _ARROWS[KINDS.index(self.kind)]
        return f"{time} {self.device} {arrow} {number} {took:>9}  {text}{_hex(self.adu)}"

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**vars(self), "adu": self.adu.hex()}


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


class Trace:
    """Copies the frames of ``devices`` (ids) from now on. Raises FluxfastError for an unknown id."""

    def __init__(self, plan: Plan, reactor: Reactor, devices: Sequence[str], wall_offset_ns: int) -> None:
        """``wall_offset_ns`` is UTC minus the reactor's clock."""
        self._reactor = reactor
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
                reactor.trace(link, -1 if alone else device.modbus.unit)

    def take(self) -> list[Frame]:
        """Return what has passed since the last time; a last frame says how many more there were."""
        records, lost = self._reactor.take_trace()
        frames = [frame for record in records if (frame := self._frame(*record)) is not None]
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
        return {reading.point.name: reading.shown for reading in self._decoders[key].decode(adu[9:])}


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
