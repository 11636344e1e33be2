"""Frequency droop: IEEE 1547's form, around the power that was commanded before the frequency left."""

from collections.abc import Sequence

import numpy as np

from fluxfast.config.modes import FrequencyDroop
from fluxfast.control.modes.family import Booleans, Family, column
from fluxfast.control.modes.view import Floats, View


class FrequencyDroops(Family[FrequencyDroop]):
    """Help when the frequency is outside its deadband."""

    def _read(self, modes: Sequence[FrequencyDroop]) -> None:
        nominal = column([mode.nominal_hz for mode in modes])
        deadband = column([mode.deadband_hz for mode in modes])
        self._low_hz, self._high_hz = nominal - deadband, nominal + deadband
        self._full_hz = nominal * column([mode.droop_pct for mode in modes]) / 100
        self._power_kw = column([mode.power_kw for mode in modes])
        self._before_kw = np.full(len(modes), np.nan)  # the target before; nan inside the deadband

    def update(self, view: View, active: Booleans) -> None:
        """Remember the target before the frequency left."""
        low, high = self._beyond(view)
        left = active & ((low > 0) | (high > 0)) & np.isnan(self._before_kw)
        self._before_kw[left] = np.nan_to_num(view.target_kw[self.sites][left], posinf=0, neginf=0)
        # Without a frequency nothing is known: what was remembered stays.
        self._before_kw[~active | (low == 0) & (high == 0)] = np.nan

    def target(self, view: View) -> Floats:
        """T = before + deviation / (nominal · droop) · full power, within what the units can do."""
        low, high = self._beyond(view)
        charge, discharge = view.charge_kw[self.sites], view.discharge_kw[self.sites]
        response = self._response(low, discharge) - self._response(high, charge)
        return np.clip(self._before_kw + response, -charge, discharge)

    def _beyond(self, view: View) -> tuple[Floats, Floats]:
        """Return how far the frequency is below and above the deadband, Hz; 0 inside."""
        hz = view.frequency_hz[self.sites]
        return np.maximum(self._low_hz - hz, 0), np.maximum(hz - self._high_hz, 0)

    def _response(self, beyond_hz: Floats, available_kw: Floats) -> Floats:
        share = beyond_hz / self._full_hz
        promised = np.minimum(share, 1) * self._power_kw  # a promised power is not exceeded
        return np.where(np.isnan(self._power_kw), share * available_kw, promised)
