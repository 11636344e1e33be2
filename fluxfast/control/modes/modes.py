"""``Modes``: asks the modes of all sites, and lets the first that applies have its way."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fluxfast.config.modes import (
    Balance,
    FixedPower,
    FrequencyDroop,
    Mode,
    PeakShaving,
    PythonMode,
    Reserve,
    Schedule,
    SelfConsumption,
    SoeTarget,
    TimeOfUse,
)
from fluxfast.control.modes.energy import Reserves, SoeTargets
from fluxfast.control.modes.family import Family
from fluxfast.control.modes.frequency import FrequencyDroops
from fluxfast.control.modes.power import Balances, FixedPowers, PeakShavings, SelfConsumptions
from fluxfast.control.modes.python import PythonModes
from fluxfast.control.modes.schedule import Schedules
from fluxfast.control.modes.time_of_use import TimesOfUse
from fluxfast.control.modes.view import Floats, View
from fluxfast.control.modes.windows import Window, Windows
from fluxfast.errors import ConfigError, FluxfastError, Problem
from fluxfast.profiles.findings import nearest

_FAMILIES: Final[dict[type[Mode], type[Family[Any]]]] = {
    FixedPower: FixedPowers,
    SelfConsumption: SelfConsumptions,
    PeakShaving: PeakShavings,
    Schedule: Schedules,
    TimeOfUse: TimesOfUse,
    FrequencyDroop: FrequencyDroops,
    SoeTarget: SoeTargets,
    Reserve: Reserves,
    Balance: Balances,
    PythonMode: PythonModes,
}


class _Part(NamedTuple):
    """The modes of one type, and their cells of the arrays [position in the list, site], counted flat."""

    family: Family[Any]
    cells: NDArray[np.intp]


class Modes:
    """The modes of all sites, in the order in which each site lists them.

    What modes remember is theirs; everything else comes with the view. So the same views give the same
    targets, at any speed.
    """

    def __init__(self, modes_of_site: Sequence[Sequence[Mode]]) -> None:
        """Take the modes of each site, with paths that hold from here (``Mode.placed``).

        Reads schedules, loads functions and tries them; raises ``ConfigError`` with all that is wrong.
        """
        self.names = tuple(tuple(mode.name for mode in modes) for modes in modes_of_site)
        sites = len(modes_of_site)
        shape = max(map(len, self.names), default=0) or 1, sites
        placed = [
            (position * sites + site, mode)
            for site, modes in enumerate(modes_of_site)
            for position, mode in enumerate(modes)
        ]
        self._parts = _parts(placed, sites)
        self._cells = np.array([cell for cell, _ in placed], np.intp)
        self._enabled = np.zeros(shape, np.bool_)
        self._enabled.reshape(-1)[self._cells] = [mode.enabled for _, mode in placed]
        self.uses_load = np.zeros(shape, np.bool_)  # whether a mode's target depends on the load
        for family, cells in self._parts:
            self.uses_load.reshape(-1)[cells] = family.uses_load
        self._windows = Windows([Window(mode.between, mode.days, mode.time_zone) for _, mode in placed])
        self._active = np.zeros(shape, np.bool_)  # switched on, and in its window
        self._minute: int | None = None  # of which _active is
        self._targets = np.full(shape, np.nan)
        self._bits = np.arange(shape[0], dtype=np.int64)[:, None]

    @property
    def enabled(self) -> NDArray[np.int64]:
        """Which modes are switched on, a number per site: bit k is the k-th of its list."""
        return np.asarray(np.left_shift(self._enabled, self._bits).sum(axis=0))

    def set_enabled(self, site_index: int, mode_name: str, on: bool) -> None:
        """Switch a mode on or off; raises ``FluxfastError`` when the site has none of that name."""
        names = self.names[site_index]
        if mode_name not in names:
            raise FluxfastError(f"the site has no mode '{mode_name}' ({nearest(mode_name, names)})")
        self._enabled[names.index(mode_name), site_index] = on
        self._minute = None

    def decide(self, view: View) -> tuple[Floats, NDArray[np.int16]]:
        """Return the targets (kW, float64 [sites]), and which mode they are of.

        The first mode of the site's list that applies; without one the target is nan and the index is -1.
        Once per decision: modes carry on what they remember.
        """
        self._activate(int(view.time_s // 60))
        targets, flat = self._targets, self._targets.reshape(-1)
        targets.fill(np.nan)
        with np.errstate(all="ignore"):
            for family, cells in self._parts:
                family.update(view, self._active.take(cells))
                flat[cells] = family.target(view)
            # An infinite input gives no target either.
            applies = self._active & np.isfinite(targets)
        target, mode = np.full(len(self.names), np.nan), np.full(len(self.names), -1, np.int16)
        # Backwards, so that the first that applies is written last.
        for position in reversed(range(len(applies))):
            np.copyto(target, targets[position], where=applies[position])
            np.copyto(mode, position, where=applies[position])
        return target + 0.0, mode

    def take_events(self) -> list[tuple[int, str]]:
        """Return (site index, one line) for each function that has begun to fail, and forget them."""
        events: list[tuple[int, str]] = []
        for family, _ in self._parts:
            if isinstance(family, PythonModes):
                events += family.events
                family.events.clear()
        return events

    def _activate(self, minute: int) -> None:
        if minute != self._minute:
            holds = self._windows.hold(minute)
            self._active.reshape(-1)[self._cells] = self._enabled.take(self._cells) & holds
            self._minute = minute


def _parts(placed: list[tuple[int, Mode]], sites: int) -> list[_Part]:
    parts = []
    problems: list[Problem] = []
    for type_, make in _FAMILIES.items():
        own = [(cell, mode) for cell, mode in placed if type(mode) is type_]
        if own:
            cells = np.array([cell for cell, _ in own], np.intp)
            try:
                parts.append(_Part(make([mode for _, mode in own], cells % sites), cells))
            except ConfigError as error:
                problems += error.problems
    if problems:
        raise ConfigError(problems)
    return parts
