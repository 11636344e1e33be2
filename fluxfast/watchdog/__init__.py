"""What holds when the station does not: the dead man, and the lock on each site.

- ``watchdog.py``: ``Watchdog``, the station's side: which units are commanded, and that it is alive
- ``sidecar/``: the process that stops these units when the station dies or hangs; standard library only
- ``folder.py``: where locks and sockets are
- ``lock.py``: ``SiteLocks``: no two stations of this machine control one site

May import shelf 3 and below; needs only ``fluxfast.errors``. Knows neither control nor link: it is given
frames.
"""

from fluxfast.watchdog.folder import FOLDERS, VIEW_SOCKETS, open_folder
from fluxfast.watchdog.lock import SiteLocks
from fluxfast.watchdog.watchdog import StopUnit, Watchdog

__all__ = ["FOLDERS", "VIEW_SOCKETS", "SiteLocks", "StopUnit", "Watchdog", "open_folder"]
