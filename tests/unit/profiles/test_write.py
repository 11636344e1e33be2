"""A profile that is written is read back as the same profile, whatever it holds."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxfast.profiles import Profile, builtin_profiles, load_profile
from fluxfast.profiles.findings import validate
from fluxfast.profiles.types import BYTE_ORDERS, TYPES
from fluxfast.profiles.write import WIDTH, Comments, profile_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
NUMBER = st.decimals(-(10**6), 10**6, places=4) | st.sampled_from(
    [Decimal("1e-10"), Decimal("1e12"), Decimal(7)]
)


def back(tmp_path: Path, profile: Profile, comments: Comments | None = None) -> str:
    """Write and read a profile, which must be the same; return its text."""
    text = profile_text(profile, comments)
    path = tmp_path / "written.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_profile(str(path)) == profile
    return text


@pytest.mark.parametrize("name", builtin_profiles())
def test_the_built_in_ones(tmp_path: Path, name: str) -> None:
    back(tmp_path, load_profile(name))


EVERYTHING = """
name: all
title: 'Everything: "that" can be said'
version: 3
quirks: {max_registers: 60, readable: [[0, 99], [200, 300]], request_gap: 1.5ms, connect_delay: 2s,
  write_function: 16, transaction_id: zero, unit_aliases: [0, 255],
  max_connections: 2, max_bits: 100, max_gap: 3}
groups: {slow: 60}
points:
  state: {address: 0, type: uint16, access: rw,
          states: {0: "OFF", 1: "on", 2: "no", 3: "null", 4: "1", 5: "a: b", 6: '#'}}
  bit: {address: 1, type: bool, bit: 15, description: 'back\\slash, "quotes", # and : all'}
  bits: {address: 1, type: uint16, bits: [0, 3], not_implemented: [0, 0xFFFF]}
  power: {address: 2, type: int32, byte_order: DCBA, scale: 1e-10, offset: -40.5, unit: kW, access: rw,
          limits: [-250.5, 1e6], not_implemented: 0x80000000}
  wide: {address: 4, type: uint64, not_implemented: 0xFFFFFFFFFFFFFFFF, unit: '%'}
  half: {address: 8, type: float16, not_implemented: -1.5, storage: flash}
  soe: {address: 9, type: uint16, unit: '%'}
  beat: {address: 10, type: uint16, access: wo}
  text: {address: 200, type: string, length: 8, group: slow}
  input: {address: 20, register: input, type: float64}
  coil: {address: 3, register: coil, type: bool}
control:
  setpoint: power
  soe: soe
  ready: {state: ["OFF", "on"]}
  source: {state: "no"}
  write: fc16
  blocks: soe
  heartbeat: {point: beat, kind: constant, value: 7, every: 250ms}
  refresh: 1m
  ramp_kw_per_s: 0.5
"""


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    source = tmp_path / "all.yaml"
    source.write_text(EVERYTHING)
    text = back(tmp_path, load_profile(str(source)))
    assert "not_implemented: 0x80000000" in text
    assert "request_gap: 1500us" in text


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@st.composite
def points(draw: st.DrawFn, address: int) -> dict[str, object]:
    type_ = draw(st.sampled_from(sorted(TYPES)))
    keys: dict[str, object] = {"address": address, "type": type_}
    keys |= {"unit": draw(TEXT)[:16], "description": draw(TEXT)}
    if type_ == "string":
        keys["length"] = draw(st.integers(1, 4))
    if type_ == "bool":
        keys["bit"] = draw(st.integers(0, 15))
    if TYPES[type_].is_number:
        keys["byte_order"] = draw(st.sampled_from(BYTE_ORDERS[TYPES[type_].width]))
        keys["not_implemented"] = draw(st.lists(st.integers(0, 1000), max_size=2))
        if draw(st.booleans()) and TYPES[type_].is_integer:
            keys["states"] = draw(
                st.dictionaries(st.integers(0, 9), TEXT.filter(bool), min_size=1, max_size=3)
            )
        else:
            keys["scale"] = draw(NUMBER.filter(bool))
            keys["offset"] = draw(NUMBER)
    return keys


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_it_holds(tmp_path: Path, data: st.DataObject) -> None:
    names = data.draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    keys = {name: data.draw(points(10 * number)) for number, name in enumerate(names)}
    profile, findings = validate(Profile, {"name": "p", "title": data.draw(TEXT), "points": keys})
    if profile is None:
        assert findings
        return
    remarks = data.draw(st.lists(TEXT, max_size=2))
    comments = Comments(remarks, {names[0]: remarks}, dict.fromkeys(names, data.draw(TEXT)), remarks)
    back(tmp_path, profile, comments)


def test_long_lines_are_broken(tmp_path: Path) -> None:
    words = "Some quite long words, that say: what this is about " * 6
    keys = {
        "address": 0,
        "type": "uint16",
        "description": words,
        "states": {n: f"STATE_{n}" for n in range(30)},
    }
    text = back(tmp_path, Profile.model_validate({"name": "p", "points": {"p": keys}}))
    assert max(map(len, text.splitlines())) <= WIDTH
