"""Ctrl-C in the middle of a write: nobody knows whether it was carried out, and that is said."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from fluxfast.cli.options import COULD_NOT


@contextmanager
def told_when_interrupted() -> Iterator[None]:
    """End with 3 if Ctrl-C interrupts what is inside, and say what that means for a write."""
    try:
        yield
    except KeyboardInterrupt:
        text = "interrupted: the write may have been carried out (read it back before writing again)"
        click.secho(text, fg="red", err=True)
        sys.exit(COULD_NOT)
