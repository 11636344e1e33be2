"""What a log says of itself: the tables ``columns`` and ``devices``.

Pure functions from the tables as they are to the tables as they shall be; whoever calls them reads and writes
the files (``DIR/columns/columns.parquet``, ``DIR/devices/devices.parquet``).

Profiles change. What was logged stays readable beside what is logged now, because a column keeps its type for
ever: a dataset with a column that has another type, or another unit, than ever before under its name goes on
as ``<name>_v2``, ``_v3``, … Columns that are new are only added.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from fluxfast.log import arrays, events
from fluxfast.log.dataset import TEXT, TIME, Dataset

COLUMNS: Final = pa.schema(
    [
        pa.field("dataset", pa.string(), False),
        pa.field("column", pa.string(), False),
        pa.field("type", pa.string(), False),  # Arrow's word; dictionaries of text are text
        pa.field("unit", pa.string()),
        pa.field("description", pa.string()),
        pa.field("register", pa.string()),
        pa.field("address", pa.int32()),
        pa.field("scale", pa.float64()),
        pa.field("offset", pa.float64()),
        pa.field("sign", pa.string()),  # what positive means
        pa.field("sample", pa.string()),  # the column with the time of its sample
        pa.field("profile", pa.string()),
        pa.field("profile_version", pa.string()),
        pa.field("profile_hash", pa.string()),
        pa.field("since", TIME, False),  # first logged
    ]
)
DEVICES: Final = pa.schema(
    [
        pa.field("device", pa.string(), False),
        pa.field("name", pa.string(), False),
        pa.field("site", pa.string(), False),
        pa.field("kind", pa.string(), False),
        pa.field("type", pa.string(), False),
        pa.field("profile", pa.string(), False),
        pa.field("profile_hash", pa.string(), False),
        pa.field("role", pa.string()),
        pa.field("host", pa.string()),
        pa.field("port", pa.int32()),
        pa.field("unit", pa.int32(), False),
        pa.field("capacity_kwh", pa.float64()),
        pa.field("rated_power_kw", pa.float64()),
        pa.field("valid_from", TIME, False),
        pa.field("valid_to", TIME),  # null: still so
    ]
)
_OF_PROFILE: Final = ("profile", "profile_version", "profile_hash")
_OF_COLUMN: Final = ("unit", "description", "register", "address", "scale", "offset", "sign", "sample")
_PARSE: Final = {"address": int, "scale": float, "offset": float}

Row = dict[str, Any]


class DeviceRow(NamedTuple):
    """One device as the site file has it now; the fields are those of ``DEVICES``."""

    device: str
    name: str
    site: str
    kind: str
    type: str
    profile: str
    profile_hash: str
    role: str | None
    host: str | None
    port: int | None
    unit: int
    capacity_kwh: float | None
    rated_power_kw: float | None


def settle(
    previous: pa.Table | None, datasets: Sequence[Dataset], now_us: int
) -> tuple[pa.Table, list[Dataset], list[str]]:
    """Return the new table of columns, the datasets as they are to be logged, and one line for each conflict.

    ``previous``: the table as it was left, None for a new log. Its rows stay; of a column that is logged
    again everything but ``since`` is as of now. The datasets come in the given order, some under other names.
    """
    known: dict[str, dict[str, Row]] = {}  # by dataset, by column in lower case, as engines compare
    for row in [] if previous is None else pylist(previous):
        known.setdefault(row["dataset"], {})[row["column"].lower()] = row
    taken = {dataset.name for dataset in datasets}
    settled, news = [], []
    for dataset in datasets:
        rows = list(_rows(dataset.schema(), dataset.name, now_us))
        name, why = _place(rows, dataset.name, known, taken)
        if name != dataset.name:
            taken.add(name)
            dataset = replace(dataset, name=name)
            rows = [row | {"dataset": name} for row in rows]
            news.append(f"{why}: it goes on as {name}")
        _take(known, rows)
        settled.append(dataset)
    _take(known, list(_rows(events.SCHEMA, events.NAME, now_us)))
    return _table([row for of in known.values() for row in of.values()], COLUMNS), settled, news


def devices(previous: pa.Table | None, rows: Sequence[DeviceRow], now_us: int) -> pa.Table:
    """Return the inventory: every device that ever was, each as long as it was so.

    A device of ``previous`` that has changed or is gone is valid until ``now_us``, a new or changed one from
    then on.
    """
    now = {row.device: row._asdict() for row in rows}
    old = [] if previous is None else pylist(previous)
    # The table may have been written by a version that knew fewer columns.
    said = set(DeviceRow._fields) if previous is None else set(DeviceRow._fields) & set(previous.column_names)
    kept: list[Row] = []
    for row in old:
        if row["valid_to"] is None:
            current = now.get(row["device"])
            if current is not None and all(current[key] == row[key] for key in said):
                row |= now.pop(row["device"])
            else:
                row["valid_to"] = now_us
        kept.append(row)
    kept += [row | {"valid_from": now_us, "valid_to": None} for row in now.values()]
    return _table(kept, DEVICES)


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    # As Table.from_pylist, which would import pandas while a station starts.
    cells = [[row.get(field.name) for row in rows] for field in schema]
    columns = [_column(one, field.type) for one, field in zip(cells, schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


def _column(cells: Sequence[Any], type_: pa.DataType) -> pa.Array:
    if type_ == pa.string():
        return arrays.texts(cells)
    known = np.array([cell is not None for cell in cells], np.uint8)
    kind = {pa.int32(): np.int32, pa.float64(): np.float64}.get(type_, np.int64)
    filled = np.array([0 if cell is None else cell for cell in cells], kind)
    return arrays.primitive(filled, type_, known)


def pylist(table: pa.Table) -> list[Row]:
    """Return the rows; times are microseconds (as datetimes they would import pandas, too)."""
    fields = [pa.field(f.name, pa.int64() if f.type == TIME else f.type) for f in table.schema]
    rows: list[Row] = table.cast(pa.schema(fields)).to_pylist()
    return rows


def _rows(schema: pa.Schema, name: str, now_us: int) -> Iterator[Row]:
    about = _decoded(schema.metadata)
    for field in schema:
        said = _decoded(field.metadata)
        yield {
            "dataset": name,
            "column": field.name,
            "type": "string" if field.type == TEXT else str(field.type),
            **{key: _PARSE.get(key, str)(said[key]) if said.get(key) else None for key in _OF_COLUMN},
            **{key: about.get(key) for key in _OF_PROFILE},
            "since": now_us,
        }


def _decoded(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (metadata or {}).items()}


def _place(
    rows: Sequence[Row], name: str, known: Mapping[str, Mapping[str, Row]], taken: set[str]
) -> tuple[str, str]:
    """Return the first name under which all was as it is now, and why it is not the first of all."""
    why = _conflict(rows, known.get(name, {}))
    if why is None:
        return name, ""
    version = 2
    while (other := f"{name}_v{version}") in taken or _conflict(rows, known.get(other, {})) is not None:
        version += 1
    return other, why


def _conflict(rows: Sequence[Row], known: Mapping[str, Row]) -> str | None:
    for row in rows:
        old = known.get(row["column"].lower())
        if old is None:
            continue
        name = row["dataset"]
        if old["profile"] != row["profile"]:
            return f"{name}: so far this was the name of a dataset of the profile {old['profile']}"
        if old["type"] != row["type"]:
            return f"{name}: {row['column']} was {old['type']} so far and is {row['type']} now"
        if old["unit"] and row["unit"] and old["unit"] != row["unit"]:
            return f"{name}: {row['column']} was in {old['unit']} so far and is in {row['unit']} now"
    return None


def _take(known: dict[str, dict[str, Row]], rows: Sequence[Row]) -> None:
    for row in rows:
        of = known.setdefault(row["dataset"], {})
        old = of.get(row["column"].lower())
        of[row["column"].lower()] = row if old is None else row | {"since": old["since"]}
