"""SunSpec: devices that tell their own register maps.

``discover.py`` finds the map and the models in it, ``definitions.py`` knows what the models mean (from
pysunspec2's files), ``layout.py`` lays a definition over a device's registers, ``registers.py`` reads them,
``points.py`` and ``make.py`` make a profile of it all, ``suggest.py`` says how it might be controlled.

May import ``client``, ``values`` and the shelves below. May be imported by ``scan``, ``doctor`` and ``cli``.
"""

from fluxfast.sunspec.discover import Common, Found, Model, discover
from fluxfast.sunspec.make import Made, make_profile

__all__ = ["Common", "Found", "Made", "Model", "discover", "make_profile"]
