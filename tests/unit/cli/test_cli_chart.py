"""The chart: its numbers are the log's, and it is drawn for short, long, broken and partial logs alike."""

import sys
import time

import numpy as np
import pytest

from fluxfast.cli import chart
from fluxfast.errors import FluxfastError, MissingExtraError
from fluxfast.log import Column, Dataset, LogWriter

START_US = 1_795_342_770_000_000
BATTERIES, METERS = 40, 10
POWERPACK = Dataset(
    "powerpack",
    ["s"] * BATTERIES,
    [f"b{i}" for i in range(BATTERIES)],
    [Column("target_power", "float64", metadata={"unit": "kW"}), Column("soe", "float64")],
)
ACUVIM2 = Dataset(
    "acuvim2",
    ["s"] * METERS,
    [f"m{i}" for i in range(METERS)],
    [Column("power_total", "float32", metadata={"unit": "W"})],
)


def write_log(path, ticks, *, datasets=(POWERPACK, ACUVIM2), step_us=500_000, skip=(), quality=None):
    """Log random data; return {dataset: [(codes, latencies, values), …]}, one entry for each tick."""
    rng = np.random.default_rng(4)
    names = {"quality_names": ["good", "uncertain", *["bad"] * 254], "reasons": [None, *["x"] * 255]}
    written = {d.name: [] for d in datasets}
    with LogWriter(path, datasets, tick_seconds=step_us / 1e6, **names) as log:
        for tick in range(ticks):
            if tick in skip:
                continue
            for i, dataset in enumerate(datasets):
                codes = rng.choice(3, dataset.rows, p=[0.9, 0.05, 0.05]) if quality is None else quality
                codes = np.full(dataset.rows, codes).astype(np.uint8)
                latency = np.where(codes == 2, np.nan, rng.gamma(3, 2, dataset.rows)).astype(np.float32)
                values = [rng.integers(0, 100, dataset.rows).astype(float) for _ in dataset.columns]
                log.append(i, START_US + tick * step_us, latency, codes, values, [codes != 2] * len(values))
                written[dataset.name].append((codes, latency, values))
            while log.busy:
                time.sleep(0.0005)
    assert log.rows_dropped == 0
    return written


def nearest_rank(values, percent):
    values = np.sort(values)
    return values[int(np.ceil(len(values) * percent / 100)) - 1]


def test_numbers_are_those_of_the_log(tmp_path):
    written = write_log(tmp_path, 40)
    batteries, meters = chart.read(tmp_path, "powerpack"), chart.read(tmp_path, "acuvim2")
    times = np.datetime64(START_US, "us") + np.arange(40) * np.timedelta64(500, "ms")
    for name, ticks, scale in (("powerpack", batteries, 1.0), ("acuvim2", meters, 1e-3)):
        assert np.array_equal(ticks["time"], times)
        for i, (codes, latency, values) in enumerate(written[name]):
            there = codes != 2
            assert ticks["rows"][i] == len(codes)
            assert ticks["uncertain"][i] == np.sum(codes == 1)
            assert ticks["bad"][i] == np.sum(codes == 2)
            assert ticks["power"][i] == pytest.approx(values[0][there].sum() * scale)
            assert ticks["latency_p50"][i] == pytest.approx(nearest_rank(latency[there], 50), abs=0.051)
            assert ticks["latency_p99"][i] == pytest.approx(nearest_rank(latency[there], 99), abs=0.051)
            if name == "powerpack":
                assert ticks["soe_p25"][i] == nearest_rank(values[1][there], 25)


def test_points_are_means_and_break_at_gaps(tmp_path, monkeypatch):
    monkeypatch.setattr(chart, "MAX_POINTS", 10)
    written = write_log(tmp_path, 90, skip=range(30, 70), datasets=(ACUVIM2,))["acuvim2"]
    points = chart._points(chart.read(tmp_path, "acuvim2"))
    assert len(points["time"]) == 10 + 1
    assert np.flatnonzero(np.isnan(points["bad"])).tolist() == [6]
    assert points["bad"][0] == np.mean([np.sum(codes == 2) for codes, _, _ in written[:5]])
    worst = max(nearest_rank(latency[codes != 2], 99) for codes, latency, _ in written[:5])
    assert points["latency_p99"][0] == pytest.approx(worst, abs=0.051)


@pytest.mark.parametrize(
    "log",
    [
        {"ticks": 40},
        {"ticks": 1},
        {"ticks": 40, "quality": 0},
        {"ticks": 40, "quality": 2},
        {"ticks": 40, "datasets": (ACUVIM2,)},
        {"ticks": 40, "datasets": (POWERPACK,)},
        {"ticks": 40, "datasets": (Dataset("powerpack", ["s"], ["b"], []),)},
        {"ticks": 40, "skip": range(10, 30)},
        {"ticks": 60, "step_us": 3_600_000_000},
    ],
)
def test_every_log_gives_a_picture(tmp_path, log):
    write_log(tmp_path, **log)
    chart.draw(tmp_path, tmp_path / "out.png")
    png = (tmp_path / "out.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert len(png) > 20_000


def test_all_is_good_only_when_it_is():
    assert chart._percent(20_000, 20_000) == "100 %"
    assert chart._percent(99_999_999, 100_000_000) == "99.99 %"
    assert chart._percent(0, 5) == "0.00 %"


def test_nothing_to_draw(tmp_path):
    with pytest.raises(FluxfastError, match="no log of powerpack or acuvim2"):
        chart.draw(tmp_path, tmp_path / "out.png")


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fluxfast\[charts\]'"):
        chart.draw(tmp_path, tmp_path / "out.png")
