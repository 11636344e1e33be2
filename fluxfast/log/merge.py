"""Many small files of a day to few large ones.

A merged file is a sequence of slices: row groups as the sources have them, one after the other. Neighbouring
row groups of the same run that are small are joined, and sorted again. So it takes the memory of one slice,
however long the day; time and device still prune; and no row group mixes the lives of a station.

1. the file is written whole under a hidden name, and synced
2. the manifest gets the line that says which files it takes the place of: from here on they do not count
3. it is renamed, and they are removed

Whatever a crash leaves of 3 is done by the next pass (``tidy``); what it leaves of 1 is removed.
"""

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fluxfast.errors import FluxfastError
from fluxfast.log import disk, events
from fluxfast.log.block import Array
from fluxfast.log.convert import file_name
from fluxfast.log.dataset import TEXT
from fluxfast.log.directory import HIDDEN, hidden_file, hidden_path
from fluxfast.log.encoder import PartEncoder
from fluxfast.log.manifest import Manifest, Record, sha256_of
from fluxfast.log.rows import DAY_US

MAX_BYTES: Final = 256 << 20  # of the sources of a file
LARGE_BYTES: Final = MAX_BYTES // 2  # a file from this size on stays as it is
SLICE_ROWS: Final = 120_000  # small row groups are joined up to here
MANY: Final = 60  # small files of a day that is not over are merged from here on
SETTLED_US: Final = 900_000_000  # after the end of a day, until it counts as over
_SEQUENCES: Final = re.compile(r"-([0-9a-f]{8})-(\d{10})(?:-(\d{10}))?\.parquet$")


class Merged(NamedTuple):
    """What became of some files."""

    sources: int
    record: Record


def tidy(root: Path, manifest: Manifest) -> None:
    """Finish what a crash has left of merges and removals. Raises OSError."""
    committed = {hidden_path(root, record["file"]): root / record["file"] for record in manifest.merges}
    for hidden in root.glob(HIDDEN + "*"):
        target = committed.get(hidden)
        if target is None or target.exists():
            disk.unlink(hidden)
        else:
            disk.make_folder(target.parent)
            disk.rename(hidden, target)
            disk.sync_folder(target.parent)
    for folder in root.glob("*/date=*"):
        left = False
        for path in folder.iterdir():
            if str(path.relative_to(root)) in manifest.gone:
                disk.unlink(path)
            else:
                left = True
        if not left:
            disk.remove_folder(folder)


class Merger:
    """Merges files of one log, one group after the other. The caller holds ``DIR/.compacting``."""

    def __init__(
        self, root: Path, manifest: Manifest, tell: Callable[[str], None], progress: Callable[[int], None]
    ) -> None:
        """``tell`` gets a line for what is out of the ordinary, ``progress`` the bytes of sources done."""
        self._root, self._manifest, self._tell, self._progress = root, manifest, tell, progress

    def groups(self, now_us: int, journal_from_us: int, *, all_days: bool = False) -> list[list[Record]]:
        """Return which files are worth a merge, each group one.

        A day is over 15 minutes after its end, unless the journal has something of it, which begins at
        ``journal_from_us``. ``all_days``: others too.
        """
        over_us = min(now_us - SETTLED_US, journal_from_us)
        small: dict[tuple[str, int], list[Record]] = defaultdict(list)
        for name, record in self._manifest.files.items():
            if "dataset" in record and record["bytes"] < LARGE_BYTES and name not in self._manifest.bad:
                small[record["dataset"], record["first_us"] // DAY_US].append(record)
        groups = []
        for (_, day), records in sorted(small.items()):
            if all_days or (day + 1) * DAY_US <= over_us or len(records) > MANY:
                records.sort(key=lambda record: (record["first_us"], record["file"]))
                groups += [group for group in _filled(records) if len(group) > 1]
        return groups

    def merge(self, group: Sequence[Record]) -> Iterator[Merged]:
        """Merge files of one dataset and day; what cannot be read is left out, and told.

        Raises OSError when the disk does not take it. Files whose columns have other types go apart.
        """
        together: list[Record] = []
        schema: pa.Schema | None = None
        for record in group:
            read = self._schema(record)
            if read is None:
                continue
            union = None if schema is None else _union(schema, read)
            if union is None and schema is not None:
                yield from self._write(together, schema)
                together = []
            schema = union or read
            together.append(record)
        if schema is not None:
            yield from self._write(together, schema)

    def _schema(self, record: Record) -> pa.Schema | None:
        """Return what is in a file, if it still is what it was."""
        name, path = record["file"], self._root / record["file"]
        try:
            with path.open("rb") as file:  # no map: a bad sector is an error then, and not the end
                if sha256_of(file) == record["sha256"]:
                    return pq.read_schema(path)
        except FileNotFoundError:
            self._tell(f"{name} is gone: somebody has removed it")
            self._manifest.append([{"op": "remove", "file": name, "why": "missing"}])
            return None
        self._tell(f"{name} is damaged: its bytes are not those that were written; it is left as it is")
        self._manifest.append([{"op": "bad", "file": name}])
        return None

    def _write(self, records: Sequence[Record], schema: pa.Schema) -> Iterator[Merged]:
        if len(records) < 2:
            return
        name, sources = self._name(records), [record["file"] for record in records]
        slices = self._slices(records, schema)
        with hidden_file(self._root, name) as file:
            try:
                PartEncoder(schema).write(file, slices)
            except pa.ArrowException as error:
                raise FluxfastError(f"cannot merge {sources[0]} … {sources[-1]}: {error}") from error
        runs = {record.get("run") for record in records}
        record = {
            "op": "merge",
            "file": name,
            "of": sources,
            "dataset": records[0]["dataset"],
            "rows": sum(record["rows"] for record in records),
            "bytes": file.size,
            "sha256": file.sha256,
            "first_us": min(record["first_us"] for record in records),
            "last_us": max(record["last_us"] for record in records),
            "run": runs.pop() if len(runs) == 1 else None,
        }
        self._manifest.append([record])
        target = self._root / name
        disk.rename(file.path, target)
        disk.sync_folder(target.parent)
        for source in sources:
            disk.unlink(self._root / source)
        disk.sync_folder(target.parent)
        yield Merged(len(sources), record)

    def _name(self, records: Sequence[Record]) -> str:
        """Return a name that says which segments of the first run are in the file.

        If there was such a file, or it would look like a part, the next number: it is that of a frame inside
        the last of these segments, so no other one's.
        """
        made_of = [match.groups() for r in records if (match := _SEQUENCES.search(r["file"]))]
        run, first, _ = made_of[0]
        last = max(int(upper or lower) for of, lower, upper in made_of if of == run)
        start_us = min(record["first_us"] for record in records)
        last = max(last, int(first) + 1)
        while True:
            name = file_name(records[0]["dataset"], start_us, run, int(first), last)
            if name not in self._manifest.files and name not in self._manifest.gone:
                return name
            last += 1

    def _slices(
        self, records: Sequence[Record], schema: pa.Schema
    ) -> Iterator[tuple[pa.Table, Sequence[int]]]:
        by_device = records[0]["dataset"] != events.NAME
        held: list[pa.Table] = []
        run, rows = None, 0
        for record in records:
            with pa.OSFile(str(self._root / record["file"])) as opened:
                file = pq.ParquetFile(opened, page_checksum_verification=True)
                for number in range(file.num_row_groups):
                    table = _as(schema, file.read_row_group(number))
                    of = _run(table)
                    if held and (of is None or of != run or rows + len(table) > SLICE_ROWS):
                        yield _slice(held, by_device)
                        held, rows = [], 0
                    held.append(table)
                    run, rows = of, rows + len(table)
            self._progress(record["bytes"])
        if held:
            yield _slice(held, by_device)


def has_room(root: Path, group: Sequence[Record]) -> bool:
    """Whether the disk can hold a group's files twice, with something left for the journal."""
    needed: int = sum(record["bytes"] for record in group) + MAX_BYTES
    return shutil.disk_usage(root).free > needed


def _filled(records: Sequence[Record]) -> Iterator[list[Record]]:
    group: list[Record] = []
    size = 0
    for record in records:
        if group and size + record["bytes"] > MAX_BYTES:
            yield group
            group, size = [], 0
        group.append(record)
        size += record["bytes"]
    yield group


def _union(old: pa.Schema, new: pa.Schema) -> pa.Schema | None:
    """Return a schema with the columns of both, as the newer one describes them; None if types differ."""
    if any(field.name in old.names and old.field(field.name).type != field.type for field in new):
        return None
    fields = [field if field.name in old.names else field.with_nullable(True) for field in new]
    fields += [field.with_nullable(True) for field in old if field.name not in new.names]
    return pa.schema(fields, metadata=_about_both(old.metadata or {}, new.metadata or {}))


def _about_both(old: dict[bytes, bytes], new: dict[bytes, bytes]) -> dict[bytes, bytes]:
    columns = json.loads(old.get(b"columns", b"{}")) | json.loads(new.get(b"columns", b"{}"))
    return {**old, **new, b"columns": json.dumps(columns).encode()}


def _as(schema: pa.Schema, table: pa.Table) -> pa.Table:
    """Return a table with all columns of the schema, nulls where it has none."""
    arrays = [
        table[field.name] if field.name in table.schema.names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _run(table: pa.Table) -> str | None:
    """Return whose rows these are, None if several runs'."""
    runs = table["run"].unique().to_pylist()
    return runs[0] if len(runs) == 1 else None


def _slice(tables: list[pa.Table], by_device: bool) -> tuple[pa.Table, Sequence[int]]:
    """Return tables as one, in the order device, site, time, and how many rows each device has."""
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    times = _array(table["time"].cast(pa.int64())).to_numpy()
    if not by_device:
        if len(tables) > 1:
            table = table.take(pa.array(np.argsort(times, kind="stable")))
        return table, [len(table)]
    device, site = _ranks(table["device"]), _ranks(table["site"])
    if len(tables) > 1:
        order = np.lexsort((times, site, device))
        table, device, site = table.take(pa.array(order)), device[order], site[order]
    changes = np.flatnonzero((np.diff(device) != 0) | (np.diff(site) != 0)) + 1
    return table, np.diff(changes, prepend=0, append=len(table)).tolist()


def _ranks(column: pa.ChunkedArray) -> Array:
    """Return each text's place in the order of all texts."""
    array = _array(column)
    assert array.type == TEXT
    places = np.argsort(np.argsort(np.array(array.dictionary.to_pylist(), object)))
    ranks: Array = places[array.indices.to_numpy()]
    return ranks


def _array(column: pa.ChunkedArray) -> Any:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
