"""What control reads of the tables and what it may write: worked out once, before the first tick.

Control's rows are the battery units of all sites that decide (``action: shadow`` or ``act``), site by site.
Only units of sites that act have anything in ``writes``: what is not in that list cannot be written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.config import Device, Fleet, Site
from fluxfast.plan import structs
from fluxfast.plan.compiler import Plan
from fluxfast.plan.program import affine, raw_kind
from fluxfast.profiles import BatteryControl, MeterControl, Point, Profile
from fluxfast.profiles.control import POWER_UNITS

STORED_WRITES: Final = 10  # of a register that is kept in flash, in one run
NONE: Final = -1


@dataclass(frozen=True, eq=False)
class UnitGroup:
    """Units of one resolved profile: where their inputs stand in its table.

    ``units``, ``rows`` (int32): rows of control's columns, and of the table. ``slots`` (table.slots): the
    blocks that the inputs come in. Point names of the profile,
    or None: ``soe``, ``status``, ``setpoint`` (None if it cannot be read), ``source``, ``blocks``, ``power``.
    """

    table: str
    units: NDArray[np.int32]
    rows: NDArray[np.int32]
    control: BatteryControl
    slots: tuple[int, ...]
    ready: tuple[int, ...]  # codes of the status
    ours: int  # code of the source
    setpoint_kw: float  # one unit of the setpoint's
    power_kw: float
    status: str
    soe: str
    setpoint: str | None
    source: str | None
    blocks: str | None
    power: str | None


@dataclass(frozen=True, eq=False)
class MeterGroup:
    """Meters of one resolved profile: ``sites`` and ``rows`` (int32), the point, and what one of it is."""

    table: str
    sites: NDArray[np.int32]
    rows: NDArray[np.int32]
    slot: int
    point: str
    factor: float


@dataclass(frozen=True, eq=False)
class ControlPlan:
    """All that control works on. ``writes`` is structs.WRITE; the rest of the arrays have a row per unit.

    ``setpoints``, ``sources``, ``heartbeats`` (int32): each unit's entries in ``writes``, -1 for none.
    ``refresh_ns`` (int64): how often an unchanged setpoint is written; ``heartbeat_ns`` likewise.
    """

    sites: tuple[Site, ...]
    devices: tuple[Device, ...]
    site_of: NDArray[np.int32]
    groups: tuple[UnitGroup, ...]
    meters: tuple[MeterGroup, ...]  # power, kW
    frequencies: tuple[MeterGroup, ...]  # Hz
    writes: NDArray[np.void]
    setpoints: NDArray[np.int32]
    sources: NDArray[np.int32]
    heartbeats: NDArray[np.int32]
    refresh_ns: NDArray[np.int64]
    heartbeat_ns: NDArray[np.int64]

    @property
    def acts(self) -> bool:
        """Whether anything may be written."""
        return len(self.writes) > 0


def plan_control(fleet: Fleet, plan: Plan) -> ControlPlan | None:
    """Return the control plan of the sites that decide, or None if there are none."""
    sites = tuple(site for site in fleet.sites if site.control.decides)
    if not sites:
        return None
    number = {id(site): s for s, site in enumerate(sites)}
    places = {
        id(device): (layout.name, row) for layout in plan.tables for row, device in enumerate(layout.devices)
    }
    devices = [(site, device) for site in sites for device in site.units]
    writes = _Writes(fleet, plan)
    entries = [writes.of(site, device) for site, device in devices]
    controls = [_battery(device) for _, device in devices]
    return ControlPlan(
        sites=sites,
        devices=tuple(device for _, device in devices),
        site_of=np.array([number[id(site)] for site, _ in devices], np.int32),
        groups=_groups(plan, [device for _, device in devices], places),
        meters=_meters(plan, [(s, site.grid_meter, "power") for s, site in enumerate(sites)], places),
        frequencies=_meters(
            plan, [(s, site.frequency_meter, "frequency") for s, site in enumerate(sites)], places
        ),
        writes=np.array(writes.entries, structs.WRITE),
        setpoints=np.array([e[0] for e in entries], np.int32),
        sources=np.array([e[1] for e in entries], np.int32),
        heartbeats=np.array([e[2] for e in entries], np.int32),
        refresh_ns=np.array([c.refresh_ns for c in controls], np.int64),
        heartbeat_ns=np.array([c.heartbeat.every_ns if c.heartbeat else 0 for c in controls], np.int64),
    )


def _battery(device: Device) -> BatteryControl:
    control = device.profile.control
    assert isinstance(control, BatteryControl), f"{device.id}: loading has let it through"
    return control


class _Writes:
    """Collects the allow-list."""

    def __init__(self, fleet: Fleet, plan: Plan) -> None:
        self.entries: list[tuple[object, ...]] = []
        self._link = {end: number for number, end in enumerate(plan.endpoints)}
        self._every_ns = fleet.poll.every_ns

    def of(self, site: Site, device: Device) -> tuple[int, int, int]:
        """Return a unit's entries: setpoint, source, heartbeat."""
        if site.control.action != "act":
            return NONE, NONE, NONE
        control, points = _battery(device), device.profile.points
        setpoint = points[control.setpoint]
        most = device.rated_power_kw or 0.0
        low, high = -most, most
        kw = POWER_UNITS[setpoint.unit]
        if setpoint.limits is not None:
            low, high = max(low, float(setpoint.limits[0]) * kw), min(high, float(setpoint.limits[1]) * kw)
        source = points[control.source.point] if control.source else None
        heartbeat = points[control.heartbeat.point] if control.heartbeat else None
        # About one a tick, whatever asks for it; the end of a tick may be late, and that of the next early.
        return (
            self._add(device, setpoint, low, high, 1 / kw, self._every_ns // 10),
            NONE if source is None else self._raw(device, source),
            NONE if heartbeat is None else self._raw(device, heartbeat),
        )

    def _raw(self, device: Device, point: Point) -> int:
        """An entry for a point that is written as it stands in its register."""
        return self._add(device, point, -(2.0**63), 2.0**63, 1.0, 0)

    def _add(
        self, device: Device, point: Point, low: float, high: float, factor: float,
        min_interval_ns: int,
    ) -> int:  # fmt: skip
        mul, add, div = affine(point)
        modbus = device.modbus
        self.entries.append(
            (
                modbus.timeout_ns,
                min_interval_ns,
                factor,
                mul,
                add,
                div,
                low,
                high,
                self._link[str(modbus.host), modbus.port],
                STORED_WRITES if point.storage == "flash" else 0,
                point.address,
                modbus.unit,
                device.profile.write_function(point.name),
                2 * point.size,
                raw_kind(point),
                point.swap_bytes * structs.SWAP_BYTES + point.swap_words * structs.SWAP_WORDS,
                0,
            )
        )
        return len(self.entries) - 1


def _groups(
    plan: Plan, devices: Sequence[Device], places: dict[int, tuple[str, int]]
) -> tuple[UnitGroup, ...]:
    members: dict[int, list[int]] = {}
    for unit, device in enumerate(devices):
        members.setdefault(id(device.profile), []).append(unit)
    groups = []
    for units in members.values():
        profile = devices[units[0]].profile
        control = _battery(devices[units[0]])
        points = profile.points
        status, source = control.ready.point, control.source.point if control.source else None
        setpoint = control.setpoint if points[control.setpoint].readable else None
        power = control.power
        inputs = [name for name in (control.soe, status, source, control.blocks, power) if name is not None]
        slots = _slots(plan, profile, [*inputs, *([setpoint] if setpoint else [])])
        groups.append(
            UnitGroup(
                table=profile.name,
                units=np.array(units, np.int32),
                rows=np.array([places[id(devices[u])][1] for u in units], np.int32),
                control=control,
                slots=slots,
                ready=control.ready.codes(points),
                ours=control.source.codes(points)[0] if control.source else 0,
                setpoint_kw=POWER_UNITS[points[control.setpoint].unit],
                power_kw=POWER_UNITS[points[power].unit] if power else 0.0,
                status=status,
                soe=control.soe,
                setpoint=setpoint,
                source=source,
                blocks=control.blocks,
                power=power,
            )
        )
    return tuple(groups)


def _meters(
    plan: Plan, wanted: Sequence[tuple[int, Device | None, str]], places: dict[int, tuple[str, int]]
) -> tuple[MeterGroup, ...]:
    members: dict[int, list[tuple[int, Device, str]]] = {}
    for site, device, what in wanted:
        if device is not None and id(device) in places:  # not on a serial line
            members.setdefault(id(device.profile), []).append((site, device, what))
    groups = []
    for found in members.values():
        _, device, what = found[0]
        control = device.profile.control
        assert isinstance(control, MeterControl), f"{device.id}: loading has let it through"
        name = control.power if what == "power" else control.frequency
        if name is None:
            continue
        point = device.profile.points[name]
        groups.append(
            MeterGroup(
                table=device.profile.name,
                sites=np.array([site for site, _, _ in found], np.int32),
                rows=np.array([places[id(d)][1] for _, d, _ in found], np.int32),
                slot=_slots(plan, device.profile, [name])[0],
                point=name,
                factor=POWER_UNITS[point.unit] if what == "power" else 1.0,
            )
        )
    return tuple(groups)


def _slots(plan: Plan, profile: Profile, names: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of the blocks that read these points."""
    blocks = next(blocks for known, blocks in plan.layouts if known is profile)
    return tuple(
        slot for slot, block in enumerate(blocks) if any(point.name in names for point in block.points)
    )
