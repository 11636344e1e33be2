"""Write docs/benchmarks.md and its charts from the results of one run.

    .venv/bin/python benchmarks/page.py benchmarks/results/DAY.json

What a case is and does not show is its file's docstring; what cannot be drawn from results stands in page.md,
between whose parts the cases are put.
"""

import ast
import re
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import matplotlib as mpl
from compare import figure, table
from goals import goals
from growth import Growth, growths
from matplotlib import pyplot as plt
from measured import FLOOR, HERE, OURS, Case, Results
from run import files

mpl.use("svg")
plt.rcParams.update({"svg.hashsalt": "fluxfast", "font.size": 9, "axes.spines.top": False})

SUM = "sampled"  # what the parts of a cost but the residue add up to
CHARTS_A_FILE, TABLES_A_FILE = 3, 8
DOCS = HERE.parent / "docs"
CHARTS = DOCS / "benchmarks"
FLOORS = ["#8a8f98", "#b9bdc4"]
OUR = ["#1668b8", "#5fa3e0", "#93c4ee"]
RIVALS = ["#d08c3c", "#a8483b", "#7a5aa6", "#4f8f5b", "#c2567f", "#8b7433", "#3f8f96", "#6b4b3a", "#c9a227"]


def families(results: Results) -> dict[str, list[Case]]:
    """Return the cases of each file."""
    found = defaultdict(list)
    for case in results.cases.values():
        found[case.name.partition("/")[0]].append(case)
    return found


def about(family: str) -> tuple[str, str]:
    """Return the title and the rest of a file's docstring."""
    doc = ast.get_docstring(ast.parse((HERE / f"bench_{family}.py").read_text())) or family
    title, _, rest = doc.partition("\n")
    return title.rstrip("."), rest.strip().replace("``", "`")


def colours(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each contender: greys for floors, blues for ours."""
    left = {FLOOR: iter(FLOORS), OURS: iter(OUR), "": iter(RIVALS)}
    return {
        name: next(next(shades for begin, shades in left.items() if name.startswith(begin)), "#000000")
        for name in names
    }


def bars(case: Case, path: Path) -> None:
    """Draw what each contender costs: a bar, with the least and the most of the repetitions."""
    names = list(case.contenders)[::-1]
    costs = [case.contenders[name].cost for name in names]
    spread = [
        [max(0, cost - min(case.contenders[name].costs)) for name, cost in zip(names, costs, strict=True)],
        [max(0, max(case.contenders[name].costs) - cost) for name, cost in zip(names, costs, strict=True)],
    ]
    figure_, axes = plt.subplots(figsize=(7, 0.6 + 0.27 * len(names)), layout="constrained")
    shades = colours(case.contenders)
    axes.barh(names, costs, color=[shades[name] for name in names], xerr=spread, error_kw={"lw": 0.8})
    if max(costs) > 30 * min(costs):
        axes.set_xscale("log")
    for at, cost in enumerate(costs):
        axes.annotate(f" {figure(cost)}", (cost, at), va="bottom", fontsize=7)
    axes.set_xlabel(f"{case.name}: {case.unit}")
    axes.margins(x=0.1)
    save(figure_, path)


def is_of_parts(case: Case) -> bool:
    """Whether a case says what its cost is made of."""
    return any(SUM in one.said for one in case.contenders.values())


def parts(case: Case) -> dict[str, float]:
    """Return what a cost is made of, the largest first: means, which add up as repetitions do."""
    (one,) = case.contenders.values()
    means = {what: sum(found) / len(one.costs) for what, found in one.said.items() if what != SUM}
    return dict(sorted(means.items(), key=lambda part: -part[1]))


def shares(case: Case, path: Path) -> None:
    """Draw what a case's cost is made of."""
    found = dict(reversed(parts(case).items()))
    figure_, axes = plt.subplots(figsize=(7, 0.6 + 0.2 * len(found)), layout="constrained")
    axes.barh(list(found), list(found.values()), color=OUR[0])
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel(f"{case.name}: µs of a tick")
    save(figure_, path)


def adding_up(case: Case) -> Iterator[str]:
    """Yield the lines of a table of what a case's cost is made of."""
    found = parts(case)
    whole = sum(found.values())
    yield "| of a tick | µs | % |"
    yield "|---|---:|---:|"
    for what, us in found.items():
        yield f"| {what} | {us:,.0f} | {100 * us / whole:.1f} |"
    yield f"| **all that the process used** | {whole:,.0f} | 100 |"


def curves(family: str, grown: list[Growth], path: Path) -> None:
    """Draw cost against size, each contender a line, in logarithms; a slope of 1 is linear."""
    figure_, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
    shades = colours(one.contender for one in grown)
    for one in grown:
        label = f"{one.contender}: slope {one.slope:.2f}"
        axes.loglog(one.sizes, one.totals, "o-", ms=3, lw=1.4, color=shades[one.contender], label=label)
    axes.set_xlabel(grown[0].against)
    axes.set_ylabel(f"{family}: {grown[0].unit}")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, frameon=False)
    save(figure_, path)


def save(figure_: plt.Figure, path: Path) -> None:
    """Write a chart that is the same for the same results."""
    figure_.savefig(path, metadata={"Date": None})
    plt.close(figure_)


def matrix(cases: list[Case]) -> Iterator[str]:
    """Yield the lines of one table of many cases: their costs."""
    names = list(dict.fromkeys(name for case in cases for name in case.contenders))
    yield f"| {cases[0].unit} | {' | '.join(names)} |"
    yield "|---|" + "---:|" * len(names)
    for case in cases:
        ones = (case.contenders.get(name) for name in names)
        yield f"| {case.name} | {' | '.join(figure(one.cost) if one else '' for one in ones)} |"


def section(family: str, cases: list[Case]) -> Iterator[str]:
    """Yield the lines of a file's cases: what they are, their command, charts, tables, growth."""
    title, rest = about(family)
    yield f"## {title}"
    yield ""
    yield rest
    yield ""
    yield "```console"
    yield f"$ .venv/bin/python benchmarks/run.py {family}"
    yield "```"
    drawn = []
    if grown := growths(cases):
        chart = CHARTS / f"{family}-growth.svg"
        curves(family, grown, chart)
        drawn.append(chart)
    for case in cases[-1:] if grown else cases[:CHARTS_A_FILE]:
        chart = CHARTS / f"{re.sub('[^a-z0-9]+', '-', case.name.lower())}.svg"
        if len(case.contenders) > 1:
            bars(case, chart)
        elif is_of_parts(case):
            shares(case, chart)
        else:
            continue
        drawn.append(chart)
    for chart in drawn:
        yield ""
        yield f"![{title}](benchmarks/{chart.name})"
    if len(cases) > TABLES_A_FILE:
        yield ""
        yield from matrix(cases)
    else:
        for case in cases:
            yield ""
            yield f"**{case.name}**"
            yield ""
            yield from adding_up(case) if is_of_parts(case) else table(case)
    if grown:
        yield ""
        yield f"| {grown[0].against}: {grown[0].unit} | slope | an item more costs, at the largest sizes |"
        yield "|---|---:|---:|"
        for one in grown:
            yield f"| {one.contender} | {one.slope:.2f} | {figure(one.marginal)} |"


def promised(results: Results) -> Iterator[str]:
    """Yield the lines of the table of goals."""
    yield "| goal | | measured | met |"
    yield "|---|---:|---:|---|"
    for goal in goals():
        measured = goal.measured(results)
        if measured is None:
            yield f"| {goal.what} | {goal.bound} | | not in this run |"
        else:
            met = "yes" if goal.met(measured) else f"no: {goal.gap}".rstrip(": ")
            yield f"| {goal.what} | {goal.bound} | {figure(measured)} | {met} |"


def main() -> None:
    source = Path(sys.argv[1])
    results = Results.load(source)
    CHARTS.mkdir(exist_ok=True)
    for old in CHARTS.glob("*.svg"):
        old.unlink()
    before, after = (HERE / "page.md").read_text().split("<!-- cases -->\n")
    head, tail = before.split("<!-- goals -->\n")
    lines = [line for family, cases in families(results).items() for line in [*section(family, cases), ""]]
    about_ = results.environment
    where = textwrap.fill(f"{about_['machine']}; {about_['compiler']}; {about_['versions']}.", 110)
    head = head.format(commit=about_["commit"], source=source.name, where=where)
    missing = [name for name in files() if name not in families(results)]
    if missing:
        lines += [f"Not in this run: {', '.join(missing)}.", ""]
    lines = [*promised(results), tail, *lines]
    (DOCS / "benchmarks.md").write_text(head + "\n".join(lines) + after)


if __name__ == "__main__":
    main()
