"""Batches of a log as NumPy columns: devices as numbers, the rows of a device together and in time order."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fluxfast.report.source import times_us

Array = NDArray[Any]

NONE: Final = -1


class Names:
    """Numbers for names, in the order in which they are met; beyond ``limit`` all share the last one."""

    def __init__(self, limit: int | None = None) -> None:
        """Begin without any."""
        self.names: list[Any] = []
        self._numbers: dict[Any, int] = {}
        self._limit = limit

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.names)

    def number(self, name: Any) -> int:
        """Return the number of a name."""
        found = self._numbers.get(name)
        if found is None:
            if self._limit is not None and len(self.names) >= self._limit - 1:
                name = "other"
                if name in self._numbers:
                    return self._numbers[name]
            found = self._numbers[name] = len(self.names)
            self.names.append(name)
        return found


@dataclass(frozen=True)
class Rows:
    """``device[n]``, numbers of (site, device), each one's rows together; ``time_us[n]`` ascends for each."""

    device: Array
    time_us: Array
    texts: dict[str, Array] = field(default_factory=dict)  # numbers of Names, NONE for null
    numbers: dict[str, Array] = field(default_factory=dict)  # float64, nan for null


def rows_of(
    found: Iterable[pa.RecordBatch], devices: Names, texts: dict[str, Names], numbers: Sequence[str]
) -> Iterator[Rows]:
    """Turn batches with ``time``, ``site``, ``device`` and these columns into Rows."""
    for batch in found:
        if not batch.num_rows:
            continue
        device = _pairs(batch, devices)
        time_us = times_us(batch).to_numpy()
        rows = Rows(
            device,
            time_us,
            {name: text_numbers(batch.column(name), known) for name, known in texts.items()},
            {name: _floats(batch.column(name)) for name in numbers},
        )
        changes = np.diff(device) != 0
        runs = device[np.concatenate([[True], changes])]
        if len(np.unique(runs)) == len(runs) and (changes | (np.diff(time_us) >= 0)).all():
            yield rows
        else:
            order = np.lexsort((time_us, device))
            yield Rows(
                device[order],
                time_us[order],
                {name: column[order] for name, column in rows.texts.items()},
                {name: column[order] for name, column in rows.numbers.items()},
            )


def _pairs(batch: pa.RecordBatch, devices: Names) -> Array:
    """Return the number of each row's (site, device)."""
    sites, site_names = _codes(batch.column("site"))
    ids, id_names = _codes(batch.column("device"))
    pair = ids.astype(np.int64) * (len(site_names) + 1) + sites
    starts = np.flatnonzero(np.concatenate([[True], pair[1:] != pair[:-1]]))
    known, which = np.unique(pair[starts], return_inverse=True)
    width = len(site_names) + 1
    found = [devices.number((site_names[p % width - 1], id_names[p // width - 1])) for p in known.tolist()]
    return np.repeat(np.array(found, np.int32)[which], np.diff(starts, append=len(pair)))


def _codes(column: pa.Array) -> tuple[Array, list[str]]:
    """Return codes from 1 on, and the texts; 0 is null, the last text."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    texts = [str(text) for text in column.dictionary.cast(pa.string()).to_pylist()]
    return column.indices.cast(pa.int64()).fill_null(NONE).to_numpy() + 1, [*texts, "?"]


def text_numbers(column: pa.Array, known: Names) -> Array:
    """Return the number of each row's text, NONE for null."""
    codes, texts = _codes(column)
    used = np.flatnonzero(np.bincount(codes, minlength=len(texts))[1:])
    numbers = np.full(len(texts) + 1, NONE, np.int32)
    for k in used.tolist():
        numbers[k + 1] = known.number(texts[k])
    return numbers[codes]


def _floats(column: pa.Array) -> Array:
    values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    return np.where(np.isfinite(values), values, np.nan)
