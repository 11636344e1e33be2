"""``fluxfast completion``: make a shell complete commands, options, devices and points."""

from typing import Final

import click
from click.shell_completion import get_completion_class

from fluxfast.cli.options import Command

NAME: Final = "fluxfast"
VARIABLE: Final = "_FLUXFAST_COMPLETE"  # by which click knows that a shell is asking


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete fluxfast's commands, options, files, devices and points.

    \b
    Examples:
      echo 'eval "$(fluxfast completion bash)"' >> ~/.bashrc
      echo 'eval "$(fluxfast completion zsh)"' >> ~/.zshrc
      fluxfast completion fish > ~/.config/fish/completions/fluxfast.fish

    It holds from the next shell on. bash needs version 4.4 or later.
    """
    script = get_completion_class(shell)
    assert script is not None  # one of the choice
    click.echo(script(ctx.find_root().command, {}, NAME, VARIABLE).source())
