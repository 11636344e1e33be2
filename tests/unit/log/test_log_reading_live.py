"""Whoever looks at a log that is written, compacted and merged meanwhile sees each row, and once."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from fluxfast import open_log
from fluxfast.log.compactor import compact
from fluxfast.log.manifest import Manifest
from fluxfast.log.reading import Log
from tests.support.numbered import append, writer


def by_arrow(log: Log) -> list[int]:
    found: list[int] = log.dataset("d").to_table(columns=["x"])["x"].to_pylist()
    return found


def by_polars(log: Log) -> list[int]:
    return log.polars("d").select("x").collect()["x"].to_list()


def by_duckdb(log: Log) -> list[int]:
    return [row[0] for row in log.relation("d").project("x").fetchall()]


def look(path: Path, seconds: float) -> tuple[int, int]:
    """Write and look for so long; return how often it was looked, and the ticks that were written."""
    wrong: list[str] = []
    end = threading.Event()

    def compacting() -> None:
        while not end.is_set():
            compact(path, wrong.append)

    looks = n = 0
    engines: list[Callable[[Log], list[int]]] = [by_arrow, by_duckdb, by_polars]
    with writer(path, segment_seconds=0.05) as station:

        def writing() -> None:
            nonlocal n
            while not end.is_set():
                append(station, n)
                n += 1
                time.sleep(0.005)

        threads = [threading.Thread(target=work) for work in (compacting, writing)]
        for thread in threads:
            thread.start()
        try:
            log = open_log(path)
            until = time.monotonic() + seconds
            while time.monotonic() < until or not looks:
                logged, read = station.rows_logged, engines[looks % 3]
                log.refresh()
                found = log.retried(
                    lambda read=read: read(log), duckdb.IOException, pl.exceptions.ComputeError
                )  # type: ignore[misc]
                counts = np.bincount(np.array(found, int))
                assert (counts == 2).all(), (read, np.flatnonzero(counts != 2))
                assert len(found) >= logged
                looks += 1
        finally:
            end.set()
            for thread in threads:
                thread.join()
    assert len(by_arrow(log.refresh())) == 2 * n
    assert wrong == []
    return looks, n


def test_every_row_once(tmp_path):
    look(tmp_path, 2)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_every_row_once_for_long(tmp_path):
    looks, ticks = look(tmp_path, 30)
    merges = len(Manifest(tmp_path).merges)
    print(f"{looks} looks at {ticks} ticks and {merges} merges")
    assert merges
