"""What the reactor has counted since its start, per unit and per link, as NumPy structured arrays."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.link.reactor import Reactor

# In the order of Reactor.read_counters. A request ends as a reply, a timeout, an exception or malformed, or
# with its connection.
UNIT_COUNTERS: Final = ("requests", "replies", "timeouts", "exceptions", "malformed")
# Late: the answer to a request that had ended, or a duplicate. Foreign: an identifier that was never issued.
LINK_COUNTERS: Final = ("connects", "late", "foreign")


def read_counters(reactor: Reactor, n_units: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (units, links): structured uint64 arrays [n_units] and [links] with the names above."""
    units = np.zeros((n_units, len(UNIT_COUNTERS)), np.uint64)
    links = np.zeros((reactor.n_links, len(LINK_COUNTERS)), np.uint64)
    reactor.read_counters(units, links)
    return _named(units, UNIT_COUNTERS), _named(links, LINK_COUNTERS)


def _named(counts: NDArray[np.uint64], names: tuple[str, ...]) -> NDArray[Any]:
    return counts.view(np.dtype([(name, np.uint64) for name in names]))[:, 0]
