"""The guard, first of all: who may not be written to gets not one byte that could change anything."""

import re

import numpy as np
import pytest

from tests.support.guarded import BEFORE, POWER, SOURCE, Guarded

TICKS = 15


@pytest.mark.parametrize("action", ["observe", "shadow"])
def test_nothing_is_written_unless_the_site_acts(tmp_path, action):
    with Guarded(tmp_path, "127.72.1", units=3, power_kw=90, action=action) as site:
        targets = []

        async def script(run):
            await run.ticks(TICKS)
            if run.station.controller is not None:
                targets.extend(run.station.controller.columns.units.setpoint_kw)
            assert run.station.commander is None
            run.station.reactor.take_calls()

        site.run(script)
        assert sum(targets) == {"observe": 0, "shadow": 90}[action]
        for device in (*site.units, site.meter):
            assert device.writes == []
            assert len([one for one in device.seen if one.code == 3]) >= TICKS
        assert [unit.registers[SOURCE] for unit in site.units] == [BEFORE] * 3


def test_without_a_word_a_site_only_observes(tmp_path):
    with Guarded(tmp_path, "127.72.2") as site:
        text = site.file().read_text().replace("action: act, ", "")
        site.file = lambda: tmp_path / "silent.yaml"
        site.file().write_text(text)

        async def script(run):
            await run.ticks(TICKS)
            assert run.station.controller is None

        site.run(script)
        assert site.units[0].writes == site.meter.writes == []


def test_only_what_the_site_and_the_profile_allow_is_written(tmp_path):
    """Not to meters, not to a unit with control: false, and of a unit only what its control names."""
    with Guarded(tmp_path, "127.72.3", units=3, power_kw=60) as site:
        left_alone = site.units[2]

        async def script(run):
            await run.until(lambda: all(unit.registers.get(POWER) == 30 for unit in site.units[:2]))
            await run.ticks(TICKS)

        text = site.file().read_text()
        file = tmp_path / "partly.yaml"
        at = text.index("- {id: u3")
        file.write_text(text[:at] + re.sub("control: {.*?}", "control: false", text[at:], count=1))
        site.file = lambda: file
        site.run(script)
        assert left_alone.writes == site.meter.writes == []
        assert len(left_alone.seen) >= TICKS
        for unit in site.units[:2]:
            assert {(one.code, one.address) for one in unit.writes} == {(6, SOURCE), (6, POWER)}


def test_the_allow_list_names_nothing_else(tmp_path):
    """It is made once from site and profiles; what is not in it has no number to be written by."""
    with Guarded(tmp_path, "127.72.4", units=2) as site:

        async def script(run):
            writes = run.station.controller.plan.writes
            assert sorted(writes["address"].tolist()) == [POWER, POWER, SOURCE, SOURCE]
            assert set(writes["unit_id"]) == {1}
            await run.ticks(1)
            with pytest.raises(IndexError, match="write 4 of 4"):
                run.station.reactor.write(np.array([4], np.int32), np.zeros(1), np.full(1, 2**62))

        site.run(script)
