"""``fluxfast profile from-sunspec``: a profile from what a SunSpec device tells of itself."""

import asyncio
import json
import sys
from pathlib import Path

import click

from fluxfast.access.target import parse_endpoint
from fluxfast.cli.options import DONE, DURATION, FINDINGS, JSON, Command
from fluxfast.cli.profile_out import FORCE, OUT, refuse_existing, refuse_name, save, warn
from fluxfast.cli.progress import Bar
from fluxfast.cli.words import plural
from fluxfast.client import Client
from fluxfast.errors import FluxfastError, TransportError
from fluxfast.profiles.write import profile_text
from fluxfast.sunspec import Found, Made, discover, make_profile
from fluxfast.sunspec.definitions import definition

_OTHER_UNITS = "another unit may have it: many inverters are --unit 126, others 2, 3, 100 or 247"


@click.command("from-sunspec", cls=Command, short_help="Make a profile of what a SunSpec device tells.")
@click.argument("host", metavar="HOST[:PORT]")
@click.option("--unit", type=click.IntRange(1, 255), default=1, show_default=True, help="Unit identifier.")
@click.option("--timeout", type=DURATION, default="3s", show_default=True, help="Wait so long for an answer.")
@click.option("--all", "keep_all", is_flag=True, help="Keep points that the device does not implement, too.")
@click.option("--bits", is_flag=True, help="Make a bool of each bit that has a name, not an integer of all.")
@click.option("--name", help="The profile's name; that of OUT, or maker and model, unless given.")
@OUT
@FORCE
@JSON
def from_sunspec(
    host: str,
    unit: int,
    timeout: float,
    keep_all: bool,
    bits: bool,
    name: str | None,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a profile of the SunSpec models that the device at HOST has. Only reads.

    Looks for the map at 40000, 0 and 50000 (holding registers), follows it from model to model, and lays
    SunSpec's definitions over them: types, units, states, and the scale factors that the device has now,
    as exact scales. Points for which the device has no value are left out and listed in comments. How the
    device might be controlled is suggested in comments, too, and not made active.

    Needs pysunspec2 for the definitions: pip install 'fluxfast[sunspec]'. A model that has none there is told
    and left out.

    \b
    Examples:
      fluxfast profile from-sunspec 192.168.1.60 -o inverter.yaml
      fluxfast profile from-sunspec 192.168.1.60:1502 --unit 126 | less

    Exit code: 0 done, 1 done and something about the map is odd, 2 wrong arguments, 3 no SunSpec map or no
    answer.
    """
    address, port = parse_endpoint(host)
    refuse_existing(out, force)
    name = name if name is not None or out is None else out.stem
    if name is not None:
        refuse_name(name)
    definition(1)  # tells what to install
    found, made = asyncio.run(_make(Client(address, port, unit_id=unit, timeout_s=timeout, retry_count=1),
                                    keep_all, bits, name))  # fmt: skip
    text = profile_text(made.profile, made.comments)
    if not as_json:
        _tell(found, made)
    if out is not None or not as_json:
        save(text, out)
    if as_json:
        click.echo(json.dumps(_as_json(found, made, None if out else text, out), ensure_ascii=False))
    elif out is not None:
        click.echo(f"{out}: {plural(len(made.profile.points), 'points')}")
    sys.exit(FINDINGS if found.trouble else DONE)


async def _make(client: Client, keep_all: bool, bits: bool, name: str | None) -> tuple[Found, Made]:
    with Bar("SunSpec") as bar:
        async with client:
            try:
                found = await discover(client, bar.update)
            except TransportError:  # no unit would answer
                raise
            except FluxfastError as error:
                raise FluxfastError(f"{error}\n{_OTHER_UNITS}") from error
            made = await make_profile(
                client, found, name=name, keep_all=keep_all, bits=bits, progress=bar.update
            )
            return found, made


def _tell(found: Found, made: Made) -> None:
    """Tell on stderr what was found: the profile itself may go to stdout."""
    said = found.common
    about = " ".join(filter(None, (said.manufacturer, said.model, said.version, said.serial_number)))
    click.echo(f"SunSpec at {found.base}: {about or 'the device does not say what it is'}", err=True)
    models = ", ".join(str(model.id) for model in found.models if model not in made.unknown)
    click.echo(f"models {models}", err=True)
    for model in made.unknown:
        warn(f"model {model.id} at {model.address} ({model.length} registers) has no definition: left out")
    for remark in (*made.remarks, *found.trouble):
        warn(remark)


def _as_json(found: Found, made: Made, text: str | None, out: Path | None) -> dict[str, object]:
    said = found.common
    return {
        "base": found.base,
        "manufacturer": said.manufacturer,
        "model": said.model,
        "options": said.options,
        "version": said.version,
        "serial_number": said.serial_number,
        "models": [
            {"id": m.id, "address": m.address, "length": m.length, "known": m not in made.unknown}
            for m in found.models
        ],
        "points": len(made.profile.points),
        "remarks": list(made.remarks),
        "trouble": list(found.trouble),
        "file": None if out is None else str(out),
        "text": text,
    }
