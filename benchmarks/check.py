"""Hold every stage of a tick against its budget: ``make bench-check``.

    python benchmarks/check.py [--record]

Instructions for one item, which no load of the machine changes, are held against budgets.toml. They depend on
the compiler: one for which the budgets were not set gets `elsewhere` times as much. ``--record`` appends
today's figures to history.jsonl, of which a broken budget shows the last ones.
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from instructions import count

HERE = Path(__file__).parent
HISTORY = HERE / "history.jsonl"
SHOWN = 5  # figures of the past


def history() -> list[dict[str, Any]]:
    """Return what was recorded, the oldest first."""
    lines = HISTORY.read_text().splitlines() if HISTORY.exists() else []
    return [json.loads(line) for line in lines]


def compiler() -> str:
    """Return the C compiler's name and major version, like ``gcc 12``."""
    macros = subprocess.run(
        ["cc", "-E", "-dM", "-x", "c", "/dev/null"], capture_output=True, text=True, check=True
    ).stdout
    if match := re.search(r"__clang_major__ (\d+)", macros):
        return f"clang {match[1]}"
    match = re.search(r"__GNUC__ (\d+)", macros)
    return f"gcc {match[1]}" if match else "unknown"


def commit() -> str:
    ran = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    return ran.stdout.strip()


def record(counted: dict[str, tuple[float, str]], compiled_by: str) -> None:
    entry = {
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
        "compiler": compiled_by,
        "instructions": {name: round(figure, 1) for name, (figure, _) in counted.items()},
    }
    with HISTORY.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def past(name: str) -> str:
    """Return a stage's last figures, for whoever looks for the commit that broke it."""
    figures = [
        f"{entry['instructions'][name]} at {entry['commit']} ({entry['day']}, {entry['compiler']})"
        for entry in history()
        if name in entry["instructions"]
    ]
    return "; ".join(figures[-SHOWN:]) or "never recorded"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    budgets = tomllib.loads((HERE / "budgets.toml").read_text())["instructions"]
    compiled_by = compiler()
    factor = 1.0 if compiled_by == budgets["compiler"] else budgets["elsewhere"]
    counted = count()
    if asked.record:
        record(counted, compiled_by)
    stages: dict[str, float] = budgets["stages"]
    if missing := stages.keys() ^ counted.keys():
        sys.exit(f"budgets.toml and stages.py do not have the same stages: {', '.join(sorted(missing))}")
    print(f"instructions, {compiled_by}" + (f", budgets x {factor:g}" if factor != 1 else ""))
    broken = 0
    for name, (figure, of) in counted.items():
        budget = stages[name] * factor
        print(f"{name:28} {figure:10.1f} of {budget:8.1f} a {of}")
        if figure > budget:
            broken += 1
            print(f"  BROKEN: {100 * (figure / budget - 1):.1f} % over its budget. Before: {past(name)}")
    if broken:
        sys.exit(
            f"{broken} budgets are broken: make it faster, or raise the budget with the reason beside it"
        )


if __name__ == "__main__":
    main()
