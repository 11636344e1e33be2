"""``fluxfast profile check``: is a profile right, and what would it read?"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

import click

from fluxfast.cli import completing
from fluxfast.cli.options import BAD_INPUT, DONE, FINDINGS, Command
from fluxfast.cli.words import plural
from fluxfast.errors import ConfigError
from fluxfast.plan.blocks import BlockLayout, plan_blocks
from fluxfast.profiles.advice import notes, warnings
from fluxfast.profiles.document import make_problem, one_line
from fluxfast.profiles.store import build_profile, find_profile, problem_of, read_profile

_SHOWN: Final = 6  # reads in a line


@click.command("check", cls=Command, short_help="Say what is wrong in profiles, and what they read.")
@click.argument("profiles", metavar="PROFILE...", nargs=-1, required=True, shell_complete=completing.profiles)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
def check(profiles: Sequence[str], as_json: bool) -> None:
    """Check profiles: every problem with its file, its line and a cure, and then what they would read.

    A problem keeps the profile from being used. A warning is legal and likely a mistake: a byte order that no
    other point has, a setpoint that cannot be negative, the unit KW. A note is worth knowing.

    \b
    Examples:
      fluxfast profile check pcs.yaml
      fluxfast profile check --json profiles/*.yaml

    Exit code: 0 all is well, 1 there are warnings, 2 something is wrong.
    """
    reports = [_examine(profile) for profile in profiles]
    exit_code = max(report["exit_code"] for report in reports)
    if as_json:
        click.echo(json.dumps({"profiles": reports, "exit_code": exit_code}, ensure_ascii=False))
    else:
        for report in reports:
            _print(report)
    sys.exit(exit_code)


def _examine(name: str) -> dict[str, Any]:
    report: dict[str, Any] = {"profile": name, "problems": [], "warnings": [], "notes": []}
    try:
        try:
            document = read_profile(find_profile(name))
        except LookupError as error:
            message, cure = error.args
            raise ConfigError([make_problem(name, None, "", message, cure)]) from None
        profile = build_profile(document)
    except ConfigError as error:
        return {**report, "problems": [asdict(one) for one in error.problems], "exit_code": BAD_INPUT}
    found = [problem_of(document, finding) for finding in warnings(profile)]
    return {
        **report,
        "warnings": [asdict(one) for one in found],
        "notes": list(notes(profile)),
        "name": profile.name,
        "points": len(profile.points),
        "reads": [_read(block) for block in plan_blocks(profile)],
        "writable": [point.name for point in profile.points.values() if point.writable],
        "exit_code": FINDINGS if found else DONE,
    }


def _read(block: BlockLayout) -> dict[str, int]:
    wanted = {at for point in block.points for at in range(point.address, point.address + point.size)}
    return {
        "function_code": int(block.function_code),
        "address": block.address,
        "quantity": block.quantity,
        "points": len(block.points),
        "unused": block.quantity - len(wanted),
        "every": block.every,
    }


def _print(report: dict[str, Any]) -> None:
    for severity, color in (("problems", "red"), ("warnings", "yellow")):
        for problem in report[severity]:
            line = str(make_problem(**problem))
            click.echo(click.style(f"{severity[:-1]}: ", fg=color) + line)
    shown = one_line(report["profile"])
    if report["exit_code"] == BAD_INPUT:
        click.echo(f"{shown}: {plural(len(report['problems']), 'problems')}")
        return
    for note in report["notes"]:
        click.echo(f"note: {note}")
    for line in _reads(report["reads"]):
        click.echo(line)
    listed = f"{plural(report['points'], 'points')}, {len(report['writable']):,} of them may be written"
    click.echo(f"{shown}: {report['name']}, {listed}; {plural(len(report['warnings']), 'warnings')}")


def _reads(blocks: Sequence[dict[str, int]]) -> Iterator[str]:
    """Yield a line for each poll group: what it costs and what it asks for."""
    for every in sorted({block["every"] for block in blocks}):
        some = [block for block in blocks if block["every"] == every]
        when = "every tick" if every == 1 else f"every {every} ticks"
        cells = sum(block["quantity"] for block in some)
        unused = sum(block["unused"] for block in some)
        gaps = f", {unused:,} of them in gaps" if unused else ""
        reads = [
            f"FC{block['function_code']:02} {block['address']}–{block['address'] + block['quantity'] - 1}"
            for block in some[:_SHOWN]
        ]
        if len(some) > _SHOWN:
            reads.append(f"and {len(some) - _SHOWN:,} more")
        sizes = f"{plural(len(some), 'requests')}, {plural(cells, 'registers')}{gaps}"
        yield f"{when}: {sizes}: {', '.join(reads)}"
