"""A part's arrays to Arrow columns: rows in the order device, then tick; states and texts as dictionaries."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from fluxfast.log.dataset import TEXT, Column, Dataset
from fluxfast.log.part import Array


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
