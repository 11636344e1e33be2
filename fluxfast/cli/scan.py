"""``fluxfast scan``: find Modbus TCP devices, and say what they are."""

from pathlib import Path
from typing import Final

import click

from fluxfast.cli.options import DURATION, JSON, Command, load_fleet
from fluxfast.cli.scan_run import run_scan
from fluxfast.config import Device
from fluxfast.constants import DEFAULT_PORT
from fluxfast.errors import LocalProtocolError
from fluxfast.scan import (
    Options,
    Scan,
    Step,
    Targets,
    candidates,
    parse_ports,
    parse_targets,
    parse_units,
    site_targets,
)
from fluxfast.scan.examination import TIMEOUT_S
from fluxfast.scan.scan import RATE_PER_S
from fluxfast.scan.targets import MAX_UNASKED

MAX_TIMEOUT_S: Final = 60.0
_STEPS: Final = [step.word for step in Step]
_SITE_SUFFIXES: Final = (".yaml", ".yml")


@click.command(cls=Command)
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option(
    "-p", "--port", "ports", default=None, metavar="PORTS", help="Ports, like 502,5020.  [default: 502]"
)
@click.option(
    "-x", "--exclude", multiple=True, metavar="TARGET", help="Addresses to leave alone; may be repeated."
)
@click.option(
    "-u",
    "--units",
    metavar="UNITS",
    help="Unit identifiers to ask, like 1-247.  [default: 1, 255, 0; all of a gateway]",
)
@click.option(
    "-t",
    "--timeout",
    type=DURATION,
    default=f"{1000 * TIMEOUT_S:g}ms",
    show_default=True,
    help="For connecting, and for each answer.",
)
@click.option(
    "--rate",
    type=click.FloatRange(1, 100_000),
    default=RATE_PER_S,
    show_default=f"{RATE_PER_S:g}",
    help="Connects per second at most.",
)
@click.option(
    "--max-step",
    type=click.Choice(_STEPS),
    default=_STEPS[-1],
    show_default=True,
    help="How far to go, from safe to intrusive.",
)
@click.option("--no-identify", is_flag=True, help="Compare with no profile: the same as --max-step register.")
@click.option(
    "--profiles",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of profiles to compare with, too.",
)
@click.option(
    "--gateway-budget",
    type=DURATION,
    default="30s",
    show_default=True,
    help="Longest sweep of a gateway's units.",
)
@click.option("--no-sweep", is_flag=True, help="Do not ask all units of a gateway.")
@click.option("--include-polled", is_flag=True, help="Also ask hosts that a station of this machine polls.")
@click.option("--large", is_flag=True, help=f"Allow more than {MAX_UNASKED:,} addresses × ports.")
@click.option("-a", "--all", "show_all", is_flag=True, help="List closed and unreachable ones, too.")
@click.option(
    "--save", type=click.Path(path_type=Path, dir_okay=False), help="Write a site file of what was found."
)
@click.option("--force", is_flag=True, help="Let --save replace a file.")
@JSON
def scan(
    targets: tuple[str, ...], ports: str | None, exclude: tuple[str, ...], units: str | None, timeout: float,
    rate: float, max_step: str, no_identify: bool, profiles: Path | None, gateway_budget: float,
    no_sweep: bool, include_polled: bool, large: bool, show_all: bool, save: Path | None, force: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Find Modbus TCP devices and say what they are, without writing anything.

    A TARGET is a network (192.168.1.0/24), a range (192.168.1.10-50), an address, a host name, or a site
    file, whose devices are looked for. Each host gets one connection, which is closed by FIN, and one
    question at a time: device identification (FC43/14), server id (FC17), the SunSpec marker, one register,
    and last the registers that tell profiles apart. It stops as soon as it is known what the device is. Hosts
    that a station on this machine polls are left alone.

    \b
    Verdicts:
      device       answers; its units and what they are
      exception    is there, and answers with exceptions only
      gateway      denies units that are not there; the units found
      silent       open, no answer
      not modbus   something else answers
      busy         closes what it has accepted: its connections are taken
      polled here  left alone
    Closed and unreachable ones are counted.

    \b
    Examples:
      fluxfast scan 192.168.1.0/24
      fluxfast scan 192.168.1.10-50 plc-7.local -p 502,5020
      fluxfast scan 192.168.1.7 --units 1-247        a gateway that is silent for absent units
      fluxfast scan 192.168.1.0/24 --save site.yaml
      fluxfast scan site.yaml                        which of its devices answer

    Exit codes: 0 found, 1 nothing found (of a site file: not all of its devices), 2 bad input, 3 could not.
    """
    step = Step(_STEPS.index(max_step))
    if no_identify:
        step = min(step, Step.REGISTER)
    if not 0.001 <= timeout <= MAX_TIMEOUT_S:
        raise click.UsageError(f"--timeout is 1ms to {MAX_TIMEOUT_S:g}s (most devices answer within 100ms)")
    if save is not None and save.exists() and not force:
        raise click.UsageError(f"{save} exists (replace it by --force, or name another)")
    try:
        options = Options(
            timeout_s=timeout,
            units=None if units is None else parse_units(units),
            max_step=step,
            gateway_budget_s=0.0 if no_sweep else gateway_budget,
            profiles=candidates(profiles),
        )
        found, lost = _targets(targets, ports, exclude, save)
    except LocalProtocolError as error:
        raise click.UsageError(str(error)) from None
    run_scan(
        Scan(found, options, rate, include_polled), lost, large=large, show_all=show_all, as_json=as_json,
        save=save, force=force,
    )  # fmt: skip


def _targets(
    words: tuple[str, ...], ports: str | None, exclude: tuple[str, ...], save: Path | None
) -> tuple[Targets, list[Device]]:
    """Return what to look at, and devices of a site file whose host was not found."""
    files = [word for word in words if word.endswith(_SITE_SUFFIXES) or (word and Path(word).is_dir())]
    if not files:
        return parse_targets(words, parse_ports(ports or str(DEFAULT_PORT)), exclude), []
    if len(words) > 1:
        raise click.UsageError("a site file is scanned alone (scan the addresses by a command of their own)")
    if ports is not None:
        raise click.UsageError("the site file says the ports (leave --port out)")
    if save is not None:
        raise click.UsageError("--save is for addresses: this is a site file already")
    return site_targets(load_fleet(Path(files[0])).devices, exclude)
