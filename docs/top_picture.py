"""Draws docs/top.svg and docs/top-device.svg: `fluxfast top` before the demo's sites, some of them ill.

python docs/top_picture.py
"""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from fluxfast.cli.demo import site_file
from fluxfast.running import running_stations
from fluxfast.top.app import TopApp

HERE = Path(__file__).parent
SIZE = (100, 26)
FAULTS = ["--fault", "hang:1%", "--fault", "lossy=30%:2%", "--fault", "refuse:1%"]
SETTLE_S = 12


async def draw(pid: int) -> None:
    app = TopApp(lambda: [one for one in running_stations() if one.pid == pid], 0.2, sort="quality")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(3)
        await pilot.press("down", "down")
        await pilot.pause(1)
        save(app, "top.svg")
        await pilot.press("slash", *"good site-007", "enter", "home", "enter")
        await pilot.pause(4)
        save(app, "top-device.svg")


def save(app: TopApp, name: str) -> None:
    (HERE / name).write_text(app.export_screenshot(title="fluxfast top"))


with tempfile.TemporaryDirectory() as folder:
    site = Path(folder) / "site.yaml"
    site.write_text(site_file("act"))
    fluxfast = [sys.executable, "-m", "fluxfast"]
    with subprocess.Popen(
        [*fluxfast, "simulate", site, *FAULTS], stdout=subprocess.PIPE, text=True
    ) as simulator:
        print(simulator.stdout.readline().strip())
        with subprocess.Popen([*fluxfast, "run", site, "--json"], stdout=subprocess.PIPE) as station:
            while not any(one.pid == station.pid for one in running_stations()):
                pass
            asyncio.run(asyncio.sleep(SETTLE_S))
            asyncio.run(draw(station.pid))
            station.terminate()
            station.communicate()
        simulator.terminate()
