"""Which mode sets the target, and the formulas of those that follow from load and frequency."""

import dataclasses

import numpy as np
import pytest

from fluxfast.control.modes import Modes
from fluxfast.control.modes.view import ARRAYS
from fluxfast.errors import FluxfastError
from tests.support.views import decide, modes, target, view


def test_the_first_that_applies_wins() -> None:
    asked = modes(
        "[{type: reserve, soe_pct: 20, charge_kw: 30}, {type: fixed_power, power_kw: 5}, {type: balance}]",
        "[{type: balance}]",
        "[]",
    )
    assert asked.names == (("reserve", "fixed_power", "balance"), ("balance",), ())
    power, index = asked.decide(view(sites=3, soe_pct=[10, 10, 10]))
    assert (power.dtype, index.dtype) == (np.float64, np.int16)
    assert index.tolist() == [0, 0, -1]
    np.testing.assert_array_equal(power, [-30, 0, np.nan])
    assert decide(asked, view(sites=3, soe_pct=50))[:2] == [(5, 1), (0, 0)]


def test_no_sites_and_no_modes() -> None:
    assert decide(Modes([]), view(sites=0)) == []
    ((power, index),) = decide(Modes([[]]), view())
    assert (np.isnan(power), index) == (True, -1)


def test_a_mode_is_switched_at_run_time() -> None:
    asked = modes(
        "[{type: fixed_power, name: stop, power_kw: 0, enabled: false}, {type: fixed_power, power_kw: 7}]",
        "[{type: fixed_power, name: stop, power_kw: 1}]",
    )
    assert decide(asked, view(sites=2)) == [(7, 1), (1, 0)]
    asked.set_enabled(0, "stop", True)
    assert decide(asked, view(sites=2)) == [(0, 0), (1, 0)]
    asked.set_enabled(0, "stop", False)
    asked.set_enabled(1, "stop", False)
    (first, (_, index)) = decide(asked, view(sites=2))
    assert (first, index) == ((7, 1), -1)
    with pytest.raises(FluxfastError, match=r"no mode 'stops' \(did you mean 'stop'\?\)"):
        asked.set_enabled(0, "stops", True)


@pytest.mark.parametrize(
    ("mode", "load", "expected"),
    [
        ("{type: self_consumption}", 80, 80),
        ("{type: self_consumption, grid_kw: 30}", 80, 50),
        ("{type: self_consumption, grid_kw: -30}", -80, -50),
        ("{type: peak_shaving, import_limit_kw: 100}", 130.5, 30.5),
        ("{type: peak_shaving, import_limit_kw: 100}", 100, 0),
        ("{type: peak_shaving, import_limit_kw: 100}", -500, 0),
        ("{type: peak_shaving, import_limit_kw: 100, recharge_below_kw: 40}", 130, 30),
        ("{type: peak_shaving, import_limit_kw: 100, recharge_below_kw: 40}", 60, 0),
        ("{type: peak_shaving, import_limit_kw: 100, recharge_below_kw: 40}", 40, 0),
        ("{type: peak_shaving, import_limit_kw: 100, recharge_below_kw: 40}", 10, -30),
        ("{type: peak_shaving, import_limit_kw: 100, recharge_below_kw: 100}", 90, -10),
        ("{type: peak_shaving, import_limit_kw: -10, recharge_below_kw: -20}", -50, -30),
        ("{type: fixed_power, power_kw: -12.5}", np.nan, -12.5),
        ("{type: balance}", np.nan, 0),
    ],
)
def test_powers(mode: str, load: float, expected: float) -> None:
    assert target(modes(f"[{mode}]"), view(load_kw=load)) == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_unknown_load_gives_no_target(bad: float) -> None:
    asked = modes("[{type: self_consumption}]", "[{type: self_consumption}]")
    power, index = asked.decide(view(sites=2, load_kw=[bad, 10]))
    np.testing.assert_array_equal(power, [np.nan, 10])
    assert index.tolist() == [-1, 0]
    assert asked.uses_load.tolist() == [[True, True]]


# Every type, in a moment in which it applies, and the inputs it cannot do without.
APPLYING = [
    ("{type: fixed_power, power_kw: 1}", {}, set()),
    ("{type: balance}", {}, set()),
    ("{type: self_consumption}", {}, {"load_kw"}),
    ("{type: peak_shaving, import_limit_kw: 100}", {}, {"load_kw"}),
    ("{type: reserve, soe_pct: 60, charge_kw: 1}", {}, {"soe_pct"}),
    ("{type: soe_target, soe_pct: 60, by: 07:00}", {}, {"soe_pct", "capacity_kwh"}),
    ("{type: time_of_use, periods: [{between: [00:00, 24:00], power_kw: 3}]}", {}, set()),
    (
        "{type: frequency_droop, droop_pct: 5}",
        {"frequency_hz": 49.0},
        {"frequency_hz", "charge_kw", "discharge_kw"},
    ),
]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("mode", "moment", "needed"),
    APPLYING,
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value)[:30],
)
def test_a_mode_does_not_apply_without_what_it_needs(
    mode: str, moment: dict[str, float], needed: set[str], bad: float
) -> None:
    for name in ARRAYS:
        power = target(modes(f"[{mode}]"), view(**(moment | {name: bad})))
        if np.isnan(bad):
            assert (power is None) == (name in needed), name
        assert power is None or np.isfinite(power), name
    everything = view(**dict.fromkeys(ARRAYS, bad))
    assert (target(modes(f"[{mode}]"), everything) is None) == bool(needed)


class TestFrequencyDroop:
    MODE = "[{type: frequency_droop, droop_pct: 5, deadband_hz: 0.02}, {type: balance}]"

    def test_it_applies_outside_its_deadband_only(self) -> None:
        asked = modes(self.MODE)
        for hz in (49.98, 50.0, 50.02):
            assert decide(asked, view(frequency_hz=hz)) == [(0, 1)]
        assert decide(asked, view(frequency_hz=49.97))[0][1] == 0
        assert decide(asked, view(frequency_hz=50.03))[0][1] == 0

    @pytest.mark.parametrize(
        ("hz", "before", "expected"),
        [
            (49.73, 0, 10),  # 0.25 Hz of the 2.5 Hz that bring full power
            (50.27, 0, -20),
            (49.73, -30, -20),
            (50.27, 30, 10),
            (45.0, 0, 100),  # never more than the units can do
            (55.0, 0, -200),
            (45.0, -50, 100),  # it goes on until that is reached, wherever it began
            (49.73, 95, 100),
        ],
    )
    def test_its_line(self, hz: float, before: float, expected: float) -> None:
        power = target(
            modes(self.MODE), view(frequency_hz=hz, target_kw=before, charge_kw=200, discharge_kw=100)
        )
        assert power == pytest.approx(expected)

    @pytest.mark.parametrize(("hz", "expected"), [(49.73, 4), (50.27, -4), (45.0, 40), (55.0, -40)])
    def test_a_promised_power_is_kept_to(self, hz: float, expected: float) -> None:
        asked = modes("[{type: frequency_droop, droop_pct: 5, deadband_hz: 0.02, power_kw: 40}]")
        assert target(asked, view(frequency_hz=hz)) == pytest.approx(expected)

    def test_it_starts_from_the_target_before_it_left_and_forgets_it_inside(self) -> None:
        asked = modes(self.MODE)
        assert target(asked, view(frequency_hz=49.73, target_kw=20)) == pytest.approx(30)
        assert target(asked, view(frequency_hz=49.73, target_kw=30)) == pytest.approx(30)
        assert decide(asked, view(frequency_hz=np.nan, target_kw=30)) == [(0, 1)]
        assert target(asked, view(frequency_hz=49.73, target_kw=0)) == pytest.approx(30)
        assert decide(asked, view(frequency_hz=50)) == [(0, 1)]
        assert target(asked, view(frequency_hz=49.73, target_kw=-5)) == pytest.approx(5)
        asked.set_enabled(0, "frequency_droop", False)
        assert decide(asked, view(frequency_hz=49.73)) == [(0, 1)]
        asked.set_enabled(0, "frequency_droop", True)
        assert target(asked, view(frequency_hz=49.73, target_kw=np.nan)) == pytest.approx(10)


def test_all_sites_at_once_are_as_each_by_itself() -> None:
    rng = np.random.default_rng(4)
    sites = 40
    texts = []
    for site in range(sites):
        own = [
            f"{{type: frequency_droop, droop_pct: {1 + site}, enabled: {str(site % 3 == 0).lower()}}}",
            f"{{type: reserve, soe_pct: {site}, charge_kw: {1 + site}}}",
            f"{{type: soe_target, soe_pct: {99 - site}, by: 07:00, from: 0{site % 7}:00}}",
            f"{{type: time_of_use, periods: [{{between: [1{site % 9}:00, 02:00], power_kw: {site}}}]}}",
            f"{{type: peak_shaving, import_limit_kw: {site}, between: [00:00, 1{site % 10}:30]}}",
            f"{{type: self_consumption, grid_kw: {site}}}",
        ]
        texts.append("[" + ", ".join(own[index] for index in rng.permutation(6)[: 1 + site % 6]) + "]")
    together, again, alone = modes(*texts), modes(*texts), [modes(text) for text in texts]
    for step in range(200):
        seen = view(
            step * 1500.0,
            sites,
            load_kw=np.where(rng.random(sites) < 0.1, np.nan, rng.uniform(-50, 50, sites)),
            soe_pct=rng.uniform(0, 100, sites),
            frequency_hz=rng.normal(50, 0.05, sites),
            target_kw=rng.uniform(-50, 50, sites),
        )
        result = together.decide(seen)
        np.testing.assert_array_equal(result, again.decide(seen))
        for site, mode in enumerate(alone):
            one = mode.decide(seen.of(np.array([site])))
            np.testing.assert_array_equal([part[0] for part in one], [part[site] for part in result])


def test_a_decision_leaves_the_view_alone() -> None:
    asked = modes("[" + ", ".join(mode for mode, _, _ in APPLYING) + "]")
    seen = view(frequency_hz=49.0)
    before = dataclasses.replace(seen, **{name: getattr(seen, name).copy() for name in ARRAYS})
    decide(asked, seen)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(seen, name), getattr(before, name))
