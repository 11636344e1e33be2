import uvloop

from fluxfast.config import load
from fluxfast.station import Station


async def main() -> None:
    async with Station(load("docs/site.yaml")) as station:
        battery, grid = station["powerpack"], station["acuvim2"]
        async for tick in station.ticks(duration_s=2):
            print(f"{battery['soe'][0]} %, {grid['power_total'][0]:,.0f} W, {tick.took_ms:.1f} ms")


uvloop.run(main())
