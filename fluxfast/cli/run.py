"""``fluxfast run``: poll a fleet, show how it goes, log it."""

import asyncio
import gc
import itertools
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import click
import uvloop

from fluxfast.cli.display import STATUS_EVERY_S, Display
from fluxfast.cli.options import (
    DONE,
    DURATION,
    FINDINGS,
    JSON,
    LOCAL_FOLDER,
    SITE,
    Command,
    load_fleet,
    refuse_serial,
)
from fluxfast.cli.pipes import drop_unread_output
from fluxfast.cli.sites import summary as control_summary
from fluxfast.config import Fleet
from fluxfast.profiles.findings import nearest
from fluxfast.station import Station
from fluxfast.status import Status
from fluxfast.trace import Trace
from fluxfast.view_socket import ViewSocket

FRAMES_EVERY_S = 0.05
END_S = 2.0  # what a clean end takes at most


@click.command(cls=Command)
@SITE
@click.option(
    "--duration", type=DURATION, help="Stop after a time such as 30s or 5m; until Ctrl-C otherwise."
)
@click.option("--log", "log_dir", type=LOCAL_FOLDER, help="Log here instead of where SITE says.")
@click.option(
    "--trace",
    "traced",
    multiple=True,
    metavar="unit=ID",
    help="Print every frame of a device, decoded; may be given several times.",
)
@JSON
def run(
    site: Path, duration: float | None, log_dir: Path | None, traced: tuple[str, ...], as_json: bool
) -> None:
    """Poll the devices of SITE, show how it goes, and log every tick as Parquet.

    SITE is a file or a folder of files. Sites with `action: act` are controlled: see `fluxfast control`.
    Ctrl-C, SIGTERM or a closed terminal ends it cleanly, its units are told 0 and given back.

    \b
    Examples:
      fluxfast run site.yaml
      fluxfast run site.yaml --duration 30s --log /var/log/plant
      fluxfast run site.yaml --trace unit=b1

    Exit code: 0 done, 1 there are findings (at the end devices were bad, ticks were skipped, rows were lost,
    control had ended before or units could not be given back), 2 bad input, 3 could not be done.
    """
    fleet = load_fleet(site)
    refuse_serial(fleet)
    units = [_unit_of(trace, fleet) for trace in traced]
    station = Station(fleet, log_dir=log_dir or fleet.log.dir)
    trace = station.trace(units) if units else None
    display = Display(as_json=as_json, with_frames=trace is not None)
    status = uvloop.run(watch(station, duration, display, trace))
    lost = status.overruns or status.rows_dropped or status.control_ended or status.commanded
    code = FINDINGS if status.devices_bad or lost or not status.ticks else DONE
    if display.is_stuck:  # the log is written; nobody reads the rest, and to print it would wait for ever
        os._exit(code)
    try:
        click.echo(json.dumps(status.as_dict()) if as_json else summary(status, log_dir or fleet.log.dir))
    except OSError:
        drop_unread_output()
    sys.exit(code)


def _unit_of(trace: str, fleet: Fleet) -> str:
    """Return the device's id out of ``unit=ID``."""
    key, _, unit = trace.partition("=")
    if key != "unit" or not unit:
        raise click.BadParameter(f"{trace!r} is not unit=ID, where ID is a device's id", param_hint="--trace")
    known = {device.id for device in fleet.devices}
    if unit not in known:
        raise click.BadParameter(
            f"no device {unit} in the site ({nearest(unit, known)})", param_hint="--trace"
        )
    return unit


async def watch(
    station: Station,
    duration_s: float | None,
    display: Display,
    trace: Trace | None = None,
) -> Status:
    """Run a station to its end while showing its status; return the last status, all rows on the disk."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:  # nohup says so
            continue
        loop.add_signal_handler(number, _end, station, number)
    with display:
        shown = asyncio.create_task(_show(station, trace, display))
        try:
            async with ViewSocket(station, station.controller), station:
                gc.freeze()  # what is there now stays: no collection need walk it again, tick after tick
                async for _ in station.ticks(duration_s):
                    pass
        finally:
            shown.cancel()
            with suppress(asyncio.CancelledError):
                await shown
            for frame in trace.take() if trace is not None else ():
                display.show(frame)
    return station.status()


def _end(station: Station, number: signal.Signals) -> None:
    station.stop()
    asked_s = time.monotonic()

    def again(*_: object) -> None:
        # It ends the process at once, unless it came along with the first: what was read is being written.
        if time.monotonic() - asked_s > END_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    loop = asyncio.get_running_loop()
    loop.remove_signal_handler(number)
    signal.signal(number, again)


async def _show(station: Station, trace: Trace | None, display: Display) -> None:
    every = STATUS_EVERY_S if trace is None else FRAMES_EVERY_S
    for step in itertools.count(1):
        await asyncio.sleep(every)
        if trace is not None:
            for frame in trace.take():
                display.show(frame)
        if step * every % STATUS_EVERY_S < every:
            display.show(station.status())


def summary(status: Status, log_dir: Path) -> str:
    """Return what a run came to, in a few lines."""
    good, devices = sum(t.good for t in status.tables), sum(t.devices for t in status.tables)
    lines = [
        f"{status.ticks:,} ticks in {status.elapsed_s:.1f} s, {status.overruns:,} skipped; "
        f"{good:,} of {devices:,} devices good at the last",
        f"{status.unanswered:,} reads unanswered in time, "
        f"{status.links_up:,} of {status.links_total:,} links up",
        f"{status.rows_logged:,} rows in {log_dir}",
    ]
    if status.tick_p50_ms is not None:
        lines[0] += f"; tick p50 {status.tick_p50_ms:.1f} ms, p99 {status.tick_p99_ms:.1f} ms"
    if status.rows_dropped:
        lines.append(f"{status.rows_dropped:,} rows could not be written and are lost")
    if status.control:
        lines += control_summary(status)
    return "\n".join([*lines, *(f"! {message}" for message in status.messages)])
