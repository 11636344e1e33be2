"""A tenth of the devices is ill in one way or another: the others lose nothing, and all come back."""

import asyncio
import sys
from dataclasses import replace

import pytest

from fluxfast.sim import Simulator
from fluxfast.station import Station
from fluxfast.table import quality
from tests.support.command import free_port
from tests.support.fleets import device, fleet, registers

LINKS, SHARE = 100, 10
EVERY_MS, TIMEOUT_MS, ILL_TICKS = 500, 200, 6
PROBE_INTERVAL_S = 2
BACK_WITHIN_S = PROBE_INTERVAL_S + 4  # and what connecting and two ticks take, on a busy machine
# What a device that is ill in this way may be said to be.
REASONS = {
    "hang": {"timeout"},
    "blackhole": {"timeout", "unreachable"},
    "reset": {"connection lost"},
    "refuse": {"connection lost", "connection refused"},
    "busy": {"exception 6 server device busy"},
    "gateway": {"exception 11 gateway target device failed to respond"},
}


@pytest.mark.parametrize("kind", REASONS)
def test_the_others_lose_nothing_and_all_come_back(kind: str) -> None:
    if kind == "blackhole" and sys.platform != "linux":
        pytest.skip("black holes need Linux")
    port = free_port("127.41.70.1")
    profile = registers(100, 20)
    devices = [
        device(f"d{n}", profile, port, host=f"127.41.70.{n}", timeout_ms=TIMEOUT_MS)
        for n in range(1, LINKS + 1)
    ]
    plant = fleet(*devices, every_ms=EVERY_MS, deadline=0.9)
    plant = replace(plant, poll=replace(plant.poll, probe_interval_ns=PROBE_INTERVAL_S * 10**9))
    ill = {n for n in range(LINKS) if n % SHARE == 3}

    def reasons(station: Station) -> list[str | None]:
        return [quality.reason(int(code)) for code in station["plain"].row_quality]

    async def poll(simulator: Simulator) -> None:
        async with Station(plant) as station:
            ticks = station.ticks()
            await anext(ticks)
            assert reasons(station) == [None] * LINKS
            simulator.set_fault([devices[n].id for n in ill], kind)
            seen: set[str | None] = set()
            for _ in range(ILL_TICKS):
                await anext(ticks)
                found = reasons(station)
                assert {n for n in range(LINKS) if found[n]} <= ill
                seen |= {found[n] for n in ill}
            assert seen - {None} <= REASONS[kind]
            assert all(found[n] for n in ill)
            simulator.set_fault([devices[n].id for n in ill], None)
            for _ in range(BACK_WITHIN_S * 1000 // EVERY_MS):
                await anext(ticks)
                found = reasons(station)
                assert {n for n in range(LINKS) if found[n]} <= ill
                if found == [None] * LINKS:
                    return
            pytest.fail(f"{[found[n] for n in ill]}: not back")

    with Simulator(plant).running() as simulator:
        asyncio.run(poll(simulator))
