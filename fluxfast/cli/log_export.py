"""``fluxfast log export``: rows of a log for other programs."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from fluxfast.cli.options import JSON, LOG, MOMENT, Command
from fluxfast.cli.progress import Bar
from fluxfast.cli.words import plural, size
from fluxfast.log.export import FORMATS, Selection
from fluxfast.log.export import export as write
from fluxfast.log.reading import Log, open_log
from fluxfast.profiles.findings import nearest


@click.command("export", cls=Command, short_help="Write a CSV, Arrow or Excel file.")
@LOG
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path),
    help="The file; .csv, .arrow or .xlsx says what it shall be.",
)  # fmt: skip
@click.option("--dataset", help="Which dataset; not needed if there is only one.")
@click.option(
    "--from", "from_us", type=MOMENT,
    help="Begin at this time: 2026-11-22, 2026-11-22T17:00 (UTC) or 2026-11-22T18:00+01:00.",
)  # fmt: skip
@click.option("--to", "to_us", type=MOMENT, help="End before this time.")
@click.option("--device", "devices", multiple=True, help="Only this one; may be given several times.")
@click.option("--columns", help="Only these, in this order, separated by commas.")
@click.option("--units", is_flag=True, help="Call the columns 'power [kW]'.")
@JSON
def export(
    log: Path,
    out: Path,
    dataset: str | None,
    from_us: int | None,
    to_us: int | None,
    devices: Sequence[str],
    columns: str | None,
    units: bool,
    as_json: bool,
) -> None:
    """Write rows of LOG to a file of other programs.

    Rows come in the order of the log: by time in steps of some minutes, in each of them by device. Times are
    UTC (in CSV like 2026-11-22T17:00:30.500000Z), nulls are empty.

    \b
    Example:
      fluxfast log export log --out day.csv --dataset powerpack \\
        --from 2026-11-22 --to 2026-11-23
    """
    format_ = out.suffix.removeprefix(".").lower()
    if format_ not in FORMATS:
        raise click.BadParameter(f"{out} is none of .{', .'.join(FORMATS)}", param_hint="--out")
    opened = open_log(log)
    name = _dataset(opened, dataset)
    chosen = tuple(filter(None, (column.strip() for column in (columns or "").split(","))))
    known = opened.schema(name).names
    for column in (*chosen, *(["device"] * bool(devices))):
        if column not in known:
            hint = f"{name} has no column {column} ({nearest(column, known)})"
            raise click.BadParameter(hint, param_hint="--columns")
    with Bar(name) as bar:
        selection = Selection(name, from_us, to_us, devices, chosen)
        rows = write(opened, selection, out, format_, units=units, progress=bar.update)
    n_bytes = out.stat().st_size
    if as_json:
        click.echo(json.dumps({"file": str(out), "dataset": name, "rows": rows, "bytes": n_bytes}))
    else:
        click.echo(f"{out}: {plural(rows, 'rows')} of {name}, {size(n_bytes)}")


def _dataset(opened: Log, name: str | None) -> str:
    names = opened.datasets
    if name is None and len(names) == 1:
        return names[0]
    if name not in names:
        hint = f"no dataset {name} ({nearest(name, names)})" if name else f"which one? {', '.join(names)}"
        raise click.BadParameter(hint, param_hint="--dataset")
    return name
