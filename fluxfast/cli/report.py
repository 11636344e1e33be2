"""``fluxfast report``: a day of a log as a page for each site."""

import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

import click

from fluxfast.cli.options import LOG, Command
from fluxfast.cli.progress import Bar
from fluxfast.config.times import zone
from fluxfast.errors import FluxfastError, MissingExtraError
from fluxfast.log.reading import open_log
from fluxfast.report import (
    Day,
    Figures,
    draw,
    entry_of,
    figures_of,
    need_matplotlib,
    render,
    render_index,
)

INDEX: Final = "index.html"
LISTED: Final = 5  # files that are named one by one
PICTURED: Final = 10  # sites; a picture takes half a second


class _Date(click.ParamType[date]):
    """A day such as 2026-11-22."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return it."""
        if isinstance(value, date):
            return value
        try:
            return datetime.strptime(value, "%Y-%m-%d").date()
        except ValueError:
            self.fail(f"{value!r} is no day (write one like 2026-11-22)", param, ctx)


class _Zone(click.ParamType[tzinfo]):
    """A time zone such as Europe/Berlin."""

    name = "zone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tzinfo:
        """Return it."""
        if isinstance(value, tzinfo):
            return value
        try:
            return zone(value)
        except LookupError as error:
            self.fail(f"{error.args[0]} (write one like Europe/Berlin, or UTC)", param, ctx)


@click.command(cls=Command)
@LOG
@click.option("--day", type=_Date(), help="Which day; otherwise the last one that has data.")
@click.option("--site", "sites", multiple=True, help="Only this site; may be given several times.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default="report", show_default=True,
    help="The folder to write to.",
)  # fmt: skip
@click.option(
    "--png/--no-png",
    "with_png",
    default=None,
    help=f"Draw each page as a PNG, too; unless said otherwise, of up to {PICTURED} sites.",
)
@click.option(
    "--tz", type=_Zone(), help="The time zone whose day it is, like Europe/Berlin; otherwise this machine's."
)
def report(
    log: Path, day: date | None, sites: tuple[str, ...], out: Path, with_png: bool | None, tz: tzinfo | None
) -> None:
    """Write a day of LOG (./log if none is given) as one HTML page for each site, and a list of them.

    Power and energy, state of energy, which readings are missing and why, answer times, what control did and
    what happened. A page needs nothing else, neither files nor scripts nor a network.

    \b
    Examples:
      fluxfast report log
      fluxfast report log --day 2026-11-22 --site Plant-7 --tz Europe/Berlin

    Exit code: 0 done, 2 bad input, 3 could not be done.
    """
    if with_png:
        need_matplotlib()
    read = Day(open_log(log), day, tz)
    with Bar(f"reading {read.day}") as bar:
        total, done = read.rows(), 0

        def on_rows(rows: int) -> None:
            nonlocal done
            done += rows
            bar.update(done, total)

        read.read(on_rows)
    wanted = _wanted(read.sites, sites)
    if with_png is None:
        with_png = len(wanted) <= PICTURED and _can_draw()
    with Bar("writing") as bar:
        files = _write(read, wanted, out, with_png, lambda done: bar.update(done, len(wanted)))
    shown = [*files[:LISTED], *([f"and {len(files) - LISTED:,} more"] if len(files) > LISTED else [])]
    click.echo(f"{read.day}, {len(wanted):,} site{'s' * (len(wanted) > 1)}: {', '.join(map(str, shown))}")


def _can_draw() -> bool:
    try:
        need_matplotlib()
    except MissingExtraError as error:
        click.secho(f"no pictures: {error}", fg="yellow", err=True)
        return False
    return True


def _wanted(there: list[str], sites: tuple[str, ...]) -> list[str]:
    for site in sites:
        if site not in there:
            some = f"{', '.join(there[:5])}{' …' if len(there) > 5 else ''}"
            raise FluxfastError(f"the log has no site '{site}' on that day; it has {some}")
    return list(dict.fromkeys(sites)) or there


def _write(read: Day, sites: list[str], out: Path, with_png: bool, done: Callable[[int], None]) -> list[Path]:
    """Write everything; return the files, what to open first at the beginning."""
    index = INDEX if len(sites) > 1 else None
    names: dict[str, str] = {}
    files, entries = [], []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for site in sites:
            stem = names[site] = _stem(read.day, site, set(names.values()))
            figures: Figures = figures_of(read, site)
            page = out / f"{stem}.html"
            page.write_text(render(figures, index), encoding="utf-8")
            files.append(page)
            if with_png:
                draw(figures, page.with_suffix(".png"))
                files.append(page.with_suffix(".png"))
            entries.append(entry_of(figures, page.name))
            done(len(entries))
        if index:
            (out / index).write_text(render_index(read, entries), encoding="utf-8")
            files.insert(0, out / index)
    except OSError as error:
        raise FluxfastError(f"cannot write {error.filename or out}: {error.strerror}") from None
    return files


def _stem(day: date, site: str, taken: set[str]) -> str:
    """Return a file's name for a site, whatever the site is called."""
    plain = unicodedata.normalize("NFKD", site).encode("ascii", "ignore").decode()
    stem = f"{day}-{re.sub(r'[^A-Za-z0-9_-]+', '_', plain)[:60].strip('_') or 'site'}"
    tries = [stem, *(f"{stem}-{k}" for k in range(2, len(taken) + 3))]
    return next(one for one in tries if one not in taken)
