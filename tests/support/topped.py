"""Sixteen devices at two sites, one of them not there, and a station that polls them: for who looks on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fluxfast.config import load
from fluxfast.sim import Simulator
from tests.support.command import started

SITE = """
poll: {{every: 200ms}}
log: {{dir: log}}
control:
  action: shadow
  modes: [{{type: fixed_power, name: some, power_kw: 12}}]
sites:
  - site: top-north
    devices:
      bess:
        - {{id: "n{{n}}", count: 12, type: powerpack, capacity_kwh: 400, rated_power_kw: 100,
           modbus: {{host: {net}.1, port: 15020}}}}
  - site: top-south
    control: {{action: observe}}
    devices:
      bess:
        - {{id: "s{{n}}", count: 3, type: powerpack, capacity_kwh: 400, rated_power_kw: 100,
           modbus: {{host: {net}.101, port: 15020}}}}
        {more}
"""
MORE = """- {{id: gone, type: powerpack, capacity_kwh: 400, rated_power_kw: 100,
           modbus: {{host: {net}.99}}}}"""


@contextmanager
def plant(folder: Path, net: str) -> Iterator[Path]:
    """Simulate the devices that are there, in ``net`` (three bytes); yield the site file of all."""
    simulated, file = folder / "simulated.yaml", folder / "site.yaml"
    simulated.write_text(SITE.format(net=net, more=""))
    file.write_text(SITE.format(net=net, more=MORE.format(net=net)))
    simulator = Simulator(load(simulated), seed=1)
    with simulator.running():
        for n in range(1, 13):
            simulator.set_value(f"n{n}", "soe", 20 + n)
        yield file


@contextmanager
def polled(site: Path) -> Iterator[int]:
    """Run a station for a site file; yield its process number. It must end as if nobody had looked on."""
    with started("run", site, "--json") as run:
        run.wait_for_ticks(3)
        yield run.popen.pid
        _, out, err, _ = run.end()
        assert err == ""
        assert json.loads(out.splitlines()[-1])["devices_bad"] == 1
