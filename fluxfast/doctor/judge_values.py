"""Findings about what was read: byte order and addresses first, then signs and scales, then the rest.

What one cause explains is told once: while the bytes are arranged wrongly, no scale is judged.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from fluxfast.doctor.arrangement import Arrangement, Score, better, score, swapped_integers
from fluxfast.doctor.finding import Finding, fault, note, warning
from fluxfast.doctor.observed import UnitSeen
from fluxfast.doctor.plausible import judge, judge_number
from fluxfast.doctor.scales import judge_scales
from fluxfast.profiles import BatteryControl
from fluxfast.profiles.types import TYPES
from fluxfast.table import quality
from fluxfast.values import Reading

SENTINELS: Final = {("unsigned", 1): 0xFFFF, ("signed", 1): 0x8000, ("unsigned", 2): 0xFFFFFFFF,
                    ("signed", 2): 0x80000000}  # fmt: skip
SHOWN: Final = 3


def judge_values(seen: UnitSeen) -> list[Finding]:
    """Return what is wrong with the values of a unit."""
    if not seen.reads and not seen.moved:
        return []
    now = score(seen.reads)
    others = better(seen) if now.bad or seen.moved else []
    if others:
        return [_arranged(others)]
    found = list(_swapped_integers(seen))
    if found:
        return found
    sentinels = list(_sentinels(now.readings))
    none = {reading.point.name for reading, _ in sentinels}
    numbers = [reading for reading in now.readings if reading.point.name not in none]
    found = [finding for _, finding in sentinels] + judge_scales(seen.device, numbers)
    told = " ".join(finding.seen for finding in found).split()
    found += _implausible([reading for reading in numbers if reading.point.name not in told])
    return found + list(_control(seen, now.readings))


def is_misplaced(findings: Sequence[Finding]) -> bool:
    """Whether addresses are one off, which explains refused points too."""
    return any(finding.check == "address" for finding in findings)


def good_points(seen: UnitSeen) -> int:
    """Return how many points have a usable value."""
    return sum(reading.code < quality.BAD for reading in score(seen.reads).readings)


def _arranged(others: list[tuple[Arrangement, Score, Score]]) -> Finding:
    way, after, before = others[0]
    names = {reading.point.name: reading for reading in before.readings}
    example = _example(after, names)
    also = "".join(f"; {_way(other)} would explain it too" for other, _, _ in others[1:2])
    if way.shift:
        seen = (
            f"{example} one address {'higher' if way.shift > 0 else 'lower'}; {after.good} points make "
            f"sense there, {before.good} where they are configured{also}"
        )
        cure = (
            f"{'add 1 to' if way.shift > 0 else 'take 1 off'} every address of the profile: "
            f"addresses count from 0 here, from 1 in many manuals"
        )
        return fault("address", seen, cure)
    was = "/".join(sorted({r.point.byte_order for r in before.readings if _is_of(r, way)}))
    seen = (
        f"{example} as {way.order}; {after.good} of {len(after.readings)} numbers of {way.width} bits make "
    )
    seen += f"sense as {way.order}, {before.good} as {was}, which is configured{also}"
    points = ", ".join(
        f"{r.point.name}: {{byte_order: {way.order}}}" for r in after.readings if _is_of(r, way)
    )
    return fault("byte-order", seen, f"points: {{{points}}}")


def _is_of(reading: Reading, way: Arrangement) -> bool:
    type_ = TYPES[reading.point.type]
    return type_.width == way.width and type_.is_number and reading.point.bits is None


def _example(after: Score, before: dict[str, Reading]) -> str:
    """Return the point whose value changes from senseless to sensible, both shown."""

    def judged(reading: Reading) -> int:
        was = before.get(reading.point.name)
        return 0 if was is None else judge(was)

    best = min((reading for reading in after.readings if judge(reading) == 1), key=judged)
    was = before.get(best.point.name)
    said = "is refused" if was is None else f"reads {shown(was)}"
    return f"{best.point.name} {said}, and {shown(best)}"


def _way(way: Arrangement) -> str:
    if way.shift:
        return f"addresses one {'higher' if way.shift > 0 else 'lower'}"
    return f"byte order {way.order}"


def _swapped_integers(seen: UnitSeen) -> Iterator[Finding]:
    for width in (32, 64):
        swapped = swapped_integers(seen.reads, width)
        if swapped is None:
            continue
        order, readings = swapped
        now = {reading.point.name: reading for reading in score(seen.reads).readings}
        first = readings[0]
        points = ", ".join(f"{r.point.name}: {{byte_order: {order}}}" for r in readings)
        yield warning(
            "byte-order",
            f"{first.point.name} reads {shown(now[first.point.name])}, and {shown(first)} as {order}; the "
            f"{len(readings)} integers of {width} bits are much smaller so",
            f"points: {{{points}}}, if those are their values",
        )
        return


def _sentinels(readings: Sequence[Reading]) -> Iterator[tuple[Reading, Finding]]:
    for reading in readings:
        point = reading.point
        code = SENTINELS.get((point.kind, point.size))
        plain = not point.in_bit_table and point.bits is None and reading.value is not None
        if code is None or not plain or int.from_bytes(reading.raw) != code:
            continue
        if point.unit or point.states:
            yield (
                reading,
                warning(
                    "values",
                    f"{point.name} reads {shown(reading)}, 0x{code:X}, which mostly stands for no value",
                    f"points: {{{point.name}: {{not_implemented: 0x{code:X}}}}}",
                ),
            )


def _implausible(readings: Sequence[Reading]) -> Iterator[Finding]:
    senseless = []
    for reading in readings:
        if reading.code == quality.RANGE:
            point = reading.point
            assert point.limits is not None
            low, high = point.limits
            yield warning(
                "values",
                f"{point.name} reads {shown(reading)}; its limits are {low} to {high}",
                "see whether type, scale and byte order are the manual's, or widen limits:",
            )
        elif judge(reading) == -1 or reading.code == quality.NAN:
            senseless.append(reading)
    if senseless:
        some = ", ".join(f"{r.point.name} {shown(r)}" for r in senseless[:SHOWN])
        more = f" and {len(senseless) - SHOWN} more" if len(senseless) > SHOWN else ""
        yield warning(
            "values",
            f"{some}{more}: no values that these can have",
            "compare address, type, byte order and scale with the manual; the sensor may be missing, too",
        )


def _control(seen: UnitSeen, readings: Sequence[Reading]) -> Iterator[Finding]:
    control = seen.device.profile.control
    if not isinstance(control, BatteryControl) or not seen.device.controlled:
        return
    by_name = {reading.point.name: reading for reading in readings}
    name, labels = control.ready.point, control.ready.labels
    status = by_name.get(name)
    if status is not None and status.value is not None and status.label not in labels:
        yield note(
            "control",
            f"{name} is {shown(status)}, not {' or '.join(labels)}: control would leave it alone",
            "see why it is not ready"
            if status.label
            else f"if it is ready so, name the code: points: {{{name}: {{states: "
            f"{{{status.value}: {labels[0]}}}}}}}",
        )
    blocks = by_name.get(control.blocks or "")
    if blocks is None or blocks.value is None or seen.device.blocks is None:
        return
    if float(blocks.value) > seen.device.blocks:
        yield warning(
            "control",
            f"{control.blocks} is {shown(blocks)}; the site file says that {seen.device.blocks} are all",
            f"blocks: {blocks.value}",
        )


def shown(reading: Reading) -> str:
    """Return a value with its unit, or why there is none."""
    if reading.value is None or isinstance(reading.value, bool | str) or reading.label:
        return str(reading.shown)
    text = f"{reading.value:,}" if isinstance(reading.value, int) else f"{reading.value:,.6g}"
    unit = reading.point.unit
    return f"{text} {unit}" if unit and judge_number(reading.point, float(reading.value)) >= 0 else text
