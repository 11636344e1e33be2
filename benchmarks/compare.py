"""Write COMPARISON.md: every rival at every case, from the results of one run.

.venv/bin/python benchmarks/compare.py benchmarks/results/DAY.json
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from measured import FLOOR, HERE, OURS, Case, Contender, Ratio, Results, percentile

OUT = HERE / "COMPARISON.md"
FEW = 4  # other figures that fit beside a cost


def figure(value: float) -> str:
    """Return three digits of a number, as people write it."""
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.3g}"


def times(ratio: Ratio) -> str:
    """Return a ratio with its spread."""
    if ratio.least == ratio.most:  # to itself, or of one repetition
        return figure(ratio.median)
    return f"{figure(ratio.median)} ({figure(ratio.least)}–{figure(ratio.most)})"


def rivals(results: Results) -> list[str]:
    """Return the names of all contenders that are neither ours nor a floor, in the order of their cases."""
    names = {name: None for case in results.cases.values() for name in case.contenders}
    return [name for name in names if not name.startswith((OURS, FLOOR))]


def overview(results: Results) -> Iterator[str]:
    """Yield the lines of one table: a row for each case, a column for the floor and each rival."""
    shown = [FLOOR, *rivals(results)]
    yield f"| case | {' | '.join(shown)} |"
    yield "|---|" + "---|" * len(shown)
    for case in results.cases.values():
        ours = case.first(OURS)
        if ours is None:
            continue
        others = (case.first(FLOOR) if name == FLOOR else case.contenders.get(name) for name in shown)
        cells = ("" if other is None else figure(other.beside(ours).median) for other in others)
        yield f"| [{case.name}](#{anchor(case)}) | {' | '.join(cells)} |"


def anchor(case: Case) -> str:
    """Return what a case's heading is linked by."""
    return "".join(c for c in case.name.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def table(case: Case) -> Iterator[str]:
    """Yield the lines of a case's table."""
    floor, ours = case.first(FLOOR), case.first(OURS)
    others = [(name, of) for name, of in ((FLOOR, floor), (OURS, ours)) if of is not None]
    timed = any(one.times for one in case.contenders.values())
    said = list(dict.fromkeys(what for one in case.contenders.values() for what in one.said))
    beside = said if len(said) <= FEW else []
    head = [f"contender, {case.unit}", "median"]
    head += [f"× {name}" for name, _ in others] + ["p50 ms", "p99 ms", "most ms"] * timed + beside
    yield f"| {' | '.join(head)} |"
    yield "|---|" + "---:|" * (len(head) - 1)
    for name, one in case.contenders.items():
        cells = [name + ("" if one.right else " (**wrong results**)"), figure(one.cost)]
        cells += [times(one.beside(of)) for _, of in others]
        cells += _times(one) if timed else []
        cells += [figure(one.figure(what)) if what in one.said else "" for what in beside]
        yield f"| {' | '.join(cells)} |"
    if not beside and said:
        yield from _below(case, said)


def _below(case: Case, said: list[str]) -> Iterator[str]:
    names = [name for name, one in case.contenders.items() if one.said]
    yield ""
    yield f"| medians of {case.name} | {' | '.join(names)} |"
    yield "|---|" + "---:|" * len(names)
    for what in said:
        ones = [case.contenders[name] for name in names]
        cells = (figure(one.figure(what)) if what in one.said else "" for one in ones)
        yield f"| {what} | {' | '.join(cells)} |"


def _times(one: Contender) -> list[str]:
    if not one.times:
        return ["", "", ""]
    return [figure(percentile(one.times, percent) / 1000) for percent in (50, 99, 100)]


def page(results: Results, source: Path) -> Iterator[str]:
    """Yield the lines of the page."""
    about = results.environment
    yield "# Every rival at every case"
    yield ""
    yield (
        f"From the run of a day ([{source.name}](results/{source.name}), from commit {about['commit']} on),"
        " in which all contenders of a case ran in turns, as often as stands below it. `make bench` runs all,"
        " `.venv/bin/python benchmarks/run.py NAME` a case. A ratio is made within a repetition; shown are"
        " the median of the repetitions and, in brackets, the least and the most. All contenders' results"
        " were checked. What the cases are, and what they do not show, says [docs/benchmarks.md]"
        "(../docs/benchmarks.md)."
    )
    yield ""
    yield f"{about['machine']}; {about['compiler']}. {about['versions']}."
    yield ""
    yield "## How many times as much as fluxfast"
    yield ""
    yield from overview(results)
    for case in results.cases.values():
        yield ""
        yield f"## {case.name}"
        yield ""
        yield from table(case)
        yield ""
        yield f"Repetitions: {max(len(one.costs) for one in case.contenders.values())}."


def main() -> None:
    source = Path(sys.argv[1])
    OUT.write_text("\n".join(page(Results.load(source), source)) + "\n")


if __name__ == "__main__":
    main()
