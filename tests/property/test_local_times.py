"""Local times against plain calendar arithmetic: windows of the week, and schedules over a whole year."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxfast.config.times import DAYS
from fluxfast.control.modes.schedule_file import read_schedule
from fluxfast.control.modes.windows import Window, Windows

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "America/New_York",
]
YEAR = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) // 60

windows = st.builds(
    Window,
    st.none()
    | st.tuples(st.integers(0, 1439), st.integers(0, 1440)).filter(lambda times: times[0] != times[1]),
    st.none() | st.sets(st.sampled_from(DAYS), min_size=1).map(tuple),
    st.sampled_from(ZONES),
)
# Anywhere in 2026, and more often around the changes of Berlin's clock.
minutes = st.integers(YEAR, YEAR + 365 * 1440) | st.builds(
    lambda change, off: int(change.timestamp()) // 60 + off,
    st.sampled_from([datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)]),
    st.integers(-1500, 1500),
)


def holds(window: Window, minute: int) -> bool:
    """Whether a window of today or of yesterday is open, by the clock on the wall."""
    now = datetime.fromtimestamp(minute * 60, ZoneInfo(window.time_zone or "UTC")).replace(tzinfo=None)
    start, end = window.between or (0, 1440)
    for day in (now.date(), now.date() - timedelta(days=1)):
        midnight = datetime(day.year, day.month, day.day)
        opens = midnight + timedelta(minutes=start)
        closes = midnight + timedelta(minutes=end, days=end <= start)
        if opens <= now < closes and DAYS[day.weekday()] in (window.days or DAYS):
            return True
    return False


@given(st.lists(windows, min_size=1, max_size=20), minutes)
def test_windows(listed: list[Window], minute: int) -> None:
    assert Windows(listed).hold(minute).tolist() == [holds(window, minute) for window in listed]


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_of_local_half_hours_is_read_as_it_was_meant(zone: str, tmp_path: Path) -> None:
    """An hour that comes twice is written twice; what was meant are steps of half an hour, all year."""
    meant = np.arange(YEAR, YEAR + 365 * 1440, 30) * 60
    local = [datetime.fromtimestamp(at, ZoneInfo(zone)).replace(tzinfo=None) for at in meant.tolist()]
    file = tmp_path / "year.csv"
    file.write_text("start,power_kw\n" + "".join(f"{at.isoformat()},1\n" for at in local))
    rows = read_schedule(str(file), zone)
    np.testing.assert_array_equal(rows.start_ms, meant * 1000)
    np.testing.assert_array_equal(rows.end_ms[:-1], rows.start_ms[1:])


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_of_wall_clock_half_hours_has_no_gap(zone: str, tmp_path: Path) -> None:
    """Written without a thought of the clock: what does not come is passed over, all else holds once."""
    local = [datetime(2026, 1, 1) + timedelta(minutes=30 * step) for step in range(365 * 48)]
    file = tmp_path / "year.csv"
    file.write_text("start,power_kw\n" + "".join(f"{at},{step}\n" for step, at in enumerate(local)))
    rows = read_schedule(str(file), zone)
    for start_ms, power in zip(rows.start_ms.tolist(), rows.power_kw.tolist(), strict=True):
        wall = datetime.fromtimestamp(start_ms / 1000, ZoneInfo(zone)).replace(tzinfo=None)
        assert wall == local[int(power)]
    np.testing.assert_array_equal(rows.end_ms[:-1], rows.start_ms[1:])
