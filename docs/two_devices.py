import uvloop

import fluxfast
from fluxfast.table.quality import quality_name


async def main() -> None:
    async with fluxfast.Poller("docs/site.yaml") as poller:
        battery, grid = poller["powerpack"], poller["acuvim2"]
        async for tick in poller.ticks(duration_s=2):
            soe, power_w = battery["soe"][0], grid["power_total"][0]
            quality = quality_name(battery.row_quality[0])
            print(f"{soe} % ({quality}), {power_w:,.0f} W, both answered in {tick.took_ms:.1f} ms")


uvloop.run(main())
