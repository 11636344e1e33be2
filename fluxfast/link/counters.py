"""What the reactor has counted since its start, per unit and per link, as NumPy structured arrays."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.link.reactor import Reactor

# In the order of Reactor.read_counters. A request ends as a reply, a timeout, an exception, malformed (among
# these mismatched: another unit or function code), or lost with its connection. Retries are requests sent
# while an earlier one had found no answer, probes of a dead unit among them.
UNIT_COUNTERS: Final = np.dtype(
    [
        ("requests", np.uint64),
        ("replies", np.uint64),
        ("timeouts", np.uint64),
        ("exceptions", np.uint64),
        ("malformed", np.uint64),
        ("mismatched", np.uint64),
        ("lost", np.uint64),
        ("retries", np.uint64),
    ]
)
# Late: the answer to a request that had ended, or a duplicate. Foreign: an identifier that was never issued.
LINK_COUNTERS: Final = np.dtype([("connects", np.uint64), ("late", np.uint64), ("foreign", np.uint64)])


EXCEPTION_CODES: Final = 12
_OF_UNIT: Final = UNIT_COUNTERS.itemsize // 8
_OF_LINK: Final = LINK_COUNTERS.itemsize // 8


def read_counters(reactor: Reactor, n_units: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (units, links): structured arrays [n_units] of UNIT_COUNTERS and [links] of LINK_COUNTERS."""
    units, links = _read(reactor, n_units)
    named = np.ascontiguousarray(units[:, :_OF_UNIT]).view(UNIT_COUNTERS)
    return named[:, 0], links.view(LINK_COUNTERS)[:, 0]


def read_exceptions(reactor: Reactor, n_units: int) -> NDArray[np.uint64]:
    """Return how often each unit has answered with each exception: [n_units, 12] by code; [0]: any other."""
    return _read(reactor, n_units)[0][:, _OF_UNIT:]


def _read(reactor: Reactor, n_units: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    units = np.zeros((n_units, _OF_UNIT + EXCEPTION_CODES), np.uint64)
    links = np.zeros((reactor.n_links, _OF_LINK), np.uint64)
    reactor.read_counters(units, links)
    return units, links
