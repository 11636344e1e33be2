"""A log in DuckDB: a view for each dataset. Importing it needs DuckDB."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import duckdb

from fluxfast.log.snapshot import File
from fluxfast.log.views import LONG, long_select, points, quoted, text

if TYPE_CHECKING:
    from fluxfast.log.reading import Log


def connect(log: "Log") -> duckdb.DuckDBPyConnection:
    """Return a database in memory with a view for each dataset, and its long one."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for name, path in log.tables.items():
        view = f"CREATE TEMP VIEW {quoted(name)} AS"
        try:
            connection.execute(f"{view} FROM read_parquet({text(_glob(str(path)))})")
        except duckdb.Error:  # who asks for the others need not mind
            why = f"{path} cannot be read: fluxfast log verify tells more"
            connection.execute(f"{view} SELECT error({text(why)})")
    for name in log.datasets:
        schema, journal = log.schema(name), log.journal(name)
        sources = [select for files in log.alike(name) for select in _selects(files)]
        if len(journal) or not sources:
            connection.register(f"{name} (journal)", journal)
            sources.append(f"SELECT * FROM {quoted(f'{name} (journal)')}")
        columns = ", ".join(map(quoted, schema.names))
        union = "\nUNION ALL BY NAME ".join(sources)
        connection.execute(f"CREATE TEMP VIEW {quoted(name)} AS SELECT {columns} FROM ({union})")
        if found := points(schema):
            long = long_select(name, found)
            connection.execute(f"CREATE TEMP VIEW {quoted(name + LONG)} AS {long}")
    return connection


def _selects(files: Sequence[File]) -> Iterator[str]:
    """Yield what reads files that have the same columns; only the first of each is opened for that."""
    # Folders above the log may be called key=value, too; DuckDB would make columns of them.
    in_place = [file for file in files if not file.is_hidden and "=" not in str(file.path.parents[2])]
    if in_place:
        options = "hive_partitioning = true, hive_types = {'date': DATE}"
        yield f"SELECT * FROM read_parquet({_list(in_place)}, {options})"
    by_day: dict[str, list[File]] = {}
    for file in files:
        if file not in in_place:
            by_day.setdefault(file.date.isoformat(), []).append(file)
    for day, of_day in by_day.items():
        yield f"SELECT *, DATE '{day}' AS date FROM read_parquet({_list(of_day)}, hive_partitioning = false)"


def _list(files: Sequence[File]) -> str:
    return "[" + ", ".join(text(_glob(str(file.path))) for file in files) + "]"


def _glob(path: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", path)
