"""A log in Polars: a lazy frame for each dataset. Importing it needs Polars."""

from typing import TYPE_CHECKING

import polars as pl

from fluxfast.log.snapshot import File

if TYPE_CHECKING:
    from fluxfast.log.reading import Log


def lazy_frame(log: "Log", name: str) -> pl.LazyFrame:
    """Return all rows; filters and choices of columns reach the files."""
    schema, journal = log.schema(name), log.journal(name)
    frames = [frame for files in log.alike(name) for frame in _frames(files)]
    if len(journal) or not frames:
        frames.append(pl.DataFrame(journal).lazy())
    return pl.concat(frames, how="diagonal_relaxed").select(schema.names)


def _frames(files: list[File]) -> list[pl.LazyFrame]:
    by_day: dict[object, list[File]] = {}
    for file in files:
        by_day.setdefault(file.date, []).append(file)
    # The days by hand: folders above the log may be called key=value, too.
    return [
        pl.scan_parquet([file.path for file in of_day], hive_partitioning=False, glob=False).with_columns(
            date=pl.lit(day, pl.Date)
        )
        for day, of_day in by_day.items()
    ]
