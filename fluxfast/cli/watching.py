"""``fluxfast read --watch``: on a grid until told to end; live, or a line a read, and a summary."""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import click
from rich.console import Console
from rich.live import Live

from fluxfast.access.read import Answer, Links
from fluxfast.access.watch import Watched
from fluxfast.cli.readings import Tracks, line_of, print_table, table_of

Show = Callable[[Sequence[Answer], Tracks], None]


async def watch(links: Links, every_s: float, count: int | None, show: Show | None) -> list[Answer]:
    """Read until Ctrl-C or ``count`` reads are done; return the last answers.

    ``show`` prints each read; without it a terminal shows a live table and a pipe gets a line for each one,
    and at the end stands a table of what was seen.
    """
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.set)
    watched, answers = Watched(), list[Answer]()
    live = None
    if show is None and sys.stdout.isatty():
        live = Live(console=Console(highlight=False), auto_refresh=False, transient=True)
    began_s = loop.time()
    with live or nullcontext():
        async with links:
            while not ending.is_set() and (count is None or watched.reads < count):
                reading = asyncio.ensure_future(links.read())
                stopping = asyncio.ensure_future(ending.wait())
                await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                if not reading.done():
                    reading.cancel()
                    break
                answers = reading.result()
                watched.add(answers)
                if show is not None:
                    show(answers, watched.tracks)
                elif live is None:
                    click.echo(line_of(answers, watched.tracks))
                else:
                    live.update(table_of(answers, watched.tracks), refresh=True)
                sys.stdout.flush()
                if watched.reads != count:
                    await _until_next(began_s, every_s, ending)
    if show is None and answers:
        print_table(table_of(answers, watched.tracks))
    return answers


async def _until_next(began_s: float, every_s: float, ending: asyncio.Event) -> None:
    """Wait for the next time on the grid that is still to come; what a slow read has missed is left out."""
    now_s = asyncio.get_running_loop().time()
    due_s = began_s + (int((now_s - began_s) / every_s) + 1) * every_s
    try:
        async with asyncio.timeout(due_s - now_s):
            await ending.wait()
    except TimeoutError:
        return
