"""The figures of a report against logs whose answers are known by hand."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from fluxfast.errors import FluxfastError
from fluxfast.log.reading import open_log
from fluxfast.report import Day
from fluxfast.report.figures import ABSENT, COMPLETE, NOT_EXPECTED, NOTHING
from fluxfast.report.tally import LATENCY_STEPS, latency_percentile, latency_steps
from tests.support.day_logs import (
    SECOND,
    START_US,
    DeviceRows,
    battery,
    meter,
    report,
    ticks,
    timeouts,
    write,
)

HOUR = 3600
BERLIN = ZoneInfo("Europe/Berlin")


def by_name(figures):
    return {one.name: one for one in figures.devices}


# ---- energy ----


def test_a_constant_power_gives_its_energy(tmp_path):
    write(tmp_path, "acuvim2", [meter("m1", ticks(HOUR + 1), 120_000)])
    write(tmp_path, "powerpack", [battery("b1", ticks(HOUR + 1), -30), battery("b2", ticks(HOUR + 1), 10)])
    figures = report(tmp_path)
    assert figures.grid_kwh == pytest.approx((120, 0))
    assert figures.battery_kwh == pytest.approx((30, 10))
    devices = by_name(figures)
    assert (devices["b1"].in_kwh, devices["b1"].out_kwh) == pytest.approx((30, 0))
    assert [one.coverage for one in figures.devices] == [1, 1, 1]
    assert np.nanmax(np.abs(figures.load_kw - 100)) < 1e-3
    assert figures.battery_is_setpoint


def test_a_line_through_zero_has_energy_on_both_sides(tmp_path):
    # From 30 kW to -10 kW in an hour: 0.75 h × 30 / 2 out, 0.25 h × 10 / 2 in.
    write(tmp_path, "powerpack", [battery("b1", ticks(2, HOUR), [30, -10])], part_s=4 * HOUR)
    (device,) = report(tmp_path).devices
    assert (device.out_kwh, device.in_kwh) == pytest.approx((11.25, 1.25))


def test_energy_leaves_out_what_was_not_read(tmp_path):
    # Bad for ten minutes in the middle of an hour at 60 kW; a single missing tick is bridged.
    bad = timeouts(1000, 600) | timeouts(3000, 1)
    write(tmp_path, "powerpack", [battery("b1", ticks(HOUR + 1), 60, bad=bad)])
    (device,) = report(tmp_path).devices
    assert device.out_kwh == pytest.approx(60 * (HOUR - 601) / HOUR)
    assert device.coverage == pytest.approx((HOUR - 601) / HOUR)


def test_values_out_of_range_are_no_energy_other_uncertain_ones_are(tmp_path):
    kw = np.full(HOUR, 60.0)
    kw[100] = 1e30
    uncertain = {100: "out of range", **dict.fromkeys(range(200, 400), "exception 2 illegal data address")}
    write(tmp_path, "powerpack", [battery("b1", ticks(HOUR), kw, uncertain=uncertain)])
    (device,) = report(tmp_path).devices
    assert device.out_kwh == pytest.approx(60 * (HOUR - 1) / HOUR)
    assert (device.good, device.uncertain) == (HOUR - 201, 201)
    assert device.reason == "exception 2 illegal data address"


# ---- completeness and gaps ----


def test_good_rows_of_those_expected(tmp_path):
    write(
        tmp_path,
        "powerpack",
        [
            battery("b1", ticks(1000)),
            battery("b2", ticks(1000), bad=timeouts(590, 20)),  # over the boundary of two files
            battery("b3", ticks(1000), bad=dict.fromkeys(range(1000), "connection refused")),
        ],
    )
    figures = report(tmp_path)
    assert [one.name for one in figures.devices] == ["b3", "b2", "b1"]
    assert [one.expected for one in figures.devices] == [1000] * 3
    assert [one.complete for one in figures.devices] == [0, 0.98, 1]
    assert figures.complete == pytest.approx(1980 / 3000)
    whole, part = figures.gaps
    assert (whole.from_us, whole.to_us, whole.devices) == (START_US, START_US + 1000 * SECOND, ("b3",))
    assert (part.from_us, part.to_us) == (START_US + 590 * SECOND, START_US + 610 * SECOND)
    assert (whole.reason, part.reason, part.devices) == ("connection refused", "timeout", ("b2",))
    assert [one.gaps for one in figures.devices] == [1, 1, 0]
    assert [one.longest_gap_us for one in figures.devices] == [1000 * SECOND, 20 * SECOND, 0]


def test_gaps_at_both_ends_and_their_reasons(tmp_path):
    bad = timeouts(0, 5) | dict.fromkeys(range(95, 100), "connection lost")
    write(tmp_path, "powerpack", [battery("b1", ticks(100)), battery("b2", ticks(100), bad=bad)])
    first, last = sorted(report(tmp_path).gaps, key=lambda gap: gap.from_us)
    assert (first.from_us, first.to_us) == (START_US, START_US + 5 * SECOND)
    assert (last.from_us, last.to_us, last.reason) == (
        START_US + 95 * SECOND, START_US + 100 * SECOND, "connection lost",
    )  # fmt: skip


def test_a_time_without_rows_is_one_gap_of_all(tmp_path):
    times = np.concatenate([ticks(600), ticks(600, start_us=START_US + 1800 * SECOND)])
    write(tmp_path, "powerpack", [battery("b1", times), battery("b2", times)])
    write(tmp_path, "acuvim2", [meter("m1", times)])
    figures = report(tmp_path)
    (gap,) = figures.gaps
    assert (gap.from_us, gap.to_us) == (START_US + 600 * SECOND, START_US + 1800 * SECOND)
    assert (gap.devices, gap.reason) == (("b1", "b2", "m1"), "no rows")
    assert {one.complete for one in figures.devices} == {0.5}
    assert figures.absent.mean() == pytest.approx(0.5, abs=0.02)
    assert np.isnan(figures.grid_kw[figures.absent]).all()


def test_a_crash_before_the_log_goes_on_another_day_counts(tmp_path):
    """The log ends at 01:00 and goes on the next day: the 23 hours are missing."""
    times = np.concatenate([ticks(60, 60), ticks(10, 60, START_US + 86_400 * SECOND)])
    write(tmp_path, "powerpack", [battery("b1", times)])
    (device,) = report(tmp_path).devices
    assert (device.good, device.expected) == (60, 1440)
    (gap,) = report(tmp_path).gaps
    assert (gap.from_us, gap.to_us) == (START_US + HOUR * SECOND, START_US + 24 * HOUR * SECOND)
    assert report(tmp_path, day=None).day.day == date(2026, 11, 23)


def test_a_device_that_comes_later_is_expected_from_then_on(tmp_path):
    late = ticks(600, start_us=START_US + 600 * SECOND)
    write(tmp_path, "powerpack", [battery("b1", ticks(1200)), battery("b2", late), battery("b3", ticks(600))])
    figures = by_name(report(tmp_path))
    assert [figures[name].expected for name in ("b1", "b2", "b3")] == [1200, 600, 600]
    assert {one.complete for one in figures.values()} == {1}
    assert set(figures["b2"].levels.tolist()) == {NOT_EXPECTED, COMPLETE}


def test_ticks_may_change_in_the_middle_of_a_day(tmp_path):
    times = np.concatenate([ticks(1200, 0.5), ticks(300, 2, START_US + 600 * SECOND)])
    write(tmp_path, "powerpack", [battery("b1", times, bad=timeouts(1200, 3))])
    (device,) = report(tmp_path).devices
    assert (device.good, device.expected) == (1497, 1500)


def test_the_heat_map_tells_bad_rows_from_no_rows(tmp_path):
    times = np.concatenate([ticks(1440 - 480, 60), ticks(10, 60, START_US + 23 * HOUR * SECOND)])
    bad = dict.fromkeys(range(240), "timeout")
    write(tmp_path, "powerpack", [battery("b1", times, bad=bad)], part_s=HOUR)
    levels = report(tmp_path).devices[0].levels
    assert set(levels[: len(levels) // 6].tolist()) == {NOTHING}
    assert ABSENT in levels.tolist()
    assert COMPLETE in levels.tolist()


# ---- days and zones ----


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 10, 25), 25), (date(2026, 3, 29), 23)])
def test_a_day_on_which_the_clock_is_changed(tmp_path, day, hours):
    start_us = int(datetime(day.year, day.month, day.day, tzinfo=BERLIN).timestamp()) * SECOND
    times = ticks(27 * 60, 60, start_us - HOUR * SECOND)  # an hour before and after it
    write(tmp_path, "acuvim2", [meter("m1", times, 1000)], part_s=HOUR)
    figures = report(tmp_path, day=day, zone=BERLIN)
    assert (figures.day.end_us - figures.day.start_us) // SECOND == hours * HOUR
    (device,) = figures.devices
    assert (device.good, device.expected, device.gaps) == (hours * 60, hours * 60, 0)
    assert device.out_kwh == pytest.approx(hours - 1 / 60)


def test_a_day_is_that_of_the_zone(tmp_path):
    """23:30 to 00:30 UTC is one day in Berlin and two in UTC."""
    write(tmp_path, "powerpack", [battery("b1", ticks(60, 60, START_US - 1800 * SECOND))], part_s=300)
    assert report(tmp_path, zone=BERLIN).devices[0].good == 60
    assert report(tmp_path, zone=UTC).devices[0].good == 30
    assert report(tmp_path, day=date(2026, 11, 21), zone=UTC).devices[0].good == 30


def test_a_day_without_data_names_those_that_have_some(tmp_path):
    write(tmp_path, "powerpack", [battery("b1", ticks(10))])
    with pytest.raises(FluxfastError, match="nothing of 2026-11-23; it has 2026-11-22"):
        Day(open_log(tmp_path), date(2026, 11, 23), UTC)


def test_no_log(tmp_path):
    with pytest.raises(FluxfastError, match="no such folder"):
        open_log(tmp_path / "none")
    with pytest.raises(FluxfastError, match="there is no log"):
        open_log(tmp_path)


# ---- answer times ----


def test_percentiles_are_within_two_percent():
    latency_ms = np.random.default_rng(1).gamma(2, 8, 50_000)
    histogram = np.bincount(latency_steps(latency_ms), minlength=LATENCY_STEPS)
    for percent in (1, 50, 90, 99, 99.9):
        expected = np.percentile(latency_ms, percent)
        assert latency_percentile(histogram, percent) == pytest.approx(expected, rel=0.02), percent
    assert np.isnan(latency_percentile(np.zeros(LATENCY_STEPS), 50))


def test_answer_times_that_are_negative_huge_or_missing(tmp_path):
    latency = np.array([-3, 0, 1e7, 20, 20, 20, 20])
    write(
        tmp_path, "powerpack", [battery("b1", ticks(8), latency_ms=np.append(latency, 1), bad=timeouts(7, 1))]
    )
    (one,) = report(tmp_path).latencies
    assert one.percentiles["p50"] == pytest.approx(20, rel=0.02)
    assert one.percentiles["max"] == pytest.approx(100_000, rel=0.05)


# ---- what a site may lack ----


def test_a_profile_that_is_not_here_goes_by_names_and_units(tmp_path):
    rows = DeviceRows("x1", ticks(HOUR + 1), {"soc": 70.0, "active_power": 5000.0})
    write(tmp_path, "maker_x", [rows], units={"soc": "%", "active_power": "W"})
    write(tmp_path, "weather", [DeviceRows("w1", ticks(HOUR + 1), {"wind": 3.0})], units={"wind": "m/s"})
    figures = report(tmp_path)
    assert {one.name: one.kind for one in figures.devices} == {"x1": "battery", "w1": "other"}
    assert figures.battery_kwh == pytest.approx((0, 5))
    assert not figures.battery_is_setpoint
    assert figures.soe[50][0] == pytest.approx(70)
    assert (figures.grid_kw, figures.load_kw, figures.control) == (None, None, None)


def test_only_bad_rows(tmp_path):
    bad = dict.fromkeys(range(60), "timeout")
    write(tmp_path, "powerpack", [battery("b1", ticks(60), bad=bad)])
    write(tmp_path, "acuvim2", [meter("m1", ticks(60), bad=bad)])
    figures = report(tmp_path)
    assert (figures.complete, figures.soe, figures.latencies, figures.peak()) == (0, {}, [], None)
    assert figures.grid_kwh is figures.battery_kwh is None


def test_a_single_row(tmp_path):
    write(tmp_path, "powerpack", [battery("b1", ticks(1), 20)])
    figures = report(tmp_path)
    assert (figures.complete, figures.devices[0].expected) == (1, 1)
    assert figures.battery_kwh == (0, 0)


def test_the_same_device_id_at_two_sites(tmp_path):
    write(
        tmp_path,
        "powerpack",
        [battery("b1", ticks(60), 1), battery("b1", ticks(60), 2, site="T", bad=timeouts(0, 30))],
    )
    assert report(tmp_path).complete == 1
    assert report(tmp_path, "T").complete == 0.5


def test_state_of_energy_is_spread_over_the_batteries(tmp_path):
    write(tmp_path, "powerpack", [battery(f"b{k}", ticks(60), soe=10.0 * k) for k in range(5)])
    soe = report(tmp_path).soe
    assert [round(float(band[0])) for band in soe.values()] == [0, 10, 20, 30, 40]


def test_the_highest_import_is_a_mean_of_a_quarter_of_an_hour(tmp_path):
    watts = np.zeros(4 * HOUR)
    watts[HOUR : HOUR + 900] = 50_000
    watts[2 * HOUR] = 9_000_000  # for a second
    write(tmp_path, "acuvim2", [meter("m1", ticks(4 * HOUR), watts)])
    assert report(tmp_path).peak() == (pytest.approx(50), START_US + HOUR * SECOND, 900 * SECOND)


def test_several_meters_without_roles_are_added(tmp_path):
    write(tmp_path, "acuvim2", [meter("m1", ticks(60), 3000), meter("m2", ticks(60), -1000)])
    figures = report(tmp_path)
    assert figures.grid_kw[0] == pytest.approx(2)
    assert figures.powers()[0][0] == "2 meters (+ import)"
