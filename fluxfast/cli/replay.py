"""``fluxfast replay``: what control would have done with a log, by the same code that runs live."""

import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from pydantic_core import PydanticCustomError
from rich.console import Console
from rich.table import Table

from fluxfast.cli.options import FINDINGS, JSON, MOMENT, Command, load_fleet
from fluxfast.config.modes import Mode, parse_mode
from fluxfast.errors import ConfigError
from fluxfast.profiles.document import parse_document
from fluxfast.replay import Replay, Result
from fluxfast.replay.history import ALWAYS_US

_MAX_SITES: Final = 20
_COLUMNS: Final = {
    "met_pct": ("met %", ".1f"),
    "unserved_kwh": ("unserved kWh", ",.1f"),
    "charged_kwh": ("charged kWh", ",.1f"),
    "discharged_kwh": ("discharged kWh", ",.1f"),
    "peak_before_kw": ("peak kW before", ",.1f"),
    "peak_after_kw": ("after", ",.1f"),
    "over_before_kwh": ("over limit kWh before", ",.2f"),
    "over_after_kwh": ("after", ",.2f"),
    "turns": ("turns", ",d"),
    "differs": ("ticks that differ", ",d"),
    "differs_most_kw": ("by kW", ",.1f"),
}


class _Mode(click.ParamType["str | Mode"]):
    """The name or type of a mode of the site file, or a mode as one would write it there."""

    name = "mode"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | Mode:
        """Return a name, or the mode that was written out."""
        if isinstance(value, Mode) or not value.lstrip().startswith("{"):
            return value  # type: ignore[no-any-return]
        try:
            document = parse_document(value, "--mode")  # as site files are read: 17:00 is no number
            if document.problems:
                raise ConfigError(document.problems)
            mode = parse_mode(document.data)
        except PydanticCustomError as error:
            self.fail(f"{value}: {error.message().removeprefix(': ')}", param, ctx)
        except ConfigError as error:
            what = error.problems[0].message
            self.fail(
                f"{value} cannot be read: {what} (write it like '{{type: fixed_power, power_kw: 50}}')",
                param, ctx,
            )  # fmt: skip
        assert isinstance(mode, Mode)
        return mode


@click.command(cls=Command)
@click.argument("log", type=click.Path(path_type=Path))
@click.option(
    "--site", required=True, type=click.Path(path_type=Path), help="The site file whose control: decides."
)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=_Mode(),
    help="Only this mode, by name or type, or written out like '{type: fixed_power, power_kw: 50}'; "
    "may be given several times.",
)
@click.option("--from", "from_us", type=MOMENT, default=0, help="Begin at this time, UTC.")
@click.option("--to", "to_us", type=MOMENT, default=ALWAYS_US, help="End before this time, UTC.")
@click.option(
    "--chart", type=click.Path(path_type=Path), help="Draw load, grid, batteries and energy as a PNG."
)
@click.option("--out", type=click.Path(path_type=Path), help="Log the new decisions here.")
@JSON
def replay(
    log: Path,
    site: Path,
    modes: Sequence[str | Mode],
    from_us: int,
    to_us: int,
    chart: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Decide LOG anew, tick by tick, by the control section of a site file.

    Sends nothing. Sites that only observe are decided for too.

    Other setpoints would have made another history, so the log is corrected: the load is the logged grid
    power plus what the batteries did then (their measured power; without that the logged setpoint, or the
    target power they show); the grid power is that load minus the new setpoints; the state of energy follows
    the difference of power, the capacity and the profile's efficiency. Batteries are taken to do what they
    are told, at once. A site sees history as it was until a decision of its own differs from the logged one.

    \b
    Examples:
      fluxfast replay log --site site.yaml
      fluxfast replay log --site site.yaml --chart what-if.png \\
        --mode '{type: peak_shaving, import_limit_kw: 450}'

    Exit code: 0 done, 1 without --mode: a decision differs from the logged one, 2 bad input, 3 could not be
    done.
    """
    fleet = load_fleet(site)
    began = time.perf_counter()
    work = Replay(fleet, log, modes=modes, from_us=from_us, to_us=to_us, out=out)
    if chart is not None:
        from fluxfast.cli.pictures import need_matplotlib

        need_matplotlib()
    result = work.run()
    took_s = time.perf_counter() - began
    if as_json:
        click.echo(json.dumps(_as_json(result, took_s)))
    else:
        _print(result, took_s)
    if chart is not None:
        from fluxfast.cli.replay_chart import draw

        draw(result, chart)
        if not as_json:
            click.echo(f"chart: {chart}")
    if not modes and result.total()["differs"]:
        sys.exit(FINDINGS)


def _as_json(result: Result, took_s: float) -> dict[str, Any]:
    return {
        "from": _time(result.first_us),
        "to": _time(result.last_us),
        "ticks": result.ticks,
        "took_s": round(took_s, 3),
        "total": result.total(),
        "sites": result.rows(),
    }


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _print(result: Result, took_s: float) -> None:
    rows, total = result.rows(), result.total()
    seconds = (result.last_us - result.first_us) / 1e6
    click.echo(
        f"{result.ticks:,} ticks of {len(rows):,} sites, "
        f"{_time(result.first_us)} to {_time(result.last_us)}, "
        f"in {took_s:.1f} s ({seconds / took_s:,.0f} x real time)"
    )
    table = Table(box=None, pad_edge=False, header_style="bright_black")
    table.add_column("site", no_wrap=True)
    shown = {
        key: about for key, about in _COLUMNS.items() if total["compared"] or not key.startswith("differs")
    }
    for title, _ in shown.values():
        table.add_column(title, justify="right")
    listed = rows[:_MAX_SITES] if len(rows) > 1 else rows
    for row in [*listed, *([total] if len(rows) > 1 else [])]:
        table.add_row(row["site"], *(_cell(row[key], form) for key, (_, form) in shown.items()))
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)
    if len(rows) > _MAX_SITES:
        click.echo(f"{len(rows) - _MAX_SITES:,} sites more; --json has all")
    if not total["compared"]:
        click.echo("no logged decisions to compare with")
    elif not total["differs"]:
        click.echo(f"all {total['compared']:,} decisions are as logged")


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
