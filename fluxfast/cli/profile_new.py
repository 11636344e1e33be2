"""``fluxfast profile new``: a file to begin with."""

from pathlib import Path

import click

from fluxfast.cli.options import Command
from fluxfast.cli.profile_out import FORCE, refuse_existing, save
from fluxfast.errors import ConfigError
from fluxfast.profiles.document import make_problem
from fluxfast.profiles.fields import POINT_NAME
from fluxfast.profiles.store import find_profile, load_profile
from fluxfast.profiles.template import new_profile


@click.command("new", cls=Command, short_help="Begin a profile of one's own.")
@click.argument("name")
@click.option("--from", "origin", metavar="PROFILE", help="Begin with a copy of this one, comments and all.")
@FORCE
def new(name: str, origin: str | None, force: bool) -> None:
    """Write NAME.yaml, a profile with comments to begin with: it passes `fluxfast profile check` at once.

    With - as NAME it is printed.

    \b
    Examples:
      fluxfast profile new pcs
      fluxfast profile new pack_b --from powerpack
      fluxfast profile new - | less

    Exit code: 0 done, 2 no such name or the file is there already.
    """
    out = None if name == "-" else Path(f"{name.removesuffix('.yaml')}.yaml")
    stem = "new_device" if out is None else out.stem
    if not POINT_NAME.fullmatch(stem):
        cure = "use a letter, then letters, digits or underscores"
        raise click.BadParameter(f"'{stem}' is not a profile name ({cure})", param_hint="NAME")
    refuse_existing(out, force, "NAME")
    text = new_profile(stem, None if origin is None else _text(origin))
    save(text, out)
    if out is not None:
        click.echo(f"{out}: change it, then `fluxfast profile check {out}`")


def _text(origin: str) -> str:
    """Return the text of a profile's file, which must be right."""
    load_profile(origin)
    try:
        return find_profile(origin).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError([make_problem(origin, None, "", f"cannot be read: {error.strerror}")]) from None
