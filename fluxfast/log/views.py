"""A log's datasets as SQL for DuckDB: each as it is, and long, a row for each reading."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import pyarrow as pa

from fluxfast.log import events
from fluxfast.log.dataset import RESERVED, TEXT, TIME
from fluxfast.log.inventory import Row, pylist

LONG: Final = "_long"  # at the end of the name of a long view
SAMPLE: Final = re.compile(r"sample_ms_\d+")  # when a block of points was read
_SQL_TYPES: Final = {
    "double": "DOUBLE",
    "float": "FLOAT",
    "int64": "BIGINT",
    "uint64": "UBIGINT",
    "bool": "BOOLEAN",
    "string": "VARCHAR",
    str(TIME): "TIMESTAMPTZ",
}


class Point(NamedTuple):
    """A column that holds readings of a device."""

    name: str
    is_text: bool
    unit: str | None


def points(schema: pa.Schema) -> list[Point]:
    """Return those of a dataset."""
    if (schema.metadata or {}).get(b"dataset") == events.NAME.encode():
        return []
    return [
        Point(
            field.name,
            field.type == TEXT or pa.types.is_string(field.type),
            unit.decode() if (unit := (field.metadata or {}).get(b"unit")) else None,
        )
        for field in schema
        if _is_point(field.name)
    ]


def long_select(dataset: str, points: Sequence[Point]) -> str:
    """Return what selects a row for each reading.

    Lists side by side are what UNPIVOT comes to, but for two columns of values. A UNION of the points would
    read only those that are asked for, and open every file once for each point: slower from a few files on.
    """
    lists = {
        "point": [text(point.name) for point in points],
        "value": ["NULL::DOUBLE" if point.is_text else f"{quoted(point.name)}::DOUBLE" for point in points],
        "text": [quoted(point.name) if point.is_text else "NULL::VARCHAR" for point in points],
        "unit": ["NULL::VARCHAR" if point.unit is None else text(point.unit) for point in points],
    }
    columns = ",\n    ".join(f"unnest([{', '.join(items)}]) AS {key}" for key, items in lists.items())
    return (
        f"FROM (\n  SELECT time, site, device, quality,\n    {columns},\n    date\n"
        f"  FROM {quoted(dataset)}\n) WHERE value IS NOT NULL OR text IS NOT NULL"
    )


def views_sql(columns: pa.Table) -> str:
    """Return SQL that makes a view of every dataset of the table ``columns``, and a long one.

    The paths are relative to the log's folder. A dataset that has no file when the SQL is read has an empty
    view: DuckDB would refuse one over nothing.
    """
    of: dict[str, list[Row]] = {}
    for row in pylist(columns):
        of.setdefault(row["dataset"], []).append(row)
    parts = [
        "-- Views of this log for DuckDB, to be read in this folder: duckdb -init views.sql",
        "CREATE OR REPLACE VIEW columns AS FROM 'columns/columns.parquet';",
        "CREATE OR REPLACE VIEW devices AS FROM 'devices/devices.parquet';",
    ]
    for name, rows in of.items():
        parts.append(_view(name, rows))
        found = [
            Point(row["column"], row["type"] == "string", row["unit"])
            for row in rows
            if _is_point(row["column"])
        ]
        if name != events.NAME and found:
            parts.append(f"CREATE OR REPLACE VIEW {quoted(name + LONG)} AS {long_select(name, found)};")
    return "\n\n".join(parts) + "\n"


def quoted(identifier: str) -> str:
    """Return a name as SQL has it."""
    return '"' + identifier.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return a text as SQL has it."""
    return "'" + value.replace("'", "''") + "'"


def _is_point(column: str) -> bool:
    return column not in RESERVED and not SAMPLE.fullmatch(column)


def _view(name: str, rows: Sequence[Row]) -> str:
    files = text(f"{name}/date=*/*.parquet")
    read = f"FROM read_parquet({files}, union_by_name = true, hive_partitioning = true)"
    types = {row["column"]: _SQL_TYPES[row["type"]] for row in rows} | {"date": "DATE"}
    empty = ", ".join(f"NULL::{type_} AS {quoted(column)}" for column, type_ in types.items())
    return (
        f"SET VARIABLE {quoted(name)} = (SELECT if(count(*) > 0,\n  {text(read)},\n"
        f"  {text(f'SELECT {empty} WHERE false')}) FROM glob({files}));\n"
        f"CREATE OR REPLACE VIEW {quoted(name)} AS FROM query(getvariable({text(name)}));"
    )
