"""When a link that does not come up tries again, on a clock in the test's hands."""

import numpy as np
import pytest

from fluxfast.link import Reactor
from fluxfast.plan import structs
from fluxfast.table import quality

SECOND = 1_000_000_000
NONE, WORDS = np.empty(0, np.uint8), np.empty(0, np.uint64)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("probe_interval_s", [1, 30])
@pytest.mark.parametrize(("fails_after_s", "timeout_s"), [(0, 5), (0.9, 5), (5, 5), (5, 2), (60, 20)])
def test_a_try_begins_within_the_probe_interval_of_the_one_before(
    seed, probe_interval_s, fails_after_s, timeout_s
):
    """Refused at once, after a while, or a black hole in which each try lasts for its whole timeout."""
    link = np.array([(0, 0, timeout_s * SECOND, 0, 0, 1, 1, 0, 0)], structs.LINK)
    reactor = Reactor(
        link.view(np.uint8),
        NONE,
        NONE,
        NONE,
        WORDS,
        NONE,
        WORDS,
        None,
        400.0,
        probe_interval_s * SECOND,
        seed,
    )
    now, fails_at, tries = SECOND, None, []
    reactor.set_clock(now)
    reactor.set_stream(0)
    while now < 600 * SECOND:
        reactor.process()
        if any(wish[1] for wish in reactor.take_wishes()):
            tries.append(now)
            fails_at = now + round(fails_after_s * SECOND)
        due = reactor.next_timer_ns()
        if fails_at is not None and fails_at <= due:
            now, fails_at = max(now, fails_at), None
            reactor.set_clock(now)
            reactor.stream_down(0, quality.REFUSED)
        else:
            now = max(now, due)
            reactor.set_clock(now)
            if now == due and fails_at is not None and reactor.failure(0) == quality.UNREACHABLE:
                fails_at = None
    lasts_s = min(fails_after_s, timeout_s)
    slot = SECOND // 400
    gaps = np.diff(tries)
    assert len(gaps) > 15
    assert gaps.max() <= max(probe_interval_s, lasts_s) * SECOND + slot
    assert gaps.min() >= lasts_s * SECOND
