"""What a report says of control, against decisions written by hand."""

import numpy as np
import pytest

from fluxfast.report.page import render
from tests.support.day_logs import DeviceRows, battery, meter, report, ticks, write

N = 600


def decisions(device, texts, **numbers):
    usual = {"target_kw": 40.0, "served_kw": 40.0, "unserved_kw": 0.0, "grid_kw": 100.0, "load_kw": 140.0}
    usual_texts = {
        "mode": "peak_shaving",
        "action": "act",
        "site_reason": None,
        "write": "none",
        "phase": "ours",
    }
    return DeviceRows(device, ticks(N), usual | numbers, texts=usual_texts | texts, latency_ms=30.0)


@pytest.fixture
def figures(tmp_path):
    unserved = np.zeros(N)
    unserved[:60] = -20.0  # for a minute: a third of a kWh, of a charge
    write(tmp_path, "powerpack", [battery("b1", ticks(N)), battery("b2", ticks(N))])
    write(tmp_path, "acuvim2", [meter("m1", ticks(N), 100_000)])
    written = ["confirmed" if k < 30 else "exception" if k < 40 else "none" for k in range(N)]
    modes = ["peak_shaving" if k < 450 else None for k in range(N)]
    both = {"mode": modes, "write": written}
    rows = [decisions(name, both, unserved_kw=unserved) for name in ("b1", "b2")]
    write(tmp_path, "decisions", rows)
    return report(tmp_path)


def test_how_often_and_how_much(figures):
    control = figures.control
    assert control.units == 2
    assert control.met == pytest.approx(540 / 600)
    assert control.unserved_kwh == pytest.approx(20 / 60)
    assert control.confirm_ms == pytest.approx((30, 30), rel=0.02)


def test_shares_of_the_time(figures):
    shares = figures.control.shares
    assert shares["mode"] == [("peak_shaving", 0.75), (None, 0.25)]
    assert shares["action"] == [("act", 1.0)]
    assert shares["site_reason"] == [(None, 1.0)]
    assert dict(shares["write"]) == pytest.approx(
        {"none": 560 / 600, "confirmed": 0.05, "exception": 10 / 600}
    )


def test_the_page_shows_it(figures):
    page = render(figures)
    for text in ("target met", "peak_shaving", "none applies", "75.0 %", "exception", ">target<"):
        assert text in page, text
    assert np.nanmax(figures.control.curves["target_kw"]) == 40


def test_a_site_without_decisions_among_some_that_have_them(tmp_path):
    write(tmp_path, "powerpack", [battery("b1", ticks(N)), battery("x1", ticks(N), site="T")])
    write(tmp_path, "decisions", [decisions("b1", {})])
    assert report(tmp_path).control is not None
    assert report(tmp_path, "T").control is None


def test_the_grid_of_several_meters_is_that_of_the_decisions(tmp_path):
    write(tmp_path, "powerpack", [battery("b1", ticks(N))])
    write(tmp_path, "acuvim2", [meter("m1", ticks(N), 1000), meter("m2", ticks(N), 1000)])
    write(tmp_path, "decisions", [decisions("b1", {})])
    assert report(tmp_path).grid_kw[0] == pytest.approx(100)
