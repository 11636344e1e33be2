"""From the unit that a profile names to the one that the physics computes in."""

from typing import Final

PREFIXES: Final = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}
BASE_UNITS: Final = {"W", "var", "VA", "V", "A", "Hz", "Wh", "varh", "VAh", "Ws", "J", "Ohm"}


def prefix_of(unit: str) -> float:
    """Return what the unit's prefix multiplies by: 1000 for ``kW`` and ``kvarh``, 1 for ``V`` and ``%``."""
    base = unit[1:].replace("VAr", "var").replace("VAR", "var").replace("Var", "var")
    return PREFIXES.get(unit[:1], 1.0) if base in BASE_UNITS else 1.0


def factor_from_base(unit: str, size: float = 1.0) -> float:
    """Return what turns a quantity kept in multiples of ``size`` base units (1e3: in kW) into ``unit``."""
    return size / prefix_of(unit)
