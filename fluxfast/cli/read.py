"""``fluxfast read``: values of devices by name or address, once or again and again."""

import asyncio
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fluxfast.access.cure import cures
from fluxfast.access.read import AT_ONCE, Answer, Links, UnitReader
from fluxfast.access.selection import Form, Selection, is_address, join, select_addresses, select_points
from fluxfast.access.target import Unit, find_devices, is_site, parse_endpoint, parse_units
from fluxfast.cli import completing
from fluxfast.cli.addressing import RETRIES, TIMEOUT, form_of, form_options, refuse_for_names
from fluxfast.cli.options import DURATION, JSON, Command, load_fleet
from fluxfast.cli.progress import Bar
from fluxfast.cli.readings import (
    exit_code,
    print_csv,
    print_json,
    print_raw,
    print_table,
    table_of,
)
from fluxfast.cli.watching import Show, watch
from fluxfast.cli.words import plural
from fluxfast.config import Device

PATIENCE_S = 0.5  # what takes longer shows how far it is


@click.command(cls=Command)
@click.argument("target", shell_complete=completing.files)
@click.argument("what", nargs=-1, shell_complete=completing.points(""))
@click.option("--all", "everything", is_flag=True, help="All points: of DEVICE, or of every device of SITE.")
@click.option(
    "--unit", "units", metavar="IDS", help="Unit identifiers behind HOST, like 1 or 1,3,10-20; else 1."
)
@form_options
@click.option(
    "--watch", "every", type=DURATION, metavar="EVERY", help="Read again and again, such as every 200ms."
)
@click.option("--count", type=click.IntRange(min=1), help="End --watch after so many reads.")
@TIMEOUT
@RETRIES
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--raw", "as_raw", is_flag=True, help="Print the registers in hex.")
@JSON
def read(
    target: str,
    what: tuple[str, ...],
    everything: bool,
    units: str | None,
    every: float | None,
    count: int | None,
    timeout: float | None,
    retries: int,
    as_csv: bool,
    as_raw: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Read values of devices, and say what they are and how good.

    TARGET is HOST or HOST:PORT, and WHAT is ADDRESS or ADDRESS:COUNT, decimal or 0x hex: COUNT values from a
    PDU address, which counts from 0; the reference beside it counts from 1. Or TARGET is a site file, and
    WHAT is DEVICE (id, name or a pattern like 'bess-*') and names of its points, patterns like 'power_*', or
    addresses; without any, all its points.

    A read that fails leaves the others alone. With --watch a terminal shows a table with what has changed,
    the extremes and the change per second; a pipe gets a line for each read. Nothing is ever written.

    \b
    Examples:
      fluxfast read 192.168.1.100 2026
      fluxfast read 192.168.1.100 2000:10 --unit 1,3,10-20 --csv
      fluxfast read 192.168.1.101:502 0x4000:4 --type float32 --order CDAB
      fluxfast read site.yaml Site-BESS-01 soe status
      fluxfast read site.yaml Site-BESS-01 'power_*' --watch 200ms
      fluxfast read site.yaml --all --json

    Exit code: 0 all is good, 1 some values are not, 2 bad input, 3 nothing could be read.
    """
    if as_csv + as_raw + as_json > 1:
        raise click.UsageError("--csv, --raw and --json: one of them")
    if count is not None and every is None:
        raise click.UsageError("--count is for --watch")
    if every is not None and every < 0.01:
        raise click.BadParameter("at least 10ms", param_hint="--watch")
    if is_site(target):
        if units is not None:
            raise click.UsageError("--unit is for a host; of a device the site file says it")
        readers = _of_site(Path(target), what, everything, given)
    else:
        readers = _of_host(target, what, everything, "1" if units is None else units, form_of(given))
    links = Links(readers, timeout_s=timeout, retry_count=retries, keep=every is not None)
    if every is not None and len(links) > AT_ONCE:
        raise click.UsageError(f"--watch is for up to {AT_ONCE} hosts, not {len(links)} (try fluxfast top)")
    show = _shower(as_csv=as_csv, as_raw=as_raw, as_json=as_json, again=every is not None)
    if every is None:
        answers = asyncio.run(_once(links, len(readers)))
        assert show is not None
        show(answers, [None] * len(answers))
    else:
        answers = asyncio.run(watch(links, every, count, show))
    for line in cures(answers):
        click.secho(line, fg="red", err=True)
    sys.exit(exit_code(answers))


def _of_host(target: str, what: Sequence[str], everything: bool, units: str, form: Form) -> list[UnitReader]:
    host, port = parse_endpoint(target)
    if everything:
        raise click.UsageError(
            "--all is for site files: a host does not tell what it has (try fluxfast scan)"
        )
    if not what:
        raise click.UsageError(f"which addresses? Write some like: fluxfast read {target} 2000:10")
    for word in what:
        if not is_address(word):
            cure = "names are those of a site file's devices; there is no such file" if "." in target else ""
            raise click.UsageError(f"{word!r} is no address of host {target}{f' ({cure})' if cure else ''}")
    selection = select_addresses(what, form)
    return [UnitReader(Unit(host, port, unit), selection) for unit in parse_units(units)]


def _of_site(site: Path, what: Sequence[str], everything: bool, given: dict[str, Any]) -> list[UnitReader]:
    fleet = load_fleet(site)
    devices: Sequence[Device] = fleet.devices
    if what:
        devices = find_devices(fleet, what[0], str(site))
    elif not everything:
        names = ", ".join(device.name for device in fleet.devices[:5])
        raise click.UsageError(f"which device? One of {names}{' …' * (len(fleet.devices) > 5)}, or --all")
    words = what[1:]
    if everything and words:
        raise click.UsageError("--all reads all points: leave the names out")
    if not any(map(is_address, words)):
        refuse_for_names(given)
    spoken = [device for device in devices if device.modbus.host is not None]
    if not what and len(spoken) < len(devices):
        left_out = plural(len(devices) - len(spoken), "devices")
        click.secho(f"{left_out} on serial lines left out", fg="yellow", err=True)
        devices = spoken
    form = form_of(given)
    selections: dict[int, Selection] = {}  # devices without overrides share a profile
    readers = []
    for device in devices:
        key = id(device.profile)
        if key not in selections:
            selections[key] = _selected(device, words, form)
        readers.append(UnitReader(Unit.of(device), selections[key]))
    return readers


def _selected(device: Device, words: Sequence[str], form: Form) -> Selection:
    """Return names and addresses in the order in which they are given."""
    parts = []
    for are_addresses, group in itertools.groupby(words, is_address):
        if are_addresses:
            parts.append(select_addresses(group, form, device.profile.quirks))
        else:
            parts.append(select_points(device.profile, list(group)))
    return join(*parts) if parts else select_points(device.profile, [])


async def _once(links: Links, units: int) -> list[Answer]:
    asked = 0
    bar: Bar | None = None

    def tell(more: int) -> None:
        nonlocal asked
        asked += more
        if bar is not None:
            bar.update(asked, units)

    async with links:
        reading = asyncio.ensure_future(links.read(tell))
        await asyncio.wait({reading}, timeout=PATIENCE_S)
        if not reading.done():
            with Bar("reading") as bar:
                bar.update(asked, units)
                await asyncio.wait({reading})
        return reading.result()


def _shower(*, as_csv: bool, as_raw: bool, as_json: bool, again: bool) -> Show | None:
    """Return what prints the answers of a read; None for the table of what is watched."""
    if as_json:
        return print_json
    if as_raw:
        return lambda answers, _: print_raw(answers)
    if as_csv:
        headers = itertools.chain([True], itertools.repeat(False))
        return lambda answers, tracks: print_csv(answers, tracks, with_header=next(headers))
    if not again:
        return lambda answers, tracks: print_table(table_of(answers, tracks))
    return None
