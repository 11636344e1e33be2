"""Register maps: one YAML file per device type, checked and frozen.

Here live the models of a profile (``point.py``, ``quirks.py``, ``control.py``, ``profile.py``), where they
are found (``store.py``), the shipped maps (``*.yaml``) with their JSON Schema, and how YAML is read with its
line numbers (``document.py``, ``scalars.py``, ``findings.py``), which ``config`` uses too. Profiles are made
from spreadsheets (``lists/``) or a first file (``template.py``), written (``write.py``) and advised on
(``advice.py``).

May import ``errors`` and ``constants``. May be imported by ``config`` and everything above it.
"""

from fluxfast.profiles.control import POWER_UNITS, BatteryControl, Heartbeat, MeterControl, PointState
from fluxfast.profiles.point import Point
from fluxfast.profiles.profile import Profile
from fluxfast.profiles.quirks import Quirks
from fluxfast.profiles.store import builtin_profiles, load_profile

__all__ = [
    "POWER_UNITS",
    "BatteryControl",
    "Heartbeat",
    "MeterControl",
    "Point",
    "PointState",
    "Profile",
    "Quirks",
    "builtin_profiles",
    "load_profile",
]
