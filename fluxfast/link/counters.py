"""What the reactor has counted since its start, per unit and per link, as NumPy structured arrays."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.link.reactor import Reactor

# In the order of Reactor.read_counters. A request ends as a reply, a timeout, an exception, malformed (its
# length is wrong), mismatched (another unit or function code), or lost with its connection. Retries are
# requests sent while an earlier one had found no answer, probes of a dead unit among them.
UNIT_COUNTERS: Final = np.dtype(
    [
        ("requests", np.uint64),
        ("replies", np.uint64),
        ("timeouts", np.uint64),
        ("malformed", np.uint64),
        ("mismatched", np.uint64),
        ("lost", np.uint64),
        ("retries", np.uint64),
        ("exceptions", np.uint64, 12),  # by code, 1 to 11; [0]: any other
    ]
)
# Late: the answer to a request that had ended, or a duplicate. Foreign: an identifier that was never issued.
LINK_COUNTERS: Final = np.dtype([("connects", np.uint64), ("late", np.uint64), ("foreign", np.uint64)])


def read_counters(reactor: Reactor, n_units: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (units, links): structured arrays [n_units] of UNIT_COUNTERS and [links] of LINK_COUNTERS."""
    units = np.zeros(n_units, UNIT_COUNTERS)
    links = np.zeros(reactor.n_links, LINK_COUNTERS)
    reactor.read_counters(
        units.view(np.uint64).reshape(n_units, -1), links.view(np.uint64).reshape(reactor.n_links, -1)
    )
    return units, links
