"""One device that behaves as a test says, polled for a few ticks."""

import asyncio

from fluxfast.station import Station
from fluxfast.table import quality
from tests.support.fleets import device, fleet, registers
from tests.support.scripted import Answer, serving

FIRST, COUNT = 2000, 10
GOOD = list(range(FIRST, FIRST + COUNT))


def poll(
    answer: Answer, *, ticks: int = 2, every_ms: int = 200, timeout_ms: int = 1000, **quirks: object
) -> tuple[list[str], int]:
    """Return the reason, or 'good', of each tick, and how many connections were made.

    Asserts that no values but the device's own are ever credited.
    """

    async def run(port):
        seen = []
        profile = registers(FIRST, COUNT, **quirks)
        async with Station(
            fleet(device("d", profile, port, timeout_ms=timeout_ms), every_ms=every_ms)
        ) as station:
            async for _ in station.ticks(ticks * every_ms / 1000):
                table = station["plain"]
                values = [int(column[0]) for column in table.values] if table.valid[:, 0].all() else None
                assert values is None or values == GOOD
                seen.append(quality.reason(int(table.row_quality[0])) or "good")
        return seen

    with serving(answer) as server:
        return asyncio.run(run(server.port)), server.connections
