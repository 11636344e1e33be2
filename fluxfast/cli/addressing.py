"""The options of ``read`` and ``write`` that say how plain addresses are meant, and who is asked."""

from collections.abc import Callable
from typing import Any, Final

import click

from fluxfast.access.selection import ORDERS, Form
from fluxfast.cli.options import DURATION
from fluxfast.profiles.types import TYPES

_OPTIONS: Final = (
    click.option(
        "--table", type=click.Choice(["holding", "input", "coil", "discrete"]), help="Else holding."
    ),
    click.option(
        "--type", "type_", type=click.Choice(list(TYPES)), help="Of each value; else uint16, or bool of bits."
    ),
    click.option(
        "--order", metavar="ORDER",
        help=f"Of its bytes, A the most significant: ABCD, CDAB, BADC, DCBA (or with 2 or 8 letters); "
        f"or {', '.join(ORDERS)}.",
    ),
    click.option("--scale", metavar="NUMBER", help="value = raw × scale + offset."),
    click.option("--offset", metavar="NUMBER", help="See --scale."),
    click.option("--bit", type=click.IntRange(0, 15), help="Only this bit of a register; 0 is the least."),
    click.option("--length", type=click.IntRange(1, 125), help="Registers of a --type string."),
    click.option(
        "--base", type=click.Choice(["0", "1"]),
        help="What addresses count from: 0, as PDU addresses do, or 1, as modpoll's -r.",
    ),
)  # fmt: skip
TIMEOUT: Final = click.option(
    "--timeout", type=DURATION, help="For each answer, such as 500ms; else SITE's, or 1s for a host."
)
RETRIES: Final = click.option(
    "--retries", type=click.IntRange(0, 100), default=0, show_default=True, help="Of a read without answer."
)


def form_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a Form."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def form_of(given: dict[str, Any]) -> Form:
    """Return the form that the options say."""
    known = {"type" if key == "type_" else key: value for key, value in given.items() if value is not None}
    return Form(**{**known, "base": int(known.get("base", 0))})


def refuse_for_names(given: dict[str, Any]) -> None:
    """Refuse these options where all that is asked for has a name."""
    for key, value in given.items():
        if value is not None:
            name = key.rstrip("_")
            raise click.UsageError(f"--{name} is for plain addresses; of a point its profile says it")
