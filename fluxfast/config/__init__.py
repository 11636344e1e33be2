"""The site file: which devices there are, where they are reached, how often they are polled.

``load(path)`` reads it (``reading.py``, ``entries.py``), counts devices out (``expand.py``), applies
overrides to profiles (``resolve.py``), checks the fleet as a whole (``site.py``, ``duplicates.py``) and
returns the frozen records of ``fleet.py``.

May import ``profiles``, ``errors`` and ``constants``. May be imported by ``plan`` and everything above it.
"""

from fluxfast.config.fleet import Action, Control, Device, Fleet, Limits, Log, Modbus, Poll, Site
from fluxfast.config.load import load

__all__ = ["Action", "Control", "Device", "Fleet", "Limits", "Log", "Modbus", "Poll", "Site", "load"]
