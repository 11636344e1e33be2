"""Fleet to Plan: everything that can be worked out before the first tick."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fluxfast.config import Device, Fleet
from fluxfast.errors import ConfigError, Problem
from fluxfast.plan import structs
from fluxfast.plan.blocks import BlockLayout, plan_blocks
from fluxfast.plan.program import INT64, Value, column_value, decode_program, join_values
from fluxfast.profiles import Point, Profile

WAVE = 256  # links that are sent to together; waves of 64 cost 17 to 20 % more CPU at 500 and 2,000 links


@dataclass(frozen=True)
class ColumnLayout:
    """One column of a table: a point of its profile. ``labels[k]`` names the states of variant k's rows."""

    point: Point
    value: Value
    labels: tuple[dict[int, str], ...] = ()


@dataclass(frozen=True)
class TableLayout:
    """All devices of one profile: a row per device, a column per point.

    ``variant[rows]`` tells which resolved profile a row follows; ``absent[columns, rows]`` marks the points
    that a device does not have; ``slots[columns, variants]`` is the number of the block that reads a column,
    or -1.
    """

    profile: Profile
    devices: tuple[Device, ...]
    columns: tuple[ColumnLayout, ...]
    first_column: int
    variant: NDArray[np.int32]
    absent: NDArray[np.bool_]
    slots: NDArray[np.int16]

    @property
    def name(self) -> str:
        """The profile's name: also the log's dataset."""
        return self.profile.name


@dataclass(frozen=True)
class Plan:
    """What a station runs on.

    ``blocks`` (structs.BLOCK) are sorted by link and unit; ``links`` (structs.LINK) and ``units``
    (structs.UNIT, ``unit_devices`` in the same order) point to their slice of them;
    ``ops`` (structs.OP) and ``sentinels`` (uint64) are the decode program; ``endpoints[link]`` is its
    (host, port).
    """

    tables: tuple[TableLayout, ...]
    endpoints: tuple[tuple[str, int], ...]
    links: NDArray[np.void]
    units: NDArray[np.void]
    blocks: NDArray[np.void]
    ops: NDArray[np.void]
    sentinels: NDArray[np.uint64]
    layouts: tuple[tuple[Profile, tuple[BlockLayout, ...]], ...]
    unit_devices: tuple[Device, ...] = field(repr=False)


@dataclass
class _Variant:
    """A resolved profile and the program that its devices share."""

    profile: Profile
    blocks: tuple[BlockLayout, ...]
    table: int
    number: int  # among the variants of its table
    programs: list[tuple[int, int]] = field(default_factory=list)  # (first_op, n_ops) of each block


def compile_plan(fleet: Fleet) -> Plan:
    """Compile the Modbus TCP devices of a fleet.

    Raises ConfigError where two devices of one profile name give a point types that no column can hold.
    """
    devices = [d for d in fleet.devices if d.modbus.transport == "tcp"]
    variants, of_device = _variants(devices)
    tables = _tables(devices, variants, of_device)
    ops, sentinels = _programs(variants, tables)

    row_of: dict[int, int] = {}
    for table in tables:
        row_of.update((id(device), row) for row, device in enumerate(table.devices))
    by_link: dict[tuple[str, int], list[Device]] = {}
    for device in devices:
        if variants[of_device[id(device)]].blocks:  # nothing is read of a device that is only written
            by_link.setdefault((str(device.modbus.host), device.modbus.port), []).append(device)

    # What a decision hangs on comes last, when it is freshest. Else the links keep the order of the file, in
    # which neighbours share the tables' cache lines.
    ends = sorted(by_link.items(), key=lambda end: any(d.kind == "meter" for d in end[1]))
    waves = -(-len(ends) // WAVE)
    spread_ns = round(fleet.poll.every_ns * min(fleet.poll.spread, fleet.poll.deadline / 2))
    links: list[tuple[int, ...]] = []
    blocks: list[tuple[object, ...]] = []
    units: list[tuple[int, ...]] = []
    unit_devices: list[Device] = []
    for number, (_, members) in enumerate(ends):
        first = len(blocks)
        quirks = [d.profile.quirks for d in members]
        zero_ids = any(q.transaction_id == "zero" for q in quirks)
        for device in members:
            variant = variants[of_device[id(device)]]
            row = row_of[id(device)]
            units.append((number, len(blocks), len(variant.blocks), device.modbus.retry_count))
            unit_devices.append(device)
            aliases = (*device.profile.quirks.unit_aliases, device.modbus.unit, device.modbus.unit)[:2]
            for slot, (layout, (first_op, n_ops)) in enumerate(
                zip(variant.blocks, variant.programs, strict=True)
            ):
                blocks.append(
                    (
                        device.modbus.timeout_ns,
                        len(units) - 1,
                        variant.table,
                        row,
                        first_op,
                        n_ops,
                        layout.every,
                        row % layout.every,  # spreads slow reads over the ticks
                        layout.address,
                        layout.quantity,
                        device.modbus.unit,
                        layout.function_code,
                        aliases,
                        slot,
                    )
                )
        links.append(
            (
                max(q.request_gap_ns for q in quirks),
                max(q.connect_delay_ns for q in quirks),
                max(d.modbus.timeout_ns for d in members),
                first,
                len(blocks) - first,
                len(members),
                1 if zero_ids else min(q.max_in_flight for q in quirks),
                zero_ids,
                number // WAVE * spread_ns // waves,
            )
        )
    return Plan(
        tables=tables,
        endpoints=tuple(end for end, _ in ends),
        links=np.array(links, structs.LINK),
        units=np.array(units, structs.UNIT),
        blocks=np.array(blocks, structs.BLOCK),
        ops=ops,
        sentinels=sentinels,
        layouts=tuple((v.profile, v.blocks) for v in variants),
        unit_devices=tuple(unit_devices),
    )


def _variants(devices: Sequence[Device]) -> tuple[list[_Variant], dict[int, int]]:
    """Group devices by resolved profile (one object per set of overrides)."""
    variants: list[_Variant] = []
    number: dict[int, int] = {}  # id(profile) -> variant
    tables: dict[str, list[int]] = {}
    of_device: dict[int, int] = {}
    for device in devices:
        profile = device.profile
        if id(profile) not in number:
            number[id(profile)] = len(variants)
            peers = tables.setdefault(profile.name, [])
            table = list(tables).index(profile.name)
            variants.append(_Variant(profile, plan_blocks(profile), table, len(peers)))
            peers.append(number[id(profile)])
        of_device[id(device)] = number[id(profile)]
    return variants, of_device


def _tables(
    devices: Sequence[Device], variants: Sequence[_Variant], of_device: dict[int, int]
) -> tuple[TableLayout, ...]:
    tables: list[TableLayout] = []
    problems: list[Problem] = []
    members: dict[int, list[Device]] = {}
    for device in devices:
        members.setdefault(variants[of_device[id(device)]].table, []).append(device)
    first_column = 0
    for number in sorted(members):
        kin = [v for v in variants if v.table == number]
        names = dict.fromkeys(name for v in kin for block in v.blocks for name in _names(block))
        points = {name: [v.profile.points.get(name) for v in kin] for name in names}
        columns = []
        for name, versions in points.items():
            present = [p for p in versions if p is not None]
            value: Value | None = column_value(present[0])
            for point in present[1:]:
                value = value and join_values(value, column_value(point))
            if value is None:
                problems.append(_conflict(name, kin, members[number]))
                continue
            labels = tuple(dict(p.states or {}) if p else {} for p in versions)
            named = value.kind == INT64 and any(labels)
            columns.append(ColumnLayout(present[0], value, labels if named else ()))
        variant = np.array([variants[of_device[id(d)]].number for d in members[number]], np.int32)
        lacking = np.array([[p is None for p in points[c.point.name]] for c in columns], bool)
        tables.append(
            TableLayout(
                kin[0].profile,
                tuple(members[number]),
                tuple(columns),
                first_column,
                variant,
                lacking.reshape(len(columns), len(kin))[:, variant],
                _slots(columns, kin),
            )
        )
        first_column += len(columns)
    if problems:
        raise ConfigError(problems)
    return tuple(tables)


def _slots(columns: Sequence[ColumnLayout], kin: Sequence[_Variant]) -> NDArray[np.int16]:
    slots = np.full((len(columns), len(kin)), -1, np.int16)
    number = {column.point.name: c for c, column in enumerate(columns)}
    for k, variant in enumerate(kin):
        for slot, block in enumerate(variant.blocks):
            slots[[number[name] for name in _names(block) if name in number], k] = slot
    return slots


def _names(block: BlockLayout) -> list[str]:
    return [point.name for point in block.points]


def _conflict(name: str, kin: Sequence[_Variant], devices: Sequence[Device]) -> Problem:
    odd = next(d for d in devices if d.profile is kin[-1].profile)
    types = sorted({v.profile.points[name].type for v in kin if name in v.profile.points})
    return Problem(
        odd.file,
        odd.line,
        f"device {odd.id}: point {name}",
        f"is {' here and '.join(types)} elsewhere in table {kin[0].profile.name}; no column holds both",
        "give the point one type, or copy the profile under another name",
    )


def _programs(
    variants: Sequence[_Variant], tables: Sequence[TableLayout]
) -> tuple[NDArray[np.void], NDArray[np.uint64]]:
    column_of = [
        {column.point.name: table.first_column + c for c, column in enumerate(table.columns)}
        for table in tables
    ]
    blocks: list[tuple[BlockLayout, list[int]]] = []
    first_op = 0
    for variant in variants:
        for block in variant.blocks:
            blocks.append((block, [column_of[variant.table][name] for name in _names(block)]))
            variant.programs.append((first_op, len(block.points)))
            first_op += len(block.points)
    return decode_program(blocks, [column.value.kind for table in tables for column in table.columns])
