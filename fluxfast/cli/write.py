"""``fluxfast write``: change values of one device, after a look at what they are, and read them back."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from fluxfast.access.carry_out import Answers, Result, carry_out, look, planned
from fluxfast.access.guard import sole_writer
from fluxfast.access.read import Answer
from fluxfast.access.selection import is_address, place
from fluxfast.access.target import Unit, find_devices, is_site, parse_endpoint
from fluxfast.access.write import Write, plan_writes
from fluxfast.cli import completing
from fluxfast.cli.addressing import TIMEOUT, form_of, form_options, refuse_for_names
from fluxfast.cli.interrupted import told_when_interrupted
from fluxfast.cli.options import BAD_INPUT, COULD_NOT, DONE, FINDINGS, JSON, Command, load_fleet
from fluxfast.cli.readings import NONE, place_json, shown
from fluxfast.config import Fleet
from fluxfast.profiles.document import one_line
from fluxfast.values import Reading

_CODES: Final = {
    "differs": FINDINGS,
    "unread": FINDINGS,
    "uncertain": COULD_NOT,
    "failed": COULD_NOT,
    "left out": COULD_NOT,
}


@click.command(cls=Command)
@click.argument("target", shell_complete=completing.files)
@click.argument("what", nargs=-1, required=True, shell_complete=completing.points("="))
@click.option("--unit", "unit_id", type=click.IntRange(0, 255), help="Unit identifier behind HOST; else 1.")
@form_options
@click.option(
    "--fc", "function_code", type=click.Choice(["5", "6", "15", "16"]),
    help="The function code; else the profile's, or by how much is written.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.option("--dry-run", is_flag=True, help="Show the frames and write nothing.")
@TIMEOUT
@JSON
def write(
    target: str,
    what: tuple[str, ...],
    unit_id: int | None,
    function_code: str | None,
    yes: bool,
    dry_run: bool,
    timeout: float | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Write values to one device, after a question that shows old → new, and read them back.

    TARGET is HOST or HOST:PORT, and WHAT is ADDRESS=VALUE, or ADDRESS=VALUE,VALUE,… for values one after
    another in one request. Or TARGET is a site file, and WHAT is DEVICE and POINT=VALUE: then the profile's
    limits hold, for a setpoint also the unit's rated power, and states go by their names. Addresses are PDU
    addresses, which count from 0; the reference beside counts from 1.

    Nothing is clipped and no integer rounded: what does not fit is refused. A write is sent once. It is
    refused while a station commands the device; a site that acts is locked meanwhile, so that none starts.

    \b
    Examples:
      fluxfast write site.yaml Site-BESS-01 target_power=-50
      fluxfast write site.yaml Site-BESS-01 command_source=REMOTE target_power=0 --yes
      fluxfast write 192.168.1.100 2008=50 --dry-run
      fluxfast write 192.168.1.100 100=1.5,2.5 --type float32 --order CDAB
      fluxfast write 192.168.1.100 7=on --table coil --fc 15

    Exit code: 0 written and read back as written (or --dry-run), 1 it holds something else or the answer was
    no, 2 bad input, or nobody to ask and no --yes, 3 it could not be written, or nobody knows if it was.
    """
    fleet, unit, items = _target(target, what, unit_id, given)
    code = None if function_code is None else int(function_code)
    writes = plan_writes(unit, items, form_of(given), code)
    if not dry_run:
        if not yes and (sys.stdin is None or not sys.stdin.isatty()):  # None: closed
            click.secho(
                "nobody can be asked here (add --yes to write at once, or --dry-run)", fg="red", err=True
            )
            sys.exit(BAD_INPUT)
        with sole_writer(unit, fleet):
            pass  # not only when it has been confirmed
    before = asyncio.run(_look(unit, writes, timeout, is_only_look=dry_run))
    plans = [planned(one, old) for one, old in zip(writes, before, strict=True)]
    for plan in plans:
        if dry_run and as_json:
            _print_json(plan)
        else:
            _propose(plan, with_frame=dry_run, to_stderr=as_json)
    if dry_run:
        return
    if not yes and not click.confirm("Write?", err=as_json):
        click.echo("nothing was written", err=True)
        sys.exit(FINDINGS)
    with sole_writer(unit, fleet), told_when_interrupted():
        sys.exit(asyncio.run(_write(plans, timeout, as_json=as_json)))


def _target(
    target: str, what: Sequence[str], unit_id: int | None, given: dict[str, Any]
) -> tuple[Fleet | None, Unit, Sequence[str]]:
    """Return the fleet, if it is a site file, the unit, and what is to be written."""
    if not is_site(target):
        host, port = parse_endpoint(target)
        return None, Unit(host, port, 1 if unit_id is None else unit_id), what
    if unit_id is not None:
        raise click.UsageError("--unit is for a host; of a device the site file says it")
    fleet = load_fleet(Path(target))
    found = find_devices(fleet, what[0], target)
    if len(found) > 1:
        raise click.UsageError(f"{what[0]} is {len(found)} devices; one at a time is written to")
    if len(what) == 1:
        points = [f"{point.name}=…" for point in found[0].profile.points.values() if point.writable]
        raise click.UsageError(f"which point? {', '.join(points) or 'none may be written'}")
    if not any(map(is_address, what[1:])):
        refuse_for_names(given)
    return fleet, Unit.of(found[0]), what[1:]


async def _look(
    unit: Unit, writes: Sequence[Write], timeout_s: float | None, *, is_only_look: bool
) -> list[Answers]:
    async with unit.client(timeout_s) as client:
        return [await look(client, one, is_only_look=is_only_look) for one in writes]


async def _write(plans: Sequence[Result], timeout_s: float | None, *, as_json: bool) -> int:
    """Carry the writes out; return the exit code."""
    code = DONE
    async for result in carry_out(plans, timeout_s):
        code = max(code, _CODES.get(result.outcome, DONE))
        if as_json:
            _print_json(result)
        else:
            _tell(result)
    return code


def _propose(plan: Result, *, with_frame: bool, to_stderr: bool) -> None:
    """Say what is to be written where, and instead of what."""
    one = plan.write
    for old, new in zip(plan.before, one.new, strict=True):
        point = new.point
        change = click.style(f"{point.name}: {_was(old)} → {_value(new)}", bold=True)
        click.echo(
            f"{change}   {one.unit.name}, {place(point)}, function code {one.function_code}", err=to_stderr
        )
    if one.wears_flash:
        click.secho("  it is kept in flash, which wears out: write it rarely", fg="yellow", err=to_stderr)
    if with_frame:
        click.echo(f"  would be sent: {one.adu.hex(' ')}")


def _tell(result: Result) -> None:
    """Say what became of a write."""
    first = result.write.points[0]
    names = f"{', '.join(point.name for point in result.write.points)} ({place(first)})"
    if result.outcome == "left out":
        click.secho(f"{names}: not written, because of that", fg="red", err=True)
    elif result.outcome == "written":
        click.echo(f"{names}: written; it cannot be read back")
    elif result.outcome == "held":
        for new in result.write.new:
            click.secho(f"{new.point.name} ({place(new.point)}): reads {_value(new)} now", fg="green")
    elif result.error is not None:
        click.secho(f"{names}: {one_line(str(result.error))}", fg="red", err=True)
    for now, new in zip(result.after, result.write.new, strict=True):
        if result.outcome in ("differs", "unread", "uncertain"):
            told = f"{new.point.name} ({place(new.point)}): told {_value(new)}"
            click.secho(f"{told}, and now it is {_was(now)}", fg="red")


def _was(answer: Answer | None) -> str:
    """Return what was read of a point, or why nothing was."""
    if answer is None:
        return "unknown (it is only written)"
    if not answer.was_read:
        return f"unknown ({one_line(answer.reason or '')})"
    return f"{NONE} ({answer.reason})" if answer.reading.value is None else _value(answer.reading)


def _value(reading: Reading) -> str:
    return f"{shown(reading)}{f' {reading.point.unit}' if reading.point.unit else ''}"


def _print_json(result: Result) -> None:
    """Print a JSON object a line for each point."""
    one = result.write
    for old, new, now in zip(result.before, one.new, result.after, strict=True):
        point = new.point
        fields = {
            **place_json(one.unit, point),
            "unit": point.unit or None,
            "function_code": one.function_code,
            "frame": one.adu.hex(),
            "old": None if old is None else old.reading.value,
            "new": new.value,
            "reads": None if now is None else now.reading.value,
            "outcome": result.outcome,
            "error": None if result.error is None else str(result.error),
        }
        click.echo(json.dumps(fields))
