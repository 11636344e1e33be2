"""``fluxfast simulate``: answer for every device of a site file."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import click

from fluxfast.config import load
from fluxfast.errors import ConfigError, TransportError
from fluxfast.profiles.fields import parse_duration
from fluxfast.sim import Counters, Simulator


def _duration(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration(text) / 1e9
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("site", type=click.Path(path_type=Path))
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same values at a moment.")
@click.option("--duration", callback=_duration, metavar="TIME", help="End after a time like 30s.")
@click.option("--json", "as_json", is_flag=True, help="Print ready and status as JSON, one object a line.")
def simulate(site: Path, seed: int, duration: float | None, as_json: bool) -> None:
    """Simulate every Modbus TCP device of SITE on its own host and port (loopback only)."""
    try:
        simulator = Simulator(load(site), seed)
        # Before the line that others wait for, so that they can end us from then on.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: simulator.stop())
        simulator.open()
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    except TransportError as error:
        click.echo(f"simulate: {error}", err=True)
        sys.exit(3)
    try:
        _print_ready(simulator, as_json)
        last = Counters()

        def report(counters: Counters) -> None:
            nonlocal last
            _print_status(counters, counters.requests - last.requests, as_json)
            last = counters

        simulator.run(duration, report if as_json or sys.stdout.isatty() else None)
    finally:
        simulator.close()
    if sys.stdout.isatty() and not as_json:
        click.echo()


def _print_ready(simulator: Simulator, as_json: bool) -> None:
    if as_json:
        _print_json(
            event="ready", devices=len(simulator.devices), types=simulator.types(),
            addresses=simulator.addresses, seed=simulator.seed, note=simulator.note,
        )  # fmt: skip
        return
    if simulator.note:
        click.echo(f"simulate: {simulator.note}", err=True)
    types = ", ".join(f"{count} {name}" for name, count in simulator.types().items())
    devices, addresses = len(simulator.devices), simulator.addresses
    click.echo(
        f"simulating {devices} device{'s' * (devices != 1)} ({types}) on "
        f"{addresses} address{'es' * (addresses != 1)}, seed {simulator.seed}; Ctrl-C ends it"
    )
    sys.stdout.flush()


def _print_status(counters: Counters, requests: int, as_json: bool) -> None:
    if as_json:
        _print_json(event="status", requests_per_s=requests, **vars(counters))
        return
    click.echo(f"\r{requests:>8,} requests/s, {counters.connections:,} connections \x1b[K", nl=False)


def _print_json(**fields: Any) -> None:
    click.echo(json.dumps(fields))
    sys.stdout.flush()
