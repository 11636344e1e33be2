"""Replies of ever more devices, with 30 float32 each, into columns: how the cost of decoding grows.

Contenders are those of bench_decode.py. What it does not show: replies come from links one by one. From some
10,000 devices on, what counts is memory, not instructions.
"""

import pytest
from bench_decode import FLOORS, contest


@pytest.mark.parametrize("devices", [100, 1_000, 10_000, 100_000])
@pytest.mark.parametrize("contender", FLOORS)
def test_devices(contend, devices, contender):
    case, kind = f"decode_devices/{devices}", ("float32", "ABCD", "1")
    contest(contend, case, contender, kind, (devices, 30), (devices, "device"))
