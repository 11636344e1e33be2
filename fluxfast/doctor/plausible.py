"""Which values make sense: by unit, by what else the profile says, by how floats look in the wrong order.

A judgement is 1 (makes sense), -1 (does not) or 0: zero, a code without a name, text decide nothing.
"""

import math
from typing import Final

from fluxfast.profiles import Point
from fluxfast.sim.meter import quantity_of
from fluxfast.sim.units import prefix_of
from fluxfast.table import quality
from fluxfast.values import Reading

# Of |value| in base units: from where on it makes sense, up to where, and from where on it does not.
SPANS: Final = {
    "V": (1.0, 1e6, 5e6),
    "A": (1e-3, 1e5, 1e7),
    "W": (1e-1, 1e10, 1e12),
    "var": (1e-1, 1e10, 1e12),
    "VA": (1e-1, 1e10, 1e12),
    "Wh": (1.0, 1e15, 1e18),
    "varh": (1.0, 1e15, 1e18),
    "VAh": (1.0, 1e15, 1e18),
    "Hz": (45.0, 65.0, 65.0),
    "°C": (1e-1, 150.0, 200.0),
}
ANY: Final = (1e-4, 1e9, 1e12)
TINY: Final = 1e-6  # no measurement is that small and not zero; swapped words often are
NO_NUMBERS: Final = [sorted(raw + bytes(rest)) for rest in (2, 6)
                     for raw in (b"\x7f\xc0", b"\x7f\xf8", b"\xff\xc0", b"\xff\xf8")]  # fmt: skip
FACTOR: Final = "factor"
SLACK_PCT: Final = 0.5  # a state of energy may be a little beyond 100 %


def base_unit(point: Point) -> str:
    """Return the unit without its prefix (``W`` of kW), ``%``, ``factor`` of a power factor, or nothing."""
    if not point.unit and quantity_of(point.name).startswith("power_factor"):
        return FACTOR
    unit = point.unit.replace("VAr", "var").replace("VAR", "var").replace("Var", "var")
    unit = {"C": "°C", "degC": "°C"}.get(unit, unit)
    base = unit[1:] if prefix_of(point.unit) != 1.0 else unit
    return base if base in SPANS or base == "%" else ""


def is_soe(point: Point) -> bool:
    """Whether it is a state of energy or charge."""
    name = point.name.lower()
    return point.unit == "%" and any(name == word or word in name.split("_") for word in ("soe", "soc"))


def judge(reading: Reading) -> int:
    """Return whether a value makes sense: 1, -1, or 0 where that cannot be told."""
    point, value = reading.point, reading.value
    if _is_no_number(reading):
        return 0
    if reading.code == quality.NAN:
        return -1
    if value is None or isinstance(value, bool | str) or point.bits is not None:
        return 0
    if point.states:
        return 1 if reading.label is not None else 0
    return judge_number(point, float(value))


def _is_no_number(reading: Reading) -> bool:
    """Whether it is what devices write for no value, in any order; swapped words are that by no chance."""
    return reading.point.kind == "float" and sorted(reading.raw) in NO_NUMBERS


def judge_number(point: Point, value: float) -> int:
    """Return the same of a number in the point's unit."""
    if value == 0:
        return 0
    if not math.isfinite(value) or (point.kind == "float" and abs(value) < TINY):
        return -1
    if point.limits is not None and not float(point.limits[0]) <= value <= float(point.limits[1]):
        return -1
    base = base_unit(point)
    if base == "%":
        return _judge_percent(point, value)
    if base == FACTOR:
        return 1 if 1e-3 <= abs(value) <= 1.0001 else -1 if abs(value) > 1.05 else 0
    if base == "Hz" and (value < 40 or value > 70):
        return 0 if value < 0.2 else -1  # a generator that stands still
    if not base and point.kind != "float":
        return 1 if point.limits is not None else 0
    low, high, wrong = SPANS.get(base, ANY)
    size = abs(value) * (prefix_of(point.unit) if base else 1.0)
    if size > wrong:
        return -1
    return 1 if low <= size <= high else 0


def _judge_percent(point: Point, value: float) -> int:
    most = 100 + SLACK_PCT if is_soe(point) else 200.0
    if value > most or value < (0 if is_soe(point) else -200.0):
        return -1
    return 1 if 0 < value <= 100 else 0
