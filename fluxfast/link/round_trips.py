"""How long answers take: histograms that the reactor fills, 80 buckets a unit, four to an octave.

Bucket 4 * o + q holds round trips from (4 + q) / 4 * 2**(16 + o) ns on; the first also the shorter ones, the
last also the longer ones. A quantile is interpolated inside its bucket: wrong by a quarter at the most.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.link.reactor import Reactor

BUCKETS: Final = 80
# Bucket i is [EDGES_MS[i], EDGES_MS[i + 1]).
EDGES_MS: Final = np.array(
    [0.0, *((4 + i % 4) / 4 * 2.0 ** (16 + i // 4) / 1e6 for i in range(1, BUCKETS + 1))]
)


def read_round_trips(reactor: Reactor, n_units: int) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """Return (buckets [n_units, 80], the longest round trip in ms [n_units]) since the start."""
    buckets = np.zeros((n_units, BUCKETS), np.uint32)
    longest_us = np.zeros(n_units, np.uint32)
    reactor.read_round_trips(buckets, longest_us)
    return buckets, longest_us / 1e3


def quantile_ms(buckets: NDArray[np.uint32] | NDArray[np.uint64], fraction: float) -> NDArray[np.float64]:
    """Return the round trip that ``fraction`` of the replies did not exceed: [...] of buckets [..., 80].

    NaN where there was no reply. Sum the buckets over units (``sum(axis=0)``) for that of all together.
    """
    reached = np.cumsum(buckets, axis=-1, dtype=np.float64)
    wanted = fraction * reached[..., -1:]
    at = np.minimum((reached < wanted).sum(axis=-1, keepdims=True), BUCKETS - 1)
    inside = np.take_along_axis(np.asarray(buckets, np.float64), at, axis=-1)
    before = np.take_along_axis(reached, at, axis=-1) - inside
    with np.errstate(invalid="ignore"):  # 0 / 0 where there was no reply
        part = (wanted - before) / inside
    at, part = at[..., 0], part[..., 0]
    return np.asarray(EDGES_MS[at] + part * (EDGES_MS[at + 1] - EDGES_MS[at]))
