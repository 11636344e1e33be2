"""Replies of 500 devices with ever more float32 each into columns: how the cost of decoding grows.

Contenders are those of bench_decode.py; 62 is what a reply can hold. What it does not show: replies come from
links one by one.
"""

import pytest
from bench_decode import FLOORS, contest


@pytest.mark.parametrize("points", [2, 8, 30, 62])
@pytest.mark.parametrize("contender", FLOORS)
def test_points(contend, points, contender):
    case, kind = f"decode_points/{points}", ("float32", "ABCD", "1")
    contest(contend, case, contender, kind, (500, points), (points, "point of 500 devices"))
