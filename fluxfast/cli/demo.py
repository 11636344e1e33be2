"""``fluxfast demo``: a simulated fleet, controlled, logged, summed up and drawn. Needs no hardware."""

import os
import selectors
import shlex
import subprocess
import sys
import time
from pathlib import Path

import click
import uvloop

from fluxfast.cli.display import Display
from fluxfast.cli.options import DURATION, Command
from fluxfast.cli.run import summary, watch
from fluxfast.config import load
from fluxfast.errors import FluxfastError, MissingExtraError
from fluxfast.station import Station

SITES = 100
PACKS_PER_SITE = 4
PORT = 5020
LIMIT_KW, RECHARGE_KW = 350, 300
READY_WITHIN_S = 30.0
MADE_BY = b"# Made by `fluxfast demo`.\n"
QUERY = """import duckdb; duckdb.sql('''
    SELECT time, round(avg(soe), 2) AS soe, count(*) AS units
    FROM '{log}/powerpack/*/*.parquet' GROUP BY time ORDER BY time''').show()"""


@click.command(cls=Command)
@click.option("--duration", type=DURATION, default="20s", show_default=True, help="How long to control.")
@click.option(
    "--action",
    type=click.Choice(["act", "shadow", "observe"]),
    default="act",
    show_default=True,
    help="Shave peaks, only decide on it, or only read.",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default="demo",
    show_default=True,
    help="Where site file, log and chart go.",
)
def demo(duration: float, action: str, folder: Path) -> None:
    """Simulate 400 PowerPacks and 100 meters, shave each site's peaks every 500 ms, log and draw it.

    Over real sockets, on loopback addresses; needs no hardware and no root. Leaves the site file, the log and
    a chart, and says what to try with them.

    \b
    Examples:
      fluxfast demo
      fluxfast demo --duration 2m --action shadow

    Exit code: 0 done, 3 it could not be simulated.
    """
    site = _write_site(folder, action)
    fleet = load(site)
    packs = SITES * PACKS_PER_SITE
    click.echo(f"{site}: {packs} PowerPacks and {SITES} meters at {SITES} sites, every 500 ms, {action}")
    log = folder / "log"
    began_us = time.time_ns() // 1000
    with simulating(site):
        display = Display(as_json=False, with_frames=False)
        status = uvloop.run(watch(Station(fleet, log_dir=log), duration, display))
    click.echo(summary(status, log))
    _draw(log, folder / "chart.png", began_us)
    click.echo(
        f"""
Ask the log, for example:
  {_program("python")} -c "{QUERY.format(log=log)}"
What another limit would have done:
  {_program("fluxfast")} replay {shlex.quote(str(log))} --site {shlex.quote(str(site))} \\
    --mode '{{type: peak_shaving, import_limit_kw: 450}}' --chart {shlex.quote(str(folder / "replay.png"))}
Run it again, with settings of your own:
  {_program("fluxfast")} simulate {shlex.quote(str(site))} &
  {_program("fluxfast")} run {shlex.quote(str(site))} --duration 30s --log {shlex.quote(str(log))}"""
    )


def _write_site(folder: Path, action: str) -> Path:
    """Write the demo's site file, over an earlier demo's but never over the user's own."""
    site = folder / "site.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if site.exists() and not site.read_bytes().startswith(MADE_BY):
            raise FluxfastError(f"{site} is not of an earlier demo; name another folder with --dir")
        site.write_text(site_file(action), encoding="utf-8")
    except OSError as error:
        raise FluxfastError(f"cannot write {site}: {error.strerror}") from None
    return site


def site_file(action: str) -> str:
    """Return the demo's site file: every device has an address of its own in 127.1.0.0/16."""
    control = (
        f"control:\n  action: {action}\n  modes:\n"
        f"    - {{type: peak_shaving, import_limit_kw: {LIMIT_KW}, recharge_below_kw: {RECHARGE_KW}}}\n"
    )
    sites = "".join(
        f"""
  - site: site-{n:03}
    devices:
      bess:
        - {{id: "s{n:03}-b{{n}}", count: {PACKS_PER_SITE}, name: "Site {n} PowerPack {{n}}", type: powerpack,
           capacity_kwh: 400, rated_power_kw: 200, modbus: {{host: 127.1.{n}.1, port: {PORT}}}}}
      meters:
        - {{id: s{n:03}-grid, name: "Site {n} grid", type: acuvim2, role: grid,
           modbus: {{host: 127.1.{n}.100, port: {PORT}}}}}
"""
        for n in range(1, SITES + 1)
    )
    return f"{MADE_BY.decode()}poll: {{every: 500ms}}\nlog: {{dir: ./log}}\n{control}sites:{sites}"


class simulating:  # noqa: N801  (reads as a verb: `with simulating(site):`)
    """Runs ``fluxfast simulate`` as a process of its own for the length of a with block."""

    def __init__(self, site: Path) -> None:
        """Take the site file to simulate."""
        self._command = [sys.executable, "-m", "fluxfast", "simulate", str(site)]

    def __enter__(self) -> None:
        """Start it and wait until it answers; FluxfastError with its own words if it does not."""
        # In a session of its own, so that Ctrl-C reaches only us and we end it when all is written.
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, start_new_session=True)
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            line = os.read(self._process.stdout.fileno(), 4096) if ready.select(READY_WITHIN_S) else b""
        if not line.startswith(b"simulating"):
            self.__exit__()
            raise FluxfastError("the simulator did not start")
        click.echo(line.decode().partition(";")[0].strip())

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate()


def _draw(log: Path, chart: Path, since_us: int) -> None:
    from fluxfast.cli.chart import draw

    try:
        draw(log, chart, since_us)
    except MissingExtraError as error:
        click.echo(f"no chart: {error}")
    else:
        click.echo(f"chart: {chart}")


def _program(name: str) -> str:
    """Return how the user can call a program of this environment from where they are."""
    path = Path(sys.executable).parent / name
    in_path = any(Path(folder) == path.parent for folder in os.environ.get("PATH", "").split(os.pathsep))
    try:
        return name if in_path else str(path.relative_to(Path.cwd()))
    except ValueError:
        return name
