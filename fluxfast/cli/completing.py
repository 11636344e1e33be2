"""What a shell offers where it completes: files, a site file's devices, their points, profiles."""

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from fluxfast.errors import FluxfastError

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer files."""
    return [CompletionItem(incomplete, type="file")]


def profiles(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the profiles that come with fluxfast, and files."""
    from fluxfast.profiles import builtin_profiles

    return _beginning(builtin_profiles(), incomplete) or files(ctx, param, incomplete)


def devices(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the devices of the site file that stands before."""
    return _beginning(_points(ctx), incomplete)


def points(end: str) -> Complete:
    """Offer a device of the site file that stands before, then that device's points, each with ``end``."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        known, words = _points(ctx), ctx.params.get("what") or ()
        offered = [name + end for name in known.get(words[0], ())] if words else known
        return _beginning(offered, incomplete)

    return complete


def _beginning(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def _points(ctx: click.Context) -> dict[str, list[str]]:
    """Return {device: points}, by id and by name; nothing where there is no site file that can be read."""
    from fluxfast.config import load

    file = ctx.params.get("target") or ctx.params.get("site")
    try:
        fleet = load(Path(str(file)))
    except FluxfastError:
        return {}
    return {name: list(d.profile.points) for d in fleet.devices for name in (d.id, d.name)}
