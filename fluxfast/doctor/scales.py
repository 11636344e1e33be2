"""Scales and signs: values against their unit, the device's rating, and each other.

A factor is named only where exactly one of the usual ones makes a value possible; what reads zero, and what
could be so, is left alone.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from fluxfast.config import Device
from fluxfast.doctor.arrangement import MEANS, SUMS
from fluxfast.doctor.finding import Finding, fault, warning
from fluxfast.doctor.plausible import FACTOR, SLACK_PCT, base_unit, is_soe
from fluxfast.profiles import Point
from fluxfast.sim.meter import quantity_of
from fluxfast.sim.units import prefix_of
from fluxfast.values import Reading

RATED_TIMES: Final = 3.0  # more than so many times its rating no unit delivers
SIGNED_UNITS: Final = ("W", "var", "A", "°C")
POWERS: Final = ("W", "var", "VA")
BASES: Final = (*POWERS, "V", "A")
NEAR_TOP: Final = 64  # part of what a type holds; where no rating says more
PHASES: Final = ("l1", "l2", "l3")
LEAST_VA: Final = 50.0  # below, a meter's own errors are as large as what it measures
TENFOLDS: Final = (0.001, 0.01, 0.1, 10.0, 100.0, 1000.0)
EXACT, APART = 0.003, 0.2  # a sum is right, is wrong: of the size of its parts
FACTOR_SLACK: Final = 1.6  # a factor of ten is recognised between 1/1.6 and 1.6 of it


def judge_scales(device: Device, readings: Sequence[Reading]) -> list[Finding]:
    """Return what is wrong with signs and scales of one device."""
    found = list(_signs(device, readings))
    if not found:
        found = list(_of_units(readings))
    if not found:
        found = list(_of_rating(device, readings))
    if not found:
        found = list(_of_sums(readings))
    if not found:
        found = list(_of_physics(readings))
    return found


def scaled(point: Point, factor: float) -> str:
    """Return a point's new scale as a site file writes it."""
    scale = point.scale * Decimal(repr(factor))
    return f"{scale.normalize():f}" if abs(scale) < Decimal("1e6") else f"{scale.normalize()}"


def _numbers(readings: Sequence[Reading]) -> Iterator[tuple[Reading, float]]:
    for reading in readings:
        value, point = reading.value, reading.point
        if point.states or point.bits is not None or isinstance(value, bool | str):
            continue
        if value and math.isfinite(value):
            yield reading, float(value)


def _signs(device: Device, readings: Sequence[Reading]) -> Iterator[Finding]:
    for reading, value in _numbers(readings):
        point = reading.point
        if point.kind != "unsigned" or base_unit(point) not in SIGNED_UNITS or set(reading.raw) == {0xFF}:
            continue
        width, span = 16 * point.size, float(point.scale) * 2 ** (16 * point.size)
        negative = value - span
        rated_kw = device.rated_power_kw if base_unit(point) in POWERS else None
        if rated_kw is not None:
            kw = prefix_of(point.unit) / 1e3
            is_clear = abs(value * kw) > RATED_TIMES * rated_kw >= abs(negative * kw)
        else:
            is_clear = abs(negative) < abs(span) / NEAR_TOP
        if is_clear:
            yield (warning if rated_kw is None else fault)(
                "sign",
                f"{point.name} reads {value:,.10g} {point.unit}; as int{width} it is {negative:,.10g}",
                f"points: {{{point.name}: {{type: int{width}}}}}",
            )


def _of_units(readings: Sequence[Reading]) -> Iterator[Finding]:
    for reading, value in _numbers(readings):
        point = reading.point
        factor = _factor(point, value)
        if factor is not None:
            is_part = is_soe(point) and value < 1  # or it is nearly empty
            yield (warning if is_part else fault)(
                "scale",
                f"{point.name} reads {value:,.6g} {point.unit}".rstrip()
                + (", as if it were a part of 1; " if is_part else ", which it cannot be; ")
                + f"times {factor:g} it is {value * factor:,.6g}",
                f"points: {{{point.name}: {{scale: {scaled(point, factor)}}}}}",
            )


def _factor(point: Point, value: float) -> float | None:
    """Return what a value that cannot be has to be multiplied by, if one usual factor is enough."""
    base = base_unit(point)
    if is_soe(point):
        if 0 < value < 1 and (point.kind == "float" or point.scale <= Decimal("0.01")):
            return 100.0  # a part of 1; tenths of a percent are none
        tenfold = value / (100 + SLACK_PCT)
        return None if tenfold <= 1 else 0.1 if tenfold <= 10 else 0.01 if tenfold <= 100 else None
    if base == "Hz" and value > 0.2 and not 40 <= value <= 70:
        return next((f for f in (0.1, 0.01, 0.001, 10.0, 100.0) if 45 <= value * f <= 65), None)
    if base == FACTOR and 1.05 < abs(value) <= 1000:
        return 0.01 if abs(value) <= 100 else 0.001
    if base == "°C" and 200 < value <= 1500:
        return 0.1
    return None


def _of_rating(device: Device, readings: Sequence[Reading]) -> Iterator[Finding]:
    if device.rated_power_kw is None or device.kind != "bess":
        return
    for reading, value in _numbers(readings):
        point = reading.point
        if base_unit(point) != "W":
            continue
        kw = value * prefix_of(point.unit) / 1e3
        if abs(kw) <= RATED_TIMES * device.rated_power_kw:
            continue
        fits = [f for f in (0.1, 0.01, 0.001) if abs(kw) * f <= 1.2 * device.rated_power_kw]
        likely = 0.001 if 0.001 in fits and abs(kw) > 20 * device.rated_power_kw else None
        factor = likely or (fits[0] if fits else None)
        cure = (
            f"points: {{{point.name}: {{scale: {scaled(point, factor)}}}}}, if the register counts so"
            if factor
            else "compare the type, scale and unit with the manual"
        )
        yield warning(
            "scale",
            f"{point.name} reads {value:,.6g} {point.unit} of a unit that is rated "
            f"{device.rated_power_kw:,.6g} kW",
            cure,
        )


def _of_sums(readings: Sequence[Reading]) -> Iterator[Finding]:
    """One of a sum or a mean and its parts, which a power of ten makes exact and nothing else does."""
    members = {
        quantity_of(reading.point.name): (reading.point, value) for reading, value in _numbers(readings)
    }
    for parts_of, divisor in ((SUMS, 1), (MEANS, 3)):
        for whole, parts in parts_of.items():
            if whole not in members or not all(part in members for part in parts):
                continue
            values = {name: members[name][1] for name in (whole, *parts)}
            if _is_exact(values, whole, divisor, APART):
                continue
            fits = [
                (name, factor)
                for name in values
                for factor in TENFOLDS
                if _is_exact(values | {name: values[name] * factor}, whole, divisor, EXACT)
            ]
            if len(fits) == 1:
                ((name, factor),) = fits
                point = members[name][0]
                others = ", ".join(part for part in (whole, *parts) if part != name)
                yield fault(
                    "scale",
                    f"{point.name} reads {values[name]:,.6g} {point.unit}; times {factor:g} it fits {others}",
                    f"points: {{{point.name}: {{scale: {scaled(point, factor)}}}}}",
                )


def _is_exact(values: Mapping[str, float], whole: str, divisor: int, slack: float) -> bool:
    parts = [value for name, value in values.items() if name != whole]
    return abs(values[whole] - sum(parts) / divisor) <= slack * sum(map(abs, parts)) / divisor


def _of_physics(readings: Sequence[Reading]) -> Iterator[Finding]:
    """P against V · I, apparent against active power; only where they differ by a power of ten."""
    by_quantity = {quantity_of(reading.point.name): (reading, value) for reading, value in _numbers(readings)}
    si = {
        name: value * (prefix_of(reading.point.unit) if base_unit(reading.point) in BASES else 1)
        for name, (reading, value) in by_quantity.items()
    }
    estimate_va, how = _apparent(si)
    if "power_total" not in si or estimate_va < LEAST_VA:
        return
    power = by_quantity["power_total"][0].point
    factor = abs(si.get("power_factor", 1.0)) if abs(si.get("power_factor", 1.0)) <= 1 else 1.0
    ratio = abs(si["power_total"]) / (estimate_va * factor)
    exponent = round(math.log10(ratio))
    apart = ratio / 10.0**exponent
    exact = "power_factor" in si and how != "one phase"
    if not exact:  # a low power factor, or phases that differ, are no wrong scale
        exponent = 3 if 200 <= ratio <= 1300 else -3 if 2e-4 <= ratio <= 1.3e-3 else 0
    elif not 1 / FACTOR_SLACK <= apart <= FACTOR_SLACK:
        return
    if exponent == 0:
        return
    alike = [
        reading.point.name
        for reading in readings
        if base_unit(reading.point) in POWERS and reading.point.scale == power.scale
    ]
    new = scaled(power, 10.0**-exponent)
    change = ", ".join(f"{name}: {{scale: {new}}}" for name in (alike if exact else [power.name]))
    yield (fault if exact else warning)(
        "scale",
        f"{power.name} is {_shown(si['power_total'], 'W')}, {_times(exponent)} than {how} gives, "
        f"{_shown(estimate_va * factor, 'W')}",
        f"points: {{{change}}}",
    )


def _apparent(si: Mapping[str, float]) -> tuple[float, str]:
    """Return the apparent power by volts and amperes, and how it was got; 0 where they are missing."""
    pairs = [
        (si.get(f"voltage_{phase}_n", 0.0), si.get(f"current_{phase}", 0.0))
        for phase in PHASES
        if f"voltage_{phase}_n" in si
    ]
    if len(pairs) == 3 and all(volts and amperes for volts, amperes in pairs):
        return sum(abs(volts * amperes) for volts, amperes in pairs), "Σ V·I·PF"
    if pairs and all(pairs[0]):
        return 3 * abs(pairs[0][0] * pairs[0][1]), "one phase"
    return 0.0, ""


def _times(exponent: int) -> str:
    times = 10 ** abs(exponent)
    return f"{times:,} times more" if exponent > 0 else f"{times:,} times less"


def _shown(value: float, unit: str) -> str:
    for prefix, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:,.4g} {prefix}{unit}"
    return f"{value:,.4g} {unit}"
