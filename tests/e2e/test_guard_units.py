"""The guard and units that cannot be trusted: told 0 as far as they listen; others take over their share."""

import struct

import pytest

from fluxfast.control import reasons
from tests.support.guarded import LOST, POWER, READS, SOE, STATUS, Guarded

# A unit whose values can be everything: SOE a float, a sentinel, a power of its own in watts.
PCS = """\
name: pcs
quirks: {max_gap: 30}
points:
  status: {address: 2000, type: uint16, states: {1: READY}}
  target_power: {address: 2008, type: int32, unit: W, access: rw, limits: [-90000, 90000]}
  command_source: {address: 2010, type: uint16, access: rw, states: {1: REMOTE}}
  soe: {address: 2026, type: float32, unit: "%"}
  available_blocks: {address: 2028, type: uint16, not_implemented: 65535}
control:
  setpoint: target_power
  soe: soe
  ready: {status: [READY]}
  source: {command_source: REMOTE}
  blocks: available_blocks
"""


def pcs(tmp_path, network, **how):
    """A site of such units, half full."""
    (tmp_path / "pcs.yaml").write_text(PCS)
    site = Guarded(tmp_path, network, profile="./pcs.yaml", **how)
    for unit in site.units:
        unit.set_float(SOE, 50)
    return site


def watts(unit):
    return struct.unpack(">i", struct.pack(">2H", *(unit.registers.get(POWER + n, 0) for n in (0, 1))))[0]


def check_share(site, spoil, power_of, reason, *, heals):
    """Two units at 30; one is spoilt: the other comes to 60, the first to 0 and no power is written to it."""
    ill, other = site.units

    async def script(run):
        columns = run.station.controller.columns.units
        await run.until(lambda: power_of(ill) == power_of(other) == 30)
        spoil(ill)
        await run.until(lambda: power_of(other) == 60)
        assert columns.usable[0] in reason
        assert (columns.lower_kw[0], columns.upper_kw[0], columns.setpoint_kw[0]) == (0, 0, 0)
        before = len(ill.seen)
        await run.ticks(8)
        writes = [one for one in ill.seen[before:] if one.address == POWER and one.code not in READS]
        assert not any(any(one.values) for one in writes)
        assert power_of(other) == 60
        if heals is None:
            return
        heals(ill)
        await run.until(lambda: power_of(ill) == power_of(other) == 30 or run.told("u1", "10 s"))

    run = site.run(script)
    assert power_of(ill) == power_of(other) == 0
    return run


@pytest.mark.parametrize("soe", [float("nan"), float("inf"), -1.0, 101.0, 1e30])
def test_a_state_of_energy_that_is_none(tmp_path, soe):
    with pcs(tmp_path, "127.72.20", units=2, power_kw=60) as site:
        run = check_share(
            site,
            lambda unit: unit.set_float(SOE, soe),
            lambda unit: watts(unit) / 1000,
            {reasons.BAD},
            heals=lambda unit: unit.set_float(SOE, 50),
        )
        assert run.messages == []


def test_a_value_that_is_not_implemented(tmp_path):
    with pcs(tmp_path, "127.72.21", units=2, power_kw=60) as site:
        check_share(
            site,
            lambda unit: unit.registers.update({2028: 65535}),
            lambda unit: watts(unit) / 1000,
            {reasons.BAD},
            heals=lambda unit: unit.registers.update({2028: 10}),
        )


def kw(unit):
    return unit.registers.get(POWER, 0)


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 10, 11])
def test_exceptions_to_reads(tmp_path, code):
    """It still takes writes, so it is at 0. What was refused (2, 3) is asked for again after a minute."""
    with Guarded(tmp_path, "127.72.22", units=2, power_kw=60) as site:
        check_share(
            site,
            lambda unit: setattr(
                unit, "answer", lambda c, *_: bytes([c | 0x80, code]) if c in READS else None
            ),
            kw,
            {reasons.BAD, reasons.STALE},
            heals=None if code in (2, 3) else lambda unit: setattr(unit, "answer", lambda *_: None),
        )


def test_reads_that_hang(tmp_path):
    with Guarded(tmp_path, "127.72.23", units=2, power_kw=60) as site:
        check_share(
            site,
            lambda unit: setattr(unit, "answer", lambda code, *_: LOST if code in READS else None),
            kw,
            {reasons.BAD, reasons.STALE},
            heals=lambda unit: setattr(unit, "answer", lambda *_: None),
        )


def test_answers_that_come_too_late(tmp_path):
    """Each answer is right, and older than two ticks when it comes: stale, however good it looks."""
    with Guarded(tmp_path, "127.72.24", units=2, power_kw=60) as site:
        check_share(
            site,
            lambda unit: setattr(unit, "delay_s", 0.7),
            kw,
            {reasons.BAD, reasons.STALE},
            heals=lambda unit: setattr(unit, "delay_s", 0.0),
        )


@pytest.mark.long
def test_a_unit_that_falls_silent_for_long_is_told_0_when_it_hears_again(tmp_path):
    """Even if it is not ready then, so that nothing else would be written to it."""
    with Guarded(tmp_path, "127.72.25", units=2, power_kw=60, poll="every: 100ms") as site:
        ill, other = site.units

        async def script(run):
            await run.until(lambda: kw(ill) == kw(other) == 30)
            ill.answer = lambda *_: LOST
            await run.until(lambda: run.told("u1", "could not be written"))
            await run.ticks(120)  # it is no longer left alone for having failed
            assert kw(ill) == 30
            ill.registers[STATUS] = 3
            ill.answer = lambda *_: None
            await run.until(lambda: kw(ill) == 0)
            assert kw(other) == 60

        site.run(script)
        assert site.all_given_back()


def test_fewer_blocks_are_given_less(tmp_path):
    """At once: 2 of 10 blocks are 40 of 200 kW."""
    with Guarded(tmp_path, "127.72.26", units=2, power_kw=200) as site:
        less, other = site.units

        async def script(run):
            await run.until(lambda: kw(less) == kw(other) == 100)
            less.registers[2028] = 2
            await run.until(lambda: (kw(less), kw(other)) == (40, 160))
            less.registers[2028] = 0
            await run.until(lambda: (kw(less), kw(other)) == (0, 200))

        site.run(script)
        assert max(less.written(POWER)) == 100
