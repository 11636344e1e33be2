"""Modes that go by the clock: windows, time of use, a state of energy by a time; when clocks change."""

import numpy as np
import pytest

from tests.support.views import modes, target, view

BERLIN = "Europe/Berlin"  # 2026: 29 March 02:00 becomes 03:00, 25 October 03:00 becomes 02:00


def applies(window: str, moment: str, time_zone: str = "UTC") -> bool:
    asked = modes(f"[{{type: fixed_power, power_kw: 1, {window}}}]", time_zone=time_zone)
    return target(asked, view(moment)) is not None


@pytest.mark.parametrize(
    ("window", "moment", "expected"),
    [
        ("between: [17:00, 21:00]", "2026-06-01T16:59:59Z", False),
        ("between: [17:00, 21:00]", "2026-06-01T17:00Z", True),
        ("between: [17:00, 21:00]", "2026-06-01T20:59:59.9Z", True),
        ("between: [17:00, 21:00]", "2026-06-01T21:00Z", False),
        ("between: [17:00, 24:00]", "2026-06-01T23:59:59Z", True),
        ("between: [17:00, 24:00]", "2026-06-01T00:00Z", False),
        ("between: [00:00, 24:00]", "2026-06-01T00:00Z", True),
        ("between: [22:00, 06:00]", "2026-06-01T23:00Z", True),
        ("between: [22:00, 06:00]", "2026-06-01T05:59Z", True),
        ("between: [22:00, 06:00]", "2026-06-01T06:00Z", False),
        ("days: [mon]", "2026-06-01T00:00Z", True),
        ("days: [mon]", "2026-06-01T23:59:59Z", True),
        ("days: [mon]", "2026-06-02T00:00Z", False),
        ("days: [tue, sun]", "2026-05-31T12:00Z", True),
        # A window over midnight is of the day on which it begins.
        ("between: [22:00, 06:00], days: [mon]", "2026-06-01T05:00Z", False),
        ("between: [22:00, 06:00], days: [mon]", "2026-06-01T22:00Z", True),
        ("between: [22:00, 06:00], days: [mon]", "2026-06-02T05:59Z", True),
        ("between: [22:00, 06:00], days: [mon]", "2026-06-02T22:00Z", False),
        ("between: [22:00, 06:00], days: [sun]", "2026-06-01T03:00Z", True),
    ],
)
def test_windows(window: str, moment: str, expected: bool) -> None:
    assert applies(window, moment) == expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-01-15T16:30Z", True),  # 17:30 CET
        ("2026-06-15T16:30Z", True),  # 18:30 CEST
        ("2026-06-15T15:00Z", True),  # 17:00 CEST
        ("2026-01-15T15:00Z", False),
    ],
)
def test_windows_are_local(moment: str, expected: bool) -> None:
    assert applies("between: [17:00, 19:00]", moment, BERLIN) == expected
    assert applies(f"between: [17:00, 19:00], time_zone: {BERLIN}", moment, "Asia/Tokyo") == expected


@pytest.mark.parametrize(
    ("window", "minutes"),
    [
        ("2026-03-29", {"02:00, 03:00": 0, "01:30, 03:30": 60, "01:00, 02:30": 60, "00:00, 24:00": 23 * 60}),
        ("2026-10-25", {"02:00, 03:00": 120, "01:30, 02:30": 90, "00:00, 24:00": 25 * 60}),
    ],
)
def test_windows_when_the_clock_changes(window: str, minutes: dict[str, int]) -> None:
    start = view(f"{window}T00:00+0{1 if window < '2026-06' else 2}:00").time_s
    for between, expected in minutes.items():
        asked = modes(f"[{{type: balance, between: [{between}], days: [sun]}}]", time_zone=BERLIN)
        held = [target(asked, view(start + 60 * minute)) is not None for minute in range(-120, 26 * 60)]
        assert sum(held) == expected, between


def test_a_window_ends_within_the_second() -> None:
    asked = modes("[{type: fixed_power, power_kw: 1, between: [17:00, 18:00]}]")
    end = view("2026-06-01T18:00Z").time_s
    assert [target(asked, view(end + dt)) for dt in (-0.5, 0, 0.5, -0.5)] == [1, None, None, 1]


def test_time_of_use() -> None:
    asked = modes(
        """[{type: time_of_use, periods: [
          {between: [17:00, 21:00], days: [mon, tue, wed, thu, fri], power_kw: 80},
          {between: [16:00, 22:00], power_kw: 20},
          {between: [23:00, 05:00], power_kw: -50}]}]""",
        time_zone=BERLIN,
    )
    for moment, expected in [
        ("2026-06-01T15:59+02:00", None),
        ("2026-06-01T16:00+02:00", 20),
        ("2026-06-01T17:00+02:00", 80),
        ("2026-06-01T21:00+02:00", 20),
        ("2026-06-01T22:00+02:00", None),
        ("2026-06-02T04:59+02:00", -50),
        ("2026-06-02T05:00+02:00", None),
        ("2026-06-07T18:00+02:00", 20),  # a Sunday
        ("2026-06-01T17:00+02:00", 80),  # and back, as a replay may
    ]:
        assert target(asked, view(moment)) == expected, moment


class TestSoeTarget:
    NIGHT = "[{type: soe_target, soe_pct: 80, by: 07:00, from: 01:00}]"

    @pytest.mark.parametrize(
        ("moment", "soe", "expected"),
        [
            ("2026-06-01T00:59Z", 50, None),
            ("2026-06-01T01:00Z", 50, -10),  # 30 % of 200 kWh in 6 h
            ("2026-06-01T05:00Z", 50, -30),
            ("2026-06-01T05:00Z", 90, 10),
            ("2026-06-01T06:59:59Z", 79, -120),  # 2 kWh, never asked for within less than a minute
            ("2026-06-01T07:00Z", 50, None),
            ("2026-06-01T12:00Z", 50, None),
        ],
    )
    def test_what_is_missing_is_spread_evenly(self, moment: str, soe: float, expected: float | None) -> None:
        power = target(modes(self.NIGHT), view(moment, soe_pct=soe, capacity_kwh=200))
        assert power == (None if expected is None else pytest.approx(expected))

    def test_without_a_beginning_it_always_applies(self) -> None:
        asked = modes("[{type: soe_target, soe_pct: 80, by: 07:00}]")
        assert target(asked, view("2026-06-01T07:00Z")) == pytest.approx(-60 / 24)
        assert target(asked, view("2026-06-02T06:00Z")) == pytest.approx(-60)
        assert target(asked, view("2026-06-02T08:00Z")) == pytest.approx(-60 / 23)

    def test_across_midnight(self) -> None:
        asked = modes("[{type: soe_target, soe_pct: 80, by: 06:00, from: 22:00}]")
        powers = [
            target(asked, view(f"2026-06-0{day}Z")) for day in ("1T21:59", "1T22:00", "2T04:00", "2T06:00")
        ]
        assert powers == [None, pytest.approx(-60 / 8), pytest.approx(-30), None]

    def test_once(self) -> None:
        asked = modes(
            "[{type: soe_target, soe_pct: 80, by: 2026-06-02T06:00, from: 2026-06-01T18:00}]",
            time_zone=BERLIN,
        )
        powers = [
            target(asked, view(moment))
            for moment in ("2026-06-01T15:59Z", "2026-06-01T16:00Z", "2026-06-02T03:59Z", "2026-06-02T04:00Z",
                           "2026-06-03T04:00Z", "2026-06-01T16:00Z")
        ]  # fmt: skip
        assert powers == [None, pytest.approx(-5), -3600, None, None, pytest.approx(-5)]
        elsewhere = modes(
            "[{type: soe_target, soe_pct: 80, by: 2026-06-02T06:00+02:00}]", time_zone="Asia/Tokyo"
        )
        assert target(elsewhere, view("2026-06-01T16:00Z")) == pytest.approx(-5)

    @pytest.mark.parametrize(
        ("moment", "hours"), [("2026-03-28T22:00Z", 7), ("2026-10-24T21:00Z", 9), ("2026-06-01T21:00Z", 8)]
    )
    def test_the_time_left_counts_the_change_of_the_clock(self, moment: str, hours: int) -> None:
        """Each begins at 23:00 of Berlin, before a night of 7, 9 or 8 hours until 07:00."""
        asked = modes("[{type: soe_target, soe_pct: 80, by: 07:00, from: 23:00}]", time_zone=BERLIN)
        assert target(asked, view(moment)) == pytest.approx(-60 / hours)

    def test_it_rests_when_it_is_there_and_does_not_turn_back(self) -> None:
        asked = modes("[{type: soe_target, soe_pct: 80, by: 07:00}]")
        powers = [
            target(asked, view(7200 + minute * 60, soe_pct=soe))
            for minute, soe in enumerate([79, 79.9, 80, 79.9, 80.1, 81.9, 78, 77.9, 79, 80.1, 82.1, 79.9])
        ]
        assert [power is not None and float(np.sign(power)) for power in powers] == (
            [-1, -1, 0, 0, 0, 0, 0, -1, -1, 0, 1, 0]
        )  # fmt: skip

    def test_a_battery_that_does_as_it_is_told_is_there_in_time(self) -> None:
        asked = modes(self.NIGHT)
        soe, step_s = 20.0, 5.0
        for time in np.arange(3600.0, 7 * 3600, step_s):
            power = target(asked, view(float(time), soe_pct=soe, capacity_kwh=200))
            assert power is not None
            assert -21 < power <= 0
            soe -= power * step_s / 3600 / 200 * 100
        assert soe == pytest.approx(80, abs=0.2)


def test_reserve() -> None:
    asked = modes("[{type: reserve, soe_pct: 20, charge_kw: 40}]")
    powers = [target(asked, view(soe_pct=soe)) for soe in (21, 20, 19.9, 20, np.nan, 21.9, 22, 20.5, 19)]
    assert powers == [None, None, -40, -40, None, -40, None, None, -40]
    asked.set_enabled(0, "reserve", False)
    assert target(asked, view(soe_pct=21)) is None
    asked.set_enabled(0, "reserve", True)
    assert target(asked, view(soe_pct=21)) is None
    full = modes("[{type: reserve, soe_pct: 100, charge_kw: 40}]")
    assert [target(full, view(soe_pct=soe)) for soe in (99.9, 100)] == [-40, None]
