"""All devices as columns: what stays is sent once, what a tick brings as often as somebody asks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fluxfast.config import Device
from fluxfast.control import reasons
from fluxfast.controller import Controller
from fluxfast.poller import Poller
from fluxfast.profiles import BatteryControl, Profile
from fluxfast.profiles.control import POWER_UNITS
from fluxfast.table import quality


@dataclass(frozen=True)
class _Role:
    """What some rows of a table bring to a column: ``point`` times ``factor``, at ``places`` of it."""

    column: str
    table: str
    rows: NDArray[np.intp]
    places: NDArray[np.intp]
    point: int
    factor: float


class DeviceColumns:
    """The devices of a poller, in the order of its site file. ``ids`` are theirs."""

    def __init__(self, poller: Poller, controller: Controller | None) -> None:
        """Work out where everything stands."""
        self._poller, self._controller = poller, controller
        polled = {id(device) for layout in poller.plan.tables for device in layout.devices}
        self.devices = [device for device in poller.fleet.devices if id(device) in polled]
        place = {id(device): n for n, device in enumerate(self.devices)}
        self._places = {
            layout.name: np.array([place[id(device)] for device in layout.devices], np.intp)
            for layout in poller.plan.tables
        }
        self._roles = list(self._find_roles())
        commanded = controller.plan.devices if controller is not None else ()
        self._commanded = np.array([place[id(device)] for device in commanded], np.intp)

    def _find_roles(self) -> Iterator[_Role]:
        for layout in self._poller.plan.tables:
            table, places = self._poller[layout.name], self._places[layout.name]
            for variant in np.unique(layout.variant):
                rows = np.flatnonzero(layout.variant == variant)
                for column, point, factor in _roles(layout.devices[rows[0]].profile):
                    if point in table.names:
                        c = table.names.index(point)
                        yield _Role(column, layout.name, rows, places[rows], c, factor)

    def fleet(self) -> bytes:
        """Return what does not change, as an Arrow stream: a row per device.

        Columns: ``device`` (its id), ``name``, ``site``, ``profile``, ``kind``, ``endpoint``, ``unit``.
        """
        devices = self.devices

        def words(of: list[str]) -> pa.Array:
            return pa.array(of).dictionary_encode()

        return _stream(
            {
                "device": pa.array([device.id for device in devices], pa.string()),
                "name": pa.array([device.name for device in devices], pa.string()),
                "site": words([device.site for device in devices]),
                "profile": words([device.profile.name for device in devices]),
                "kind": words([device.kind for device in devices]),
                "endpoint": words([endpoint(device) for device in devices]),
                "unit": pa.array([device.modbus.unit for device in devices], pa.uint8()),
            }
        )

    def newest(self) -> bytes:
        """Return what the tables hold now, as an Arrow stream: the same rows.

        ``code`` (table.quality) and ``latency_ms`` (NaN: no answer) as of the last tick; ``age_s`` since the
        newest answer. NaN where a device has no such value or it is bad: ``soe_pct``; ``power_kw``, measured;
        ``shown_kw``, the setpoint as its register shows it. Of units of sites that decide: ``setpoint_kw``,
        and ``usable`` (control.reasons; 0: in use), else NaN and NOT_CONTROLLED.
        """
        n = len(self.devices)
        codes = np.empty(n, np.uint8)
        latency_ms, age_s = np.empty(n, np.float32), np.empty(n, np.float32)
        values = {name: np.full(n, np.nan, np.float32) for name in ("soe_pct", "power_kw", "shown_kw")}
        now_ns = self._poller.reactor.now_ns()
        for name, places in self._places.items():
            table = self._poller[name]
            codes[places] = table.row_quality
            # Below 0: its newest answer is of an earlier tick.
            latency_ms[places] = np.where(table.latency_ms >= 0, table.latency_ms, np.nan)
            newest_ns = table.received_ns.max(axis=0)
            age_s[places] = np.where(newest_ns > 0, (now_ns - newest_ns) / 1e9, np.nan)
        for role in self._roles:
            table = self._poller[role.table]
            good = table.quality[role.point][role.rows] < quality.BAD
            found = np.where(good, table.values[role.point][role.rows] * role.factor, np.nan)
            values[role.column][role.places] = found
        setpoint_kw, usable = np.full(n, np.nan, np.float32), np.full(n, reasons.NOT_CONTROLLED, np.uint8)
        if self._controller is not None:
            units = self._controller.columns.units
            setpoint_kw[self._commanded], usable[self._commanded] = units.setpoint_kw, units.usable
        return _stream(
            {
                "code": pa.array(codes),
                "latency_ms": pa.array(latency_ms),
                "age_s": pa.array(age_s),
                **{name: pa.array(column) for name, column in values.items()},
                "setpoint_kw": pa.array(setpoint_kw),
                "usable": pa.array(usable),
            }
        )


def endpoint(device: Device) -> str:
    """Return HOST:PORT as people write it."""
    host = str(device.modbus.host)
    return f"[{host}]:{device.modbus.port}" if ":" in host else f"{host}:{device.modbus.port}"


def _roles(profile: Profile) -> Iterator[tuple[str, str, float]]:
    """Yield (column, point, what one of it is) of the points that everybody wants to see."""
    control = profile.control
    if control is None:
        return
    if isinstance(control, BatteryControl):
        yield "soe_pct", control.soe, 1.0
        yield "shown_kw", control.setpoint, POWER_UNITS[profile.points[control.setpoint].unit]
    if control.power is not None:
        yield "power_kw", control.power, POWER_UNITS[profile.points[control.power].unit]


def _stream(columns: dict[str, Any]) -> bytes:
    batch = pa.record_batch(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())
