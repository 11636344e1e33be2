"""The runs of a log: all datasets side by side, batch by batch, in the order in which they happened.

A run is what one station has written, from its start to its end; it decides anew what it remembers.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluxfast.errors import FluxfastError
from fluxfast.replay.reading import Chunk, Wanted, read_chunk


@dataclass(frozen=True)
class Run:
    """The files of one run: ``files[dataset]`` in the order in which they were written."""

    started: str
    files: Mapping[str, Sequence[Path]]


def find_runs(log: Path, datasets: Sequence[str]) -> list[Run]:
    """Return the runs of a log, oldest first. Raises FluxfastError if there is none."""
    if not log.is_dir():
        raise FluxfastError(f"{log}: is no folder of a log")
    found: dict[str, dict[str, list[tuple[str, Path]]]] = {}
    for dataset in datasets:
        for file in log.glob(f"{dataset}/date=*/*.parquet"):
            # 20261122T101930Z-5f0c9a1e-000001: when, which writer, and the how-many-th of its files
            _, _, writer_and_number = file.stem.partition("-")
            writer, _, number = writer_and_number.partition("-")
            found.setdefault(writer, {}).setdefault(dataset, []).append((number, file))
    runs = [
        Run(
            min(file.name for files in of_run.values() for _, file in files),
            {dataset: [file for _, file in sorted(files)] for dataset, files in of_run.items()},
        )
        for of_run in found.values()
    ]
    if not runs:
        raise FluxfastError(f"{log}: has no data of {' or '.join(datasets)}; is it the log of another site?")
    return sorted(runs, key=lambda run: run.started)


def batches(
    run: Run, wanted: Sequence[Wanted], from_us: int, to_us: int
) -> Iterator[tuple[NDArray[np.int64], dict[str, Chunk]]]:
    """Yield (times, chunk of each dataset) with the same ticks in all: nan where one of them has no row."""
    with ThreadPoolExecutor(1) as ahead:  # reads the next files while these are being decided
        series = [_Series(list(run.files.get(one.dataset, ())), one, ahead) for one in wanted]
        while sum(one.fill() for one in series):  # each of them
            # No further than the dataset that ends first, for its next file may begin there.
            until = min((one.last_us for one in series if one.has_more), default=None)
            chunks = [one.take(until) for one in series]
            times = np.unique(np.concatenate([chunk.time_us for chunk in chunks]))
            times = times[(times >= from_us) & (times < to_us)]
            if len(times):
                yield (
                    times,
                    {one.dataset: _at(chunk, times, one) for one, chunk in zip(wanted, chunks, strict=True)},
                )


class _Series:
    """One dataset of a run, read file by file."""

    def __init__(self, files: list[Path], wanted: Wanted, ahead: ThreadPoolExecutor) -> None:
        self._files, self._wanted, self._ahead = files, wanted, ahead
        self._chunk: Chunk | None = None
        self._next: Future[Chunk] | None = None
        self._read_on()

    def _read_on(self) -> None:
        self._next = self._ahead.submit(read_chunk, self._files.pop(0), self._wanted) if self._files else None

    def fill(self) -> bool:
        """Take the next file if nothing is left of the one before; return whether there is anything."""
        while self._chunk is None and self._next is not None:
            chunk = self._next.result()
            self._read_on()
            self._chunk = chunk if len(chunk.time_us) else None
        return self._chunk is not None

    @property
    def has_more(self) -> bool:
        """Whether another file follows."""
        return self._next is not None

    @property
    def last_us(self) -> int:
        """The last tick that was read."""
        assert self._chunk is not None
        return int(self._chunk.time_us[-1])

    def take(self, until_us: int | None) -> Chunk:
        """Return the ticks up to a time, that one too; None: all."""
        if self._chunk is None:
            return Chunk(np.empty(0, np.int64), {})
        times = self._chunk.time_us
        n = len(times) if until_us is None else int(np.searchsorted(times, until_us, "right"))
        taken = self._chunk.part(0, n)
        self._chunk = self._chunk.part(n, len(times)) if n < len(times) else None
        return taken


def _at(chunk: Chunk, times: NDArray[np.int64], wanted: Wanted) -> Chunk:
    """Return a chunk with exactly these ticks."""
    if np.array_equal(chunk.time_us, times):
        return chunk
    n = len(wanted.rows)
    values: dict[str, NDArray[Any]] = {}
    at = np.searchsorted(times, chunk.time_us)
    at[at == len(times)] = 0
    known = times[at] == chunk.time_us if len(times) else np.zeros(0, bool)
    for name in wanted.columns:
        integer = name in wanted.integers
        cells = np.full((len(times), n), 0 if integer else np.nan, np.int64 if integer else np.float64)
        if len(chunk.time_us):
            cells[at[known]] = chunk.values[name][known]
        values[name] = cells
    return Chunk(times, values)
