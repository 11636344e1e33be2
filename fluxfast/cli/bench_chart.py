"""The picture of a bench: CPU and tick time against devices or periods, what held and what did not."""

from pathlib import Path
from typing import Any, Final

from fluxfast.bench import Bench, OwnBench, Result, Trial, environment, sentence
from fluxfast.cli.pictures import need_matplotlib
from fluxfast.errors import FluxfastError

STATION, SIMULATOR, P50, P99 = "#2563eb", "#9ca3af", "#0d9488", "#f59e0b"
FAILED, LIMIT, INK, FAINT, GRID = "#dc2626", "#15803d", "#1f2937", "#6b7280", "#e5e7eb"
CROSS: Final[dict[str, Any]] = {"linestyle": "", "marker": "x", "markersize": 7, "markeredgewidth": 1.8}
MARGIN: Final = 1.12
SOFTWARE: Final = "fluxfast bench"  # by which a chart is known as ours
HEAD: Final = 4096  # bytes, in which it stands


def is_ours(picture: Path) -> bool:
    """Whether a file is a chart that ``draw`` made."""
    try:
        return SOFTWARE.encode() in picture.read_bytes()[:HEAD]
    except OSError:
        return False


def draw(result: Result, bench: Bench, out: Path) -> None:
    """Draw the trials as the PNG ``out``; FluxfastError if it cannot be written."""
    need_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.4), dpi=150, facecolor="white")
    cpu, times = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.05, right=0.982, top=0.765, bottom=0.1, wspace=0.13)
    figure.text(0.0115, 0.935, _capital(sentence(result, bench)), fontsize=16, fontweight="bold", color=INK)
    about = environment()
    where = f"{about['cpu']}, {about['cores']} cores, {about['kernel']}, fluxfast {about['fluxfast']}"
    figure.text(0.012, 0.888, where, fontsize=10.5, color=FAINT)
    trials = [trial for trial in result.trials if trial.measured is not None]
    for axes in (cpu, times):
        _prepare(axes, trials, result.limit, bench)
    _curve(cpu, trials, bench, lambda one: one.measured.cpu_percent, STATION, "station")
    if isinstance(bench, OwnBench):
        _curve(cpu, trials, bench, lambda one: one.simulator_percent, SIMULATOR, "simulator")
    _label(cpu, "CPU, % of a core", "in the window of each trial", trials)
    _curve(times, trials, bench, lambda one: one.measured.tick_p50_ms, P50, "p50")
    _curve(times, trials, bench, lambda one: one.measured.tick_p99_ms, P99, "p99")
    _deadline(times, trials, bench)
    _label(times, "Tick, ms", "from its begin to the last answer", trials)
    try:
        figure.savefig(out, format="png", metadata={"Software": SOFTWARE})
    except OSError as error:
        raise FluxfastError(f"cannot write {out}: {error.strerror}") from None


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _x(trial: Trial, bench: Bench) -> float:
    return trial.devices if isinstance(bench, OwnBench) else trial.every_us / 1000


def _prepare(axes: Any, trials: list[Trial], limit: Trial | None, bench: Bench) -> None:
    """Lay what was tried below, harder to the right, and mark the limit."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.6g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    places = [_x(trial, bench) for trial in trials]
    if places:
        ends = min(places) / MARGIN, max(places) * MARGIN
        axes.set_xlim(ends if isinstance(bench, OwnBench) else ends[::-1])
    axes.set_xlabel(
        "devices" if isinstance(bench, OwnBench) else "period, ms", color=FAINT, fontsize=9.5, loc="right"
    )
    if limit is not None:
        axes.axvline(_x(limit, bench), color=LIMIT, linewidth=1.2, linestyle=(0, (4, 3)), label="limit")


def _curve(axes: Any, trials: list[Trial], bench: Bench, value: Any, colour: str, label: str) -> None:
    """Draw a line through what held, and crosses where it did not."""
    shown = sorted((_x(one, bench), value(one), one.held) for one in trials if value(one) is not None)
    held = [(x, y) for x, y, is_held in shown if is_held]
    failed = [(x, y) for x, y, is_held in shown if not is_held]
    if held:
        axes.plot(*zip(*held, strict=True), color=colour, linewidth=1.8, marker="o", markersize=4.5,
                  label=label)  # fmt: skip
    if failed:
        axes.plot(*zip(*failed, strict=True), color=colour, **CROSS)


def _deadline(axes: Any, trials: list[Trial], bench: Bench) -> None:
    ends = sorted((_x(one, bench), one.measured.deadline_ms) for one in trials if one.measured is not None)
    if ends:
        dashes = (0, (4, 3))
        axes.plot(*zip(*ends, strict=True), color=FAILED, linewidth=1.0, linestyle=dashes, label="deadline")


def _label(axes: Any, title: str, note: str, trials: list[Trial]) -> None:
    """Write the heading, and below it the legend of all that was drawn with a label."""
    if not all(trial.held for trial in trials):
        axes.plot([], [], color=FAINT, label="did not hold", **CROSS)
    corner = {"xycoords": "axes fraction", "textcoords": "offset points"}
    heading = axes.annotate(title, (0, 1), (0, 29), **corner, fontsize=13, fontweight="bold", color=INK)
    axes.annotate(note, (1, 0), (9, 3), heading, "offset points", fontsize=10, color=FAINT)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.008, 1.0), borderaxespad=0.2, ncols=5, frameon=False,
        fontsize=9.5, labelcolor=INK, handlelength=1.4, columnspacing=1.2,
    )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(which="both", colors=FAINT, labelsize=9.5, length=0, pad=5)
    axes.yaxis.set_major_formatter("{x:,.6g}")
