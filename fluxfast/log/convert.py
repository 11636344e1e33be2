"""Segments of the journal to parts: Parquet files, exactly once.

1. the parts of a segment are written and renamed; their names follow from the segment's, so doing it again
   writes the same files over them
2. the manifest gets a line for each, and one that says the segment is done
3. the segment is removed

A crash in between repeats what the manifest does not know. A segment that somebody still writes is left
alone. What is damaged in one is left out and told, and the segment is kept beside the journal, renamed; so is
one that cannot be converted, lest it hold up all others.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from fluxfast.errors import FluxfastError
from fluxfast.log import arrays, disk, events, segment
from fluxfast.log.directory import publish
from fluxfast.log.encoder import PartEncoder
from fluxfast.log.manifest import Manifest, Record, sha256
from fluxfast.log.rows import DAY_US, Rows
from fluxfast.log.segment import Segment, SegmentName, Wanted

DAMAGED: Final = ".damaged"  # at the end of the name of a segment that was kept


class Part(NamedTuple):
    """A table that becomes one file."""

    dataset: str
    first_us: int
    last_us: int
    table: pa.Table
    device_rows: Sequence[int]


class Converter:
    """Converts all segments of a log that are complete."""

    def __init__(self, root: Path, manifest: Manifest, tell: Callable[[str], None]) -> None:
        """``tell`` gets a line for what is out of the ordinary. The caller holds ``DIR/.compacting``."""
        self._root, self._manifest, self._tell = root, manifest, tell
        self._encoders: dict[str, PartEncoder] = {}
        self._encoders_of: str | None = None

    def run(self) -> Iterator[list[Record]]:
        """Convert, yielding the manifest's lines of each segment that is done.

        Raises OSError when the disk does not take it; when it does not give one, after all others are done.
        """
        journal = self._root / segment.FOLDER
        unread: OSError | None = None
        for path in [wanted.name.path for wanted in segment.find(journal)]:
            with segment.locked(path) as complete:
                wanted = segment.find_one(path, self._manifest.segments) if complete else None
                if wanted is None or (read := self._read(wanted)) is None:
                    continue
                if isinstance(read, OSError):
                    unread = unread or read
                elif (records := self._convert(read)) is not None:
                    yield records
        if journal.is_dir():
            disk.sync_folder(journal)
        if unread is not None:
            raise unread

    def _read(self, wanted: Wanted) -> Segment | OSError | None:
        """Return a segment that is to be converted, or why it cannot be read."""
        name = wanted.name
        if (name.run, name.sequence) in self._manifest.segments:
            disk.unlink(name.path)  # as a crash left it
            return None
        try:
            disk.sync_file(name.path)  # what is read now must not be less after the next crash
            return segment.read(wanted)
        except OSError as error:
            return error
        except segment.NewerError as error:
            self._tell(f"{error}: left as it is")
        except segment.NotBegunError:
            disk.unlink(name.path)
        except FluxfastError as error:
            self._keep_damaged(name, str(error))
        return None

    def _convert(self, read: Segment) -> list[Record] | None:
        name = read.name
        if self._encoders_of != name.run:
            self._encoders_of, self._encoders = name.run, {}
        try:
            records = [self._publish(name, part) for part in parts(read)]
        except (OSError, MemoryError):  # another time
            raise
        except Exception as error:  # a mistake of ours, and it would be the same another time
            self._keep_damaged(name, f"{name.path.name}: {type(error).__name__}: {error}")
            return None
        done = {"op": "segment", "run": name.run, "sequence": name.sequence, "parts": len(records)}
        self._manifest.append([*records, done])
        for damage in read.damage:
            what = "are torn off" if damage.at_end else f"from byte {damage.start} on are damaged"
            self._tell(f"{name.path.name}: {damage.end - damage.start} bytes {what}; the rest is recovered")
        if any(not damage.at_end for damage in read.damage):
            self._keep_damaged(name, None)
        else:
            disk.unlink(name.path)
        return records

    def _publish(self, name: SegmentName, part: Part) -> Record:
        encoder = self._encoders.get(part.dataset)
        if encoder is None:
            encoder = self._encoders[part.dataset] = PartEncoder(part.table.schema)
        data = encoder.encode(part.table, part.device_rows)
        file = file_name(part.dataset, part.first_us, name.run, name.sequence)
        publish(self._root, file, data)
        return {
            "op": "add",
            "file": file,
            "dataset": part.dataset,
            "rows": len(part.table),
            "bytes": data.size,
            "sha256": sha256(data),
            "first_us": part.first_us,
            "last_us": part.last_us,
            "run": name.run,
            "segment": name.sequence,
        }

    def _keep_damaged(self, name: SegmentName, why: str | None) -> None:
        if why is not None:
            self._tell(f"{why}; it is kept as {name.path.name}{DAMAGED}")
        disk.rename(name.path, name.path.with_name(name.path.name + DAMAGED))


def file_name(dataset: str, first_us: int, run: str, sequence: int, last: int | None = None) -> str:
    """Return where a part lies, relative to the log; ``last``: of a file that holds several segments'."""
    start = datetime.fromtimestamp(first_us // 1_000_000, UTC)
    to = "" if last is None else f"-{last:010}"
    return f"{dataset}/date={start:%Y-%m-%d}/{start:%Y%m%dT%H%M%S}Z-{run}-{sequence:010}{to}.parquet"


def parts(read: Segment) -> Iterator[Part]:
    """Yield the tables of a segment, one for each dataset and UTC day."""
    for dataset, frames in zip(read.datasets, read.messages, strict=True):
        if not frames:
            continue
        rows = Rows(dataset, read.name.run)
        for day in rows.days([frame.payload() for frame in frames]):
            device_rows = [day.ticks] * dataset.rows
            yield Part(dataset.name, day.first_us, day.last_us, day.table, device_rows)
    if read.events:
        yield from _event_parts(events.to_table([f.payload() for f in read.events], read.name.run))


def _event_parts(table: pa.Table) -> Iterator[Part]:
    times = arrays.values(table["time"].combine_chunks(), np.int64)
    start = 0
    while start < len(times):
        end = int(times.searchsorted((times[start] // DAY_US + 1) * DAY_US))
        part = table.slice(start, end - start)
        yield Part(events.NAME, int(times[start]), int(times[end - 1]), part, [len(part)])
        start = end
