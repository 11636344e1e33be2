"""``fluxfast bench``: what can this machine hold?"""

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from fluxfast.bench import Bench, OwnBench, Result, SiteBench, Trial, environment, explanations, sentence
from fluxfast.bench.bench import Progress
from fluxfast.bench.fleet import MOST_DEVICES, MOST_REGISTERS
from fluxfast.cli.options import DONE, DURATION, FINDINGS, JSON, Command, load_fleet, refuse_serial
from fluxfast.cli.progress import Bar
from fluxfast.cli.words import plural, size
from fluxfast.errors import FluxfastError

SHORTEST_S, LONGEST_S = 0.01, 60.0  # of a period
NAMED: Final = 5
CHART: Final = Path("bench.png")
_COLUMNS: Final = {  # title: width
    "devices": 9, "period ms": 9, "tick p50": 9, "p99": 7, "max": 7, "begin p99": 9, "missed": 8,
    "skipped": 7, "CPU %": 6, "simulator %": 11, "others %": 8, "memory": 8,
}  # fmt: skip


@click.command(cls=Command)
@click.argument("site", required=False, type=click.Path(path_type=Path))
@click.option("--registers", type=click.IntRange(1, MOST_REGISTERS), help="Of each device.  [default: 90]")
@click.option("--every", "every_s", type=DURATION, help="The period, 10ms to 60s.  [default: 500ms]")
@click.option(
    "--most",
    type=click.IntRange(1, MOST_DEVICES),
    help="Devices at the most.  [default: as many as there may be open files]",
)
@click.option("--no-log", is_flag=True, help="Do not log what is read.")
@click.option(
    "--fastest", "fastest_s", type=DURATION, help="Of SITE: the shortest period to try.  [default: 100ms]"
)
@click.option("--include-polled", is_flag=True, help="Of SITE: also if a station of this machine polls it.")
@click.option("--quick", is_flag=True, help="Windows of 1 s instead of 5 s: rough figures.")
@click.option(
    "--chart",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Draw the trials as this PNG.  [default: {CHART}; with --json none]",
)
@click.option("--no-chart", is_flag=True, help="Draw nothing.")
@JSON
def bench(
    site: Path | None, registers: int | None, every_s: float | None, most: int | None, no_log: bool,
    fastest_s: float | None, include_polled: bool, quick: bool, chart: Path | None, no_chart: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Find out what this machine holds: how many devices at a period, or how short a period of SITE's.

    Without SITE, a simulator on one core answers for devices of --registers each, on loopback addresses, and
    a station on another polls and logs them every --every: more and more, until it does not hold. With SITE,
    its devices are read, faster and faster, down to --fastest and no further: devices in the field are slow,
    and shall not be brought down. Nothing is written to them, whatever SITE's control: says, nothing is
    logged, and those that do not answer are named and left out.

    Held is what misses no reading and skips no tick, with 99 % of the ticks done before their deadline. The
    limit is searched for: doubled while it holds, then bisected to within a tenth, then tried for longer. It
    ends with "this machine holds N devices at T ms with R registers, at C % CPU", and a chart. Close other
    programs first, they take what is measured.

    \b
    Columns:
      tick p50, p99, max  from a tick's begin to its last answer, ms
      begin p99           how late a tick began, ms
      missed, skipped     readings without an answer in time; ticks without time
      CPU %               of one core: the station, the simulator, all others

    \b
    Examples:
      fluxfast bench                               about three minutes
      fluxfast bench --quick --every 100ms --registers 20
      fluxfast bench site.yaml --fastest 200ms     your own devices, only read
      fluxfast simulate site.yaml & fluxfast bench site.yaml
      fluxfast bench --json | jq 'select(.event == "summary") | .holds'

    Exit codes: 0 found; 1 nothing was held, devices were left out, SITE's own period was not held, or it was
    interrupted; 2 bad input; 3 it could not be done.
    """
    if chart is not None and no_chart:
        raise click.UsageError("--chart and --no-chart contradict each other (leave one out)")
    picture = None if no_chart else _picture(chart, as_json)
    if site is None:
        if fastest_s is not None or include_polled:
            raise click.UsageError("--fastest and --include-polled are for a SITE (name one)")
        every_s = _period("--every", 0.5 if every_s is None else every_s)
        own = OwnBench(registers or 90, round(every_s * 1e6), most, not no_log, quick)
        _run(own, None, picture, as_json)
        return
    if registers is not None or every_s is not None or most is not None or no_log:
        raise click.UsageError(
            "--registers, --every, --most and --no-log are for a fleet of its own: SITE says what there is,"
            " and nothing is logged (leave them out)"
        )
    fleet = load_fleet(site)
    refuse_serial(fleet)
    fastest_s = _period("--fastest", 0.1 if fastest_s is None else fastest_s)
    real = SiteBench(site, fleet, round(fastest_s * 1e6), quick)
    if not include_polled:
        real.refuse_polled()
    _run(real, real, picture, as_json)


def _period(option: str, seconds: float) -> float:
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise click.BadParameter("a period is 10ms to 60s", param_hint=option)
    return seconds


def _picture(chart: Path | None, as_json: bool) -> Path | None:
    """Return where the chart goes, None: nowhere; refuse what cannot be before the work begins."""
    from fluxfast.cli.bench_chart import is_ours
    from fluxfast.cli.pictures import need_matplotlib

    if chart is None:
        if CHART.exists() and not is_ours(CHART) and not as_json:
            raise click.UsageError(f"{CHART} is not of an earlier bench (name another with --chart FILE)")
        return None if as_json else CHART
    if not chart.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {chart.parent}", param_hint="--chart")
    need_matplotlib()
    return chart


def _run(bench: Bench, real: SiteBench | None, chart: Path | None, as_json: bool) -> None:
    shorter_s, longer_s = bench.lasts_s()
    click.echo(f"trials of {shorter_s:.0f} s each, the last of {longer_s:.0f} s; Ctrl-C ends it", err=True)
    show = _Show(bench, as_json)
    silent: Sequence[Sequence[str]] = ()
    result = None
    try:
        with _all_as_interrupts():
            if real is not None:
                with Bar("which devices answer") as bar:
                    silent = real.survey(bar.update)
                _tell_silent(silent, as_json)
            result = show.run()
    except KeyboardInterrupt:
        pass
    if result is not None and chart is not None:
        _draw(result, bench, chart, as_json)
    code = FINDINGS if result is None or result.limit is None or silent or _is_slower(result, real) else DONE
    if as_json:
        click.echo(json.dumps(_summary(result, bench, silent)))
    elif result is None:
        held = [trial for trial in show.trials if trial.held]
        so_far = f"; held so far: {_what(held[-1], bench)}" if held else ""
        click.echo(f"interrupted: the limit is not known{so_far}")
    else:
        for line in explanations(result, bench):
            click.echo(line)
        click.secho(sentence(result, bench), bold=True)
    sys.exit(code)


@contextmanager
def _all_as_interrupts() -> Iterator[None]:
    """Let whatever asks us to end do what Ctrl-C does: the children end, and what was found is said."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup says so
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_slower(result: Result, real: SiteBench | None) -> bool:
    return real is not None and result.limit is not None and result.limit.every_us > real.every_us


def _what(trial: Trial, bench: Bench) -> str:
    return (
        plural(trial.devices, "devices") if isinstance(bench, OwnBench) else f"{trial.every_us / 1000:g} ms"
    )


def _tell_silent(silent: Sequence[Sequence[str]], as_json: bool) -> None:
    if silent and not as_json:
        some = ", ".join(f"{id_} ({why})" for id_, why in silent[:NAMED])
        more = f" and {len(silent) - NAMED:,} more" if len(silent) > NAMED else ""
        click.echo(f"left out, as they do not answer: {some}{more}")


class _Show:
    """Shows trials as rows of a table, or JSON lines, when they are done, and a bar meanwhile."""

    def __init__(self, bench: Bench, as_json: bool) -> None:
        self.trials: list[Trial] = []
        self._bench = bench
        self._as_json = as_json
        self._bar: Bar | None = None

    def run(self) -> Result:
        """Search."""
        try:
            return self._bench.run(self._tell, self._begin)
        finally:
            self._end_bar()

    def _begin(self, x: int, longer: bool) -> Progress:
        what = plural(x, "devices") if isinstance(self._bench, OwnBench) else f"every {x / 1000:g} ms"
        self._bar = Bar(f"{what}{', for longer' if longer else ''}").__enter__()
        return self._bar.update

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.__exit__()
            self._bar = None

    def _tell(self, trial: Trial) -> None:
        self._end_bar()
        self.trials.append(trial)
        if self._as_json:
            click.echo(json.dumps({"event": "trial", **trial.as_dict()}))
        else:
            if len(self.trials) == 1:
                click.echo("  ".join(title.rjust(width) for title, width in _COLUMNS.items()) + "  verdict")
            cells = "  ".join(cell.rjust(n) for cell, n in zip(_cells(trial), _COLUMNS.values(), strict=True))
            verdict = ("held, for longer" if trial.longer else "held") if trial.held else trial.why
            click.echo(f"{cells}  {click.style(verdict, fg='green' if trial.held else 'red')}")
        sys.stdout.flush()


def _cells(trial: Trial) -> list[str]:
    found = trial.measured
    begin = [f"{trial.devices:,}", f"{trial.every_us / 1000:g}"]
    if found is None:
        return [*begin, *["–"] * (len(_COLUMNS) - 2)]
    times = (found.tick_p50_ms, found.tick_p99_ms, found.tick_max_ms, found.begin_p99_ms)
    return [
        *begin,
        *("–" if time is None else f"{time:.1f}" for time in times),
        f"{found.missed:,}",
        f"{found.skipped:,}",
        f"{found.cpu_percent:.1f}",
        *("–" if part is None else f"{part:.0f}" for part in (trial.simulator_percent, trial.others_percent)),
        size(found.memory_mb * 1e6),
    ]


def _summary(result: Result | None, bench: Bench, silent: Sequence[Sequence[str]]) -> dict[str, Any]:
    limit = None if result is None else result.limit
    return {
        "event": "summary",
        "complete": result is not None,
        "holds": None if limit is None else limit.as_dict(),
        "sentence": None if result is None else sentence(result, bench),
        "explanations": [] if result is None else list(explanations(result, bench)),
        "left_out": [{"device": id_, "why": why} for id_, why in silent],
        "search": asdict(bench.range),
        "environment": environment(),
    }


def _draw(result: Result, bench: Bench, chart: Path, as_json: bool) -> None:
    from fluxfast.cli.bench_chart import draw

    try:
        draw(result, bench, chart)
    except FluxfastError as error:  # no matplotlib, no place: the figures are worth more
        click.echo(f"no chart: {error}", err=as_json)
    else:
        click.echo(f"chart: {chart}", err=as_json)
