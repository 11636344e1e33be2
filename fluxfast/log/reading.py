"""``open_log``: a log as it is now, for analysts. Parts and journal together, every row once.

::

    manifest, folders ─▶ files      ┐
                                    ├─▶ pyarrow dataset, Polars lazy frame, DuckDB views
    journal (≤ 1 s old) ─▶ tables   ┘

Takes no locks and writes nothing, so it works beside a running station, on a copy, and on a log of another
machine that can only be read.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from fluxfast.errors import FluxfastError, MissingExtraError
from fluxfast.log import events
from fluxfast.log.follow import Journal
from fluxfast.log.manifest import Manifest
from fluxfast.log.snapshot import TABLES, File, take

if TYPE_CHECKING:
    import duckdb
    import polars

DATE: Final = pa.field("date", pa.date32(), False, {"description": "the UTC day"})
TRIES: Final = 10  # when files vanish, for a pass is going on
T = TypeVar("T")


def open_log(path: str | os.PathLike[str]) -> "Log":
    """Return the log in this folder as it is now; FluxfastError if there is none."""
    return Log(Path(path))


class Log:
    """A snapshot of a log; ``refresh`` takes another one.

    Each dataset has the columns of all its files, the newest last, and ``date``, its rows' UTC day. Files of
    a snapshot may vanish when a station merges them or drops old ones; what is being read then fails with
    FileNotFoundError (of DuckDB: IOException), and works after ``refresh``: ``retried`` does that.
    """

    def __init__(self, path: Path) -> None:
        """Take the first snapshot; FluxfastError if there is no log."""
        self.path = path.absolute()
        self._journal = Journal(self.path)
        self._manifest: Manifest | None = None
        self._schemas: dict[object, pa.Schema] = {}  # by what cannot change under its name
        if not self.path.is_dir():
            raise FluxfastError(f"{path}: no such folder")
        self.refresh()
        if not self.datasets and not (self.path / ".lock").exists():
            raise FluxfastError(f"{path}: there is no log")

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is kept open."""

    def refresh(self) -> Self:
        """Look again; cheap when little has changed."""
        try:
            while True:
                self._journal.update(() if self._manifest is None else self._manifest.segments)
                self.snapshot, manifest = take(self.path, self._read_manifest)
                if not self._journal.is_cut_by(manifest.segments):
                    break
        except OSError as error:
            raise FluxfastError(f"{error.filename or self.path}: {error.strerror or error}") from error
        self._files: dict[str, list[File]] = {}
        for file in self.snapshot.files:
            self._files.setdefault(file.dataset, []).append(file)
        self._rows: dict[str, list[pa.Table]] = {}
        for key, tables in self._journal.tables():
            if self.snapshot.counts(key, manifest):
                day = pa.scalar(key.date, pa.date32())
                self._rows.setdefault(key.dataset, []).extend(
                    table.append_column(DATE, pa.repeat(day, len(table))) for table in tables
                )
        # Also those that have no row yet.
        self._described = {dataset.name: dataset for dataset in self._journal.datasets()}
        self._unions: dict[str, pa.Schema] = {}
        return self

    @property
    def datasets(self) -> list[str]:
        """The names of the datasets."""
        return sorted({*self._files, *self._rows, *self._described})

    @property
    def tables(self) -> dict[str, Path]:
        """The small tables that are there, of ``columns`` and ``devices``."""
        return {name: self.path / file for name, file in TABLES.items() if (self.path / file).is_file()}

    def files(self, name: str) -> list[File]:
        """Return a dataset's files, the oldest first."""
        self._need(name)
        return self._files.get(name, [])

    def schema(self, name: str) -> pa.Schema:
        """Return the union of the columns of all files and of the journal, with their metadata."""
        self._need(name)
        if name not in self._unions:
            self._unions[name] = self._retrying(lambda: self._union(name))
        return self._unions[name]

    def journal_rows(self, name: str) -> int:
        """Return how many rows are only in the journal yet; reads no file."""
        return sum(map(len, self._rows.get(name, [])))

    def journal(self, name: str) -> pa.Table:
        """Return the rows that are only in the journal yet, in no particular order."""
        schema = self.schema(name)
        tables = [_conform(table, schema) for table in self._rows.get(name, [])]
        return pa.concat_tables(tables).unify_dictionaries() if tables else schema.empty_table()

    def dataset(self, name: str) -> ds.Dataset:
        """Return all rows, the journal's behind those of the files."""
        schema = self.schema(name)
        local, parquet = fs.LocalFileSystem(), ds.ParquetFileFormat()
        fragments = [
            parquet.make_fragment(
                str(file.path), local, ds.field("date") == pa.scalar(file.date, pa.date32())
            )
            for file in self.files(name)
        ]
        files = ds.FileSystemDataset(fragments, schema, parquet, local)
        rows = ds.dataset(self.journal(name))
        return ds.UnionDataset(schema, [files, rows.replace_schema(schema)])

    def polars(self, name: str) -> "polars.LazyFrame":
        """Return all rows as a lazy frame."""
        try:
            from fluxfast.log.in_polars import lazy_frame
        except ImportError as error:
            raise MissingExtraError("this needs Polars: pip install 'fluxfast[polars]'") from error
        return lazy_frame(self, name)

    def duckdb(self) -> "duckdb.DuckDBPyConnection":
        """Return a connection to a database in memory, whose views are the datasets.

        Beside each there is ``<name>_long``, a row for each reading; ``columns`` and ``devices`` are what the
        log says of itself. Times are shown in UTC.
        """
        try:
            from fluxfast.log.in_duckdb import connect
        except ImportError as error:
            raise MissingExtraError("this needs DuckDB: pip install 'fluxfast[query]'") from error
        return connect(self)

    def relation(self, name: str) -> Any:
        """Return all rows as a ``DuckDBPyRelation``."""
        self._need(name)
        return self.duckdb().table(name)

    def alike(self, name: str) -> list[list[File]]:
        """Return a dataset's files, those with the same columns together."""
        groups: dict[tuple[tuple[str, str], ...], list[File]] = {}
        for file in self.files(name):
            columns = tuple((field.name, str(field.type)) for field in self._schema_of(file))
            groups.setdefault(columns, []).append(file)
        return list(groups.values())

    def retried(self, work: Callable[[], T], *vanished: type[Exception]) -> T:
        """Return what ``work`` does, which is done again when a file vanished in the middle of it.

        ``vanished``: what it raises then, beside FileNotFoundError.
        """
        errors: tuple[type[Exception], ...] = (FileNotFoundError, *vanished)
        for _ in range(TRIES - 1):
            try:
                return work()
            except errors:
                before = [file.path for file in self.snapshot.files]
                self.refresh()
                if [file.path for file in self.snapshot.files] == before:
                    raise
        return work()

    def _retrying(self, work: Callable[[], T]) -> T:
        try:
            return self.retried(work)
        except (OSError, pa.ArrowInvalid) as error:
            raise FluxfastError(f"{error} (fluxfast log verify tells more)") from error

    def _need(self, name: str) -> None:
        if name not in self.datasets:
            known = ", ".join(self.datasets) or "no dataset yet"
            raise FluxfastError(f"{self.path}: no dataset '{name}'; it has {known}")

    def _read_manifest(self) -> Manifest:
        if self._manifest is None:
            self._manifest = Manifest(self.path)
        else:
            self._manifest.refresh()
        return self._manifest

    def _schema_of(self, file: File) -> pa.Schema:
        key = (file.dataset, file.run) if file.is_part else (file.name, file.size)
        if key not in self._schemas:
            try:
                self._schemas[key] = pq.read_schema(file.path)
            except ValueError as error:  # pyarrow's ArrowInvalid, or a name that is no UTF-8; names no file
                raise pa.ArrowInvalid(f"{file.path}: {error}") from error
        return self._schemas[key]

    def _union(self, name: str) -> pa.Schema:
        schemas = [self._schema_of(file) for file in self.files(name)]
        if name in self._described:
            schemas.append(self._described[name].schema())
        elif name == events.NAME:
            schemas.append(events.SCHEMA)
        distinct = {id(schema): schema for schema in schemas}
        return _union(name, list(distinct.values())).append(DATE)


def _union(name: str, schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the newest schema (the last one), then what only older ones have."""
    fields: dict[str, pa.Field] = {}
    described: dict[str, Any] = {}
    for schema in reversed(schemas):
        said = json.loads((schema.metadata or {}).get(b"columns", b"{}"))
        described = {**said, **described}
        for field in schema:
            newer = fields.get(field.name)
            fields[field.name] = field if newer is None else _both(name, newer, field)
    everywhere = set.intersection(*(set(schema.names) for schema in schemas))
    complete = [field if field.name in everywhere else field.with_nullable(True) for field in fields.values()]
    about = {**(schemas[-1].metadata or {}), b"columns": json.dumps(described).encode()}
    return pa.schema(complete, metadata=about)


def _both(name: str, newer: pa.Field, older: pa.Field) -> pa.Field:
    nullable = newer.nullable or older.nullable
    if newer.type == older.type:
        return newer.with_nullable(nullable)
    try:
        bare = [pa.schema([pa.field("x", field.type)]) for field in (newer, older)]
        both = pa.unify_schemas(bare, promote_options="permissive").field(0).type
    except pa.ArrowTypeError:
        raise FluxfastError(
            f"{name}: {newer.name} is {newer.type} in some files and {older.type} in others"
        ) from None
    return newer.with_type(both).with_nullable(nullable)


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if table.schema.equals(schema):
        return table.replace_schema_metadata(schema.metadata)
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
