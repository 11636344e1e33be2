"""What benchmarks say of what they measured: ratios in a repetition, percentiles, slopes, broken budgets."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in ("measured", "growth", "check", "compare", "run", "instructions", "apart"):
        sys.modules.pop(name, None)


def case_of(costs, name="link/500", unit="µs CPU a request"):
    from measured import Case

    case = Case(name, unit)
    for contender, of in costs.items():
        for cost in of:
            case.add(contender, cost)
    return case


def test_ratios_are_made_within_a_repetition():
    # The machine was half as fast in the second repetition, for both.
    case = case_of({"C floor": [1.0, 2.0, 1.0], "fluxfast": [1.5, 3.0, 1.8]})
    ratio = case.contenders["fluxfast"].beside(case.contenders["C floor"])
    assert (ratio.median, ratio.least, ratio.most) == (1.5, 1.5, 1.8)


def test_a_contender_is_right_when_it_always_was():
    case = case_of({"fluxfast": [1.0]})
    case.add("fluxfast", 1.0, right=False)
    case.add("fluxfast", 1.0)
    assert not case.contenders["fluxfast"].right


def test_histograms_know_percentiles_to_five_percent():
    from measured import histogram, percentile

    times = [float(n) for n in range(1, 1001)]
    for percent, time in ((50, 500), (99, 990), (99.9, 999), (100, 1000)):
        assert percentile(histogram(times), percent) == pytest.approx(time, rel=0.05)


def test_results_come_back_from_their_file(tmp_path):
    from measured import Results

    case = case_of({"C floor": [1.0, 1 / 3]})
    case.add("C floor", 2.0, times={3: 1, -5: 2}, said={"unanswered": 0})
    case.add("C floor", 2.0, times={3: 4})
    Results({"versions": "node v20.20.21"}, {case.name: case}).save(tmp_path / "r.json")
    back = Results.load(tmp_path / "r.json")
    assert back.environment == {"versions": "node v20.20.21"}
    assert back.cases[case.name].contenders["C floor"].costs == pytest.approx([1, 1 / 3, 2, 2], rel=1e-5)
    assert back.cases[case.name].contenders["C floor"].times == {3: 5, -5: 2}
    assert back.cases[case.name].contenders["C floor"].said == {"unanswered": [0]}
    assert back.cases[case.name].contenders["C floor"].figure("unanswered") == 0


def test_growth_finds_the_exponent():
    from growth import growths

    cases = [
        case_of({"flat": [10.0], "quadratic": [size / 100], "only once": [1.0]}, f"link/{size}")
        for size in (100, 1_000, 10_000)
    ]
    del cases[0].contenders["only once"]
    flat, quadratic = growths(cases)
    assert (flat.slope, quadratic.slope) == (pytest.approx(1), pytest.approx(2))
    assert flat.marginal == pytest.approx(10)
    assert growths(cases[:2]) == []


@pytest.mark.parametrize(("ours", "broken"), [([1.5, 1.6, 1.4], False), ([2.5, 2.6, 2.4], True)])
def test_a_budget_is_held_against_the_median_ratio(ours, broken):
    from check import Budget

    budget = Budget("link/500", "fluxfast", "C floor", 2.0)
    assert budget.hold(case_of({"C floor": [1.0, 1.0, 1.0], "fluxfast": ours})).broken is broken


def test_a_wrong_result_breaks_a_budget_whatever_it_cost():
    from check import Budget

    case = case_of({"C floor": [1.0], "fluxfast": [1.0]})
    case.contenders["fluxfast"].right = False
    with pytest.raises(SystemExit, match="wrong results of fluxfast"):
        Budget("link/500", "fluxfast", "C floor", 2.0).hold(case)


def test_a_broken_budget_shows_stage_budget_measured_and_history(monkeypatch, tmp_path, capsys):
    import check

    history = [
        {
            "day": "2026-11-2" + str(n),
            "commit": f"abc{n}",
            "compiler": "gcc 12",
            "figures": {"decode": 40 + n},
        }
        for n in range(7)
    ]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in history))
    monkeypatch.setattr(check, "HISTORY", tmp_path / "history.jsonl")
    monkeypatch.setattr(sys, "argv", ["check.py"])
    held = [check.Held("decode", 55.0, 50.0, "instructions a value"), check.Held("split", 1.0, 2.0, "")]
    monkeypatch.setattr(check, "hold_instructions", lambda budgets: held)
    monkeypatch.setattr(check, "hold_ratios", lambda budgets: [])
    with pytest.raises(SystemExit, match=r"budgets\.toml"):
        check.main()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("BROKEN")]
    assert line.startswith("BROKEN: decode: 55.00 instructions a value, 10.0 % over its budget of 50.00.")
    assert "42 at abc2 (2026-11-22, gcc 12); 43" in line
    assert "41 at abc1" not in line


def test_the_comparison_has_every_rival_at_every_case():
    from compare import page
    from measured import Results

    cases = [
        case_of({"C floor": [1.0, 1.0], "fluxfast": [2.0, 2.0], "pymodbus": [8.0, 12.0]}),
        case_of({"fluxfast": [4.0, 4.0], "NumPy": [2.0, 2.0]}, "kernel/10000", "ns a unit"),
    ]
    about = dict.fromkeys(("machine", "day", "commit", "compiler", "versions"), "x")
    text = "\n".join(page(Results(about, {case.name: case for case in cases}), Path("r.json")))
    assert "| case | C floor | pymodbus | NumPy |" in text
    assert "| [link/500](#link500) | 0.5 | 5 |  |" in text
    assert "| [kernel/10000](#kernel10000) |  |  | 0.5 |" in text
    assert "| pymodbus | 10 | 10 (8–12) | 5 (4–6) |" in text


def test_every_budget_is_of_a_file_of_cases():
    import tomllib

    from check import Budget
    from run import files

    budgets = tomllib.loads((BENCHMARKS / "budgets.toml").read_text())
    for budget in (Budget(**one) for one in budgets["ratios"]):
        assert budget.case.partition("/")[0] in files()
