"""What this machine holds: how many devices at a period, or how short a period of a site's devices.

- ``search.py``: where to try next, a pure function
- ``bench.py``: the trials, ``child.py``: their processes seen from here, ``verdict.py``: what they come to
- ``job.py``: what these processes are told; ``station.py``, ``devices.py``: they; ``measure.py``: the window
- ``fleet.py``: the fleet where no site file is given; ``environment.py``: the machine
"""

from fluxfast.bench.bench import Bench, OwnBench, SiteBench
from fluxfast.bench.environment import environment
from fluxfast.bench.trial import Result, Trial
from fluxfast.bench.verdict import explanations, sentence

__all__ = ["Bench", "OwnBench", "Result", "SiteBench", "Trial", "environment", "explanations", "sentence"]
