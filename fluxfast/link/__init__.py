"""Sockets and the conversations on them: requests out, replies matched, checked and decoded into tables.

``reactor`` (one poll set, batches without the GIL) drives ``conversation`` (sans-IO) for every link;
``driver`` puts the reactor on an asyncio loop. May import table and below; what plan works out comes in as
arrays.
"""

from fluxfast.link.driver import Driver
from fluxfast.link.reactor import Reactor
from fluxfast.link.streams import Connect

__all__ = ["Connect", "Driver", "Reactor"]
