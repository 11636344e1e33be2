"""Options that several commands share."""

from pathlib import Path
from typing import Any

import click
from pydantic_core import PydanticCustomError

from fluxfast.config import Fleet, load
from fluxfast.profiles.fields import parse_duration


class _Duration(click.ParamType):
    """A duration as in site files (``30s``, ``250ms``, ``1m``), in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        try:
            seconds = parse_duration(value) / 1e9
        except PydanticCustomError as error:
            cure = (error.context or {}).get("cure")
            self.fail(f"{error} ({cure})" if cure else str(error), param, ctx)
        return seconds


DURATION = _Duration()
SITE = click.argument("site", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs, one object per line.")


def load_fleet(site: Path) -> Fleet:
    """Load a site file or folder; warnings go to stderr."""
    fleet = load(site)
    for warning in fleet.warnings:
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    return fleet
