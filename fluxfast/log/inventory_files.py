"""What a log says of itself: ``columns/columns.parquet``, ``devices/devices.parquet``, ``views.sql``.

They follow from the headers of the journal's segments, and are rewritten whole before a segment goes. Each
table names, in its metadata, the runs that it knows of, so that a header which is read twice does not count
twice: else devices that have changed since would change back.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fluxfast.log import inventory, segment, views
from fluxfast.log.dataset import Dataset
from fluxfast.log.directory import publish
from fluxfast.log.inventory import DeviceRow
from fluxfast.log.manifest import Manifest, Record, sha256
from fluxfast.log.segment import Segment

COLUMNS: Final = "columns/columns.parquet"
DEVICES: Final = "devices/devices.parquet"
VIEWS: Final = "views.sql"
FOLDERS: Final = ("columns", "devices")
_RUNS: Final = b"runs"
_COLUMNS: Final = inventory.COLUMNS.names  # without all of these it is not such a table
_DEVICES: Final = [field.name for field in inventory.DEVICES if not field.nullable]


def settle(root: Path, datasets: Sequence[Dataset], now_us: int) -> tuple[list[Dataset], list[str]]:
    """Return datasets under the names that the log has for them, and one line for each conflict.

    A dataset that goes on under another name is news only once.
    """
    # In this order, as a compaction that runs now makes the table before it removes the segments.
    headers = segment.headers(root / segment.FOLDER)
    columns = _read(root / COLUMNS, _COLUMNS)
    for header in headers:
        columns, _, _ = inventory.settle(columns, header.datasets, header.opened_us)
    known = set() if columns is None else set(columns["dataset"].to_pylist())
    _, settled, news = inventory.settle(columns, datasets, now_us)
    renamed = [new for old, new in zip(datasets, settled, strict=True) if new.name != old.name]
    return settled, [text for one, text in zip(renamed, news, strict=True) if one.name not in known]


def refresh(root: Path, manifest: Manifest, tell: Callable[[str], None]) -> None:
    """Bring the files up to date with the journal. Raises OSError when the disk does not take it.

    A file that is damaged or missing is begun again, and told. The caller holds ``DIR/.compacting``.
    """
    headers = _first_of_each_run(
        header
        for header in segment.headers(root / segment.FOLDER)
        if (header.name.run, header.name.sequence) not in manifest.segments
    )
    columns = old_columns = _known(root, COLUMNS, _COLUMNS, manifest, tell)
    for header in _unseen(headers, old_columns):
        columns, _, _ = inventory.settle(columns, header.datasets, header.opened_us)
    devices = old_devices = _known(root, DEVICES, _DEVICES, manifest, tell)
    for header in _unseen(headers, old_devices):
        if (rows := header.about.get("devices")) is not None:
            at_us = max(header.opened_us, _newest_us(devices))  # the clock may have been set
            devices = inventory.devices(devices, [_device(row) for row in rows], at_us)
    records = []
    for name, old, new in ((COLUMNS, old_columns, columns), (DEVICES, old_devices, devices)):
        if new is not None:
            runs = json.dumps([header.name.run for header in headers])
            same = old is not None and new.equals(old)
            table = old if same else new.replace_schema_metadata({_RUNS: runs})
            records += _put(root, manifest, name, _encoded(table))
    if columns is not None:
        records += _put(root, manifest, VIEWS, views.views_sql(columns).encode())
    if records:
        manifest.append(records)


def _first_of_each_run(headers: Iterable[Segment]) -> list[Segment]:
    of: dict[str, Segment] = {}
    for header in headers:
        of.setdefault(header.name.run, header)
    return list(of.values())


def _unseen(headers: Sequence[Segment], table: pa.Table | None) -> list[Segment]:
    metadata = {} if table is None else table.schema.metadata or {}
    seen = json.loads(metadata.get(_RUNS, b"[]"))
    return [header for header in headers if header.name.run not in seen]


def _known(
    root: Path, name: str, needed: Collection[str], manifest: Manifest, tell: Callable[[str], None]
) -> pa.Table | None:
    table = _read(root / name, needed)
    if table is None and (name in manifest.files or (root / name).exists()):
        tell(f"{name} is {'damaged' if (root / name).exists() else 'missing'}; it is begun again")
    return table


def _read(path: Path, needed: Collection[str]) -> pa.Table | None:
    """Return a table; None if there is none, or none that can be read."""
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
        json.loads((table.schema.metadata or {}).get(_RUNS, b"[]"))
    except (OSError, ValueError, pa.ArrowException):
        return None
    return table if set(needed) <= set(table.column_names) else None


def _device(said: dict[str, object]) -> DeviceRow:
    """Return a header's row; it may have been written by another version."""
    return DeviceRow(**{key: said.get(key) for key in DeviceRow._fields})  # type: ignore[arg-type]


def _newest_us(devices: pa.Table | None) -> int:
    if devices is None:
        return 0
    times = (pc.max(devices[name].cast(pa.int64())).as_py() for name in ("valid_from", "valid_to"))
    return max(time or 0 for time in times)


def _encoded(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def _put(root: Path, manifest: Manifest, name: str, data: pa.Buffer | bytes) -> list[Record]:
    """Write a file unless that is what it has, and return its line, unless that is there."""
    checksum = sha256(data)
    try:
        same = sha256((root / name).read_bytes()) == checksum
    except OSError:
        same = False
    if not same:
        publish(root, name, data)
    if same and manifest.files.get(name, {}).get("sha256") == checksum:
        return []
    return [{"op": "put", "file": name, "bytes": len(memoryview(data)), "sha256": checksum}]
