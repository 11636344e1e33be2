"""The journal's batches as the table that analysts get: words for codes, each device's history together."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from fluxfast.log import arrays, batches
from fluxfast.log.arrays import bits, primitive, texts
from fluxfast.log.block import Array
from fluxfast.log.dataset import TEXT, TIME, Column, Dataset

DAY_US: Final = 86_400_000_000


class Day(NamedTuple):
    """What happened on one UTC day: rows in the order device, time, ``ticks`` for each device."""

    date: date
    first_us: int
    last_us: int
    ticks: int
    table: pa.Table


class Rows:
    """Makes tables of one dataset's batches."""

    def __init__(self, dataset: Dataset, run: str) -> None:
        """``dataset.words`` must be there; ``run`` is whose batches they are."""
        assert dataset.words is not None
        self._dataset = dataset
        self._run = run
        self._batch_schema = batches.schema(dataset)
        self.schema = dataset.schema()
        self._order = np.array(
            sorted(range(dataset.rows), key=lambda row: (dataset.devices[row], dataset.sites[row])), np.intp
        )
        self._sites = texts([dataset.sites[row] for row in self._order]).dictionary_encode()
        self._devices = texts([dataset.devices[row] for row in self._order]).dictionary_encode()
        self._qualities = texts(dataset.words.qualities).dictionary_encode()
        self._reasons = texts(dataset.words.reasons).dictionary_encode()
        self._labels = {c.name: self._label_sets(c.labels) for c in dataset.columns if c.labels}

    def days(self, messages: Sequence[pa.Buffer]) -> Iterator[Day]:
        """Yield a table for each UTC day, in their order."""
        read = [pa.ipc.read_record_batch(message, self._batch_schema) for message in messages]
        ticks_read = pa.Table.from_batches(read, self._batch_schema)
        tick_us = arrays.values(ticks_read.column(0).combine_chunks(), np.int64)[:: self._dataset.rows]
        in_order = np.argsort(tick_us, kind="stable")  # the clock may have been set
        days = tick_us[in_order] // DAY_US
        for day in np.unique(days).tolist():
            ticks = in_order[days == day]
            when = tick_us[ticks]
            yield Day(
                datetime.fromtimestamp(day * DAY_US / 1e6, UTC).date(),
                int(when[0]),
                int(when[-1]),
                len(ticks),
                self._table(ticks_read, ticks, when),
            )

    def _table(self, read: pa.Table, ticks: Array, when: Array) -> pa.Table:
        dataset, n = self._dataset, len(ticks)
        all_ticks = np.array_equal(ticks, np.arange(read.num_rows // dataset.rows))

        def by_device(column: Array) -> Array:
            by_tick = column.reshape(-1, dataset.rows)
            if not all_ticks:
                by_tick = by_tick[ticks]
            return np.ascontiguousarray(by_tick.T[self._order]).reshape(-1)

        codes = by_device(arrays.values(read.column(1).combine_chunks(), np.uint8))
        latency_ms = by_device(arrays.values(read.column(2).combine_chunks(), np.float32))
        latency_ms = np.rint(latency_ms * np.float32(10)) / np.float32(10)
        columns = [
            primitive(np.tile(when, dataset.rows), TIME),
            _repeat(self._sites, n),
            _repeat(self._devices, n),
            self._qualities.take(primitive(codes, pa.uint8())),
            self._reasons.take(primitive(codes, pa.uint8())),
            primitive(latency_ms, pa.float32(), ~np.isnan(latency_ms)),
            _dictionary(np.zeros(len(codes), np.int32), texts([self._run])),
        ]
        for c, column in enumerate(dataset.columns, batches.FIRST_COLUMN):
            cells = read.column(c).combine_chunks()
            there = arrays.valid(cells)
            of_device = by_device(arrays.values(cells, column.dtype))
            there = None if there is None else by_device(there)
            if column.labels:
                labels, of_row = self._labels[column.name]
                columns.append(_labelled(labels, of_device, there, np.repeat(of_row, n)))
            else:
                columns.append(_point(column, of_device, there))
        return pa.Table.from_arrays(columns, schema=self.schema)

    def _label_sets(self, labels: Sequence[Mapping[int, str]]) -> tuple[Sequence[Mapping[int, str]], Array]:
        """Return the label sets that differ, and which of them each row follows: variants are often alike."""
        number: dict[frozenset[tuple[int, str]], int] = {}
        of_variant = [number.setdefault(frozenset(names.items()), len(number)) for names in labels]
        variants = np.array(self._dataset.variants or [0] * self._dataset.rows, np.intp)[self._order]
        return [dict(names) for names in number], np.array(of_variant)[variants]


def _repeat(rows: pa.DictionaryArray, ticks: int) -> pa.DictionaryArray:
    return _dictionary(np.repeat(arrays.values(rows.indices, np.int32), ticks), rows.dictionary)


def _dictionary(indices: Array, dictionary: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(primitive(indices, pa.int32()), dictionary)


def _point(column: Column, values: Array, valid: Array | None) -> pa.Array:
    if column.dtype.startswith("S"):
        # A device's text rarely changes, so there are few distinct ones to make strings of.
        distinct, indices = np.unique(values, return_inverse=True)
        decoded = [text.decode("utf-8", "replace") for text in distinct.tolist()]
        return _text(decoded, primitive(indices.astype(np.int32), pa.int32(), valid))
    if column.dtype == "bool":
        buffers = [None if valid is None else bits(valid), bits(values)]
        return pa.Array.from_buffers(pa.bool_(), len(values), buffers)
    return primitive(values, pa.from_numpy_dtype(values.dtype), valid)


def _labelled(
    labels: Sequence[Mapping[int, str]], values: Array, valid: Array | None, label_set: Array
) -> pa.DictionaryArray:
    """Return each code's label by its row's label set, or its digits."""
    found: list[str] = []
    indices = np.zeros(len(values), np.int32)
    for number, names in enumerate(labels):
        rows = label_set == number
        coded = primitive(values[rows], pa.int64()).dictionary_encode()
        indices[rows] = arrays.values(coded.indices, np.int32) + len(found)
        found += [names.get(code, str(code)) for code in coded.dictionary.to_pylist()]
    return _text(found, primitive(indices, pa.int32(), valid))


def _text(found: Sequence[str], indices: pa.Array) -> pa.DictionaryArray:
    """Return ``found[indices]`` as a dictionary array; two codes may share a text, a dictionary must not."""
    distinct = texts(found).dictionary_encode()
    merged = distinct.indices.take(indices)
    return pa.DictionaryArray.from_arrays(merged, distinct.dictionary).cast(TEXT)
