"""Columns to Parquet files that survive a crash.

Comes in: one array per column and tick, a row per device.
Goes out: ``DIR/<dataset>/date=YYYY-MM-DD/*.parquet``.

    tick ─▶ block ─▶ journal ─▶ parts ─▶ merged files

- ``dataset.py``: what a dataset is, and the Arrow schema that follows from it; ``events.py``: the dataset of
  what happens now and then
- ``writer.py``: ``LogWriter``, what a station hands its ticks to
- ``block.py``, ``gather.pyx``, ``message.py``, ``batches.py``: ticks in memory, which is laid out as the
  Arrow batch that they leave in
- ``frame.py``, ``segment.py``, ``journal.py``: batches in frames; in files; the thread that puts them there
- ``rows.py``, ``encoder.py``, ``convert.py``: batches to tables, to Parquet, exactly once
- ``merge.py``, ``retention.py``, ``remote.py``, ``upload.py``: few large files; what is too old; copies
- ``inventory.py``, ``inventory_files.py``, ``views.py``: what a log says of itself, and long views
- ``manifest.py``: which files there are; ``compactor.py``: one pass over all of it; ``job.py``: the process
  in which a station has that done
- ``reading.py``: ``open_log``, for analysts; ``snapshot.py``, ``follow.py``: which files count, and the
  journal as tables, while a station goes on; ``in_duckdb.py``, ``in_polars.py``: a log there
- ``verify.py``, ``statistics.py``, ``export.py``: every byte checked; a log in numbers; other file formats
- ``directory.py``, ``disk.py``: locks, files that appear whole; every change of the disk
- ``arrays.py``, ``footers.py``: NumPy and Arrow; the times of row groups

May import shelf 3 and below; needs only ``fluxfast.errors``. Knows nothing of devices, registers or sockets.
"""

from fluxfast.log.dataset import Column, Dataset, Words
from fluxfast.log.writer import LogWriter

__all__ = ["Column", "Dataset", "LogWriter", "Words"]
