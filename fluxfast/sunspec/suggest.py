"""How a SunSpec device might be controlled: a ``control:`` to look at, as comments.

It is never made active. Whether a meter's positive is import depends on how it is wired, and what a
setpoint does depends on modes and reversion timers that are set elsewhere: who runs the site decides.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from fluxfast.profiles import POWER_UNITS, Point
from fluxfast.sunspec.discover import Model

METERS: Final = (201, 202, 203, 204, 211, 212, 213, 214)


class Named(Protocol):
    """A point with the model and the field that it is of."""

    model: Model
    path: tuple[str, ...]
    name: str


def suggestion(entries: Sequence[Named], points: Mapping[str, Point]) -> tuple[str, ...]:
    """Return the lines of comments; none where no model allows any."""
    places: dict[tuple[int, str], str] = {}
    for entry in entries:
        if entry.name in points and len(entry.path) == 1:
            places.setdefault((entry.model.id, entry.path[0]), entry.name)
    return (*_battery(places, points), *_meter(places, points))


def _battery(places: Mapping[tuple[int, str], str], points: Mapping[str, Point]) -> Iterator[str]:
    setpoint = places.get((704, "WSet"))
    if setpoint is None or points[setpoint].unit not in POWER_UNITS:
        if (124, "OutWRte") in places:
            yield ""
            yield "No control: model 124 takes its setpoints in % of the rated power, and control writes kW."
        return
    soe = places.get((713, "SoC")) or places.get((802, "SoC"))
    enable = places.get((704, "WSetEna"))
    ready = next(
        (
            f"{{{places[place]}: [{states}]}}"
            for place, states in (
                ((701, "InvSt"), "RUNNING, THROTTLED, STANDBY"),
                ((701, "ConnSt"), "CONNECTED"),
                ((802, "State"), "CONNECTED"),
            )
            if place in places
        ),
        None,
    )
    if soe is None or enable is None or ready is None:
        return
    yield ""
    yield f"It might be controlled like this, if that is so: {setpoint} is followed while {enable} is ENABLED"
    yield "and WSetMod is WATTS (set that once); positive discharges; its registers are not kept in flash."
    yield f"Before {enable} is written, see that the {setpoint} it holds does no harm: it takes effect then."
    if (704, "WSetRvrtTms") in places:
        yield f"{places[704, 'WSetRvrtTms']} can make the device fall back by itself when nobody writes."
    yield ""
    yield "control:"
    yield f"  setpoint: {setpoint}"
    yield f"  soe: {soe}"
    yield f"  ready: {ready}"
    yield f"  source: {{{enable}: ENABLED}}"
    if (power := places.get((701, "W"))) is not None:
        yield f"  power: {power}"
    if beat := places.get((715, "ControllerHb")) or places.get((802, "CtrlHb")):
        yield f"  heartbeat: {{point: {beat}, every: 1s}}"


def _meter(places: Mapping[tuple[int, str], str], points: Mapping[str, Point]) -> Iterator[str]:
    for model in METERS:
        power = places.get((model, "W"))
        if power is None or points[power].unit not in POWER_UNITS:
            continue
        yield ""
        yield f"As a site's meter, if {power} is positive on import (if not: give it a negative scale):"
        yield ""
        frequency = places.get((model, "Hz"))
        yield f"control: {{power: {power}{f', frequency: {frequency}' if frequency else ''}}}"
        return
