"""Journals as a station leaves them, written without one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fluxfast.log import Column, Dataset, Words, events, segment
from fluxfast.log.block import Layout, Ticks
from fluxfast.log.frame import pack

DAY_US = 86_400_000_000
NOON_US = 1_790_000_000_000_000 // DAY_US * DAY_US + DAY_US // 2  # of a day that is long over
WORDS = Words(["good", "uncertain", *["bad"] * 254], [None, "late", *["timeout"] * 254])


def dataset(*columns: Column, name: str = "d", devices: Sequence[str] = ("b2", "b1")) -> Dataset:
    """Return a dataset of one site."""
    columns = columns or (Column("x", "float64"),)
    return Dataset(name, ["s"] * len(devices), devices, columns, words=WORDS)


def write_segment(
    root: Path,
    run: str,
    sequence: int,
    of: Dataset,
    times_us: Sequence[int],
    *,
    about: dict[str, Any] | None = None,
    opened_us: int | None = None,
    news: Sequence[events.Event] = (),
) -> Path:
    """Write a complete segment; every value is its time in seconds of the day, bools whether that is odd."""
    ticks = Ticks(Layout(of, len(times_us)))
    valid = np.ones((len(of.columns), of.rows), np.uint8)
    for time_us in times_us:
        second = time_us % DAY_US // 1_000_000
        values = [
            np.full(of.rows, second % 2 if column.dtype == "bool" else second).astype(column.dtype)
            for column in of.columns
        ]
        ticks.append(time_us, np.full(of.rows, 1.5, "f4"), np.zeros(of.rows, "u1"), values, valid)
    folder = root / segment.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    header = segment.Header(run, [of], about or {}).to_json(times_us[0] if opened_us is None else opened_us)
    writer = segment.SegmentWriter(folder, run, sequence, header)
    writer.append(pack(0, sequence + 1, ticks.to_message()))
    if news:
        writer.append(pack(segment.EVENTS, sequence + 2, events.to_message(news)))
    writer.close()
    return writer.path


def minutes(*numbers: int, ticks: int = 3, first_us: int = NOON_US) -> list[list[int]]:
    """Return the times of some ticks, a second apart, in each of these minutes."""
    return [[first_us + m * 60_000_000 + k * 1_000_000 for k in range(ticks)] for m in numbers]
