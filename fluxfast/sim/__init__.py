"""Simulated devices: one process answers for a whole fleet at C speed, with physics behind the registers.

* ``simulator.py`` ties everything together; ``listen.py`` opens the sockets
* ``server.pyx`` sockets without the GIL; ``answer.pyx`` one request to one response
* ``faults.py`` who is ill, of what and when; ``fault.pxd`` what that means for a request
* ``image.py`` the register bytes of all devices of a profile; ``column.py`` one point of them
* ``physics.py`` one step for all: ``sites.py`` (load and sun), ``battery.py``, ``meter.py``, ``wander.py``

May import ``config``, ``profiles``, ``modbus``, ``native``, ``errors`` and ``constants``.
"""

from fluxfast.sim.faults import KINDS, RANDOM
from fluxfast.sim.simulator import Counters, Simulator

__all__ = ["KINDS", "RANDOM", "Counters", "Simulator"]
