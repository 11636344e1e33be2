"""What the station decides without sockets: its grid, and names that the rooms below must agree on."""

from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from fluxfast import grid as grids
from fluxfast.log.dataset import RESERVED
from fluxfast.log.views import SAMPLE
from fluxfast.profiles.point import RESERVED_COLUMNS, Point
from fluxfast.table.samples import sample_column

MS = 1_000_000
START = 1_700_000_000_000_000_000


@pytest.fixture
def clock(monkeypatch):
    """Both clocks in the test's hand; ``wall`` is what the wall clock shows beyond the monotonic one."""
    clock = SimpleNamespace(monotonic=0, wall=START)
    monkeypatch.setattr(grids.time, "monotonic_ns", lambda: clock.monotonic)
    monkeypatch.setattr(grids.time, "time_ns", lambda: clock.monotonic + clock.wall)
    return clock


def test_slots_stand_on_the_wall_clock(clock):
    clock.monotonic = 1234 * MS
    grid = grids.Grid(500 * MS)
    slot = grid.next_slot()
    assert grid.time_us(slot) == (START + 1500 * MS) // 1000
    assert grid.seconds_until(slot) == pytest.approx(0.266)
    clock.monotonic = 1600 * MS
    assert grid.seconds_until(slot) == pytest.approx(-0.1)


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_was_set_is_followed_and_told_once(clock, hours):
    grid = grids.Grid(500 * MS)
    before = grid.next_slot()
    clock.wall += hours * 3_600_000 * MS
    assert grid.check_clock() == hours * 3600
    assert grid.check_clock() == 0
    assert grid.next_slot() - before == hours * 7200


def test_a_clock_that_is_slewed_is_left_alone(clock):
    grid = grids.Grid(500 * MS)
    clock.wall += 99 * MS
    assert grid.check_clock() == 0


def test_profiles_refuse_the_names_that_the_log_needs():
    assert RESERVED_COLUMNS == RESERVED
    for name in (sample_column(0), sample_column(41).upper()):
        assert SAMPLE.fullmatch(name.lower())
        with pytest.raises(ValidationError, match="every log has"):
            Point(name=name, address=0, type="int16")
