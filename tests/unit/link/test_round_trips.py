"""Histograms of round trips: what C counts is in the bucket that Python says, and quantiles are near."""

import numpy as np
import pytest

from fluxfast.link.round_trips import BUCKETS, EDGES_MS, quantile_ms


def test_each_round_trip_is_counted_in_its_bucket(books):
    edges_ns = np.round(EDGES_MS * 1e6).astype(np.int64)
    for bucket in range(BUCKETS):
        first, end = edges_ns[bucket], edges_ns[bucket + 1]
        for ns in (first, (first + end) // 2, end - 1):
            assert books.bucket_of(ns) == bucket
    assert books.bucket_of(1 << 40) == BUCKETS - 1


def test_edges_are_a_quarter_octave_apart():
    assert len(EDGES_MS) == BUCKETS + 1
    ratios = EDGES_MS[2:] / EDGES_MS[1:-1]
    assert ratios.min() == pytest.approx(8 / 7)
    assert ratios.max() == pytest.approx(5 / 4)


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99, 1.0])
def test_quantiles_are_near_the_exact_ones(fraction):
    rng = np.random.default_rng(1)
    trips_ms = rng.lognormal(1, 1.5, (3, 20_000))
    buckets = np.array([np.histogram(unit, EDGES_MS)[0] for unit in trips_ms], np.uint32)
    exact = np.quantile(trips_ms, fraction, axis=1, method="inverted_cdf")
    assert quantile_ms(buckets, fraction) == pytest.approx(exact, rel=0.25)
    merged = quantile_ms(buckets.sum(axis=0), fraction)
    assert merged == pytest.approx(np.quantile(trips_ms, fraction, method="inverted_cdf"), rel=0.25)


def test_without_a_reply_there_is_no_quantile():
    buckets = np.zeros((2, BUCKETS), np.uint32)
    buckets[1, 10] = 1
    found = quantile_ms(buckets, 0.5)
    assert np.isnan(found[0])
    assert EDGES_MS[10] <= found[1] <= EDGES_MS[11]
