"""The guard and the grid meter: blind, a site holds its target, then goes to 0, and comes back by itself."""

import struct

import pytest

from fluxfast.control import reasons
from tests.support.guarded import LOST, METER_POWER, POWER, READS, Guarded

MODES = "[{type: self_consumption}]"
TIMES = ", hold: 1s, ramp_down: 1s, settle: 200ms"


def kw(unit):
    return (unit.registers.get(POWER, 0) + 0x8000) % 0x10000 - 0x8000


def total(site):
    return sum(kw(unit) for unit in site.units)


def nan(code, address, values):
    if address > METER_POWER or address + values[0] <= METER_POWER:
        return None
    data = bytearray(2 * values[0])
    struct.pack_into(">f", data, 2 * (METER_POWER - address), float("nan"))
    return bytes([code, len(data)]) + data


@pytest.mark.parametrize(
    "answer",
    [nan, lambda *_: LOST, lambda code, *_: bytes([code | 0x80, 4])],
    ids=["NaN", "silent", "exception"],
)
def test_a_meter_that_is_gone_is_held_then_ramped_down_and_taken_up_again(tmp_path, answer):
    """The meter shows what the load is less what the batteries do: 100 kW of load."""
    with Guarded(tmp_path, "127.72.50", units=2, modes=MODES, control=TIMES) as site:
        follow(site, 100)

        async def script(run):
            loop = run.station.controller.loop
            await run.until(lambda: total(site) == 100)
            await run.ticks(3)
            follow(site, 40, answer)
            await run.until(lambda: loop.reason[0] == reasons.HOLDING)
            assert total(site) == 100
            await run.until(lambda: loop.reason[0] == reasons.RAMP_DOWN)
            await run.until(lambda: 0 < total(site) < 100)
            await run.until(lambda: total(site) == 0, ticks=15)
            await run.ticks(5)
            assert total(site) == 0
            follow(site, 40)
            await run.until(lambda: total(site) == 40)

        site.run(script)
        assert site.all_given_back()
        times = down(site)
        assert len(times) >= 4  # no step
        assert times[-1] - times[0] <= 2  # the ramp: a promise


def test_a_meter_that_stands_still_while_the_batteries_move_is_blind_too(tmp_path):
    with Guarded(tmp_path, "127.72.51", units=2, modes=MODES, control=TIMES) as site:
        site.meter.set_float(METER_POWER, 100.0)  # whatever is done about it

        async def script(run):
            loop = run.station.controller.loop
            await run.until(lambda: total(site) == 100)
            await run.until(lambda: loop.reason[0] == reasons.RAMP_DOWN, ticks=200)
            await run.until(lambda: total(site) == 0)

        site.run(script)


def follow(site, load_kw, answer=lambda *_: None):
    """Let the meter show the load less the batteries, or answer otherwise."""

    def show(code, address, values):
        if code in READS:
            site.meter.set_float(METER_POWER, load_kw - sum(kw(unit) for unit in site.units))
        return answer(code, address, values)

    site.meter.answer = show


def down(site):
    """The times of one unit's setpoints from its 50 kW down to its first 0 after that."""
    writes = [(one.time_s, one.value) for one in site.units[0].writes if one.address == POWER]
    top = next(n for n, (_, value) in enumerate(writes) if value == 50)
    zero = next(n for n, (_, value) in enumerate(writes) if n > top and value == 0)
    return [time_s for time_s, _ in writes[top + 1 : zero + 1]]


def test_a_mode_of_ones_own_needs_no_meter_where_there_is_none(tmp_path):
    (tmp_path / "mode.py").write_text(
        "import numpy as np\n\ndef mode(view):\n    return np.where(np.isnan(view.load_kw), 30.0, np.nan)\n"
    )
    with Guarded(tmp_path, "127.72.54", modes="[{type: python, function: 'mode.py:mode'}]") as site:
        text = site.file().read_text()
        site.file = lambda: tmp_path / "without.yaml"
        site.file().write_text(text[: text.index("  meters:")])

        async def script(run):
            await run.until(lambda: total(site) == 30)
            await run.ticks(5)
            (status,) = run.station.status().control
            assert (total(site), status.limit, status.meter_stale) == (30, None, False)

        site.run(script)
