"""What happens now and then: the dataset ``events``, a row for each event.

Events are kept as they come, up to ``MAX_EVENTS``, until the writer closes a part of any dataset.
"""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fluxfast.log.dataset import TEXT
from fluxfast.log.part import Array

FOLDER: Final = "events"
MAX_EVENTS: Final = 10_000  # that wait for the writer; later ones are dropped, and counted
MAX_TEXT: Final = 1000  # characters
DAY_US: Final = 86_400_000_000

_FIELDS: Final = (
    ("time", pa.timestamp("us", tz="UTC"), False, "when it was seen"),
    ("site", TEXT, True, "null: of all"),
    ("device", TEXT, True, "null: of the site, or of all"),
    ("kind", TEXT, False, "what it is about"),
    ("text", pa.string(), False, "one line"),
)
SCHEMA: Final = pa.schema(
    [pa.field(name, type_, null, {"description": about}) for name, type_, null, about in _FIELDS],
    metadata={
        "dataset": FOLDER,
        "columns": json.dumps({name: {"description": about} for name, _, _, about in _FIELDS}),
    },
)


class Event(NamedTuple):
    """One row."""

    time_us: int  # UTC
    site: str | None
    device: str | None
    kind: str
    text: str


class EventPart:
    """Events of one UTC day that become one file; looks like a Part to the writer."""

    def __init__(self, index: int, events: Sequence[Event]) -> None:
        """``index`` is the place of ``events`` behind the writer's datasets."""
        self.index = index
        self.events = events

    @property
    def rows(self) -> int:
        """Events held."""
        return len(self.events)

    @property
    def tick_us(self) -> Array:
        """When each was seen."""
        return np.array([event.time_us for event in self.events])


def by_day(events: Sequence[Event], index: int) -> list[EventPart]:
    """Return events as parts, one for each UTC day."""
    days: dict[int, list[Event]] = {}
    for event in events:
        days.setdefault(event.time_us // DAY_US, []).append(event)
    return [EventPart(index, days[day]) for day in sorted(days)]


def encode(part: EventPart) -> pa.Buffer:
    """Return the file."""
    rows = [event._replace(text=event.text[:MAX_TEXT])._asdict() for event in part.events]
    columns = {name: [row["time_us" if name == "time" else name] for row in rows] for name in SCHEMA.names}
    arrays = [
        pa.array(columns[field.name], pa.string()).dictionary_encode().cast(TEXT)
        if field.type == TEXT
        else pa.array(columns[field.name], field.type)
        for field in SCHEMA
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=SCHEMA),
        sink, compression="zstd", write_page_checksum=True,
    )  # fmt: skip
    return sink.getvalue()
