"""Where a tick's time went."""

import numpy as np

from fluxfast.moments import CLOSE, KEPT, LOG, READ, WRITE, Moments
from fluxfast.status import StageStatus

MS = 1_000_000


def tick(moments, at_ns, logged=True):
    moments.begin(at_ns, at_ns + 1 * MS)
    moments.end(READ, at_ns + 11 * MS)
    moments.end(CLOSE, at_ns + 12 * MS)
    if logged:
        moments.end(LOG, at_ns + 15 * MS)


def test_a_stage_lasts_from_the_end_of_the_one_before():
    moments = Moments()
    assert moments.durations_ms() == {}
    tick(moments, 1000 * MS)
    took = {stage: values.tolist() for stage, values in moments.durations_ms().items()}
    assert took == {"start": [1], "read": [10], "close": [1], "log": [3]}


def test_a_stage_that_a_tick_had_not_is_not_counted():
    moments = Moments()
    tick(moments, 1000 * MS)
    tick(moments, 2000 * MS, logged=False)
    assert [len(values) for values in moments.durations_ms().values()] == [2, 2, 2, 1]
    assert moments.ns.shape == (2, 7)
    assert moments.ns[1].tolist() == [n * MS for n in (2000, 2001, 2011, 2012, 0, 0, 0)]


def test_the_newest_ticks_are_kept_in_their_order():
    moments = Moments()
    for number in range(1, KEPT + 4):
        tick(moments, number * 1000 * MS)
    due = moments.ns[:, 0] // (1000 * MS)
    assert np.array_equal(due, np.arange(4, KEPT + 4))
    moments.end(WRITE, (KEPT + 3) * 1000 * MS + 14 * MS)
    assert moments.durations_ms()["write"].tolist() == [2]
    assert moments.durations_ms()["log"][-1] == 1


def test_what_a_status_says_of_a_stage():
    status = StageStatus.of("read", np.arange(1.0, 102.0))
    assert (status.name, status.p50_ms, status.p99_ms, status.most_ms) == ("read", 51, 100, 101)
