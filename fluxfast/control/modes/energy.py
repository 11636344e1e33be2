"""Modes that look after the state of energy: a reserve, and a target by a time."""

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final

import numpy as np

from fluxfast.config.modes import HYSTERESIS_PCT, Reserve, SoeTarget
from fluxfast.config.times import zone
from fluxfast.control.modes.family import Booleans, Family, column
from fluxfast.control.modes.view import Floats, View

SHORTEST_S: Final = 60.0  # what is missing at the very end is not asked for within less


class Reserves(Family[Reserve]):
    """Charge from below soe_pct until 2 % above it."""

    def _read(self, modes: Sequence[Reserve]) -> None:
        self._soe_pct = column([mode.soe_pct for mode in modes])
        self._until_pct = np.array([mode.until_pct for mode in modes])
        self._charge_kw = column([mode.charge_kw for mode in modes])
        self._charging = np.zeros(len(modes), np.bool_)

    def update(self, view: View, active: Booleans) -> None:
        """Begin below the reserve, end above its hysteresis."""
        soe = view.soe_pct[self.sites]
        self._charging = active & (self._charging & ~(soe >= self._until_pct) | (soe < self._soe_pct))

    def target(self, view: View) -> Floats:
        """T = −charge_kw."""
        known = ~np.isnan(view.soe_pct[self.sites])
        return np.where(self._charging & known, -self._charge_kw, np.nan)


class SoeTargets(Family[SoeTarget]):
    """A state of energy by a time, at an even power; then rest until it is 2 % off."""

    def _read(self, modes: Sequence[SoeTarget]) -> None:
        self._times = [(mode.from_, mode.by, zone(mode.time_zone or "UTC")) for mode in modes]
        self._goal_pct = column([mode.soe_pct for mode in modes])
        rows = len(modes)
        # The turn that holds now: known from `since` on, applies from `from` on, ends at `by`. UTC seconds.
        self._since_s, self._from_s, self._by_s = np.full((3, rows), np.nan)
        self._heading = np.full(rows, np.nan)  # +1 up, -1 down, 0 it is there, nan not begun

    def update(self, view: View, active: Booleans) -> None:
        """Find the times that count now, and which way it goes."""
        now = view.time_s
        for row in np.flatnonzero(~((self._since_s <= now) & (now < self._by_s))):
            self._since_s[row], self._from_s[row], self._by_s[row] = _turn(now, *self._times[row])
        missing = self._goal_pct - view.soe_pct[self.sites]
        passed = missing * self._heading <= 0
        off = (self._heading == 0) & (np.abs(missing) > HYSTERESIS_PCT)
        begins = np.isnan(self._heading) | off
        self._heading = np.where(begins, np.sign(missing), np.where(passed, 0, self._heading))
        self._heading[~active | (now < self._from_s)] = np.nan

    def target(self, view: View) -> Floats:
        """T = (SOE − soe_pct) · capacity / time left; 0 once it is there."""
        hours = np.maximum(self._by_s - view.time_s, SHORTEST_S) / 3600
        surplus_pct = view.soe_pct[self.sites] - self._goal_pct
        surplus_kwh = surplus_pct / 100 * view.capacity_kwh[self.sites]
        target: Floats = np.abs(self._heading) * surplus_kwh / hours
        return target


def _turn(
    now: float, start: int | datetime | None, by: int | datetime, tz: tzinfo
) -> tuple[float, float, float]:
    """Return since when a turn is the one to look at, when its mode begins to apply, and when it ends."""
    if isinstance(by, datetime):
        end = _seconds(by, tz)
        if now >= end:
            return end, np.inf, np.inf  # over for good
        return -np.inf, _seconds(start, tz) if isinstance(start, datetime) else -np.inf, end
    today = datetime.fromtimestamp(now, tz)
    ends = _each_day(today, by)
    end = min(at for at in ends if at > now)
    since = max(at for at in ends if at <= now)
    if not isinstance(start, int):
        return since, -np.inf, end
    return since, max(at for at in _each_day(today, start) if at < end), end


def _each_day(today: datetime, minutes: int) -> list[float]:
    """Return a time of day as UTC seconds, of the two days before today to the two after."""
    midnight = today.replace(hour=0, minute=0, second=0, microsecond=0, fold=0, tzinfo=None)
    days = [midnight + timedelta(days=day, minutes=minutes) for day in range(-2, 3)]
    return [_seconds(day, today.tzinfo) for day in days]


def _seconds(moment: datetime, tz: tzinfo | None) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=tz)).timestamp()
