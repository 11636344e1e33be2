"""Hold every stage against its budget: ``make bench-check``.

    python benchmarks/check.py [--short] [--record]

Two kinds of budgets stand in budgets.toml. Instructions of a stage, which no load of the machine changes;
they depend on the compiler: one for which they were not set gets ``elsewhere`` times as much. And ratios: how
many times as much something may cost as the floor or a rival does in the same run; one that is broken is
measured once more before it counts. No time is held: those depend on the machine.
``--short`` leaves out ratios that are marked ``long``. ``--record`` appends the figures to history.jsonl, of
which a broken budget shows the last ones.
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import instructions
import run
from measured import HERE, Case

HISTORY = HERE / "history.jsonl"
SHOWN = 5  # figures of the past
REPEATS = 3


@dataclass(frozen=True)
class Held:
    """A stage's figure beside its budget; ``more`` is what it is of, or how it spread."""

    stage: str
    figure: float
    budget: float
    more: str

    @property
    def broken(self) -> bool:
        """Whether it is over."""
        return not 0 < self.figure <= self.budget


@dataclass(frozen=True)
class Budget:
    """``contender`` may cost ``most`` times as much as ``to``; ``long``: not in the short form."""

    case: str
    contender: str
    to: str
    most: float
    long: bool = False

    @property
    def stage(self) -> str:
        """What it is called in tables and in the history."""
        return f"{self.case}: {self.contender} / {self.to}"

    def hold(self, case: Case) -> Held:
        """Look at what was measured."""
        try:
            ratio = case.contenders[self.contender].beside(case.contenders[self.to])
        except KeyError as missing:
            sys.exit(f"budgets.toml: {self.case} has no contender {missing}")
        wrong = [name for name in (self.contender, self.to) if not case.contenders[name].right]
        if wrong:
            sys.exit(f"{self.case}: wrong results of {', '.join(wrong)}")
        return Held(self.stage, ratio.median, self.most, f"({ratio.least:.2f} to {ratio.most:.2f})")


def compiler() -> str:
    """Return the C compiler's name and major version, like ``gcc 12``."""
    macros = subprocess.run(
        ["cc", "-E", "-dM", "-x", "c", "/dev/null"], capture_output=True, text=True, check=True
    ).stdout
    if match := re.search(r"__clang_major__ (\d+)", macros):
        return f"clang {match[1]}"
    match = re.search(r"__GNUC__ (\d+)", macros)
    return f"gcc {match[1]}" if match else "unknown"


def hold_instructions(budgets: dict[str, Any]) -> list[Held]:
    """Count every stage's instructions."""
    factor = 1.0 if compiler() == budgets["compiler"] else budgets["elsewhere"]
    counted, stages = instructions.count(), budgets["stages"]
    if differ := stages.keys() ^ counted.keys():
        sys.exit(f"budgets.toml and stages.py do not have the same stages: {', '.join(sorted(differ))}")
    return [
        Held(name, figure, stages[name] * factor, f"instructions a {of}")
        for name, (figure, of) in counted.items()
    ]


def hold_ratios(budgets: list[Budget]) -> list[Held]:
    """Measure every case with a budget; what is broken, twice."""
    held = _measure(budgets)
    if again := [budget for budget in budgets if held[budget.stage].broken]:
        held |= _measure(again)
    return [held[budget.stage] for budget in budgets]


def _measure(budgets: list[Budget]) -> dict[str, Held]:
    cases: dict[str, Case] = {}
    for _, ones in groupby(budgets, lambda budget: budget.case.partition("/")[0]):  # a file's stand together
        of_file = list(ones)
        contenders = frozenset(name for budget in of_file for name in (budget.contender, budget.to))
        wanted = [budget.case for budget in of_file]
        cases |= {case.name: case for case in run.run(wanted, REPEATS, contenders)}
    if missing := {budget.case for budget in budgets} - cases.keys():
        sys.exit(f"budgets.toml: there is no case {', '.join(sorted(missing))}")
    return {budget.stage: budget.hold(cases[budget.case]) for budget in budgets}


def record(held: list[Held]) -> None:
    """Append today's figures to the history."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    entry = {
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit.stdout.strip(),
        "compiler": compiler(),
        "figures": {one.stage: float(f"{one.figure:.4g}") for one in held},
    }
    with HISTORY.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def past(stage: str) -> str:
    """Return a stage's last figures, for whoever looks for the commit that broke it."""
    entries = [json.loads(line) for line in HISTORY.read_text().splitlines()]
    figures = [
        f"{entry['figures'][stage]} at {entry['commit']} ({entry['day']}, {entry['compiler']})"
        for entry in entries
        if stage in entry["figures"]
    ]
    return "; ".join(figures[-SHOWN:]) or "never recorded"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--record", action="store_true", help="append the figures to history.jsonl")
    asked = parser.parse_args()
    budgets = tomllib.loads((HERE / "budgets.toml").read_text())
    ratios = [Budget(**one) for one in budgets["ratios"]]
    print("counting the instructions of every stage: a minute …", file=sys.stderr)
    held = hold_instructions(budgets["instructions"])
    print("measuring ratios …", file=sys.stderr)
    held += hold_ratios([budget for budget in ratios if not (asked.short and budget.long)])
    if asked.record:
        record(held)
    width = max(len(one.stage) for one in held)
    for one in held:
        print(f"{one.stage:{width}} {one.figure:10.2f} of {one.budget:9.2f} {one.more}")
    broken = [one for one in held if one.broken]
    for one in broken:
        over = 100 * (one.figure / one.budget - 1)
        print(
            f"BROKEN: {one.stage}: {one.figure:.2f} {one.more}, {over:.1f} % over its budget of"
            f" {one.budget:.2f}. Before: {past(one.stage)}"
        )
    if broken:
        sys.exit("make it faster, or raise the budget in benchmarks/budgets.toml with the reason beside it")


if __name__ == "__main__":
    main()
