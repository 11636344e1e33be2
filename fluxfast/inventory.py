"""What the log is told of the fleet: its datasets with their columns, and its devices."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from importlib.metadata import version
from typing import Any, Final

from fluxfast.config import Device, Fleet
from fluxfast.log import Column, Dataset
from fluxfast.log.inventory import DeviceRow
from fluxfast.plan import ColumnLayout, TableLayout
from fluxfast.plan.program import STRING
from fluxfast.profiles import BatteryControl, MeterControl, Profile
from fluxfast.profiles.fields import FileModel
from fluxfast.table.samples import sample_column

DISCHARGES: Final = "positive discharges"
IMPORTS: Final = "positive imports"
_HASH_DIGITS: Final = 16
_CONFIG_DIGITS: Final = 12


def dataset(layout: TableLayout) -> Dataset:
    """Return the log's dataset of a table: the times of its blocks, if it has several, then its points."""
    profiles = _distinct(layout.devices)
    blocks = range(int(layout.slots.max(initial=0)) + 1)
    samples = [_sample(slot) for slot in blocks] if len(blocks) > 1 else []
    signs = {point: sign for profile in profiles for point, sign in _signs(profile)}
    columns = [
        _column(column, layout.slots[c].tolist() if samples else [], signs.get(column.point.name))
        for c, column in enumerate(layout.columns)
    ]
    return Dataset(
        layout.name,
        [device.site for device in layout.devices],
        [device.id for device in layout.devices],
        [*samples, *columns],
        {
            "profile": layout.name,
            "profile_version": str(layout.profile.version),
            "profile_hash": _hash_of_all(profiles),
        },
        layout.variant.tolist(),
    )


def device_rows(fleet: Fleet) -> list[DeviceRow]:
    """Return the fleet's devices as the log's table ``devices`` has them."""
    hashes = {id(profile): profile_hash(profile) for profile in _distinct(fleet.devices)}
    return [
        DeviceRow(
            device=device.id,
            name=device.name,
            site=device.site,
            kind=device.kind,
            type=device.type,
            profile=device.profile.name,
            profile_hash=hashes[id(device.profile)],
            role=device.role,
            host=device.modbus.host or device.modbus.device,
            port=device.modbus.port if device.modbus.transport == "tcp" else None,
            unit=device.modbus.unit,
            capacity_kwh=device.capacity_kwh,
            rated_power_kw=device.rated_power_kw,
        )
        for device in fleet.devices
    ]


def about_fleet(fleet: Fleet) -> str:
    """Return in a line what a station runs on: the version, the site files and what it does at the sites."""
    actions = Counter(site.control.action for site in fleet.sites)
    parts = [f"fluxfast {version('fluxfast')}"]
    if fleet.digest:
        parts.append(f"config {fleet.digest[:_CONFIG_DIGITS]}")
    parts.append(f"{len(fleet.devices):,} devices")
    if len(actions) == 1:
        parts.append(f"action {next(iter(actions))}")
    else:
        parts.append("actions " + " ".join(f"{action}:{n:,}" for action, n in actions.items()))
    return ", ".join(parts)


def profile_hash(profile: Profile) -> str:
    """Return 16 hex digits that are the same for profiles that say the same, overrides applied."""
    return _digest(json.dumps(_plain(profile), sort_keys=True, ensure_ascii=False))


def _plain(value: Any) -> Any:
    """Return a model as JSON knows it, without what is as by default: new keys leave old hashes alone."""
    if isinstance(value, FileModel):
        fields = {
            name: (getattr(value, name), field.default) for name, field in type(value).model_fields.items()
        }
        return {name: _plain(one) for name, (one, default) in fields.items() if one != default}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value.normalize()) if isinstance(value, Decimal) else value


def _hash_of_all(profiles: Iterable[Profile]) -> str:
    hashes = sorted({profile_hash(profile) for profile in profiles})
    return hashes[0] if len(hashes) == 1 else _digest(" ".join(hashes))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]


def _distinct(devices: Iterable[Device]) -> list[Profile]:
    return list({id(device.profile): device.profile for device in devices}.values())


def _signs(profile: Profile) -> Iterable[tuple[str, str]]:
    """Yield the points whose sign control goes by, and what it takes positive for."""
    control = profile.control
    if isinstance(control, BatteryControl):
        yield control.setpoint, DISCHARGES
        if control.power is not None:
            yield control.power, DISCHARGES
    elif isinstance(control, MeterControl):
        yield control.power, IMPORTS


def _sample(slot: int) -> Column:
    about = {"unit": "ms", "description": "from the tick's beginning to the answer that these points came in"}
    return Column(sample_column(slot), "float32", metadata=about)


def _column(column: ColumnLayout, slots: list[int], sign: str | None) -> Column:
    """``slots``: the block that reads the point, by variant; none if there is only one."""
    point = column.point
    samples = dict.fromkeys(sample_column(slot) for slot in slots if slot >= 0)
    about: dict[str, object | None] = {
        "unit": point.unit,
        "description": point.description,
        "register": point.register,
        "address": point.address,
        "type": point.type,
        "scale": point.scale,
        "offset": point.offset,
        "sign": sign,
        "sample": ", ".join(samples) or "latency_ms",
    }
    return Column(
        point.name,
        f"S{column.value.width}" if column.value.kind == STRING else column.value.dtype,
        column.labels,
        {key: str(value) for key, value in about.items() if value is not None},
    )
