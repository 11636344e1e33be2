"""The search for a limit: found where it is, in both directions, with noise, and where there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxfast.bench.search import TRIES, WITHIN, Limit, Range, rounded, search

DEVICES = Range(250, 1, 20_000)
PERIODS = Range(500_000, 4_000_000, 100_000)  # µs


class Machine:
    """Holds up to a limit, and for longer up to another; keeps what was tried."""

    def __init__(self, limit, longer=None, is_period=False):
        self.limits = limit, limit if longer is None else longer
        self.is_period = is_period
        self.tried = []

    def __call__(self, x, longer):
        limit = self.limits[longer]
        holds = x >= limit if self.is_period else x <= limit
        self.tried.append((x, longer, holds))
        return holds


@pytest.mark.parametrize("limit", [1, 2, 3, 17, 249, 250, 251, 499, 1682, 10_000, 19_999])
def test_the_most_devices_are_found(limit):
    machine = Machine(limit)
    found = search(DEVICES, machine)
    assert found.held <= limit < found.failed
    assert found.failed <= max(found.held * (1 + WITHIN), found.held + 1)
    assert machine.tried[-1] == (found.held, True, True)  # it ends with the longer one
    assert len(machine.tried) < 30


@pytest.mark.parametrize("limit", [100_001, 123_456, 250_000, 499_999, 500_000, 700_000, 3_900_000])
def test_the_shortest_period_is_found(limit):
    found = search(PERIODS, Machine(limit, is_period=True))
    assert found.failed < limit <= found.held <= found.failed * (1 + WITHIN)


def test_what_holds_at_the_end_is_not_tried_beyond():
    machine = Machine(20_000)
    assert search(DEVICES, machine) == Limit(20_000, None)
    assert [x for x, _, _ in machine.tried] == [250, 500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]
    assert search(PERIODS, Machine(0, is_period=True)) == Limit(100_000, None)
    assert search(Range(1, 1, 1), Machine(1)) == Limit(1, None)


def test_what_never_holds_is_given_up_at_the_easiest():
    machine = Machine(0)
    assert search(DEVICES, machine) == Limit(None, 1)
    assert [x for x, _, _ in machine.tried[::TRIES]] == [250, 125, 62, 31, 15, 7, 3, 1]
    assert search(PERIODS, Machine(10**9, is_period=True)) == Limit(None, 4_000_000)


def test_one_failure_does_not_count():
    failed = set()

    def attempt(x, longer):
        if (x, longer) in failed:
            return x <= 3000
        failed.add((x, longer))
        return False  # the first time always

    found = search(DEVICES, attempt)
    assert found.held <= 3000 < found.failed <= found.held * (1 + WITHIN)


@pytest.mark.parametrize("longer", [3500, 2000, 700, 200, 3, 1])
def test_what_does_not_hold_for_longer_is_not_the_limit(longer):
    machine = Machine(4000, longer)
    found = search(DEVICES, machine)
    assert found.held <= longer < found.failed
    assert found.failed <= max(found.held * (1 + WITHIN), found.held + 1)
    assert (found.held, True, True) in machine.tried


def test_nothing_may_hold_for_longer():
    assert search(DEVICES, Machine(4000, 0)) == Limit(None, 1)


@given(
    st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.booleans()
)
def test_every_number_was_tried_within_the_range(first, beyond, below, limit, is_period):
    low, high = max(first - below, 1), first + beyond
    within = Range(first, high, low) if is_period else Range(first, low, high)
    machine = Machine(limit, is_period=is_period)
    found = search(within, machine)
    assert all(low <= x <= high for x, _, _ in machine.tried)
    assert found.held is None or (found.held, True, True) in machine.tried
    assert found.failed is None or any(x == found.failed and not held for x, _, held in machine.tried)
    assert (found.held is None) == (limit > high if is_period else limit < low)
    assert (found.failed is None) == (limit <= low if is_period else limit >= high)
    assert len(machine.tried) < 100


@pytest.mark.parametrize(("x", "expected"), [(1, 1), (9.6, 10), (99, 99), (104, 100), (1682, 1700)])
def test_numbers_that_are_tried_are_round(x, expected):
    assert rounded(x) == expected
