"""The journal's batches as the table that analysts get: words for codes, each device's history together."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from fluxfast.log import batches
from fluxfast.log.block import Array
from fluxfast.log.dataset import TEXT, Column, Dataset

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
        self._sites = pa.array(dataset.sites, pa.string()).take(pa.array(self._order)).dictionary_encode()
        self._devices = pa.array(dataset.devices, pa.string()).take(pa.array(self._order)).dictionary_encode()
        self._qualities = pa.array(dataset.words.qualities, pa.string()).dictionary_encode()
        self._reasons = pa.array(dataset.words.reasons, pa.string()).dictionary_encode()
        self._labels = {c.name: self._label_sets(c.labels) for c in dataset.columns if c.labels}

    def days(self, messages: Sequence[pa.Buffer]) -> Iterator[Day]:
        """Yield a table for each UTC day, in their order."""
        read = [pa.ipc.read_record_batch(message, self._batch_schema) for message in messages]
        n = self._dataset.rows
        tick_us = np.concatenate([_values(batch.column(0), np.int64)[::n] for batch in read] or [_NO_TICKS])
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
                self._table(read, ticks, when),
            )

    def _table(self, read: Sequence[pa.RecordBatch], ticks: Array, when: Array) -> pa.Table:
        dataset, n = self._dataset, len(ticks)
        all_ticks = np.array_equal(ticks, np.arange(sum(batch.num_rows for batch in read) // dataset.rows))

        def by_device(pieces: Sequence[Array]) -> Array:
            values = np.concatenate(pieces).reshape(-1, dataset.rows)
            if not all_ticks:
                values = values[ticks]
            return np.ascontiguousarray(values.T[self._order]).reshape(-1)

        codes = by_device([_values(batch.column(1), np.uint8) for batch in read])
        latency_ms = by_device([_values(batch.column(2), np.float32) for batch in read])
        latency_ms = np.rint(latency_ms * np.float32(10)) / np.float32(10)
        arrays = [
            _primitive(np.tile(when, dataset.rows), batches.TIME, None),
            _repeat(self._sites, n),
            _repeat(self._devices, n),
            self._qualities.take(pa.array(codes)),
            self._reasons.take(pa.array(codes)),
            _primitive(latency_ms, pa.float32(), ~np.isnan(latency_ms)),
            pa.DictionaryArray.from_arrays(np.zeros(len(codes), np.int32), [self._run]),
        ]
        for c, column in enumerate(dataset.columns, batches.FIRST_COLUMN):
            cells = [batch.column(c) for batch in read]
            values = by_device([_values(cell, column.dtype) for cell in cells])
            valid = by_device([_valid(cell) for cell in cells]) if any(c.null_count for c in cells) else None
            if column.labels:
                labels, of_row = self._labels[column.name]
                arrays.append(_labelled(labels, values, valid, np.repeat(of_row, n)))
            else:
                arrays.append(_point(column, values, valid))
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def _label_sets(self, labels: Sequence[Mapping[int, str]]) -> tuple[Sequence[Mapping[int, str]], Array]:
        """Return the label sets that differ, and which of them each row follows: variants are often alike."""
        number: dict[frozenset[tuple[int, str]], int] = {}
        of_variant = [number.setdefault(frozenset(names.items()), len(number)) for names in labels]
        variants = np.array(self._dataset.variants or [0] * self._dataset.rows, np.intp)[self._order]
        return [dict(names) for names in number], np.array(of_variant)[variants]


_NO_TICKS: Final = np.empty(0, np.int64)


def _values(array: pa.Array, dtype: object) -> Array:
    """Return an array's values without a copy (bools: a byte each), whatever is null."""
    _, data = array.buffers()
    kind = np.dtype(dtype)  # type: ignore[call-overload]
    if kind == np.bool_:
        return np.unpackbits(np.frombuffer(data, np.uint8), count=len(array), bitorder="little").view(
            np.bool_
        )
    return np.frombuffer(data, kind, len(array))


def _valid(array: pa.Array) -> Array:
    bitmap, _ = array.buffers()
    if bitmap is None:
        return np.ones(len(array), np.uint8)
    return np.unpackbits(np.frombuffer(bitmap, np.uint8), count=len(array), bitorder="little")


def _repeat(rows: pa.DictionaryArray, ticks: int) -> pa.DictionaryArray:
    indices = np.repeat(rows.indices.to_numpy(), ticks)
    return pa.DictionaryArray.from_arrays(indices, rows.dictionary)


def _primitive(values: Array, type_: pa.DataType, valid: Array | None) -> pa.Array:
    """Wrap without a copy; ``valid`` (nonzero: a value, zero: null) has one entry per value."""
    bitmap = None if valid is None else _bits(valid)
    return pa.Array.from_buffers(type_, len(values), [bitmap, pa.py_buffer(values)])


def _bits(flags: Array) -> pa.Buffer:
    """Return one bit per flag, as Arrow packs them."""
    return pa.py_buffer(np.packbits(flags, bitorder="little"))


def _point(column: Column, values: Array, valid: Array | None) -> pa.Array:
    if column.dtype.startswith("S"):
        # A device's text rarely changes, so there are few distinct ones to make strings of.
        distinct, indices = np.unique(values, return_inverse=True)
        texts = [text.decode("utf-8", "replace") for text in distinct.tolist()]
        return _text(texts, _primitive(indices.astype(np.int32), pa.int32(), valid))
    if column.dtype == "bool":
        bits = [None if valid is None else _bits(valid), _bits(values)]
        return pa.Array.from_buffers(pa.bool_(), len(values), bits)
    return _primitive(values, pa.from_numpy_dtype(values.dtype), valid)


def _labelled(
    labels: Sequence[Mapping[int, str]], values: Array, valid: Array | None, label_set: Array
) -> pa.DictionaryArray:
    """Return each code's label by its row's label set, or its digits."""
    texts: list[str] = []
    indices = np.zeros(len(values), np.int32)
    for number, names in enumerate(labels):
        rows = label_set == number
        coded = pa.array(values[rows]).dictionary_encode()
        indices[rows] = coded.indices.to_numpy() + len(texts)
        texts += [names.get(code, str(code)) for code in coded.dictionary.to_pylist()]
    return _text(texts, _primitive(indices, pa.int32(), valid))


def _text(texts: list[str], indices: pa.Array) -> pa.DictionaryArray:
    """Return ``texts[indices]`` as a dictionary array; two codes may share a text, a dictionary must not."""
    distinct = pa.array(texts, pa.string()).dictionary_encode()
    merged = distinct.indices.take(indices)
    return pa.DictionaryArray.from_arrays(merged, distinct.dictionary).cast(TEXT)
