"""One look at a station, for pipes: its devices as text or as JSON."""

import asyncio
from typing import Any, Final

from fluxfast.running import Running, View
from fluxfast.top.devices import DeviceSheet
from fluxfast.top.sheet import GAP, fit, fitted

FIRST_TICK_S: Final = 30.0  # how long the first values of a station that has just started are waited for
LOOK_S: Final = 0.1


async def look(
    station: Running, filter_: str, sort: str | None
) -> tuple[dict[str, Any], dict[str, Any], DeviceSheet]:
    """Return what it says about itself, its status, and its devices, arranged."""
    sheet = DeviceSheet()
    loop = asyncio.get_running_loop()
    async with View(station.socket) as view:
        about = await view.about()
        sheet.set_fleet(await view.fleet())
        end = loop.time() + FIRST_TICK_S
        tick, newest = await view.devices()
        while not tick and loop.time() < end:
            await asyncio.sleep(LOOK_S)
            tick, later = await view.devices(tick)
            newest = later or newest
        assert newest is not None
        sheet.set_values(newest)
        status = await view.status()
    sheet.filter = filter_
    if sort is not None:
        sheet.sort_by(sort)
    sheet.arrange()
    return about, status, sheet


def as_text(sheet: DeviceSheet, width: int | None) -> list[str]:
    """Return a line for the names of the columns and one for each device; ``width`` None: all columns."""
    rows = [int(row) for row in sheet.order]
    columns = fit(sheet.columns, 10_000 if width is None else width)

    def line(texts: list[str]) -> str:
        cells = zip(texts, columns, strict=True)
        return (" " * GAP).join(fitted(t, w, c.right) for t, (c, w) in cells).rstrip()

    titles = [column.title for column, _ in columns]
    return [line(titles), *(line([sheet.cell(row, c.key)[0] for c, _ in columns]) for row in rows)]
