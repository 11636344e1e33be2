"""Where the commands that make a profile put it."""

from pathlib import Path

import click

from fluxfast.errors import FluxfastError
from fluxfast.profiles.fields import POINT_NAME

OUT = click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False),
    help="Write the profile to this file instead of to the output.",
)  # fmt: skip
FORCE = click.option("--force", is_flag=True, help="Write over a file that is there.")


def refuse_name(name: str) -> None:
    """Raise for what cannot be a profile's name."""
    if not POINT_NAME.fullmatch(name):
        cure = "give --name: a letter, then up to 62 letters, digits or underscores"
        raise click.BadParameter(f"'{name}' is not a profile name ({cure})", param_hint="--name")


def refuse_existing(out: Path | None, force: bool, hint: str = "--out") -> None:
    """Raise before the work is begun that would be lost."""
    if out is not None and out.exists() and not force:
        raise click.BadParameter(f"{out} is there already (--force writes over it)", param_hint=hint)


def save(text: str, out: Path | None) -> None:
    """Write a profile's text, or print it."""
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FluxfastError(f"{out}: {error.strerror}") from error


def warn(text: str) -> None:
    """Tell what is to be looked at, on stderr."""
    click.secho(text, fg="yellow", err=True)
