"""``fluxfast mbscan``: the scan by the command line that the integration document has."""

import click

from fluxfast.cli.options import Command
from fluxfast.cli.scan_run import run_scan
from fluxfast.constants import DEFAULT_PORT
from fluxfast.errors import LocalProtocolError
from fluxfast.scan import Options, Scan, candidates, parse_ports, parse_targets, parse_units
from fluxfast.scan.examination import TIMEOUT_S


@click.command(cls=Command)
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option(
    "-p", "--port", "ports", default=str(DEFAULT_PORT), show_default=True, help="Ports, like 502,5020."
)
@click.option(
    "-t", "--timeout", type=click.FloatRange(0.001, 60), default=TIMEOUT_S, show_default=True,
    help="Seconds for connecting, and for each answer.",
)  # fmt: skip
@click.option("-u", "-a", "--units", metavar="UNITS", help="Unit identifiers to ask, like 1-247.")
def mbscan(targets: tuple[str, ...], ports: str, timeout: float, units: str | None) -> None:
    """Find Modbus TCP devices, by the command line of mbscan; `fluxfast scan` says more, and does more.

    A TARGET is a network, a range, an address or a host name. Only reads; at most 4,096 addresses × ports.

    \b
    Examples:
      fluxfast mbscan -p 502 192.168.1.0/24
      fluxfast mbscan -p 502 -t 1 -u 1-247 192.168.1.7

    Exit codes: 0 found, 1 nothing found, 2 bad input, 3 could not.
    """
    try:
        asked = None if units is None else parse_units(units)
        options = Options(timeout_s=timeout, units=asked, profiles=candidates())
        found = parse_targets(targets, parse_ports(ports))
    except LocalProtocolError as error:
        raise click.UsageError(str(error)) from None
    asks = "" if units is None else f" --units {units}"
    click.echo(
        f"mbscan: as fluxfast scan {' '.join(targets)} --port {ports} --timeout {timeout:g}s{asks}", err=True
    )
    run_scan(Scan(found, options))
