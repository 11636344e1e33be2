"""The process of a station of ``fluxfast top``'s own: it polls, lets others look on, and does nothing else.

    python -m fluxfast.top.own SITE

Says ``{"socket": PATH}`` or ``{"error": TEXT}``, and ends with its input, which whoever started it holds.
"""

import asyncio
import json
import os
import sys

import uvloop

from fluxfast.errors import FluxfastError
from fluxfast.poller import Poller
from fluxfast.view_socket import ViewSocket


async def _poll(site: str) -> None:
    poller = Poller(site)

    def heard() -> None:
        if not os.read(0, 4096):
            poller.stop()

    asyncio.get_running_loop().add_reader(0, heard)
    async with ViewSocket(poller) as view:
        if view.path is None:
            raise FluxfastError(poller.messages[-1])
        _say({"socket": str(view.path)})
        async with poller:
            async for _ in poller.ticks():
                pass


def _say(what: dict[str, str]) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    """Poll the site file that the command line names."""
    try:
        uvloop.run(_poll(sys.argv[1]))
    except FluxfastError as error:
        _say({"error": str(error)})
        sys.exit(1)


if __name__ == "__main__":
    main()
