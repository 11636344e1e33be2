"""The dead man under load: deaths at random moments, and as many units as a station may have."""

import json
import os
import random
import resource
import signal
import time

import pytest

from fluxfast.profiles import load_profile
from fluxfast.sim import Simulator
from fluxfast.watchdog import StopUnit, Watchdog
from fluxfast.watchdog.sidecar.task import EXIT_STOPPED
from tests.support.batteries import RELEASE, STOP, Battery
from tests.support.fake_station import FakeStation, check_stopped
from tests.support.fleets import device, fleet
from tests.support.scripted import Servers

pytestmark = pytest.mark.long

DEATHS = [signal.SIGKILL, signal.SIGABRT, signal.SIGSTOP, "memory", "raise", "close", "hang"]


@pytest.mark.parametrize("seed", range(40))
def test_a_death_at_a_random_moment(tmp_path, seed):
    chance = random.Random(seed)
    units = [Battery(f"127.55.20.{n}", slots=chance.choice([1, 1000])) for n in range(1, 31)]
    how = chance.choice(DEATHS)
    hang_s = 0.5 if how in ("hang", signal.SIGSTOP) else 10
    with Servers([unit.server for unit in units]), FakeStation(units, tmp_path, hang_s) as station:
        time.sleep(chance.uniform(0, 0.5))
        began = time.monotonic()
        if isinstance(how, str):
            station.say(how)
        else:
            os.kill(station.popen.pid, how)
        station.wait()
        station.await_sidecar()
    check_stopped(units, began)


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 11_000, reason="too few open files")
def test_ten_thousand_units(tmp_path):
    port, profile, report = 5520, load_profile("powerpack"), tmp_path / "watchdog.jsonl"
    hosts = [f"127.55.{64 + n // 200}.{1 + n % 200}" for n in range(10_000)]
    devices = [device(f"b{n}", profile, port, host=host) for n, host in enumerate(hosts)]
    with Simulator(fleet(*devices)).running() as simulator:
        for one in devices:
            simulator.set_value(one.id, "target_power", 50)
        units = [StopUnit(d.id, host, port, STOP, RELEASE) for d, host in zip(devices, hosts, strict=True)]
        watchdog = Watchdog(units, 30, report)
        watchdog.release(slice(None), 3)
        watchdog.arm(slice(None))
        watchdog.close(clean=False)
        assert watchdog.wait(60) == EXIT_STOPPED
        assert {simulator.raw(one.id, "target_power") for one in devices} == {0}
        assert {simulator.raw(one.id, "command_source") for one in devices} == {3}
    outcomes = [json.loads(line)["outcome"] for line in report.read_text().splitlines()]
    assert len(outcomes) == 20_001
    print(outcomes[-1])
