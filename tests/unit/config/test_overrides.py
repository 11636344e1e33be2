"""Overrides of points and quirks, by site and by device."""

from decimal import Decimal
from pathlib import Path

import pytest

from fluxfast.config import load
from fluxfast.errors import ConfigError
from fluxfast.profiles import Profile, load_profile
from tests.unit.config.conftest import Load


def profiles(load_text: Load, *overrides: str, site: str = "") -> list[Profile]:
    """One battery for each override, in one site."""
    lines = [
        f"    - {{id: b{n}, type: powerpack, modbus: {{host: h{n}}}{', ' + text if text else ''}}}"
        for n, text in enumerate(overrides)
    ]
    fleet = load_text("\n".join([site, "devices:", "  bess:", *lines]))
    return [device.profile for device in fleet.devices]


def test_equal_overrides_share_one_profile(load_text: Load) -> None:
    plain, a, b, c, also_plain, empty = profiles(
        load_text,
        "",
        "points: {soe: {scale: 0.1, unit: kWh}}",
        "points: {soe: {unit: kWh, scale: 0.1}}",
        "points: {soe: {scale: 0.01}}",
        "",
        "points: {}, quirks: {}",
    )
    assert a is b
    assert plain is also_plain is empty
    assert len({id(profile) for profile in (plain, a, c)}) == 3
    assert plain == load_profile("powerpack")
    assert (a.points["soe"].scale, a.points["soe"].unit, a.points["soe"].address) == (
        Decimal("0.1"),
        "kWh",
        2026,
    )
    assert a.points["status"] == plain.points["status"]


def test_true_is_not_one(load_text: Load) -> None:
    with pytest.raises(ConfigError, match="must be a number, not true"):
        profiles(load_text, "points: {soe: {scale: 1}}", "points: {soe: {scale: true}}")


def test_points_come_and_go(load_text: Load) -> None:
    (profile,) = profiles(load_text, "points: {available_blocks: null, heat: {address: 2030, type: int16}}")
    assert list(profile.points) == ["status", "target_power", "command_source", "soe", "heat"]


def test_a_freed_address_can_be_used(load_text: Load) -> None:
    (profile,) = profiles(load_text, "points: {soe: null, soc: {address: 2026, type: uint16}}")
    assert profile.points["soc"].address == 2026


def test_null_goes_back_to_the_default(load_text: Load) -> None:
    (profile,) = profiles(load_text, "points: {status: {states: null}}, quirks: {max_gap: null}")
    assert profile.points["status"].states is None
    assert profile.quirks.max_gap == 16


def test_a_given_key_replaces_the_profiles(load_text: Load) -> None:
    (profile,) = profiles(load_text, "points: {status: {states: {3: READY, 4: FAULT}}}")
    assert profile.points["status"].states == {3: "READY", 4: "FAULT"}


def test_site_then_device(load_text: Load) -> None:
    site = (
        "overrides: {powerpack: {quirks: {max_gap: 0}, points: {soe: {scale: 0.1}, status: {states: null}}}}"
    )
    plain, own, freed = profiles(
        load_text,
        "",
        "points: {soe: {scale: 0.5}}, quirks: {max_in_flight: 4}",
        "points: {soe: null}",
        site=site,
    )
    assert (plain.points["soe"].scale, plain.quirks.max_gap, plain.points["status"].states) == (
        Decimal("0.1"),
        0,
        None,
    )
    assert (own.points["soe"].scale, own.quirks.max_gap, own.quirks.max_in_flight) == (Decimal("0.5"), 0, 4)
    assert own.points["status"].states is None
    assert "soe" not in freed.points


def test_quirk_durations(load_text: Load) -> None:
    (profile,) = profiles(load_text, "quirks: {request_gap: 20ms}")
    assert profile.quirks.request_gap_ns == 20_000_000


def test_own_profile_is_relative_to_the_site_file(tmp_path: Path) -> None:
    (tmp_path / "types").mkdir()
    (tmp_path / "types" / "mine.yml").write_text("name: inverter\npoints: {w: {address: 1, type: int16}}\n")
    (tmp_path / "site.yaml").write_text("""\
overrides: {inverter: {points: {w: {scale: 10}}}}
devices:
  bess:
    - {id: b1, type: types/mine.yml, modbus: {host: a}}
    - {id: b2, type: ./types/../types/mine.yml, modbus: {host: b}}
""")
    one, other = load(tmp_path / "site.yaml").devices
    assert one.profile is other.profile
    assert (one.profile.name, one.profile.points["w"].scale, one.type) == ("inverter", 10, "types/mine.yml")


def test_problems_of_an_own_profile_are_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(
        "points:\n  w: {address: 1, type: int61}\n  v: {address: 70000, type: int16}\n"
    )
    Path("site.yaml").write_text("""\
devices:
  bess:
    - {id: b1, type: ./mine.yaml, modbus: {host: a}}
    - {id: b2, type: ./mine.yaml, modbus: {host: a}, points: {w: {scale: 0}}}
""")
    with pytest.raises(ConfigError) as caught:
        load("site.yaml")
    assert [(p.file, p.line, p.where) for p in caught.value.problems] == [
        ("site.yaml", 4, "b2: modbus"),
        ("mine.yaml", 2, "w.type"),
        ("mine.yaml", 3, "v.address"),
    ]


def test_two_profiles_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "PowerPack.yaml").write_text("points: {w: {address: 1, type: int16}}\n")
    (tmp_path / "site.yaml").write_text("""\
devices:
  bess:
    - {id: b1, type: powerpack, modbus: {host: a}}
    - {id: b2, type: ./PowerPack.yaml, modbus: {host: b}}
""")
    with pytest.raises(ConfigError, match=r":4: b2: type: two profiles are called 'PowerPack'"):
        load(tmp_path / "site.yaml")


def test_equal_wrong_overrides_are_each_reported(load_text: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        profiles(load_text, *["points: {soe: {scale: 0}}"] * 3)
    assert [problem.where for problem in caught.value.problems] == [
        f"b{n}: points.soe.scale" for n in range(3)
    ]
