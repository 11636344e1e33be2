"""``fluxfast read --watch``: reads on a grid until told to end; a live table, or a line for each read."""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from rich.console import Console
from rich.live import Live

from fluxfast.access.read import Answer, Links
from fluxfast.access.watch import Watched
from fluxfast.cli.readings import print_table, table_of_watched

Show = Callable[[Sequence[Answer]], None]


async def watch(links: Links, every_s: float, count: int | None, show: Show | None) -> list[Answer]:
    """Read until Ctrl-C or ``count`` reads are done; return the last answers.

    ``show`` prints each read; without it a live table is shown, and at the end once more for good.
    """
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.set)
    watched, answers = Watched(), list[Answer]()
    live = (
        Live(console=Console(highlight=False), auto_refresh=False, transient=True) if show is None else None
    )
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
                    show(answers)
                    sys.stdout.flush()
                elif live is not None:
                    live.update(table_of_watched(watched), refresh=True)
                if watched.reads != count:
                    await _until_next(began_s, every_s, ending)
    if show is None and answers:
        print_table(table_of_watched(watched))
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
