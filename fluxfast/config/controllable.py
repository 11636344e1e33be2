"""Whether a site can be controlled as its control section says: its units, its meters, their profiles."""

from collections.abc import Iterator
from typing import Final

from fluxfast.config.fleet import Control, Device, Site
from fluxfast.profiles import BatteryControl, MeterControl, Point, Profile
from fluxfast.profiles.findings import Finding, Loc
from fluxfast.profiles.point import FAST
from fluxfast.profiles.types import TYPES

GRID_MODES: Final = ("peak_shaving", "self_consumption")
GRID_LIMITS: Final = ("import_kw", "export_kw", "grid_ramp_kw_per_s")
FREQUENCY_MODES: Final = ("frequency_droop",)

_MAX_TICKS: Final = 2  # a reading is decided on for so long, unless max_age says otherwise


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
    if control.limits.charge_kw != 0 and not _can_be_negative(profile.points[profile.control.setpoint]):
        message = f"'{profile.control.setpoint}' holds no negative number, so it could never charge"
        yield Finding(
            ("control", "setpoint"), message, "make its type signed, or write limits: {charge_kw: 0}"
        )
    if control.max_age_s is None:
        used = {"soe": profile.control.soe, "ready": profile.control.ready.point}
        yield from _check_groups(profile, used)


def check_site(site: Site) -> Iterator[Finding]:
    """Yield what keeps a site as a whole from being controlled, placed within its control section."""
    control = site.control
    if not site.units:
        yield Finding((), "there is no battery unit to control", "add one, or write action: observe")
    grid: list[tuple[Loc, str]] = [
        (("modes", index), mode.name) for index, mode in enumerate(control.modes) if mode.type in GRID_MODES
    ]
    grid += [(("limits", key), key) for key in GRID_LIMITS if getattr(control.limits, key) is not None]
    if grid:
        needed = f"{_join([name for _, name in grid])} {'needs' if len(grid) == 1 else 'need'}"
        for finding in _check_grid_meter(site, needed):
            yield finding._replace(loc=grid[0][0])
    for index, mode in enumerate(control.modes):
        if mode.type in FREQUENCY_MODES:
            for finding in _check_frequency_meter(site, f"{mode.name} needs"):
                yield finding._replace(loc=("modes", index))


def _check_grid_meter(site: Site, needed: str) -> Iterator[Finding]:
    meter = site.grid_meter
    grid = [one.id for one in site.devices if one.kind == "meter" and one.controlled and one.role == "grid"]
    if meter is None:
        yield Finding((), f"{needed} a meter of the grid connection", "add a meter with role: grid")
    elif len(grid) > 1:
        message = f"{needed} one meter of role grid, not {_join(grid)}"
        yield Finding((), message, "give the others another role")
    elif not isinstance(meter.profile.control, MeterControl):
        message = (
            f"{needed} the power of '{meter.id}', which its profile '{meter.profile.name}' does not name"
        )
        yield Finding((), message, "add control: {power: …} to the profile")
    else:
        used = {"power": meter.profile.control.power}
        yield from _check_reading(meter, used, f"{needed} the power of '{meter.id}'", site.control)


def _check_frequency_meter(site: Site, needed: str) -> Iterator[Finding]:
    meter = site.frequency_meter
    if meter is None or not isinstance(meter.profile.control, MeterControl):
        cure = "use one whose profile has control: {frequency: …}"
        yield Finding((), f"{needed} a meter that measures frequency", cure)
    elif meter.profile.control.frequency is not None:
        used = {"frequency": meter.profile.control.frequency}
        yield from _check_reading(meter, used, f"{needed} the frequency of '{meter.id}'", site.control)


def _check_reading(meter: Device, used: dict[str, str], needed: str, control: Control) -> Iterator[Finding]:
    findings = [one for one in meter.profile.control_findings() if one.loc[1] in used]
    if not findings and control.max_age_s is None:
        findings += _check_groups(meter.profile, used)
    for finding in findings:
        yield Finding((), f"{needed}, but {finding.message}", finding.cure)


def _check_groups(profile: Profile, used: dict[str, str]) -> Iterator[Finding]:
    for key, name in used.items():
        group = profile.points[name].group
        if group != FAST and (ticks := profile.groups[group]) > _MAX_TICKS:
            message = f"'{name}' is read every {ticks} ticks, and decided on for {_MAX_TICKS}"
            yield Finding(("control", key), message, f"write group: {FAST} for {name}, or a longer max_age")


def _can_be_negative(point: Point) -> bool:
    type_ = TYPES[point.type]
    largest = (1 << type_.width) - 1
    ends = (point.offset, point.scale * largest + point.offset)
    low = min(ends) if type_.kind == "unsigned" else -1
    return low < 0 and (point.limits is None or point.limits[0] < 0)


def _cure(text: str) -> str:
    return f"{text}, or control: false"


def _join(words: list[str]) -> str:
    unique = list(dict.fromkeys(words))
    return " and ".join([", ".join(unique[:-1]), unique[-1]] if len(unique) > 1 else unique)
