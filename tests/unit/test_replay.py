"""A log decided anew: what would have been, and what a log can be that nobody wished for."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxfast.config import load
from fluxfast.config.modes import parse_mode
from fluxfast.errors import FluxfastError
from fluxfast.replay import Replay
from fluxfast.replay.result import CURVES, MAX_POINTS, Curves
from tests.support.command import invoked
from tests.support.logs import NOON_US, PACK_COLUMNS, TICK_US, site_file, write_log

SHAVING = "{action: shadow, settle: 0s, modes: [{type: peak_shaving, import_limit_kw: 100}]}"
FIXED = "{modes: [{type: fixed_power, power_kw: 40}, {type: fixed_power, name: charge, power_kw: -40}]}"


def replay(folder, control, **options):
    return Replay(load(site_file(folder, control)), folder / "log", **options).run()


def test_a_peak_is_shaved_that_was_not(tmp_path):
    write_log(tmp_path / "log", [90.0] * 20 + [150.0] * 40)
    result = replay(tmp_path, SHAVING)
    total = result.total()
    assert total["peak_before_kw"] == 150
    assert total["over_before_kwh"] == pytest.approx(50 * 20 / 3600)
    assert 0 < total["over_after_kwh"] < total["over_before_kwh"] / 5
    after = result.curves["grid_after_kw"]
    assert after[:20].tolist() == [90] * 20
    assert np.allclose(after[-20:], 100, atol=1.01)
    assert result.curves["load_kw"].tolist() == [90] * 20 + [150] * 40
    assert total["compared"] == total["differs"] == 0


def test_energy_follows_the_difference_of_power_and_the_efficiency(tmp_path):
    write_log(tmp_path / "log", [0.0] * 721)  # six minutes
    result = replay(tmp_path, FIXED)
    assert result.total()["discharged_kwh"] == pytest.approx(4, abs=0.05)
    assert result.curves["soe_after_pct"][-1] == pytest.approx(50 - 4 / 0.96 / 2, abs=0.05)
    assert set(result.curves["soe_before_pct"]) == {50}
    assert result.curves["grid_after_kw"][-1] == -40
    charged = replay(tmp_path, FIXED, modes=["charge"])
    assert charged.curves["soe_after_pct"][-1] == pytest.approx(50 + 4 * 0.96 / 2, abs=0.05)


def test_what_the_units_did_then_is_part_of_the_load(tmp_path):
    write_log(tmp_path / "log", [20.0] * 30, {"target_power": np.full((30, 2), 30)})
    result = replay(tmp_path, "{modes: [{type: fixed_power, power_kw: 0}]}")
    assert set(result.curves["load_kw"]) == {80}
    assert set(result.curves["battery_before_kw"]) == {60}
    assert result.curves["grid_after_kw"][-1] == 80
    assert result.curves["soe_after_pct"][-1] > 50


def test_an_empty_battery_gives_no_more(tmp_path):
    write_log(tmp_path / "log", [0.0] * 1200, {"soe": np.full((1200, 2), 6)})
    result = replay(tmp_path, "{horizon: 1s, modes: [{type: fixed_power, power_kw: 200}]}")
    assert 4.9 < result.curves["soe_after_pct"][-1] < 5.1
    assert result.curves["battery_after_kw"][-1] < 5
    assert result.total()["unserved_kwh"] > 10


def test_modes_are_chosen_by_name_or_type_or_written_out(tmp_path):
    write_log(tmp_path / "log", [0.0] * 20)

    def power(*modes):
        return replay(tmp_path, FIXED, modes=modes).curves["battery_after_kw"][-1]

    assert power() == 40
    assert power("charge") == -40
    assert power("fixed_power") == 40
    assert power(parse_mode({"type": "fixed_power", "power_kw": 7})) == 7
    with pytest.raises(FluxfastError, match=r"no site has a mode 'fixed' .*did you mean 'fixed_power'"):
        power("fixed")


def test_a_stretch_of_time_is_replayed_alone(tmp_path):
    write_log(tmp_path / "log", [float(k) for k in range(60)])
    result = replay(tmp_path, FIXED, from_us=NOON_US + 10 * TICK_US, to_us=NOON_US + 20 * TICK_US)
    assert (result.ticks, result.total()["peak_before_kw"]) == (10, 19)
    with pytest.raises(FluxfastError, match="no ticks of S in that time"):
        replay(tmp_path, FIXED, from_us=NOON_US + 10**12)


def test_gaps_and_bad_rows_are_bridged(tmp_path):
    grid = np.full(40, 150.0)
    grid[25:27] = np.nan
    write_log(tmp_path / "log", grid)
    write_log(tmp_path / "log", [150.0] * 10, first_us=NOON_US + 3_600_000_000)  # a second run, an hour later
    result = replay(tmp_path, SHAVING)
    assert result.ticks == 50
    assert result.total()["over_before_kwh"] == pytest.approx(50 * 0.5 * 48 / 3600)
    assert np.isfinite(result.curves["grid_after_kw"]).all()


def test_a_log_of_other_ticks_is_decided_in_its_own_time(tmp_path):
    write_log(tmp_path / "log", [150.0] * 40, tick_us=5_000_000)
    result = replay(tmp_path, SHAVING)
    assert result.curves["grid_after_kw"][-1] == pytest.approx(100, abs=1.01)


def test_rows_in_any_order_are_the_same(tmp_path):
    write_log(tmp_path / "log", [90.0] * 20 + [150.0] * 40)
    before = replay(tmp_path, SHAVING)
    for file in (tmp_path / "log").rglob("date=*/*.parquet"):
        table = pq.read_table(file, partitioning=None)
        order = np.random.default_rng(1).permutation(table.num_rows)
        pq.write_table(table.take(pa.array(order)), file)
    after = replay(tmp_path, SHAVING)
    assert after.total() == before.total()
    for name in CURVES:
        assert np.array_equal(after.curves[name], before.curves[name])


def test_the_new_decisions_are_logged(tmp_path):
    write_log(tmp_path / "log", [150.0] * 100)
    replay(tmp_path, SHAVING, out=tmp_path / "new")
    logged = pq.read_table(tmp_path / "new" / "decisions").to_pydict()
    assert len(logged["time"]) == 200
    assert set(logged["mode"]) == {"peak_shaving"}
    assert set(logged["write"]) == {"none"}
    assert sum(logged["setpoint_kw"][-1:]) > 0
    with pytest.raises(FluxfastError, match="cannot be written to"):
        replay(tmp_path, SHAVING, out=tmp_path / "log")


def test_what_is_no_log_of_the_site_is_one_clear_line(tmp_path):
    with pytest.raises(FluxfastError, match="log: is no folder of a log"):
        replay(tmp_path, FIXED)
    write_log(tmp_path / "log", [0.0] * 5, devices=("x1", "x2"))
    with pytest.raises(FluxfastError, match="has none of b1, b2 …; is it the log of another site"):
        replay(tmp_path, FIXED)
    other = tmp_path / "other"
    other.mkdir()
    (other / "log").mkdir()
    with pytest.raises(FluxfastError, match="has no data of powerpack; is it the log of another site"):
        replay(other, FIXED)


def test_a_column_that_is_missing_is_named(tmp_path):
    write_log(tmp_path / "log", [0.0] * 5, columns=[c for c in PACK_COLUMNS if c.name != "soe"])
    with pytest.raises(FluxfastError, match="has no column 'soe', which control needs"):
        replay(tmp_path, FIXED)


def test_a_file_that_is_damaged_is_named(tmp_path):
    write_log(tmp_path / "log", [0.0] * 5)
    file = next((tmp_path / "log" / "powerpack").rglob("date=*/*.parquet"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(FluxfastError, match=f"{file.name}: cannot be read"):
        replay(tmp_path, FIXED)


def test_a_site_without_modes_cannot_be_decided(tmp_path):
    write_log(tmp_path / "log", [0.0] * 5)
    with pytest.raises(FluxfastError, match="no modes to decide by"):
        replay(tmp_path, "{}")


def test_curves_stay_small(tmp_path):
    curves = Curves()
    n = MAX_POINTS + 1
    for _ in range(3):
        curves.add({name: np.arange(n, dtype=float) for name in ("time_us", *CURVES)})
    assert len(curves["load_kw"]) <= MAX_POINTS
    assert curves.ticks_per_point == 4
    assert curves["load_kw"][0] == 1.5


def test_the_command_prints_and_draws(tmp_path):
    pytest.importorskip("matplotlib")
    write_log(tmp_path / "log", [150.0] * 20)
    site = site_file(tmp_path, SHAVING)
    done = invoked("replay", tmp_path / "log", "--site", site, "--chart", tmp_path / "chart.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert "20 ticks of 1 sites" in done.stdout
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    done = invoked(
        "replay", tmp_path / "log", "--site", site, "--mode", "{type: fixed_power, power_kw: 5}", "--json"
    )
    report = json.loads(done.stdout)
    assert report["ticks"] == 20
    assert report["sites"][0]["site"] == "S"
    done = invoked("replay", tmp_path / "log", "--site", site, "--mode", "{type: fixed}")
    assert done.returncode == 2
    assert "no type of mode is called" in done.stderr
    mode = "{type: time_of_use, periods: [{between: [00:00, 24:00], power_kw: 5}]}"  # YAML 1.2, as in files
    done = invoked("replay", tmp_path / "log", "--site", site, "--mode", mode)
    assert (done.returncode, done.stderr) == (0, "")
    mode = "{type: fixed_power, power_kw: 5, power_kw: 6}"
    done = invoked("replay", tmp_path / "log", "--site", site, "--mode", mode)
    assert done.returncode == 2
    assert "the key 'power_kw' stands twice" in done.stderr
    done = invoked("replay", tmp_path / "none", "--site", site)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
