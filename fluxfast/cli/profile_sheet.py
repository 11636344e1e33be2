"""``fluxfast profile from-csv``: a profile from a maker's list of registers."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from fluxfast.cli.options import DONE, FINDINGS, JSON, Command
from fluxfast.cli.profile_out import FORCE, OUT, refuse_existing, refuse_name, save, warn
from fluxfast.cli.words import plural
from fluxfast.profiles.findings import nearest
from fluxfast.profiles.lists.bases import BASES
from fluxfast.profiles.lists.columns import ROLES, judge
from fluxfast.profiles.lists.names import slug
from fluxfast.profiles.lists.read import ORDERS, Read, read_registers
from fluxfast.profiles.lists.sheet import read_sheet
from fluxfast.profiles.write import profile_text


@click.command("from-csv", cls=Command, short_help="Make a profile of a spreadsheet of registers.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--base", type=click.Choice(["auto", *BASES]), default="auto", show_default=True,
    help="Where addresses count from: 0, as on the wire; 1; or 40001, where the first digit is the table.",
)  # fmt: skip
@click.option(
    "--order", type=click.Choice(ORDERS, case_sensitive=False), default="ABCD", show_default=True,
    help="Byte order of values whose row says none; CDAB: the less significant register first.",
)  # fmt: skip
@click.option(
    "--map", "maps", metavar="ROLE=HEADING", multiple=True,
    help="What a column is: the heading, or a number that counts from 1; nothing: there is none."
    f" Roles: {', '.join(ROLES)}.",
)  # fmt: skip
@click.option("--sheet", help="Which sheet of a workbook; unless given, the one that looks most like a list.")
@click.option("--name", help="The profile's name; that of OUT or FILE unless given.")
@OUT
@FORCE
@JSON
def from_csv(
    file: Path,
    base: str,
    order: str,
    maps: Sequence[str],
    sheet: str | None,
    name: str | None,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a profile of FILE, a list of registers as makers publish them: .csv in any of its forms, or .xlsx.

    Columns are known by their headings (in English, German and some more) and by what stands in them:
    address, name, type, size, scale, unit, access, function code, byte order, states, description. Says how
    it understood each, and from which number addresses count. A row that it does not understand is told with
    its line and left out; nothing is guessed silently.

    \b
    Examples:
      fluxfast profile from-csv meter.csv -o meter.yaml
      fluxfast profile from-csv inverter.xlsx --sheet Holding --order CDAB --base 1 > inverter.yaml
      fluxfast profile from-csv list.csv --map address="Reg." --map scale=7 --map offset=

    Exit code: 0 all rows are in the profile, 1 some were left out, 2 nothing can be made of the file, or it
    needs --base.
    """
    refuse_existing(out, force)
    chosen = _chosen(maps)
    name = name or slug((out or file).stem) or "device"
    refuse_name(name)
    found = read_sheet(file, judge, sheet)
    read = read_registers(found, name, base=base, order=order.upper(), chosen=chosen)
    text = profile_text(read.profile, read.comments)
    if out is not None or not as_json:
        save(text, out)
    if as_json:
        click.echo(json.dumps(_as_json(read, None if out else text, out), ensure_ascii=False))
    else:
        _tell(read, (found.about, *(f"another sheet: {one}" for one in found.others)))
        if out is not None:
            left = f", {plural(len(read.left_out), 'rows')} left out" if read.left_out else ""
            click.echo(f"{out}: {plural(len(read.profile.points), 'points')}{left}")
    sys.exit(FINDINGS if read.left_out else DONE)


def _chosen(maps: Sequence[str]) -> dict[str, str]:
    chosen = {}
    for text in maps:
        role, equals, heading = text.partition("=")
        if not equals or role.strip() not in ROLES:
            cure = nearest(role, ROLES) if equals else "write it like address=Reg"
            raise click.BadParameter(f"'{text}' is no ROLE=HEADING ({cure})", param_hint="--map")
        chosen[role.strip()] = heading.strip()
    return chosen


def _tell(read: Read, about: Sequence[str]) -> None:
    """Tell on stderr how the list was understood: the profile itself may go to stdout."""
    for line in about:
        click.echo(line, err=True)
    columns = ", ".join(f"{role} '{heading}'" for role, heading in read.columns.items())
    click.echo(f"columns: {columns}", err=True)
    for line in read.said:
        click.echo(line, err=True)
    for problem in read.left_out:
        warn(f"left out: {problem}")


def _as_json(read: Read, text: str | None, out: Path | None) -> dict[str, object]:
    return {
        "columns": dict(read.columns),
        "base": read.base,
        "said": list(read.said),
        "points": len(read.profile.points),
        "left_out": [asdict(problem) for problem in read.left_out],
        "file": None if out is None else str(out),
        "text": text,
    }
