"""A log decided anew, by the same controller that runs live.

- ``reading.py``: one file of a dataset as arrays [ticks, rows]
- ``history.py``: the runs of a log, batch by batch, all datasets side by side
- ``world.py``: the tables as they would have been had the units been told otherwise
- ``result.py``: what it comes to, per site
- ``replay.py``: puts them together
"""

from fluxfast.replay.replay import Replay
from fluxfast.replay.result import Curves, Result

__all__ = ["Curves", "Replay", "Result"]
