"""``fluxfast check``: is the site file right? Prints what is wrong, touches no device."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from fluxfast.cli.options import BAD_INPUT, DONE, FINDINGS, Command
from fluxfast.cli.words import plural
from fluxfast.config import Control, Fleet, load
from fluxfast.control.modes import Modes
from fluxfast.errors import ConfigError, Problem
from fluxfast.plan import compile_plan
from fluxfast.profiles.document import one_line

_MAX_LISTED: Final = 5


@click.command(cls=Command)
@click.argument("sites", metavar="SITE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
def check(sites: Sequence[Path], as_json: bool) -> None:
    """Check site files, or folders of them, and the profiles, schedules and functions they use.

    Each SITE is one fleet. Prints every problem with its file, its line and what to do. Touches no device:
    that is `fluxfast doctor`.

    \b
    Examples:
      fluxfast check site.yaml
      fluxfast check sites/ --json

    Exit code: 0 all is well, 1 there are warnings, 2 something is wrong.
    """
    reports = [_examine(site) for site in sites]
    if as_json:
        click.echo(json.dumps(_merge(reports), ensure_ascii=False))
    else:
        for report in reports:
            _print(report)
    sys.exit(max(report["exit_code"] for report in reports))


def _examine(site: Path) -> dict[str, Any]:
    try:
        fleet = load(site)
        compile_plan(fleet)
        Modes([site.control.modes for site in fleet.sites])  # reads schedules, tries functions
    except ConfigError as error:
        return {"site": str(site), "problems": error.problems, "warnings": (), "exit_code": BAD_INPUT}
    return {
        "site": str(site),
        "problems": (),
        "warnings": fleet.warnings,
        "exit_code": FINDINGS if fleet.warnings else DONE,
        "counts": _count(fleet),
        "control": [
            {
                "site": site.name,
                "action": site.control.action,
                "modes": [mode.name for mode in site.control.modes],
                "units": [unit.id for unit in site.units],
            }
            for site in fleet.sites
            if site.control != Control()
        ],
    }


def _count(fleet: Fleet) -> dict[str, int]:
    modbus = [device.modbus for device in fleet.devices]
    return {
        "sites": len(fleet.sites),
        "devices": len(fleet.devices),
        "profiles": len({id(device.profile) for device in fleet.devices}),
        "links": len({(one.host, one.port) for one in modbus if one.transport == "tcp"}),
    }


def _print(report: dict[str, Any]) -> None:
    for severity, color in (("problems", "red"), ("warnings", "yellow")):
        for problem in report[severity]:
            # click leaves the colour out when the output is no terminal
            click.echo(click.style(f"{severity[:-1]}: ", fg=color) + str(problem))
    site = one_line(report["site"])
    if "counts" in report:
        counts = ", ".join(plural(number, word) for word, number in report["counts"].items())
        for line in _control_lines(report["control"]):
            click.echo(line)
        click.echo(f"{site}: {counts}; {plural(len(report['warnings']), 'warnings')}")
    else:
        click.echo(f"{site}: {plural(len(report['problems']), 'problems')}")


def _control_lines(sites: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what control would do: one line for all sites that are controlled alike."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for site in sites:
        alike.setdefault((site["action"], *site["modes"]), []).append(site)
    for (action, *modes), group in alike.items():
        units = [unit for site in group for unit in site["units"]]
        listed = f": {', '.join(units)}" if 0 < len(units) <= _MAX_LISTED else ""
        does = {
            "observe": "decides and writes nothing",
            "shadow": f"decides for {plural(len(units), 'units')}{listed}; writes nothing",
            "act": f"writes to {plural(len(units), 'units')}{listed}",
        }
        names = group[0]["site"] if len(group) == 1 else f"{len(group):,} sites"
        yield f"control: {names}: {action}, {' then '.join(modes) or 'no mode'}; {does[action]}"


def _merge(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the reports as JSON values."""
    listed = [
        {
            "site": report["site"],
            "problems": [_plain(problem) for problem in report["problems"]],
            "warnings": [_plain(problem) for problem in report["warnings"]],
            **{key: report[key] for key in ("counts", "control") if key in report},
        }
        for report in reports
    ]
    return {"sites": listed, "exit_code": max(report["exit_code"] for report in reports)}


def _plain(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "where": problem.where,
        "message": problem.message,
        "cure": problem.cure,
    }
