"""``fluxfast top``: the devices of a running station, live."""

import asyncio
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from fluxfast.cli.options import DURATION, JSON, Command, load_fleet, refuse_serial
from fluxfast.errors import FluxfastError, MissingExtraError
from fluxfast.running import Running, running_stations
from fluxfast.top.devices import SORTABLE
from fluxfast.top.sheet import printable
from fluxfast.top.snapshot import as_text, look
from fluxfast.top.stations import OwnStation, polling

LEAST_EVERY_S, MOST_EVERY_S = 0.1, 30.0


@click.command(cls=Command)
@click.argument("site", required=False, type=click.Path(path_type=Path))
@click.option(
    "--every",
    "every_s",
    type=DURATION,
    default="200ms",
    show_default=True,
    help="How often to look, 100ms to 30s.",
)
@click.option(
    "--filter", "filter_", metavar="TEXT", default="", help="Only devices in which all words of it stand."
)
@click.option(
    "--sort",
    metavar="COLUMN",
    type=click.Choice(SORTABLE),
    help=f"Sort the devices by one of {', '.join(SORTABLE)}.",
)
@click.option("--once", is_flag=True, help="Print the devices once, as a table.")
@JSON
def top(site: Path | None, every_s: float, filter_: str, sort: str | None, once: bool, as_json: bool) -> None:
    """Watch a station of this machine on the whole screen: its devices and sites, their quality, latency,
    power and setpoints; and each device to the last register and frame.

    Without SITE it is the station that runs here; if there are several, you choose. With SITE (a site file or
    a folder of them) it is the one that polls that; if none does, a station is started for as long as you
    look that only reads: it writes to no device and keeps no log.

    On the screen, ? tells the keys. Nothing there writes to a device, and a station that is watched goes on
    as if it were not. Only your own stations can be watched; root sees all.

    \b
    Examples:
      fluxfast top                               the station that runs here
      fluxfast top site.yaml                     the one of this site, or one that only reads
      fluxfast top --filter "bad site-003"       start with a filter
      fluxfast top --once --sort latency_ms      print it once, for a pipe
      fluxfast top --json | jq '.devices[] | select(.quality != "good") | .device'

    \b
    Exit codes:
      0  done
      2  the site file or an option is wrong
      3  no station runs, or it has ended
    """
    if not LEAST_EVERY_S <= every_s <= MOST_EVERY_S:
        raise click.BadParameter("look every 100ms to 30s", param_hint="--every")
    with _stations(site) as stations:
        if once or as_json:
            _print(_only(stations()), filter_, sort, as_json)
            return
        if not _on_terminal(sys.stdin, sys.stdout, sys.stderr):
            raise click.UsageError("this is no terminal: give --once for a table, or --json")
        _app(stations, every_s, filter_, sort)


def _on_terminal(*streams: TextIO | None) -> bool:
    return all(stream is not None and stream.isatty() for stream in streams)  # None: closed


@contextmanager
def _stations(site: Path | None) -> Iterator[Callable[[], Sequence[Running]]]:
    """Yield what finds the stations to watch."""
    if site is None:
        if not running_stations():
            raise FluxfastError(
                "no station of yours runs here: start one with `fluxfast run SITE`,"
                " or give SITE to have one that only reads: `fluxfast top SITE`"
            )
        yield running_stations
        return
    fleet = load_fleet(site)
    refuse_serial(fleet)
    if polling(fleet):
        yield lambda: polling(fleet)
        return
    if _on_terminal(sys.stderr):
        click.echo("no station polls that: starting one that only reads …", err=True)
    with OwnStation(site) as own:
        yield own.running


def _only(stations: Sequence[Running]) -> Running:
    if not stations:
        raise FluxfastError("the station has ended")
    if len(stations) > 1:
        some = ", ".join(f"{station.file} (process {station.pid})" for station in stations)
        raise click.UsageError(printable(f"several stations run here: give the SITE of one of {some}"))
    return stations[0]


def _print(station: Running, filter_: str, sort: str | None, as_json: bool) -> None:
    about, status, sheet = asyncio.run(look(station, filter_, sort))
    if as_json:
        devices = [sheet.as_dict(int(row)) for row in sheet.order]
        of_station = {key: value for key, value in about.items() if key not in ("endpoints", "commanded")}
        click.echo(json.dumps({"station": of_station, "status": status, "devices": devices}))
        return
    width = shutil.get_terminal_size().columns if _on_terminal(sys.stdout) else None
    for line in as_text(sheet, width):
        click.echo(line)


def _app(stations: Callable[[], Sequence[Running]], every_s: float, filter_: str, sort: str | None) -> None:
    try:
        from fluxfast.top.app import TopApp
    except ImportError as error:
        if error.name is None or not error.name.startswith("textual"):
            raise
        raise MissingExtraError("the live view needs Textual: pip install 'fluxfast[top]'") from None
    TopApp(stations, every_s, filter_, sort).run()
