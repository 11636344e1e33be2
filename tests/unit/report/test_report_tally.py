"""What is kept of a day does not depend on how its rows are cut into batches."""

from itertools import pairwise

import numpy as np
import pytest

from fluxfast.report.kinds import Columns
from fluxfast.report.rows import NONE, Names, Rows
from fluxfast.report.tally import Grid, Tally

GRID = Grid(0, 60_000_000, 30)
NAMES = (
    "rows", "good", "power_sum", "power_n", "soe_sum", "soe_n", "out_kwh", "in_kwh", "covered_us", "first_us",
    "last_us", "first_good_us", "last_good_us", "uncertain", "gap_n", "reason_n", "latency_n",
)  # fmt: skip


def some_rows(seed: int, devices: int = 4, ticks: int = 900) -> Rows:
    """Return rows by device and time, many of them bad or missing."""
    random = np.random.default_rng(seed)
    there = random.random((devices, ticks)) < 0.9
    there[:, 0] = True
    device, tick = np.nonzero(there)
    n = len(device)
    quality = random.choice([0, 0, 0, 1, 2], n)
    reason = np.where(quality == 0, NONE, random.integers(1, 4, n))
    kw = np.where(quality == 1, np.nan, random.normal(0, 50, n))
    numbers = {"p": kw, "soe": np.where(quality == 1, np.nan, 50.0), "latency_ms": random.gamma(2, 5, n)}
    return Rows(
        device.astype(np.int32), tick * 1_000_000 + 1_000_000, {"quality": quality, "reason": reason}, numbers
    )


def pick(rows: Rows, which: np.ndarray) -> Rows:
    return Rows(
        rows.device[which],
        rows.time_us[which],
        {name: column[which] for name, column in rows.texts.items()},
        {name: column[which] for name, column in rows.numbers.items()},
    )


def tallied(batches: list[Rows]) -> Tally:
    texts = {"quality": Names(), "reason": Names()}
    for name in ("good", "bad", "uncertain"):
        texts["quality"].number(name)
    for name in ("out of range", "timeout", "late", "connection lost"):
        texts["reason"].number(name)
    tally = Tally(Columns("battery", "p", 1.0, False, "soe"), GRID, texts)
    for k in range(4):
        tally.devices.number(("S", f"b{k}"))
    for batch in batches:
        tally.add(batch)
    return tally


@pytest.mark.parametrize("seed", range(8))
def test_batches_may_be_cut_anywhere(seed: int) -> None:
    rows = some_rows(seed)
    whole = tallied([rows])
    random = np.random.default_rng(seed)
    cuts = np.sort(random.integers(1, 900, 6)) * 1_000_000
    slices = [pick(rows, np.searchsorted(cuts, rows.time_us, "right") == k) for k in range(len(cuts) + 1)]
    # Each time slice by device and time, as in a file; half of them again in two, between devices.
    batches = []
    for k, part in enumerate(slices):
        if k % 2 and len(part.device):
            batches += [pick(part, part.device < 2), pick(part, part.device >= 2)]
        else:
            batches.append(part)
    cut = tallied([batch for batch in batches if len(batch.device)])
    for name in NAMES:
        np.testing.assert_allclose(cut[name], whole[name], rtol=1e-5, atol=1e-3, err_msg=name)
    assert (cut.latency_slots == whole.latency_slots).all()
    ours, theirs = (sorted(map(tuple, one.gaps().tolist())) for one in (cut, whole))
    assert ours == theirs


def test_gaps_and_energy_are_those_of_a_slow_loop() -> None:
    rows = some_rows(3)
    tally = tallied([rows])
    for k in range(4):
        mine = pick(rows, rows.device == k)
        good = np.flatnonzero(mine.texts["quality"] == 0)
        gaps = sum(
            b - a > 1_500_000 for a, b in zip(mine.time_us[good], mine.time_us[good[1:]], strict=False)
        )
        assert tally["gap_n"][k] == gaps
        out = taken = 0.0
        usable = (mine.texts["quality"] != 1) & (mine.texts["reason"] != 0)
        at = np.flatnonzero(usable & ~np.isnan(mine.numbers["p"]))
        for a, b in pairwise(at):
            step = (mine.time_us[b] - mine.time_us[a]) / 1e6
            if step > 3:
                continue
            fine = np.interp(np.linspace(0, 1, 2001), [0, 1], mine.numbers["p"][[a, b]])
            out += np.trapezoid(np.maximum(fine, 0)) / 2000 * step / 3600
            taken -= np.trapezoid(np.minimum(fine, 0)) / 2000 * step / 3600
        assert (tally["out_kwh"][k], tally["in_kwh"][k]) == pytest.approx((out, taken), rel=1e-4)


def test_rows_of_a_clock_that_was_set_back_are_no_gap() -> None:
    rows = some_rows(1, devices=1, ticks=600)
    again = Rows(rows.device, rows.time_us, rows.texts, rows.numbers)
    tally = tallied([rows, again])
    assert tally["rows"].sum() == 2 * len(rows.device)
    assert tally["gap_n"][0] == 2 * tallied([rows])["gap_n"][0]
    assert (tally["out_kwh"] >= 0).all()
