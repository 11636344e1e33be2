"""Whether the points that a profile's ``control:`` names can do what it asks of them."""

from collections.abc import Iterator, Mapping
from typing import Final

from fluxfast.profiles.control import POWER_UNITS, BatteryControl, MeterControl, PointState
from fluxfast.profiles.findings import Finding, Loc, nearest
from fluxfast.profiles.point import Point
from fluxfast.profiles.quirks import Quirks
from fluxfast.profiles.types import TYPES

_POWER: Final = tuple(POWER_UNITS)
_PCT: Final = ("%",)
_HZ: Final = ("Hz",)


def write_function(control: BatteryControl | MeterControl | None, quirks: Quirks, point: Point) -> int:
    """Return the function code that writes a register point: 6 or 16."""
    if isinstance(control, BatteryControl) and control.write is not None:
        return 6 if control.write == "fc06" else 16
    if quirks.write_function != "auto":
        return quirks.write_function
    return 6 if point.size == 1 else 16


def check_control(
    control: BatteryControl | MeterControl, points: Mapping[str, Point], quirks: Quirks
) -> Iterator[Finding]:
    """Yield what is wrong, placed within ``control``."""
    check = _Check(points, quirks)
    if isinstance(control, MeterControl):
        yield from check.number(("power",), control.power, _POWER)
        yield from check.number(("frequency",), control.frequency, _HZ, optional=True)
        return
    yield from check.setpoint(control)
    yield from check.number(("soe",), control.soe, _PCT)
    yield from check.number(("blocks",), control.blocks, optional=True)
    yield from check.number(("power",), control.power, _POWER, optional=True)
    yield from check.state(("ready",), control.ready)
    yield from check.source(control)
    yield from check.heartbeat(control)


class _Check:
    """The checks of single roles that a point can have."""

    def __init__(self, points: Mapping[str, Point], quirks: Quirks) -> None:
        self._points = points
        self._quirks = quirks

    def number(
        self, loc: Loc, name: str | None, units: tuple[str, ...] = (), *, optional: bool = False
    ) -> Iterator[Finding]:
        """What is read as a number in one of some units."""
        if name is None:
            return
        yield from self._exists(loc, name, f"; {loc[0]}: null if there is none" if optional else "")
        if point := self._points.get(name):
            yield from self._is_read(loc, point)
            yield from self._is_number(loc, point, units)

    def state(self, loc: Loc, state: PointState) -> Iterator[Finding]:
        """What is read as a state."""
        yield from self._exists(loc, state.point)
        if point := self._points.get(state.point):
            yield from self._is_read(loc, point)
            known = (point.states or {}).values()
            for label in state.labels:
                if label not in known:
                    cure = nearest(label, known) or f"add states: to {point.name}"
                    yield Finding((*loc, point.name), f"'{point.name}' has no state '{label}'", cure)

    def setpoint(self, control: BatteryControl) -> Iterator[Finding]:
        loc = ("setpoint",)
        yield from self._exists(loc, control.setpoint)
        if point := self._points.get(control.setpoint):
            yield from self._is_written(loc, point, control)
            yield from self._is_volatile(loc, point, "setpoint")
            yield from self._is_number(loc, point, _POWER)
            if point.type == "float16":
                yield Finding(
                    loc, f"'{point.name}' is a float16, which is only read", "name another register"
                )

    def source(self, control: BatteryControl) -> Iterator[Finding]:
        if control.source is not None:
            yield from self.state(("source",), control.source)
            if point := self._points.get(control.source.point):
                yield from self._is_written(("source",), point, control)

    def heartbeat(self, control: BatteryControl) -> Iterator[Finding]:
        beat, loc = control.heartbeat, ("heartbeat", "point")
        if beat is None:
            return
        yield from self._exists(loc, beat.point)
        point = self._points.get(beat.point)
        if point is None:
            return
        yield from self._is_written(loc, point, control)
        yield from self._is_volatile(loc, point, "heartbeat")
        if beat.point == control.setpoint or (control.source and beat.point == control.source.point):
            yield Finding(loc, f"'{point.name}' is written for another purpose", "name the heartbeat's own")
        if not TYPES[point.type].is_integer:
            yield Finding(loc, f"'{point.name}' is a {point.type}", "a heartbeat is an integer")
        elif beat.value is not None:
            width, signed = TYPES[point.type].width, point.kind == "signed"
            low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
            if not low <= beat.value <= high:
                message = f"{beat.value} is no raw value of {point.type}"
                yield Finding(("heartbeat", "value"), message, f"its values are {low} to {high}")

    def _exists(self, loc: Loc, name: str, or_else: str = "") -> Iterator[Finding]:
        if name not in self._points:
            yield Finding(loc, f"there is no point '{name}'", nearest(name, self._points) + or_else)

    def _is_read(self, loc: Loc, point: Point) -> Iterator[Finding]:
        if not point.readable:
            yield Finding(loc, f"'{point.name}' is not read", "control needs it: write access: ro or rw")

    def _is_written(self, loc: Loc, point: Point, control: BatteryControl) -> Iterator[Finding]:
        if not point.writable:
            yield Finding(loc, f"'{point.name}' may not be written", f"write access: rw for {point.name}")
        if point.register != "holding":
            yield Finding(
                loc, f"'{point.name}' is register: {point.register}", "control writes holding registers"
            )
        if point.bit is not None or point.bits is not None:
            message = f"'{point.name}' is part of a register, and writing it would change the rest"
            yield Finding(loc, message, "name a point that is whole registers")
        quirk = self._quirks.write_function
        function = write_function(control, self._quirks, point)
        if quirk not in ("auto", function):
            message = f"'{control.write}', and the quirk write_function is {quirk}"
            yield Finding(("write",), message, "make them the same, or write: null")
        elif function == 6 and point.size > 1:
            message = f"function code 6 writes one register, and '{point.name}' has {point.size}"
            yield Finding(("write",), message, "write: fc16")

    def _is_volatile(self, loc: Loc, point: Point, what: str) -> Iterator[Finding]:
        if point.storage == "flash":
            message = f"'{point.name}' is stored in flash, a cyclic {what} would wear it out"
            yield Finding(loc, message, "name a register that is volatile")

    def _is_number(self, loc: Loc, point: Point, units: tuple[str, ...]) -> Iterator[Finding]:
        if not TYPES[point.type].is_number:
            yield Finding(loc, f"'{point.name}' is a {point.type}", "control needs a number")
        elif units and point.unit not in units:
            has = f"in {point.unit}" if point.unit else "without a unit"
            choice = " or ".join(filter(None, [", ".join(units[:-1]), units[-1]]))
            cure = f"write unit: {choice} for {point.name}, and its scale"
            yield Finding(loc, f"'{point.name}' is {has}", cure)
