"""Run cases, all contenders of each in turns, and show what they cost.

    .venv/bin/python benchmarks/run.py [CASE…] [--repeats 5] [--save FILE] [--list]

CASE is a name, or a pattern like 'link/*'; without one, all are run. A case's name begins with its file's:
``link/500`` is in bench_link.py. Files with tests are run by pytest-benchmark, the others by apart.py.
"""

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from measured import FLOOR, HERE, OURS, Case, Results, environment

# A contender has a tenth of a second in each repetition, and 15 rounds at least.
PYTEST = [
    *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "python_files=bench_*.py"),
    *("--benchmark-warmup=on", "--benchmark-warmup-iterations=3"),
    *("--benchmark-max-time=0.1", "--benchmark-min-rounds=15"),
]


def files() -> dict[str, bool]:
    """Return every file's cases' first name, and whether pytest runs it."""
    return {
        file.stem.removeprefix("bench_"): "\ndef test_" in file.read_text()
        for file in sorted(HERE.glob("bench_*.py"))
    }


def run(wanted: list[str], repeats: int, only: frozenset[str] | None = None) -> Iterator[Case]:
    """Run the cases that fit a pattern, if asked with only these contenders."""
    for name, is_test in files().items():
        patterns = [pattern for pattern in wanted if fnmatch(name, pattern.partition("/")[0])]
        if not patterns:
            continue
        if is_test:
            cases = _by_pytest(name, repeats, only)
        else:
            module = importlib.import_module(f"bench_{name}")
            fit = [case for case in getattr(module, "CASES", []) if _fits(case.name, patterns)]
            cases = (case.run(repeats, only) for case in fit)
        yield from (case for case in cases if _fits(case.name, patterns))


def _fits(name: str, patterns: list[str]) -> bool:
    return any(fnmatch(name, pattern) or fnmatch(name.partition("/")[0], pattern) for pattern in patterns)


def _by_pytest(name: str, repeats: int, only: frozenset[str] | None) -> Iterator[Case]:
    cases: dict[str, Case] = {}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(repeats):
            out = Path(folder) / f"{repeat}.json"
            asked = [f"--benchmark-json={out}", str(HERE / f"bench_{name}.py")]
            asked += [f"--contender={contender}" for contender in only or ()]
            ran = subprocess.run([*PYTEST, *asked], capture_output=True, text=True)
            if ran.returncode:
                sys.exit(f"{name} failed:\n{ran.stdout}{ran.stderr}")
            for test in json.loads(out.read_text())["benchmarks"]:
                info = test["extra_info"]
                case = cases.setdefault(
                    test["group"],
                    Case(test["group"], f"ns {'an' if info['of'][0] in 'aeio' else 'a'} {info['of']}"),
                )
                case.add(info["contender"], test["stats"]["median"] * 1e9 / info["items"])
    yield from cases.values()


def show(case: Case) -> None:
    """Print a case as a table."""
    floor, ours = case.first(FLOOR), case.first(OURS)
    width = max(map(len, case.contenders), default=0)
    print(f"{case.name}: {case.unit}")
    for name, one in case.contenders.items():
        line = f"  {name:{width}} {one.cost:10.4g}"
        for what, other in ((FLOOR, floor), (OURS, ours)):
            if other is not None:
                line += f"  {one.beside(other)!s:20} x {what}"
        line += "".join(f"  {what} {one.figure(what):.4g}" for what in one.said)
        print(line + ("" if one.right else "  WRONG"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=["*"], metavar="CASE")
    parser.add_argument("--repeats", type=int, default=5, choices=range(1, 100), metavar="N")
    parser.add_argument("--save", type=Path, metavar="FILE", help="add them to the results in this file")
    parser.add_argument("--list", action="store_true", help="only say which files of cases there are")
    asked = parser.parse_args()
    if asked.list:
        print("\n".join(files()))
        return
    known = asked.save is not None and asked.save.exists()
    results = Results.load(asked.save) if known else Results(environment())
    print(results.environment["machine"])
    wrong = 0
    for case in run(asked.cases, asked.repeats):
        show(case)
        wrong += sum(not one.right for one in case.contenders.values())
        results.cases[case.name] = case
        if asked.save:
            results.save(asked.save)
    if not results.cases:
        sys.exit(f"no case is called {' or '.join(asked.cases)}: see --list")
    if wrong:
        sys.exit(f"{wrong} contenders had wrong results")


if __name__ == "__main__":
    main()
