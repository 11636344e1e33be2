"""``fluxfast doctor``: what is wrong with the devices of a site file, and what to do about it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import uvloop

from fluxfast.cli import completing
from fluxfast.cli.diagnosis import device_json, machine_json, print_reports, summary_json
from fluxfast.cli.options import DONE, FINDINGS, SITE, Command
from fluxfast.cli.progress import Bar
from fluxfast.config import Device, Fleet, load
from fluxfast.doctor import CHECKS, MACHINE, Finding, Report, examine, judge_machine, look, verdict
from fluxfast.doctor.finding import warning
from fluxfast.profiles.findings import nearest


@click.command(cls=Command)
@SITE
@click.argument("devices", metavar="[DEVICE]...", nargs=-1, shell_complete=completing.devices)
@click.option(
    "--only",
    "checks",
    multiple=True,
    metavar="CHECK",
    help="Judge this only; may be given several times. Those of the machine alone touch no device.",
)
@click.option(
    "--gentle", is_flag=True, help="No second connection, no several requests at once, no questions in HTTP."
)
@click.option("--all", "show_all", is_flag=True, help="Show healthy devices, too, each on a line of its own.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one object per device, machine, summary.")
def doctor(
    site: Path, devices: tuple[str, ...], checks: tuple[str, ...], gentle: bool, show_all: bool, as_json: bool
) -> None:
    """Examine the devices of SITE, or those named by id or name, and the machine that polls them.

    Each link is connected to, each planned read is done once, and what hinders it is looked into: another
    unit identifier, refused registers, reads that are too long, pauses that are needed, another byte order,
    address or scale, answers that come too late for the tick, how many requests at once are safe. Ends with a
    verdict for each device, and a cure for each finding, most of them to be pasted into the site file.

    Nothing is ever written to a device. Where a station on this machine polls a device, no second connection
    is tried, nor several requests at once; a device that takes one connection only is left alone then.

    \b
    Checks:
      {checks}

    \b
    Examples:
      fluxfast doctor site.yaml                       the whole site, and this machine
      fluxfast doctor site.yaml b1 "Grid meter"       two devices, by id and by name
      fluxfast doctor site.yaml --gentle              while others use the devices
      fluxfast doctor site.yaml --only byte-order --only scale
      fluxfast doctor site.yaml --only clock --only disk
      fluxfast doctor site.yaml --json | jq -r 'select(.verdict == "ill") | .id'

    \b
    Exit codes:
      0  all are healthy; notes do not count
      1  there are faults or warnings
      2  wrong input: the site file, a device, a check
      3  it could not be done
    """
    wanted = _checks(checks)
    fleet = load(site)
    chosen = _devices(site, fleet, devices)
    reports: list[Report] = []
    if not set(wanted) <= set(MACHINE):
        with Bar("examining") as bar:
            bar.update(0, len(chosen))
            reports = uvloop.run(examine(fleet, chosen, wanted, gentle, bar.update))
    machine = look(fleet)
    findings = [finding for finding in _of_machine(fleet, judge_machine(machine)) if finding.check in wanted]
    bad = any(verdict(list(found)) != "healthy" for found in (findings, *(one.findings for one in reports)))
    code = FINDINGS if bad else DONE
    if as_json:
        for report in reports:
            click.echo(json.dumps(device_json(report), ensure_ascii=False))
        click.echo(json.dumps(machine_json(machine, findings), ensure_ascii=False))
        click.echo(json.dumps(summary_json(reports, code)))
    else:
        print_reports(reports, findings, show_all)
    sys.exit(code)


_WHAT = "\n  ".join(f"{name:15} {what}" for name, what in CHECKS.items())
doctor.help = (doctor.help or "").replace("{checks}", _WHAT)


def _checks(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in CHECKS:
            raise click.BadParameter(
                f"there is no check {name!r} ({nearest(name, CHECKS)})", param_hint="--only"
            )
    return tuple(names) or tuple(CHECKS)


def _devices(site: Path, fleet: Fleet, names: Sequence[str]) -> list[Device]:
    """Return the devices with these ids or names, all if there are none, in the site file's order."""
    known = {word for device in fleet.devices for word in (device.id, device.name)}
    for name in names:
        if name not in known:
            hint = nearest(name, known)
            text = (
                f"no device {name!r} in the site ({hint})"
                if len(hint) < 200
                else f"no device {name!r} in {site}"
            )
            raise click.BadParameter(text, param_hint="DEVICE")
    return [device for device in fleet.devices if not names or {device.id, device.name} & set(names)]


def _of_machine(fleet: Fleet, found: list[Finding]) -> list[Finding]:
    return [warning("site-file", f"{p.file}:{p.line}: {p.where}: {p.message}", p.cure, "machine")
            for p in fleet.warnings] + found  # fmt: skip
