"""The encoder of setpoints against exact arithmetic: every double has a frame that is right, or none."""

import math
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxfast.link.writes import encode_write
from fluxfast.plan import structs

ACCEPTED, NOT_FINITE, OUT_OF_BOUNDS = range(3)
TYPES = {
    (structs.INT, 2): ">h", (structs.UINT, 2): ">H", (structs.INT, 4): ">i", (structs.UINT, 4): ">I",
    (structs.INT, 8): ">q", (structs.UINT, 8): ">Q", (structs.FLOAT, 4): ">f", (structs.FLOAT, 8): ">d",
}  # fmt: skip


def entry(raw=structs.INT, size=2, low=-200.0, high=200.0, function=6, swap=0, **other):
    write = np.zeros(1, structs.WRITE)
    write["raw"], write["size"], write["low"], write["high"], write["swap"] = raw, size, low, high, swap
    write["function_code"], write["address"] = function if size == 2 else 16, 2008
    for name, value in {"factor": 1.0, "mul": 1.0, "add": 0.0, "div": 1.0, **other}.items():
        write[name] = value
    return write.view(np.uint8)


def test_the_documents_frame():
    """Device Integrations: Write Single Register 2008 = 100."""
    assert encode_write(entry(), 0, 100.0) == (ACCEPTED, bytes([0x06, 0x07, 0xD8, 0x00, 0x64]), 100.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_has_no_frame(value):
    refusal, pdu, _ = encode_write(entry(low=-math.inf, high=math.inf), 0, value)
    assert (refusal, pdu) == (NOT_FINITE, b"")


@pytest.mark.parametrize("value", [32768.0, 40000.0, -32769.0, 70000.0, 1e300])
def test_what_the_register_cannot_hold_has_no_frame(value):
    """int16(40000.) is -25536 in C and NumPy: full discharge would become charge."""
    refusal, pdu, _ = encode_write(entry(low=-math.inf, high=math.inf), 0, value)
    assert (refusal, pdu) == (OUT_OF_BOUNDS, b"")


@pytest.mark.parametrize(
    ("value", "held"), [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (199.5, 200)]
)
def test_halves_go_to_even(value, held):
    assert encode_write(entry(), 0, value)[2] == held


@pytest.mark.parametrize("value", [200.4, -200.6])
def test_bounds_hold_before_rounding(value):
    assert encode_write(entry(), 0, value)[0] == OUT_OF_BOUNDS


def test_bounds_hold_after_rounding_too():
    assert encode_write(entry(low=-99.6, high=99.6), 0, 99.55)[0] == OUT_OF_BOUNDS
    assert encode_write(entry(low=-99.6, high=99.6), 0, 99.4)[0] == ACCEPTED


@pytest.mark.parametrize("bound", [200.1, 249.9, 0.7])
def test_a_bound_that_float32_rounds_up_can_be_asked_for(bound):
    for value in (bound, -bound):
        refusal, _, held = encode_write(entry(structs.FLOAT, 4, -bound, bound, 16), 0, value)
        assert refusal == ACCEPTED
        assert abs(held) <= bound
        assert held == pytest.approx(value, rel=2e-7)


@pytest.mark.parametrize("value", [0.0, 50.0, 33.3])
def test_a_half_float_is_not_written(value):
    assert encode_write(entry(structs.FLOAT, 2), 0, value)[:2] == (OUT_OF_BOUNDS, b"")


@given(
    kind=st.sampled_from(list(TYPES)),
    swap=st.integers(0, 3),
    scale=st.sampled_from([(1, 0, 1), (1, 0, 10), (5, 3, 2), (1000, 0, 1), (-1, 0, 1)]),
    factor=st.sampled_from([1.0, 1000.0, 0.001]),
    value=st.floats() | st.floats(-300, 300) | st.integers(-40000, 70000).map(float),
    bound=st.sampled_from([200.0, 1e5, 1e30, math.inf]),
)
def test_every_value_is_right_or_refused(kind, swap, scale, factor, value, bound):
    raw_kind, size = kind
    mul, add, div = scale
    write = entry(raw_kind, size, -bound, bound, 16, swap, factor=factor, mul=mul, add=add, div=div)
    refusal, pdu, held = encode_write(write, 0, value)
    if refusal:
        assert pdu == b""
        if not math.isfinite(value):
            assert refusal == NOT_FINITE
            return
        exact = (Fraction(value) * Fraction(factor) * div - add) / mul
        if raw_kind == structs.FLOAT:
            assert abs(value) > bound or abs(exact) > Fraction(float(np.finfo(f"f{size}").max)) * 0.999
            return
        low, high = (
            (0, 2 ** (8 * size))
            if raw_kind == structs.UINT
            else (-(2 ** (8 * size - 1)), 2 ** (8 * size - 1))
        )
        slack = abs(exact) / 2**50 + 1
        step = abs(mul / div / factor)
        assert abs(value) > bound - step or not low + slack <= exact < high - slack
        return
    assert abs(value) <= bound
    assert pdu[:6] == struct.pack(">BHHB", 16, 2008, size // 2, size)
    registers = [pdu[6 + i : 8 + i] for i in range(0, size, 2)]
    if swap & structs.SWAP_BYTES:
        registers = [register[::-1] for register in registers]
    if swap & structs.SWAP_WORDS:
        registers.reverse()
    (raw,) = struct.unpack(TYPES[kind], b"".join(registers))
    exact = (Fraction(value) * Fraction(factor) * div - add) / mul
    if raw_kind == structs.FLOAT:
        assert raw == pytest.approx(float(exact), rel=2e-7, abs=1e-37)
    else:
        assert abs(raw - exact) <= Fraction(1, 2) + abs(exact) / 2**50
    assert held == pytest.approx(
        float((Fraction(raw) * mul + add) / div / Fraction(factor)), rel=1e-12, abs=1e-9
    )
    assert math.copysign(1, held) == 1 or held < 0


def test_an_entry_that_does_not_exist():
    with pytest.raises(IndexError, match="write 1 of 1"):
        encode_write(entry(), 1, 0.0)
