"""What commands share: how their errors end them, and options."""

import errno
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from pydantic_core import PydanticCustomError

from fluxfast.cli.pipes import drop_unread_output
from fluxfast.config import Fleet, load
from fluxfast.config.values import is_url
from fluxfast.errors import ConfigError, FluxfastError, LocalProtocolError, Problem
from fluxfast.profiles.fields import parse_duration

DONE: Final = 0
FINDINGS: Final = 1
BAD_INPUT: Final = 2
COULD_NOT: Final = 3


class Command(click.Command):
    """A command whose errors become a line each on stderr, and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; ConfigError and LocalProtocolError end it with 2, any other FluxfastError with 3."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                click.secho(str(problem), fg="red", err=True)
            ctx.exit(BAD_INPUT)
        except LocalProtocolError as error:  # what was asked for cannot be
            click.secho(str(error), fg="red", err=True)
            ctx.exit(BAD_INPUT)
        except FluxfastError as error:
            click.secho(str(error), fg="red", err=True)
            ctx.exit(COULD_NOT)
        except BrokenPipeError:  # `fluxfast plan … | head` is no error
            drop_unread_output()
            ctx.exit(DONE)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or error.filename is not None:
                raise
            drop_unread_output()  # it would fail again at the exit
            click.secho(f"cannot write the output: {error.strerror}", fg="red", err=True)
            ctx.exit(COULD_NOT)


class _Duration(click.ParamType[float]):
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


class _LocalFolder(click.Path):
    """A path, refused where it looks like a URL: a folder called ``s3:`` is not what was meant."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a Path."""
        if isinstance(value, str) and is_url(value):
            self.fail(f"{value} is a URL, not a local folder (put it under log: remote: in SITE)", param, ctx)
        return super().convert(value, param, ctx)


class _Moment(click.ParamType[int]):
    """A time such as 2026-11-22 or 2026-11-22T17:00:30, UTC unless it says otherwise, in microseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return UTC microseconds since 1970."""
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time (write one like 2026-11-22T17:00)", param, ctx)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1e6)


DURATION = _Duration()
MOMENT = _Moment()
LOCAL_FOLDER = _LocalFolder(path_type=Path)
SITE = click.argument("site", type=click.Path(path_type=Path))
LOG = click.argument("log", default="log", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs, one object per line.")


def load_fleet(site: Path) -> Fleet:
    """Load a site file or folder; warnings go to stderr."""
    fleet = load(site)
    for warning in fleet.warnings:
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    return fleet


def refuse_serial(fleet: Fleet) -> None:
    """Raise ConfigError naming every device on a serial line."""
    serial = [d for d in fleet.devices if d.modbus.transport == "serial"]
    if serial:
        raise ConfigError(
            [
                Problem(
                    d.file, d.line, f"device {d.id}", "serial lines are not polled by this version",
                    "give modbus: the host and port of a Modbus TCP gateway, or remove the device",
                )
                for d in serial
            ]
        )  # fmt: skip
