"""``fluxfast control``: operate the sites of a station that runs on this machine."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from fluxfast.cli.options import COULD_NOT, DONE, FINDINGS, JSON, SITE, Command, load_fleet
from fluxfast.cli.sites import sentences
from fluxfast.config import Fleet, Site
from fluxfast.errors import FluxfastError
from fluxfast.profiles.findings import nearest
from fluxfast.running import operate
from fluxfast.status import SiteStatus
from fluxfast.watchdog import FOLDERS

REQUESTS: Final = {
    "status": "status",
    "stop": "stop",
    "ack": "acknowledge",
    "enable": "enable",
    "disable": "disable",
}
STOPPED_WITHIN_S: Final = 2.0  # so long `stop` waits until the units have confirmed it
LOOK_S: Final = 0.1


@click.command(cls=Command)
@SITE
@click.argument("do", metavar="DO", type=click.Choice(tuple(REQUESTS)))
@click.argument("mode", required=False)
@click.option("--site", "name", metavar="NAME", help="Only this site, not all that SITE lets act.")
@JSON
def control(site: Path, do: str, mode: str | None, name: str | None, as_json: bool) -> None:
    """Operate the sites of SITE, which `fluxfast run` controls on this machine.

    DO is one of:

    \b
    status        what each site does, and which units take no part
    stop          emergency stop: the units are told 0, until ack
    ack           go on after a stop; take back units that were left to another
    enable MODE   switch a mode on
    disable MODE  switch a mode off, until enabled or restarted

    \b
    Examples:
      fluxfast control site.yaml status
      fluxfast control site.yaml stop --site Plant-7
      fluxfast control site.yaml disable peak_shaving

    The stop is no safety function: it needs this machine, the network and the units' obedience.

    Exit code: 0 done, 1 there are findings (a site is stopped, or units take no part; after a stop: units
    have not confirmed it), 2 bad input, 3 could not be done.
    """
    sites = _chosen(load_fleet(site), name)
    request = {"do": REQUESTS[do]}
    if do in ("enable", "disable"):
        sites = _with_mode(sites, mode)
        request["mode"] = str(mode)
    elif mode is not None:
        raise click.UsageError(f"{do} takes no mode")
    answers = asyncio.run(_ask_all([one.name for one in sites], request))
    for answer in answers:
        if isinstance(answer, SiteStatus):
            click.echo(json.dumps(asdict(answer)) if as_json else _told(answer, do, mode))
        else:
            click.secho(str(answer), fg="red", err=True)
    sys.exit(max(_code(answer, do) for answer in answers))


def _chosen(fleet: Fleet, name: str | None) -> list[Site]:
    acting = [site for site in fleet.sites if site.control.action == "act"]
    if name is None:
        if not acting:
            raise FluxfastError("no site is controlled: none has action: act in its control")
        return acting
    found = [site for site in fleet.sites if site.name == name]
    if not found:
        known = nearest(name, [site.name for site in fleet.sites])
        raise click.BadParameter(f"no site {name} ({known})", param_hint="--site")
    if found[0] not in acting:
        raise FluxfastError(f"site {name} is not controlled: its action is {found[0].control.action}")
    return found


def _with_mode(sites: list[Site], mode: str | None) -> list[Site]:
    """Return the sites that have such a mode."""
    known = {entry.name for site in sites for entry in site.control.modes}
    if mode is None:
        raise click.UsageError(f"which mode? One of {', '.join(sorted(known))}")
    if mode not in known:
        raise click.BadParameter(f"no mode {mode} ({nearest(mode, known)})", param_hint="MODE")
    return [site for site in sites if mode in (entry.name for entry in site.control.modes)]


async def _ask_all(sites: Sequence[str], request: dict[str, str]) -> list[SiteStatus | FluxfastError]:
    return await asyncio.gather(*(_operate(site, request) for site in sites))


async def _operate(site: str, request: dict[str, str]) -> SiteStatus | FluxfastError:
    try:
        status = await operate(site, request, FOLDERS)
        steps = round(STOPPED_WITHIN_S / LOOK_S) if request["do"] == "stop" else 0
        while status.unconfirmed and steps:
            await asyncio.sleep(LOOK_S)
            steps -= 1
            status = await operate(site, {"do": "status"}, FOLDERS)
    except FluxfastError as error:
        return error
    return status


def _told(site: SiteStatus, do: str, mode: str | None) -> str:
    if do == "status":
        return "\n".join(sentences(site))
    if do != "stop":
        return f"{site.name}: {'acknowledged' if do == 'ack' else f'mode {mode} {do}d'}"
    if site.unconfirmed:
        return f"{site.name}: stopped, but {site.unconfirmed} units have not confirmed 0 kW"
    return f"{site.name}: stopped until acknowledged; every unit that was commanded has confirmed 0 kW"


def _code(answer: SiteStatus | FluxfastError, do: str) -> int:
    if not isinstance(answer, SiteStatus):
        return COULD_NOT
    findings = {"status": answer.has_findings, "stop": answer.unconfirmed > 0}.get(do, False)
    return FINDINGS if findings else DONE
