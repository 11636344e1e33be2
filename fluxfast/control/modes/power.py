"""Modes that follow from the load alone, or from nothing: no memory."""

from collections.abc import Sequence

import numpy as np

from fluxfast.config.modes import Balance, FixedPower, PeakShaving, SelfConsumption
from fluxfast.control.modes.family import Family, column
from fluxfast.control.modes.view import Floats, View


class FixedPowers(Family[FixedPower]):
    """Powers that never change."""

    def _read(self, modes: Sequence[FixedPower]) -> None:
        self._power_kw = column([mode.power_kw for mode in modes])

    def target(self, view: View) -> Floats:
        """T = power_kw."""
        return self._power_kw


class Balances(Family[Balance]):
    """Rest; the kernel moves energy between units while it is the mode."""

    def target(self, view: View) -> Floats:
        """T = 0."""
        return np.zeros(len(self.sites))


class SelfConsumptions(Family[SelfConsumption]):
    """What the grid gives is grid_kw."""

    uses_load = True

    def _read(self, modes: Sequence[SelfConsumption]) -> None:
        self._grid_kw = column([mode.grid_kw for mode in modes])

    def target(self, view: View) -> Floats:
        """T = load − grid_kw."""
        return view.load_kw[self.sites] - self._grid_kw


class PeakShavings(Family[PeakShaving]):
    """What the grid gives is at most the limit; below another it recharges."""

    uses_load = True

    def _read(self, modes: Sequence[PeakShaving]) -> None:
        self._limit_kw = column([mode.import_limit_kw for mode in modes])
        recharge = column([mode.recharge_below_kw for mode in modes])
        self._recharge_kw = np.where(np.isnan(recharge), -np.inf, recharge)

    def target(self, view: View) -> Floats:
        """T = load − limit above the limit, load − recharge below that, 0 between them."""
        load = view.load_kw[self.sites]
        # minimum and maximum keep nan, where fmin and fmax would make it 0.
        return np.maximum(load - self._limit_kw, 0) + np.minimum(load - self._recharge_kw, 0)
