"""``fluxfast``: finds the command."""

import importlib
import io
import os
import signal
import sys
from typing import Final

import click
from click.shell_completion import CompletionItem

from fluxfast import __version__

# In the order of a first day. A command's module is imported only when it is called: the list of them and
# the shell's completion must not wait for all.
COMMANDS: Final = {
    "demo": "Try it: a simulated fleet, controlled and drawn.",
    "check": "Say what is wrong in site files.",
    "plan": "Show the reads of a tick, their cost, and the writes.",
    "simulate": "Answer for every device of a site file.",
    "run": "Poll a site file's devices, show and log.",
    "control": "Stop, look at and switch sites that are controlled.",
    "top": "See the devices of a running station, live.",
    "read": "Read values of one device, by name or address.",
    "write": "Write a value to one device, with its bounds, and read it back.",
    "scan": "Find Modbus TCP devices in a network.",
    "doctor": "Examine the devices of a site file: what is wrong, and the cure.",
    "profile": "Make, check and show register maps.",
    "modpoll": "As modpoll: read or write registers by its command line.",
    "mbscan": "As mbscan: find devices by its command line.",
    "replay": "Decide a log anew: what would another mode have done?",
    "log": "Look at a log, check it, and export it.",
    "query": "Ask a log by SQL.",
    "report": "A day of a log as a page for each site.",
    "bench": "Find out what this machine holds, or how fast a site can go.",
    "completion": "Print what makes your shell complete commands.",
}


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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of a command line, or say which one may have been meant."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from fluxfast.profiles.findings import nearest

            raise click.UsageError(f"there is no command '{args[0]}' ({nearest(args[0], COMMANDS)})", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin so; click's own would import all."""
        items = [
            CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="fluxfast")
def cli() -> None:
    """Poll whole fleets of batteries and meters over Modbus TCP, and log everything as Parquet.

    Start with `fluxfast demo`: a simulated fleet, no hardware. `fluxfast COMMAND --help` has examples.

    Exit codes: 0 done, 1 done with findings, 2 bad input, 3 could not do it.
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
