"""The runs of a log: all datasets side by side, batch by batch, in the order in which they happened.

A run is what one station has written, from its start to its end; it decides anew what it remembers.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fluxfast.errors import FluxfastError
from fluxfast.log.footers import bounds_us
from fluxfast.replay.reading import Chunk, Slice, Wanted, read_chunk

ALWAYS_US: Final = 2**62
# Of a batch: all of it is gone through several times, so it had better stay in the processor's cache.
BATCH_TICKS: Final = 256


@dataclass(frozen=True)
class Run:
    """What one run has written: ``slices[dataset]`` in its order."""

    started: int  # UTC microseconds: its first tick
    slices: Mapping[str, Sequence[Slice]]


def find_runs(log: Path, datasets: Sequence[str]) -> list[Run]:
    """Return the runs of a log, oldest first. Raises FluxfastError if there is none."""
    if not log.is_dir():
        raise FluxfastError(f"{log}: is no folder of a log")
    # By run and dataset; of each slice, where it belongs among the others, and its first tick.
    found: dict[str, dict[str, list[tuple[tuple[int, str, int], int, Slice]]]] = {}
    for dataset in datasets:
        for file in log.glob(f"{dataset}/date=*/*.parquet"):
            # 20261122T101930Z-5f0c9a1e-0000000001: when, which run, and where in it. A merged file is named
            # for the first of its runs.
            _, _, run_and_number = file.stem.partition("-")
            first_run, _, number = run_and_number.partition("-")
            for n, (run, first_us, slice_) in enumerate(_slices(file, first_run)):
                place = (int(number.partition("-")[0]) if run == first_run else -1, file.name, n)
                found.setdefault(run, {}).setdefault(dataset, []).append((place, first_us, slice_))
    runs = [
        Run(
            min(first_us for slices in of_run.values() for _, first_us, _ in slices),
            {
                dataset: [slice_ for *_, slice_ in sorted(slices, key=lambda one: one[0])]
                for dataset, slices in of_run.items()
            },
        )
        for of_run in found.values()
    ]
    if not runs:
        raise FluxfastError(f"{log}: has no data of {' or '.join(datasets)}; is it the log of another site?")
    return sorted(runs, key=lambda run: run.started)


def _slices(file: Path, named_run: str) -> Iterator[tuple[str, int, Slice]]:
    """Yield (run, first tick, slice) of a file, in its order."""
    try:
        with pq.ParquetFile(file) as parquet:
            metadata, names = parquet.metadata, parquet.schema_arrow.names
    except (OSError, pa.ArrowException) as error:
        raise FluxfastError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from None
    run_at = names.index("run") if "run" in names else None
    before: tuple[str, int, int] | None = None
    groups: list[int] = []
    for n in range(metadata.num_row_groups):
        group = metadata.row_group(n)
        bounds = bounds_us(group)
        if bounds is None:
            raise FluxfastError(f"{file}: has no column 'time'; is it a file of a log?")
        run = named_run if run_at is None else str(group.column(run_at).statistics.min)
        what = run, *bounds
        # Devices of the same ticks stand in neighbouring row groups; the next ticks come after these.
        if before is not None and (run != before[0] or what[1] > before[2] or what[2] < before[1]):
            yield before[0], before[1], Slice(file, groups)
            before, groups = None, []
        before = what if before is None else (run, min(before[1], what[1]), max(before[2], what[2]))
        groups.append(n)
    if before is not None:
        yield before[0], before[1], Slice(file, groups)


def batches(
    run: Run, wanted: Sequence[Wanted], from_us: int, to_us: int
) -> Iterator[tuple[NDArray[np.int64], dict[str, Chunk]]]:
    """Yield (times, chunk of each dataset) with the same ticks in all: nan where one of them has no row."""
    with ThreadPoolExecutor(1) as ahead:  # reads the next slices while these are being decided
        series = [_Series(list(run.slices.get(one.dataset, ())), one, ahead) for one in wanted]
        while sum(one.fill() for one in series):  # each of them
            # No further than the dataset that ends first, for its next slice may begin there.
            until_us = min(one.end_us for one in series)
            chunks = [one.take(until_us) for one in series]
            times = np.unique(np.concatenate([chunk.time_us for chunk in chunks]))
            times = times[(times >= from_us) & (times < to_us)]
            if len(times):
                yield (
                    times,
                    {one.dataset: _at(chunk, times, one) for one, chunk in zip(wanted, chunks, strict=True)},
                )


class _Series:
    """One dataset of a run, read slice by slice."""

    def __init__(self, slices: list[Slice], wanted: Wanted, ahead: ThreadPoolExecutor) -> None:
        self._slices, self._wanted, self._ahead = slices, wanted, ahead
        self._chunk: Chunk | None = None
        self._next: Future[Chunk] | None = None
        self._read_on()

    def _read_on(self) -> None:
        more = self._slices.pop(0) if self._slices else None
        self._next = None if more is None else self._ahead.submit(read_chunk, more, self._wanted)

    def fill(self) -> bool:
        """Take the next slice if nothing is left of the one before; return whether there is anything."""
        while self._chunk is None and self._next is not None:
            chunk = self._next.result()
            self._read_on()
            self._chunk = chunk if len(chunk.time_us) else None
        return self._chunk is not None

    @property
    def end_us(self) -> int:
        """The last tick that can be taken now; beyond all of them if there are no others."""
        if self._chunk is None:
            return ALWAYS_US
        times = self._chunk.time_us
        if len(times) > BATCH_TICKS:
            return int(times[BATCH_TICKS - 1])
        return ALWAYS_US if self._next is None else int(times[-1])

    def take(self, until_us: int) -> Chunk:
        """Return the ticks up to a time, that one too."""
        if self._chunk is None:
            return Chunk(np.empty(0, np.int64), {})
        times = self._chunk.time_us
        n = int(np.searchsorted(times, until_us, "right"))
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
