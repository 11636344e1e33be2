"""What is legal in a profile and yet likely a mistake, and what is worth knowing about it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from fluxfast.profiles.control import POWER_UNITS, BatteryControl, MeterControl
from fluxfast.profiles.findings import Finding
from fluxfast.profiles.point import FAST, Point
from fluxfast.profiles.profile import Profile
from fluxfast.profiles.types import TYPES

_UNITS: Final = (
    *POWER_UNITS, "Wh", "kWh", "MWh", "kV", "mV", "mA", "VA", "kVA", "MVA", "var", "kvar", "Mvar", "Hz", "Ah",
    "ms", "°C",
)  # fmt: skip
_SHOWN: Final = 4  # names in a line


def warnings(profile: Profile) -> Iterator[Finding]:
    """Yield what should be looked at before a device is read by this profile."""
    points = list(profile.points.values())
    yield from _odd_orders(points)
    yield from _odd_units(points)
    for name in profile.groups:
        if not any(point.group == name for point in points):
            yield Finding(("groups", name), f"no point is in the group '{name}'", "remove it")
    if profile.control is not None:
        yield from _control(profile)


def notes(profile: Profile) -> Iterator[str]:
    """Yield what is worth knowing, a sentence each."""
    points = list(profile.points.values())
    bare = [point for point in points if not (point.unit or point.description or point.states)]
    if bare:
        yield f"without unit, description and states: {_listed(bare)}"
    free = [point for point in points if point.writable and TYPES[point.type].is_number]
    free = [point for point in free if point.limits is None and point.states is None]
    if free:
        yield f"may be written, and limits: does not say within what: {_listed(free)}"
    if profile.control is None:
        yield "no control: such devices can be read, not controlled"


def _odd_orders(points: Sequence[Point]) -> Iterator[Finding]:
    """A byte order that one point has and nearly all the others have not is seldom meant."""
    wide = [point for point in points if TYPES[point.type].width > 16]
    swaps = Counter((point.swap_words, point.swap_bytes) for point in wide)
    for usual, count in swaps.most_common(1):
        if count < 4 * (len(wide) - count):
            return
        like = next(point for point in wide if (point.swap_words, point.swap_bytes) == usual)
        for point in wide:
            if (point.swap_words, point.swap_bytes) != usual:
                message = f"its byte order is {point.byte_order}, that of {count} others is {like.byte_order}"
                yield Finding(("points", point.name, "byte_order"), message, "is that meant?")


def _odd_units(points: Sequence[Point]) -> Iterator[Finding]:
    for point in points:
        right = next((unit for unit in _UNITS if unit.lower() == point.unit.lower()), point.unit)
        if len(right) > 1 and right != point.unit and point.unit not in _UNITS:
            yield Finding(("points", point.name, "unit"), f"the unit '{point.unit}'", f"is it {right}?")


def _control(profile: Profile) -> Iterator[Finding]:
    control, points = profile.control, profile.points
    if isinstance(control, BatteryControl):
        setpoint = points[control.setpoint]
        if setpoint.kind == "unsigned" and setpoint.offset >= 0 and setpoint.bits is None:
            message = f"'{setpoint.name}' is a {setpoint.type}: it can only discharge"
            yield Finding(("control", "setpoint"), message, f"is its type {setpoint.type[1:]}?")
        read = {"soe": control.soe, "ready": control.ready.point, "power": control.power}
    else:
        assert isinstance(control, MeterControl)
        read = {"power": control.power, "frequency": control.frequency}
    for role, name in read.items():
        if name is not None and points[name].group != FAST:
            message = f"'{name}' is in the group '{points[name].group}', and decided on while it is old"
            yield Finding(("control", role), message, "take group: away")


def _listed(points: Sequence[Point]) -> str:
    names = ", ".join(point.name for point in points[:_SHOWN])
    return names if len(points) <= _SHOWN else f"{names} and {len(points) - _SHOWN:,} more"
