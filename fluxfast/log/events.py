"""What happens now and then: the dataset ``events``, a row for each event."""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from fluxfast.log.arrays import primitive, texts
from fluxfast.log.dataset import TEXT, TIME

NAME: Final = "events"
MAX_EVENTS: Final = 10_000  # that wait for the journal; later ones are dropped, and counted
MAX_TEXT: Final = 1000  # characters

_FIELDS: Final = (
    ("time", TIME, False, "when it was seen"),
    ("site", TEXT, True, "null: of all"),
    ("device", TEXT, True, "null: of the site, or of all"),
    ("kind", TEXT, False, "what it is about"),
    ("text", pa.string(), False, "one line"),
    ("run", TEXT, False, "which life of the station saw it"),
)
SCHEMA: Final = pa.schema(
    [pa.field(name, type_, null, {"description": about}) for name, type_, null, about in _FIELDS],
    metadata={
        "dataset": NAME,
        "columns": json.dumps({name: {"description": about} for name, _, _, about in _FIELDS}),
    },
)
# As the journal has them.
BATCH: Final = pa.schema(
    [
        pa.field(f.name, pa.string() if f.type == TEXT else f.type, f.nullable)
        for f in SCHEMA
        if f.name != "run"
    ]
)


class Event(NamedTuple):
    """One row."""

    time_us: int  # UTC
    site: str | None
    device: str | None
    kind: str
    text: str


def to_message(events: Sequence[Event]) -> pa.Buffer:
    """Return events as one encapsulated IPC message."""
    times_us = np.array([event.time_us for event in events], np.int64)
    arrays = [primitive(times_us, BATCH.field("time").type)]
    columns = zip(*(event._replace(text=event.text[:MAX_TEXT])[1:] for event in events), strict=True)
    arrays += [texts(column) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=BATCH).serialize()


def to_table(messages: Sequence[pa.Buffer], run: str) -> pa.Table:
    """Return the rows of such messages, in the order of time."""
    batches = [pa.ipc.read_record_batch(message, BATCH) for message in messages]
    table = pa.Table.from_batches(batches, BATCH).sort_by("time")
    table = table.append_column("run", texts([run] * len(table)))
    arrays = [
        table[f.name].combine_chunks().dictionary_encode().cast(TEXT) if f.type == TEXT else table[f.name]
        for f in SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
