"""One device to the last register: values and their ages, counters, its link, its frames as they pass."""

from typing import Any

import numpy as np

from fluxfast.control import reasons
from fluxfast.controller import Controller
from fluxfast.link.counters import EXCEPTION_CODES, read_counters, read_exceptions
from fluxfast.link.round_trips import quantile_ms, read_round_trips
from fluxfast.plan import TableLayout
from fluxfast.poller import Poller
from fluxfast.profiles import Point
from fluxfast.table import quality
from fluxfast.table.table import NEVER_NS
from fluxfast.trace import Trace
from fluxfast.values import plain


class DeviceView:
    """One device as somebody watches it; its frames are traced until ``close``."""

    def __init__(self, poller: Poller, controller: Controller | None, id_: str) -> None:
        """Begin to look; raises FluxfastError for an id that is not polled here."""
        self.id = id_
        self._poller, self._controller = poller, controller
        self._trace: Trace = poller.trace([id_])
        self._layout, self._row = _place(poller, id_)
        self._device = self._layout.devices[self._row]
        self._unit = next(u for u, device in enumerate(poller.plan.unit_devices) if device.id == id_)
        self._link = int(poller.plan.units[self._unit]["link"])

    def close(self) -> None:
        """Look away."""
        self._trace.close()

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON; ``frames`` are those since the last time."""
        device, table = self._device, self._poller[self._layout.name]
        frames = [frame.as_dict() for frame in self._trace.take()]
        code, latency_ms = int(table.row_quality[self._row]), float(table.latency_ms[self._row])
        return {
            "id": device.id,
            "name": device.name,
            "site": device.site,
            "profile": device.profile.name,
            "kind": device.kind,
            "host": device.modbus.host,
            "port": device.modbus.port,
            "unit": device.modbus.unit,
            "quality": quality.quality_name(code),
            "reason": quality.reason(code),
            "latency_ms": latency_ms if latency_ms >= 0 else None,  # below: of an earlier tick; NaN: bad
            "link": self._of_link(),
            "requests": self._of_requests(),
            "control": self._of_control(),
            "points": self._points(),
            "frames": frames,
        }

    def _of_link(self) -> dict[str, Any]:
        reactor = self._poller.reactor
        failure, next_ns = reactor.failure(self._link), reactor.next_try_ns(self._link)
        _, links = read_counters(reactor, 0)
        return {
            "up": failure == 0,
            "reason": quality.reason(failure),
            "next_try_s": max((next_ns - reactor.now_ns()) / 1e9, 0.0) if next_ns else None,
            "units": int(self._poller.plan.links[self._link]["n_units"]),
            **{name: int(links[self._link][name]) for name in links.dtype.names or ()},
        }

    def _of_requests(self) -> dict[str, Any]:
        reactor, unit = self._poller.reactor, self._unit
        units, _ = read_counters(reactor, unit + 1)
        codes = read_exceptions(reactor, unit + 1)[unit]
        buckets, longest_ms = read_round_trips(reactor, unit + 1)
        answered = buckets[unit].any()
        trips_ms = [
            min(float(quantile_ms(buckets[unit], part)), float(longest_ms[unit])) if answered else None
            for part in (0.5, 0.99)
        ]  # a bucket reaches beyond the longest
        return {
            **{name: int(units[unit][name]) for name in units.dtype.names or ()},
            "exception_codes": {code: int(codes[code]) for code in range(EXCEPTION_CODES) if codes[code]},
            "round_trip_p50_ms": trips_ms[0],
            "round_trip_p99_ms": trips_ms[1],
            "round_trip_max_ms": float(longest_ms[unit]) if answered else None,
        }

    def _of_control(self) -> dict[str, Any] | None:
        """Return what control does with it; None where it only observes."""
        if self._controller is None or self._device not in self._controller.plan.devices:
            return None
        row = self._controller.plan.devices.index(self._device)
        site = self._controller.plan.sites[int(self._controller.plan.site_of[row])]
        units = self._controller.columns.units
        return {
            "action": site.control.action,
            "setpoint_kw": float(units.setpoint_kw[row]),
            "in_use": int(units.usable[row]) == reasons.NONE,
            "reason": reasons.TEXTS[units.usable[row]],
            "limit": reasons.TEXTS[units.reason[row]],
        }

    def _points(self) -> list[dict[str, Any]]:
        profile, layout = self._device.profile, self._layout
        return [
            self._point(c, profile.points[column.point.name])
            for c, column in enumerate(layout.columns)
            if not layout.absent[c, self._row]
        ]

    def _point(self, c: int, point: Point) -> dict[str, Any]:
        table, row = self._poller[self._layout.name], self._row
        code = int(table.quality[c, row])
        value = plain(table.values[c][row]) if code < quality.BAD else None
        states = point.states or {}
        age_ns = int(table.age_ns(point.name, self._poller.reactor.now_ns())[row])
        raw = self._trace.raw.get(point.name)
        return {
            "name": point.name,
            "value": None if isinstance(value, float) and not np.isfinite(value) else value,
            "label": states.get(int(value)) if states and value is not None else None,
            "unit": point.unit,
            "quality": quality.quality_name(code),
            "reason": quality.reason(code),
            "age_s": None if age_ns == NEVER_NS else age_ns / 1e9,
            "table": point.register,
            "address": point.address,
            "reference": point.reference,
            "type": point.type,
            "byte_order": point.byte_order,
            "group": point.group,
            "raw": None if raw is None else raw.hex(),
        }


def _place(poller: Poller, id_: str) -> tuple[TableLayout, int]:
    return next(
        (layout, row)
        for layout in poller.plan.tables
        for row, device in enumerate(layout.devices)
        if device.id == id_
    )
