"""The registers of all devices of one profile, as bytes: what the server copies and the physics writes.

One row per device, one byte after the other as they travel::

    row = [segment][segment]…   a segment is a run of addresses of one table, two bytes a register;
                                coils and discrete inputs take a byte each (0 or 1), packed when sent

A segment spans the gaps that a poller may read over (``quirks.max_gap``, or what ``quirks.readable``
declares); gaps read as 0. Addresses in no segment are exception 2. The arrays belong to the Image; the server
keeps pointers into them, so an Image must live as long as its server.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.profiles import Point, Profile
from fluxfast.sim.column import Column, number_format

TABLES: Final = ("coil", "discrete", "holding", "input")  # the order of answer.pxd's TABLE_*
FLAG_NO_SINGLE_WRITE: Final = 1  # as in answer.pxd
FLAG_NO_MULTIPLE_WRITE: Final = 2

# Declared ranges longer than this are not laid out whole: a range that says "everything" would cost
# 128 kB a device.
MAX_WHOLE_RANGE: Final = 2000
MAX_IDENTITY_BYTES: Final = 80  # three of them fit into one response

SEGMENT: Final = np.dtype([("table", "u4"), ("first", "u4"), ("last", "u4"), ("offset", "u4")])
RULE: Final = np.dtype(
    [
        ("mask", "u8"),
        ("scale", "f8"),
        ("shift_value", "f8"),
        ("low", "f8"),
        ("high", "f8"),
        ("offset", "u4"),
        ("size", "u4"),
        ("kind", "u4"),
        ("shift", "u4"),
        ("order", "u1", (8,)),
    ]
)
UNIT: Final = np.dtype([("unit_id", "u4"), ("map", "u4"), ("row", "u4")])
ENDPOINT: Final = np.dtype([("first", "u4"), ("count", "u4"), ("limit", "u4"), ("open", "u4")])

Interval = tuple[int, int]  # addresses, inclusive


class Image:
    """Memory, layout and write rules of ``count`` devices of one profile."""

    def __init__(self, profile: Profile, count: int) -> None:
        """Lay the profile's points out and make a column for each."""
        quirks = profile.quirks
        self.profile = profile
        self.count = count
        segments: list[tuple[int, int, int, int]] = []
        row_size = 0
        for number, table in enumerate(TABLES):
            bytes_each = 1 if number < 2 else 2
            points = [p for p in profile.points.values() if p.register == table]
            for first, last in merge(
                [(p.address, p.address + p.size - 1) for p in points], quirks.readable, quirks.max_gap
            ):
                segments.append((number, first, last, row_size))
                row_size += bytes_each * (last - first + 1)
        row_size = max(8, -(-row_size // 8) * 8)
        self.segments = np.array(segments, SEGMENT)
        self.memory = np.zeros((count, row_size), np.uint8)
        self.writable = np.zeros(row_size, np.uint8)
        self.columns = {p.name: Column(p, self.memory, self._offset(p)) for p in profile.points.values()}
        self.rules = np.zeros(0, RULE)
        self._write_rules()
        self.identity = identity(profile)
        self.max_registers = quirks.max_registers
        self.max_bits = quirks.max_bits
        self.flags = {6: FLAG_NO_MULTIPLE_WRITE, 16: FLAG_NO_SINGLE_WRITE, "auto": 0}[quirks.write_function]

    def _offset(self, point: Point) -> int:
        number = TABLES.index(point.register)
        for table, first, last, offset in self.segments.tolist():
            if table == number and first <= point.address <= last:
                return int(offset + (1 if number < 2 else 2) * (point.address - first))
        raise AssertionError(f"{point.name} is in no segment")

    def _write_rules(self) -> None:
        rules = []
        for column in self.columns.values():
            point = column.point
            if point.access == "ro":
                continue
            self.writable[column.offset : column.offset + column.size] = 1
            if column.is_bit or column.is_text or point.limits is None:
                continue  # (states name some values; they do not forbid others)
            rule = np.zeros((), RULE)
            low, high = map(float, point.limits)
            slack = 1e-9 * max(abs(low), abs(high), 1e-3)  # scale and limits are decimals, C has doubles
            rule["mask"], rule["shift"] = column.mask, column.shift
            rule["scale"], rule["shift_value"] = column.scale, column.shift_value
            rule["low"], rule["high"] = low - slack, high + slack
            rule["offset"], rule["size"] = column.offset, column.size
            rule["kind"] = "uif".index(number_format(point.type)[0])
            rule["order"][: column.size] = column.order
            rules.append(rule)
        self.rules = np.array(rules, RULE) if rules else self.rules


def merge(points: Sequence[Interval], readable: Sequence[Interval] | None, max_gap: int) -> list[Interval]:
    """Return the runs of addresses to lay out: points, declared ranges, and gaps that may be read."""
    ranges = readable or ()
    whole = [
        (first, last)
        for first, last in ranges
        if last - first < MAX_WHOLE_RANGE and any(first <= p[0] <= last for p in points)
    ]
    runs: list[Interval] = []
    for first, last in sorted([*points, *whole]):
        if runs and (first <= runs[-1][1] + 1 or _may_span(runs[-1][1], first, ranges, max_gap)):
            runs[-1] = (runs[-1][0], max(runs[-1][1], last))
        else:
            runs.append((first, last))
    return runs


def _may_span(last: int, first: int, ranges: Sequence[Interval], max_gap: int) -> bool:
    if first - last - 1 > max_gap:
        return False
    return not ranges or any(a <= last and first <= b for a, b in ranges)


def identity(profile: Profile) -> NDArray[np.uint8]:
    """Return the objects of Read Device Identification (MAP 6.21): id, size, text; three times."""
    objects = b""
    for number, text in enumerate(("fluxfast", profile.title or profile.name, str(profile.version))):
        data = text.encode("ascii", "replace")[:MAX_IDENTITY_BYTES]
        objects += bytes((number, len(data))) + data
    return np.frombuffer(objects, np.uint8)
