"""``fluxfast run`` dies at random moments while its units discharge: every one is at 0 kW within 2 s.

The time is a promise (issue 4), so it is asserted. Two sites die beside each other, to save time.
"""

import os
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fluxfast.config import load
from fluxfast.errors import FluxfastError
from fluxfast.sim import Simulator
from fluxfast.watchdog import SiteLocks
from tests.support.command import FLUXFAST, PATIENCE_S

pytestmark = pytest.mark.long

UNITS, POWER_KW, BEFORE = 20, 50, 7
WITHIN_S, HANG_S = 2.0, 1.0
AT_REST_KW = 1.0  # of a simulated unit that comes down from 50 kW along an e-function
SITE = """\
site: kill-{lane}
poll: {{every: 100ms}}
log: {{dir: log-{lane}}}
control:
  action: act
  hang: {hang:g}s
  modes: [{{type: fixed_power, power_kw: {power}}}]
devices:
  bess:
    - {{id: "b{{n}}", count: {units}, type: powerpack, capacity_kwh: 400, rated_power_kw: 200,
       control: {{rise_pct_per_s: 1000}}, modbus: {{host: 127.72.20{lane}.1, port: {port}}}}}
"""


class Lane:
    """One simulated site, and a station that dies in front of it again and again."""

    def __init__(self, folder, lane, seed):
        self.name, self.chance, self.port = f"kill-{lane}", random.Random(seed), 5520 + lane
        self.file = folder / f"{self.name}.yaml"
        self.file.write_text(
            SITE.format(lane=lane, hang=HANG_S, power=UNITS * POWER_KW, units=UNITS, port=self.port)
        )
        self.simulator = Simulator(load(self.file), seed=lane)
        self.ids = [f"b{n}" for n in range(1, UNITS + 1)]
        self.took_s = []

    def raw(self, point):
        return [self.simulator.raw(unit, point) for unit in self.ids]

    def power_kw(self):
        """What the units give, whatever their registers say."""
        return max(abs(battery.power_kw).max() for battery in self.simulator.physics.batteries.values())

    def until(self, condition, within_s=PATIENCE_S):
        """Wait for something; return after how long it was so, or fail."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < within_s, (self.name, self.raw("target_power"))
            time.sleep(0.002)
        return time.monotonic() - began

    def is_free(self):
        """Whether the watchdog of the station before has done its work."""
        try:
            SiteLocks([self.name], "test").close()
        except FluxfastError:
            return False
        return True

    def die(self, how):
        """Let a station live and die; what it has commanded is at rest in time."""
        for unit in self.ids:
            self.simulator.set_value(unit, "command_source", BEFORE)
            self.simulator.set_value(unit, "soe", 50)
        command = [*FLUXFAST, "run", str(self.file), "--json"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as station:
            if how == "taking over":
                self.until(lambda: set(self.raw("command_source")) != {BEFORE})
                time.sleep(self.chance.uniform(0, 0.4))
            else:
                self.until(lambda: set(self.raw("target_power")) == {POWER_KW} and self.power_kw() > 10)
                time.sleep(self.chance.uniform(0, 0.6))
            if how == "stopping":
                station.send_signal(signal.SIGTERM)
                time.sleep(self.chance.uniform(0, 0.25))
            os.kill(station.pid, signal.SIGSTOP if how == "hanging" else signal.SIGKILL)
            bound_s = WITHIN_S + (HANG_S if how == "hanging" else 0)
            self.took_s.append(self.until(self.is_at_rest, bound_s))
        self.until(self.is_free)
        assert self.is_at_rest()

    def is_at_rest(self):
        return (
            set(self.raw("target_power")) == {0}
            and set(self.raw("command_source")) == {BEFORE}
            and self.power_kw() < AT_REST_KW
        )

    def live(self, deaths):
        with self.simulator.running():
            for how in deaths:
                self.die(how)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1])
def test_it_dies_a_hundred_times_and_hangs_ten_times(tmp_path, seed):
    deaths = ["discharging"] * 60 + ["taking over"] * 20 + ["stopping"] * 20 + ["hanging"] * 10
    random.Random(seed).shuffle(deaths)
    lanes = [Lane(tmp_path, number, seed + number) for number in (1, 2)]
    with ThreadPoolExecutor(len(lanes)) as pool:
        for done in [pool.submit(lane.live, deaths[n :: len(lanes)]) for n, lane in enumerate(lanes)]:
            done.result()
    took_s = sorted(lanes[0].took_s + lanes[1].took_s)
    assert len(took_s) == 110
    print(f"at rest after {took_s[55]:.2f} s (half of them), {took_s[-1]:.2f} s (all)")
