"""A part to the bytes of one Parquet file.

Rows leave in the order device, then tick: a device's history lies together, which compresses best and lets a
reader of one device skip the rest by the page index.

What pays in size, and so is chosen per column on real data: a dictionary for values that come back (scaled
integers), BYTE_STREAM_SPLIT for noisy floats, DELTA_BINARY_PACKED for counters. Page checksums are on;
readers have to ask for the check (``page_checksum_verification=True`` in pyarrow).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fluxfast.log.dataset import TEXT, Column, Dataset, Words
from fluxfast.log.part import Array, Part

ROW_GROUP_ROWS: Final = 120_000
SAMPLE_ROWS: Final = 30_000  # a part with as many rows settles the encodings for good
FILE_OPTIONS: Final[dict[str, Any]] = {
    "compression": "zstd",
    "compression_level": 3,
    "write_page_checksum": True,
    "write_page_index": True,
}
# What to try against a dictionary.
ALTERNATIVES: Final = {
    "float64": "BYTE_STREAM_SPLIT",
    "float32": "BYTE_STREAM_SPLIT",
    "int64": "DELTA_BINARY_PACKED",
    "uint64": "DELTA_BINARY_PACKED",
}


class Encoder:
    """Encodes the parts of one dataset, on one thread."""

    def __init__(self, dataset: Dataset, words: Words) -> None:
        """``words`` are those of datasets that have none of their own."""
        self._dataset = dataset
        quality_names, reasons = dataset.words or words
        self._schema = dataset.schema()
        self._sites = pa.array(dataset.sites, pa.string()).dictionary_encode()
        self._devices = pa.array(dataset.devices, pa.string()).dictionary_encode()
        self._qualities = pa.array(quality_names, pa.string()).dictionary_encode()
        self._reasons = pa.array(reasons, pa.string()).dictionary_encode()
        if len(self._qualities) != 256 or len(self._reasons) != 256:
            raise ValueError("quality_names and reasons need 256 entries each")
        self._labels = {c.name: _distinct(c.labels, dataset) for c in dataset.columns if c.labels}
        self._encodings: dict[str, str] = {}
        self._settled = False

    def encode(self, part: Part) -> pa.Buffer:
        """Return the file; ``part`` is read, not changed."""
        table = self._table(part)
        if not self._settled:
            self._choose(table)
            self._settled = part.rows >= SAMPLE_ROWS
        sink = pa.BufferOutputStream()
        pq.write_table(
            table,
            sink,
            # Whole devices in a row group, so that its statistics name few of them.
            row_group_size=max(ROW_GROUP_ROWS // part.ticks, 1) * part.ticks,
            use_dictionary=[name for name in table.column_names if name not in self._encodings],
            column_encoding=self._encodings,
            **FILE_OPTIONS,
        )
        return sink.getvalue()

    def _table(self, part: Part) -> pa.Table:
        n = part.ticks
        ticks = np.tile(part.tick_us[:n], self._dataset.rows)
        codes = _by_device(part.quality, n)
        latency_ms = np.rint(_by_device(part.latency_ms, n) * np.float32(10)) / np.float32(10)
        arrays = [
            _primitive(ticks, pa.timestamp("us", tz="UTC"), None),
            _repeat(self._sites, n),
            _repeat(self._devices, n),
            self._qualities.take(pa.array(codes)),
            self._reasons.take(pa.array(codes)),
            _primitive(latency_ms, pa.float32(), ~np.isnan(latency_ms)),
        ]
        for c, (column, values) in enumerate(zip(self._dataset.columns, part.values, strict=True)):
            of_device, is_valid = _by_device(values, n), _by_device(part.valid[:, c], n)
            if column.labels:
                labels, of_row = self._labels[column.name]
                arrays.append(_labelled(labels, of_device, is_valid, np.repeat(of_row, n)))
            else:
                arrays.append(_point(column, of_device, is_valid))
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _choose(self, table: pa.Table) -> None:
        # Weighing both beats a rule on the number of distinct values: it holds for every type and costs a few
        # milliseconds a column, once.
        sample = table.slice(0, SAMPLE_ROWS)
        for column in self._dataset.columns:
            other = None if column.is_text else ALTERNATIVES.get(column.dtype)
            self._encodings.pop(column.name, None)
            if other is not None:
                one = sample.select([column.name]).replace_schema_metadata()
                if _size(one, False, {column.name: other}) < _size(one, True, None):
                    self._encodings[column.name] = other
            elif column.dtype == "bool":
                self._encodings[column.name] = "PLAIN"


def _size(table: pa.Table, use_dictionary: bool, encoding: dict[str, str] | None) -> int:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, use_dictionary=use_dictionary, column_encoding=encoding, **FILE_OPTIONS)
    return int(sink.getvalue().size)


def _by_device(buffer: Array, ticks: int) -> Array:
    """Return ``[ticks, rows]`` as one contiguous array in the order device, tick."""
    return np.ascontiguousarray(buffer[:ticks].T).reshape(-1)


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


def _point(column: Column, values: Array, valid: Array) -> pa.Array:
    if column.dtype.startswith("S"):
        # A device's text rarely changes, so there are few distinct ones to make strings of.
        distinct, indices = np.unique(values, return_inverse=True)
        texts = [text.decode("utf-8", "replace") for text in distinct.tolist()]
        return _text(texts, _primitive(indices.astype(np.int32), pa.int32(), valid))
    if column.dtype == "bool":
        bits = [_bits(valid), _bits(values)]
        return pa.Array.from_buffers(pa.bool_(), len(values), bits)
    return _primitive(values, pa.from_numpy_dtype(values.dtype), valid)


def _distinct(
    labels: Sequence[Mapping[int, str]], dataset: Dataset
) -> tuple[Sequence[Mapping[int, str]], Array]:
    """Return the label sets that differ, and which of them each row follows: variants are often alike."""
    number: dict[frozenset[tuple[int, str]], int] = {}
    of_variant = [number.setdefault(frozenset(names.items()), len(number)) for names in labels]
    variants = np.array(dataset.variants or [0] * dataset.rows, np.intp)
    return [dict(names) for names in number], np.array(of_variant)[variants]


def _labelled(
    labels: Sequence[Mapping[int, str]], values: Array, valid: Array, label_set: Array
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
