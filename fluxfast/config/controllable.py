"""Whether a site can be controlled as its control section says: its units, its meters, their profiles."""

from collections.abc import Iterator
from typing import Final

from fluxfast.config.fleet import MAX_AGE_TICKS, Control, Device, Site
from fluxfast.config.modes import Reserve
from fluxfast.profiles import POWER_UNITS, BatteryControl, MeterControl, Point, Profile
from fluxfast.profiles.findings import Finding, Loc
from fluxfast.profiles.point import FAST, MAX_FLOAT16
from fluxfast.profiles.types import TYPES

GRID_MODES: Final = ("peak_shaving", "self_consumption")
GRID_LIMITS: Final = ("import_kw", "export_kw", "grid_ramp_kw_per_s")
FREQUENCY_MODES: Final = ("frequency_droop",)


def check_unit(device: Device, control: Control) -> Iterator[Finding]:
    """Yield what keeps a battery unit from being commanded, placed within its entry."""
    profile = device.profile
    for key in ("rated_power_kw", "capacity_kwh"):
        if getattr(device, key) is None:
            yield Finding(
                (), f"the key '{key}' is missing, and control needs it", _cure(f"write {key}: and a number")
            )
    if not isinstance(profile.control, BatteryControl):
        message = f"the profile '{profile.name}' does not say how the unit is commanded"
        yield Finding(("type",), message, _cure("give it a control: section"))
        return
    findings = list(profile.control_findings())
    yield from findings
    if findings:
        return
    setpoint = profile.points[profile.control.setpoint]
    yield from _check_range(device, setpoint, control.limits.charge_kw != 0)
    if control.max_age_s is None:
        yield from _check_groups(profile, _readings(profile, profile.control))


def check_meter(device: Device, control: Control) -> Iterator[Finding]:
    """Yield what keeps a meter from being read for control, placed within its entry."""
    profile = device.profile
    if not isinstance(profile.control, MeterControl):
        return  # whether that matters depends on the site's modes and limits
    findings = list(profile.control_findings())
    yield from findings
    if not findings and control.max_age_s is None and device.role in (None, "grid"):
        yield from _check_groups(profile, {"power": profile.control.power})


def check_site(site: Site) -> Iterator[Finding]:
    """Yield what keeps a site as a whole from being controlled, placed within its control section."""
    control = site.control
    if not site.units:
        yield Finding((), "there is no battery unit to control", "add one, or write action: observe")
    grid: list[tuple[Loc, str]] = [
        (("modes", index), mode.name) for index, mode in enumerate(control.modes) if mode.type in GRID_MODES
    ]
    grid += [(("limits", key), key) for key in GRID_LIMITS if getattr(control.limits, key) is not None]
    if grid and site.grid_meter is None:
        needed = f"{_join([name for _, name in grid])} {'needs' if len(grid) == 1 else 'need'}"
        yield Finding(grid[0][0], *_lacking_grid_meter(site, needed))
    most_pct = control.limits.soe_max_pct
    for index, mode in enumerate(control.modes):
        if isinstance(mode, Reserve) and mode.until_pct > most_pct:
            message = f"{mode.name} charges to {mode.until_pct:g} %, and soe_max_pct is {most_pct:g}"
            yield Finding(("modes", index, "soe_pct"), message, "lower it, or raise limits: {soe_max_pct: …}")
        if mode.type in FREQUENCY_MODES and site.frequency_meter is None:
            message = f"{mode.name} needs a meter that measures frequency"
            yield Finding(("modes", index), message, "use one whose profile has control: {frequency: …}")


def _lacking_grid_meter(site: Site, needed: str) -> tuple[str, str]:
    meters = site.grid_meters
    if not meters:
        return f"{needed} a meter of the grid connection", "add a meter with role: grid"
    if len(meters) > 1:
        names = _join([meter.id for meter in meters])
        return f"{needed} one meter of role grid, not {names}", "give the others another role"
    (meter,) = meters
    message = f"{needed} the power of '{meter.id}', which its profile '{meter.profile.name}' does not name"
    return message, "add control: {power: …} to the profile"


def _readings(profile: Profile, control: BatteryControl) -> dict[str, str]:
    """Return the points that are read for control, by what they are for."""
    used = {"setpoint": control.setpoint, "soe": control.soe, "ready": control.ready.point}
    used |= {"source": control.source.point} if control.source else {}
    used |= {"blocks": control.blocks} if control.blocks else {}
    used |= {"power": control.power} if control.power else {}
    return {key: name for key, name in used.items() if profile.points[name].readable}


def _check_groups(profile: Profile, used: dict[str, str]) -> Iterator[Finding]:
    for key, name in used.items():
        group = profile.points[name].group
        if group != FAST and (ticks := profile.groups[group]) > MAX_AGE_TICKS:
            message = f"'{name}' is read every {ticks} ticks, and decided on for {MAX_AGE_TICKS}"
            yield Finding(("control", key), message, f"write group: {FAST} for {name}, or a longer max_age")


def _check_range(device: Device, point: Point, charges: bool) -> Iterator[Finding]:
    """A setpoint holds the unit's rated power, both ways if it has to charge."""
    kw = POWER_UNITS[point.unit]
    low, high = (end * kw for end in _range(point))
    rated = device.rated_power_kw or 0.0
    if charges and low >= 0:
        message = f"'{point.name}' holds no negative number, so it could never charge"
        cure = "make its type signed, or write limits: {charge_kw: 0}"
        yield Finding(("control", "setpoint"), message, cure)
    elif point.limits is None and (high < rated or (charges and low > -rated)):
        message = f"'{point.name}' holds {low:g} to {high:g} kW, and not the rated {rated:g} kW"
        yield Finding(("control", "setpoint"), message, f"check the unit and scale of {point.name}")


def _range(point: Point) -> tuple[float, float]:
    """Return the lowest and highest value that a point may be given, in its unit."""
    type_ = TYPES[point.type]
    if type_.kind == "float":
        raws = (-float("inf"), float("inf")) if type_.width > 16 else (-MAX_FLOAT16, MAX_FLOAT16)
    else:
        half = 1 << (type_.width - 1)
        raws = (-half, half - 1) if type_.kind == "signed" else (0, 2 * half - 1)
    low, high = sorted(float(raw) * float(point.scale) + float(point.offset) for raw in raws)
    if point.limits is not None:
        low, high = max(low, float(point.limits[0])), min(high, float(point.limits[1]))
    return low, high


def _cure(text: str) -> str:
    return f"{text}, or control: false"


def _join(words: list[str]) -> str:
    unique = list(dict.fromkeys(words))
    return " and ".join([", ".join(unique[:-1]), unique[-1]] if len(unique) > 1 else unique)
