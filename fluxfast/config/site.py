"""One site: its entries become devices with their profiles, checked against the rest of the fleet."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from fluxfast.config.control import ControlEntry
from fluxfast.config.controllable import check_meter, check_site, check_unit
from fluxfast.config.duplicates import Register
from fluxfast.config.entries import BessEntry, DeviceEntry, MeterEntry, SiteBody, SiteEntry, SiteFile
from fluxfast.config.expand import expand
from fluxfast.config.fleet import Control, Device, Limits, Site
from fluxfast.config.reading import Kind, SiteSource
from fluxfast.config.resolve import Patch, Resolver
from fluxfast.config.values import identifier_fault
from fluxfast.profiles import Profile
from fluxfast.profiles.findings import Finding, Loc, nearest

# Device Integrations, PowerPack BESS, Specifications
_POWERPACK: Final = "powerpack"
_POWERPACK_RATINGS: Final = {"capacity_kwh": (100, 500), "rated_power_kw": (50, 250)}

_OWN: Final = "every device of the fleet has its own"


class SiteBuilder:
    """Builds one site; ``findings`` and ``warnings`` fill up on the way."""

    def __init__(
        self, source: SiteSource, loc: Loc, body: SiteBody, resolver: Resolver, register: Register
    ) -> None:
        """Take the site at ``loc`` of its file, and what the whole fleet shares."""
        self.findings: list[Finding] = []
        self.warnings: list[Finding] = []
        self._source = source
        self._loc = loc
        self._body = body
        self._resolver = resolver
        self._register = register
        self._profiles: set[str] = set()  # names of the profiles that devices of this site have
        self._is_incomplete = False  # a device was left out because its profile is wrong
        own = (*loc, "control")
        is_own = body.control is not None or own in source.dropped
        entry = body.control if is_own else source.entries.control
        self._control_loc: Loc = own if is_own else ("control",)
        self._control = Control() if entry is None else _control(entry)
        # Who only observes need not be ready for more, but may want to know what is missing.
        self._wants_control = entry is not None and not entry.model_fields_set.isdisjoint({"modes", "limits"})

    def build(self, file: Path) -> Site:
        """Return the site with the devices that are right."""
        name = self._name(file)
        devices: list[Device] = []
        line_of = self._source.document.line_of
        entries = sorted(self._source.devices(self._loc, self._body), key=lambda entry: line_of(entry[0]))
        for loc, kind, entry in entries:
            devices += self._devices(name, file.parent, loc, kind, entry)
        for loc, raw in sorted(self._source.left_out(self._loc), key=lambda left: line_of(left[0])):
            self._check_left_out(file.parent, loc, raw)
        if not self._source.dropped:
            if not entries:
                self._wrong(self._loc, f"the site '{name}' has no devices", "list them under devices:")
            self._check_overrides_are_used()
        modes = tuple(mode.placed(file.parent, self._control.time_zone) for mode in self._control.modes)
        site = Site(name, tuple(devices), replace(self._control, modes=modes))
        if not self._source.dropped and not self._is_incomplete:
            self._report(self._control_loc, check_site(site))
        return site

    def _name(self, file: Path) -> str:
        body, loc = self._body, (*self._loc, "site")
        name = body.site if isinstance(body, SiteFile | SiteEntry) else None
        if name is None:
            name = file.stem
            fault = identifier_fault(name)
            if fault and loc not in self._source.dropped:
                self._wrong(
                    loc, f"the file's name gives the site no name: {fault[0]}", "write site: and a name"
                )
        if first := self._register.site(name, self._place(loc)):
            self._wrong(loc, f"the site '{name}' is already at {first}", "give one another name with site:")
        return name

    def _devices(self, site: str, folder: Path, loc: Loc, kind: Kind, entry: DeviceEntry) -> list[Device]:
        units, findings = expand(entry)
        self.findings += [finding._replace(loc=loc + finding.loc) for finding in findings]
        # Ids and addresses count even when the profile is wrong, or a second run would find more.
        for unit in units:
            if taken := self._register.device(unit, self._place(loc)):
                key, message = taken
                self._wrong((*loc, key), message, _OWN)
                break
        profile = self._profile(folder, loc, entry)
        if profile is None:
            self._is_incomplete = True
            return []
        self._warn(loc, entry, profile)
        line = self._source.document.line_of(loc)
        devices = [
            Device(
                id=unit.id,
                name=unit.name,
                site=site,
                kind=kind,
                type=entry.type,
                profile=profile,
                role=entry.role if isinstance(entry, MeterEntry) else None,
                capacity_kwh=_float(entry.capacity_kwh) if isinstance(entry, BessEntry) else None,
                rated_power_kw=_float(entry.rated_power_kw) if isinstance(entry, BessEntry) else None,
                modbus=unit.modbus,
                file=self._source.document.file,
                line=line,
                controlled=self._controlled(entry, profile),
                blocks=entry.blocks if isinstance(entry, BessEntry) else None,
            )
            for unit in units
        ]
        for device in devices[:1]:  # those of one entry are alike
            if device.controlled:
                check = check_unit if kind == "bess" else check_meter
                self._report(loc, check(device, self._control))
        return devices

    def _check_left_out(self, folder: Path, loc: Loc, raw: dict[Any, Any]) -> None:
        """Check what can be checked of a device with errors, so that mending them brings up no others."""
        if isinstance(raw.get("type"), str):
            self._base(folder, loc, raw["type"])
        counted = "count" in raw or not isinstance(raw.get("id"), str)
        if not counted and (taken := self._register.id(raw["id"], self._place(loc))):
            self._wrong((*loc, "id"), taken, _OWN)

    def _base(self, folder: Path, loc: Loc, type_: str) -> tuple[Path, Profile] | None:
        try:
            return self._resolver.base(type_, folder)
        except LookupError as error:
            self._wrong((*loc, "type"), *error.args)
            return None

    def _profile(self, folder: Path, loc: Loc, entry: DeviceEntry) -> Profile | None:
        found = self._base(folder, loc, entry.type)
        if found is None:
            return None
        path, base = found
        self._profiles.add(base.name)
        patches = [Patch(loc, entry)]
        if base.name in self._body.overrides:
            patches.insert(0, Patch((*self._loc, "overrides", base.name), self._body.overrides[base.name]))
        profile, findings = self._resolver.patched(path, patches)
        self.findings += findings
        return profile

    def _controlled(self, entry: DeviceEntry, profile: Profile) -> bool:
        """Whether nothing says ``control: false`` of it: the device's own word counts before the site's."""
        site = self._body.overrides.get(profile.name)
        said = entry.control if entry.control is not None else site and site.control
        return said is not False

    def _check_overrides_are_used(self) -> None:
        for name in self._body.overrides:
            if name not in self._profiles:
                loc = (*self._loc, "overrides", name)
                self._wrong(
                    loc, f"no device of this site has the profile '{name}'", nearest(name, self._profiles)
                )

    def _warn(self, loc: Loc, entry: DeviceEntry, profile: Profile) -> None:
        if profile.name == _POWERPACK:
            for key, (low, high) in _POWERPACK_RATINGS.items():
                value = getattr(entry, key, None)
                if value is not None and not low <= value <= high:
                    message = f"{value} is outside the {low} to {high} that PowerPacks come with"
                    self.warnings.append(Finding((*loc, key), message, "check the number and its unit"))
        if entry.modbus.is_serial:
            modbus = (*loc, "modbus")
            if entry.modbus.device is None:
                cure = "add device: /dev/tty…, or host: for Modbus TCP"
                self.warnings.append(Finding(modbus, "no serial device is named", cure))
            message = "serial lines are not polled by this version"
            self.warnings.append(Finding(modbus, message, "reach it through a gateway with host:"))

    def _report(self, loc: Loc, findings: Iterable[Finding]) -> None:
        """Take what keeps control from working: wrong where something is decided, else a warning at most."""
        placed = [finding._replace(loc=loc + finding.loc) for finding in findings]
        if self._control.decides:
            self.findings += placed
        elif self._wants_control:
            self.warnings += placed

    def _wrong(self, loc: Loc, message: str, cure: str) -> None:
        self.findings.append(Finding(loc, message, cure))

    def _place(self, loc: Loc) -> str:
        return f"{self._source.document.file}:{self._source.document.line_of(loc)}"


def _float(number: Decimal | None) -> float | None:
    return None if number is None else float(number)


def _control(entry: ControlEntry) -> Control:
    """Return the section as control reads it: floats, and durations in seconds."""
    values: dict[str, Any] = {}
    for name, value in entry:
        if name.endswith("_ns"):
            values[f"{name.removesuffix('_ns')}_s"] = None if value is None else value / 1e9
        else:
            values[name] = float(value) if isinstance(value, Decimal) else value
    limits: dict[str, Any] = {name: _float(value) for name, value in entry.limits}
    return Control(**values | {"limits": Limits(**limits)})
