"""Byte orders: any plausible meter is left alone in its own order, and recognised in any other."""

import struct
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxfast.config.fleet import Device, Modbus
from fluxfast.doctor.judge_values import judge_values
from fluxfast.doctor.observed import Read, UnitSeen
from fluxfast.plan.blocks import plan_blocks
from fluxfast.profiles import Profile, load_profile
from fluxfast.profiles.types import BYTE_ORDERS

ACUVIM2 = load_profile("acuvim2")
ORDERS = st.sampled_from(BYTE_ORDERS[32])


@st.composite
def meters(draw: st.DrawFn) -> dict[str, float]:
    """Draw what a meter may measure: raw values by point, the power as V · I allows."""
    volts, amperes = draw(st.floats(100, 480)), draw(st.floats(0.5, 4000))
    part = draw(st.floats(-1, 1).filter(lambda part: abs(part) > 0.05))
    return {
        "voltage_l1_n": volts,
        "current_l1": amperes,
        "power_total": 3 * volts * amperes * part / 1e3,
        "energy_import": draw(st.floats(1, 1e8)),
    }


def ordered(order: str) -> Profile:
    points = {name: p.model_copy(update={"byte_order": order}) for name, p in ACUVIM2.points.items()}
    return ACUVIM2.model_copy(update={"points": points})


def seen(profile: Profile, raws: dict[str, float], wire: str) -> UnitSeen:
    """Return what is read by a profile from a meter that sends its floats in the order ``wire``."""
    modbus = Modbus("tcp", "127.0.0.1", 502, 1, 10**9, 0)
    device = Device("m", "m", "S", "meter", "acuvim2", profile, "grid", None, None, modbus, "test", 1)
    unit = UnitSeen(device, plan_blocks(profile))
    for block in unit.blocks:
        data = bytearray(block.data_size)
        for point in block.points:
            plain = struct.pack(">f", raws[point.name])
            at = 2 * (point.address - block.address)
            data[at : at + 4] = bytes(plain["ABCD".index(letter)] for letter in wire)
        unit.reads.append(Read(block, bytes(data), 0.001))
    return unit


@given(raws=meters(), order=ORDERS)
def test_in_its_own_order_nothing_is_found(raws: dict[str, float], order: str) -> None:
    assert judge_values(seen(ordered(order), raws, order)) == []


@given(raws=meters(), configured=ORDERS, wire=ORDERS)
@settings(max_examples=60)
def test_another_order_is_recognised_or_left_undecided(
    raws: dict[str, float], configured: str, wire: str
) -> None:
    found = judge_values(seen(ordered(configured), raws, wire))
    if configured == wire:
        assert found == []
    for finding in found:
        assert finding.check != "address"
        if finding.check == "byte-order":
            assert f"power_total: {{byte_order: {wire}}}" in finding.cure or "explain it too" in finding.seen


def test_zeros_decide_nothing() -> None:
    assert judge_values(seen(ordered("CDAB"), dict.fromkeys(ACUVIM2.points, 0.0), "ABCD")) == []


def test_the_package_says_where_things_are() -> None:
    import fluxfast.doctor

    named = fluxfast.doctor.__doc__ or ""
    rooms = {file.stem for file in Path(fluxfast.doctor.__file__).parent.glob("*.py")} - {"__init__"}
    assert {room for room in rooms if f"``{room}``" not in named} <= {"finding"}
