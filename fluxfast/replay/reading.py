"""Some ticks of a log as NumPy arrays, a row per tick and a column per device; nan where null."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fluxfast.errors import FluxfastError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some ticks of one dataset: ``time_us`` int64 [ticks], ascending; ``values[name]`` [ticks, rows].

    Values are float64, but for columns that were asked for as int64, where 0 stands for null.
    """

    time_us: NDArray[np.int64]
    values: Mapping[str, NDArray[Any]]

    def part(self, first: int, last: int) -> "Chunk":
        """Return the ticks ``first`` to ``last``, the latter left out."""
        return Chunk(self.time_us[first:last], {name: v[first:last] for name, v in self.values.items()})


@dataclass(frozen=True, slots=True)
class Slice:
    """Row groups of a file that hold the same ticks of different devices; all of one run."""

    file: Path
    row_groups: Sequence[int]


@dataclass(frozen=True)
class Wanted:
    """What to read of a dataset: ``rows`` by device id; the columns, of which ``codes[name]`` turn text into
    numbers, one mapping for each of the variants that ``variant[rows]`` tells apart.
    """

    dataset: str
    rows: Mapping[str, int]
    columns: Sequence[str]
    codes: Mapping[str, Sequence[Mapping[str, int]]]
    variant: NDArray[np.int32]
    integers: frozenset[str] = frozenset()
    must_be_there: bool = True  # at least one of the rows


def read_chunk(slice_: Slice, wanted: Wanted) -> Chunk:
    """Read a slice. Devices that are not wanted are left out; those that it lacks are nan.

    Raises FluxfastError if it is not of a Parquet file of a log, or lacks a column.
    """
    file = slice_.file
    try:
        with pq.ParquetFile(file, memory_map=True) as parquet:
            has = set(parquet.schema_arrow.names)
            for name in ("time", "device", *wanted.columns):
                if name not in has:
                    raise FluxfastError(
                        f"{file}: has no column '{name}', which control needs; begin later with --from"
                    )
            columns = ["time", "device", *wanted.columns]
            table = parquet.read_row_groups(slice_.row_groups, columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise FluxfastError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from None
    time_us = table["time"].cast(pa.int64()).to_numpy()
    devices, rows = _rows(table["device"], wanted.rows)
    if wanted.must_be_there and (rows < 0).all():
        some = ", ".join(list(wanted.rows)[:3])
        raise FluxfastError(f"{file}: has none of {some} …; is it the log of another site?")
    return _by_tick(time_us, devices, rows, table, wanted)


def _rows(column: pa.ChunkedArray, rows: Mapping[str, int]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return each line's device as a number, and for each of those numbers its row, -1 for none."""
    array = _dictionary(column)
    found = [rows.get(name, -1) for name in array.dictionary.to_pylist()]
    return array.indices.to_numpy(), np.array(found, np.int32)


def _dictionary(column: pa.ChunkedArray) -> pa.DictionaryArray:
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    return column.unify_dictionaries().combine_chunks()


def _by_tick(
    time_us: NDArray[np.int64],
    devices: NDArray[np.int32],
    rows: NDArray[np.int32],
    table: pa.Table,
    wanted: Wanted,
) -> Chunk:
    n, row_of_line = len(wanted.rows), rows[devices]
    # As the log is written: device by device, the same ticks for each.
    each = int(np.argmax(devices != devices[0])) if len(devices) else 0
    each = each or len(devices)
    regular = each > 0 and len(devices) % each == 0
    if regular:
        by_device = time_us.reshape(-1, each)
        regular = bool((by_device == by_device[0]).all()) and bool((np.diff(by_device[0]) > 0).all())
    if regular:
        ticks, row_of_block = time_us[:each], rows[devices[::each]]
        keep = row_of_block >= 0
        whole = keep.all() and np.array_equal(row_of_block, np.arange(n))
    else:
        ticks, tick_of_line = np.unique(time_us, return_inverse=True)
        keep = row_of_line >= 0
    values = {}
    for name in wanted.columns:
        column = _numbers(table[name], name, row_of_line, wanted)
        empty = 0 if name in wanted.integers else np.nan
        if regular and whole:
            values[name] = column.reshape(-1, each).T
            continue
        cells = np.full((len(ticks), n), empty, column.dtype)
        if regular:
            cells[:, row_of_block[keep]] = column.reshape(-1, each)[keep].T
        else:
            cells[tick_of_line[keep], row_of_line[keep]] = column[keep]
        values[name] = cells
    return Chunk(ticks, values)


def _numbers(column: pa.ChunkedArray, name: str, rows: NDArray[np.int32], wanted: Wanted) -> NDArray[Any]:
    """Return a column's lines as numbers."""
    if name in wanted.integers:
        return np.asarray(column.fill_null(0).to_numpy())
    codes = wanted.codes.get(name)
    if codes is None:
        if pa.types.is_dictionary(column.type) or pa.types.is_string(column.type):
            raise FluxfastError(f"'{name}' is text in the log and a number in the profile")
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy())
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):  # before it had states
        return np.asarray(column.cast(pa.float64()).to_numpy())
    array = _dictionary(column)
    texts = array.dictionary.to_pylist()
    numbers = np.array([[_code(text, of_variant) for text in [*texts, None]] for of_variant in codes])
    indices = array.indices.fill_null(len(texts)).to_numpy()
    if len(codes) == 1:
        return np.asarray(numbers[0][indices])
    return np.asarray(numbers[wanted.variant[rows], indices])


def _code(text: str | None, codes: Mapping[str, int]) -> float:
    """Return the code of a state; one without a label is logged as its digits."""
    if text is None:
        return np.nan
    if text in codes:
        return codes[text]
    return float(text) if text.lstrip("-").isdigit() else np.nan
