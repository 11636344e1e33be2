"""``fluxfast simulate``: answer for every device of a site file."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import click

from fluxfast.cli.options import DURATION, JSON, SITE, Command, load_fleet
from fluxfast.cli.pipes import drop_unread_output
from fluxfast.sim import KINDS, RANDOM, Counters, Simulator


@click.command(cls=Command)
@SITE
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True,
    help="The same seed gives the same values at a moment.",
)  # fmt: skip
@click.option(
    "--fault", "faults", multiple=True, metavar="KIND[=AMOUNT][:SHARE][:FROM-TO]",
    help=f"What is wrong with which part of the addresses, and when: hang:10%, slow=200ms, "
    f"blackhole:5%:10s-20s. KIND is one of {', '.join((*KINDS, RANDOM))}. May be given several times.",
)  # fmt: skip
@click.option("--duration", type=DURATION, help="End after a time such as 30s.")
@JSON
def simulate(site: Path, seed: int, faults: tuple[str, ...], duration: float | None, as_json: bool) -> None:
    """Simulate every Modbus TCP device of SITE on its own host and port (loopback only).

    Batteries follow their setpoints, meters see what they do; a unit that is commanded by nobody falls back.
    Prints a line when it answers, and ends with Ctrl-C.

    \b
    Examples:
      fluxfast simulate site.yaml
      fluxfast simulate site.yaml --fault hang:10% --fault slow=200ms
      fluxfast simulate site.yaml --fault blackhole:5%:10s-20s --duration 1m

    Exit code: 0 done, 2 the site file is wrong, 3 an address cannot be had.
    """
    simulator = Simulator(load_fleet(site), seed, faults=faults)
    # Before the line that others wait for, so that they can end us from then on.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: simulator.stop())
    simulator.open()
    try:
        _print_ready(simulator, as_json)
        last = Counters()

        def report(counters: Counters) -> None:
            nonlocal last
            try:
                _print_status(counters, counters.requests - last.requests, as_json)
            except OSError:  # whoever looked on may leave; the devices stay
                drop_unread_output()
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
    faulty = f", {counters.faulty:,} addresses faulty" if counters.faulty else ""
    click.echo(f"\r{requests:>8,} requests/s, {counters.connections:,} connections{faulty} \x1b[K", nl=False)


def _print_json(**fields: Any) -> None:
    click.echo(json.dumps(fields))
    sys.stdout.flush()
