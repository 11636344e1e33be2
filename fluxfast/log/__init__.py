"""Columns to Parquet files that survive a crash.

Comes in: one array per column and tick, a row per device.
Goes out: ``DIR/<dataset>/date=YYYY-MM-DD/*.parquet``.

- ``dataset.py``: what a dataset is, and the Arrow schema that follows from it
- ``part.py``: the ticks that wait to be encoded, in preallocated ``[ticks, rows]`` arrays
- ``encoder.py``: a part to the bytes of one Parquet file
- ``events.py``: what happens now and then, a row for each event
- ``directory.py``: the lock, and files that appear whole or not at all
- ``writer.py``: ``LogWriter``, which puts them together on one thread beside the event loop

May import shelf 3 and below; needs only ``fluxfast.errors``. Knows nothing of devices, registers or sockets.
"""

from fluxfast.log.dataset import Column, Dataset, Words
from fluxfast.log.writer import LogWriter

__all__ = ["Column", "Dataset", "LogWriter", "Words"]
