"""``fluxfast``: finds the command."""

import importlib
import io
import os
import signal
import sys
from typing import Final

import click

from fluxfast import __version__

# In the order of a first day; a command's module is imported only when it is called or described.
COMMANDS: Final = (
    "demo", "check", "plan", "simulate", "run", "control", "doctor", "replay", "log", "query", "report",
)  # fmt: skip


class Commands(click.Group):
    """Commands that are modules of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        # Ctrl-C in the middle of an import comes out as any error of the module; until it is done, just end.
        ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        command = getattr(importlib.import_module(f"fluxfast.cli.{cmd_name}"), cmd_name)
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="fluxfast")
def cli() -> None:
    """Poll whole fleets of batteries and meters over Modbus TCP, and log everything as Parquet.

    Start with `fluxfast demo`: a simulated fleet, no hardware.
    """


def main() -> None:
    """Run the command line and end the process."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):  # not every terminal can show every character of a message
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    cli(color=False if plain else None)  # None: colours on a terminal


def _open_closed_streams() -> None:
    """Let nothing stand where the caller has closed a stream: no socket may get its number (libuv aborts)."""
    number = os.open(os.devnull, os.O_RDWR)
    while number <= 2:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115  (as long as the process)
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115
