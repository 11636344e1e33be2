"""What a dataset's devices are, and which of its columns a report draws."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

from fluxfast.profiles import POWER_UNITS, BatteryControl, builtin_profiles, load_profile

Kind = Literal["battery", "meter", "other"]
# For profiles whose files are not here: names that are used in the field, the likeliest first.
_SOE: Final = ("soe", "soc", "soe_pct", "soc_pct", "state_of_energy", "state_of_charge")
_POWER: Final = (
    "power_total",
    "active_power_total",
    "active_power",
    "power",
    "power_kw",
    "power_w",
    "p_kw",
    "p_w",
)
_SETPOINT: Final = ("target_power", "power_setpoint", "setpoint", "setpoint_kw")


@dataclass(frozen=True)
class Columns:
    """``power_kw``: kW in one of the power column. ``is_setpoint``: power that it was told, not measured."""

    kind: Kind
    power: str | None = None
    power_kw: float = 1.0
    is_setpoint: bool = False
    soe: str | None = None


def columns_of(dataset: str, schema: pa.Schema) -> Columns:
    """Return what to read: by the profile's ``control:`` if it is one of ours, else by names and units."""
    numbers = [
        field.name for field in schema if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
    ]
    kind, powers, setpoints, soes = _points(schema.metadata or {}, dataset, schema)
    power, soe = _first(powers, numbers), _first(soes, numbers)
    is_setpoint = power is None and kind == "battery"
    if is_setpoint:
        power = _first(setpoints, numbers)
    if power is None:
        return Columns(kind, soe=soe)
    return Columns(kind, power, POWER_UNITS.get(_unit(schema, power), 1.0), is_setpoint, soe)


def _points(
    about: Mapping[bytes, bytes], dataset: str, schema: pa.Schema
) -> tuple[Kind, Iterable[str], Iterable[str], Iterable[str]]:
    profile = about.get(b"profile", dataset.encode()).decode(errors="replace")
    control = load_profile(profile).control if profile in builtin_profiles() else None
    if isinstance(control, BatteryControl):
        return "battery", [control.power] if control.power else [], [control.setpoint], [control.soe]
    if control is not None:
        return "meter", [control.power], [], []
    in_kw = [name for name in schema.names if _unit(schema, name) in POWER_UNITS]
    power = [name for name in _POWER if name in in_kw or not _unit(schema, name)]
    soes = [name for name in _SOE if _unit(schema, name) in ("%", "")]
    if any(name in schema.names for name in soes):
        return "battery", power, _SETPOINT, soes
    return ("meter" if any(name in schema.names for name in power) else "other"), power, [], []


def _first(names: Iterable[str], known: list[str]) -> str | None:
    return next((name for name in names if name in known), None)


def _unit(schema: pa.Schema, name: str) -> str:
    if name not in schema.names:
        return ""
    return str((schema.field(name).metadata or {}).get(b"unit", b"").decode(errors="replace"))
