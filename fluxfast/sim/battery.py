"""Batteries that follow a setpoint: ``powerpack``, and every profile with ``target_power`` and ``soe``.

A unit obeys ``target_power`` while its ``status`` is READY and its ``command_source`` is remote; otherwise
it rests. What it obeys is held inside its rating, its available blocks and its energy; the register keeps
what was written.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.profiles import Profile
from fluxfast.sim.column import Column
from fluxfast.sim.image import Image
from fluxfast.sim.sites import Floats, Sites
from fluxfast.sim.units import factor_from_base

DEFAULT_CAPACITY_KWH: Final = 400.0
DEFAULT_POWER_KW: Final = 200.0
BLOCKS: Final = 10  # what ``available_blocks`` shows when all of the inverter is there
RESPONSE_S: Final = 0.2  # time constant: 95 % of a step in 0.6 s
SLEW_PER_S: Final = 5.0  # ratings a second
EFFICIENCY: Final = 0.96  # each way
TAPER_PCT: Final = 2.0  # of SOE, over which power fades out towards empty and full
READY: Final = 1  # when the profile names no state READY; design.md's facts table
REMOTE: Final = 1
ACTUAL_POWER: Final = ("actual_power", "active_power", "power")


def is_battery(profile: Profile) -> bool:
    """Whether a profile has what the model needs."""
    return {"target_power", "soe"} <= profile.points.keys()


class Battery:
    """All batteries of one profile."""

    def __init__(
        self, image: Image, sites: Sites, site_of: NDArray[np.intp], capacity_kwh: Floats, rated_kw: Floats,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        """Start each at a seeded SOE, ready, under remote control, with all its blocks and no target."""
        columns = image.columns
        self.power_kw = np.zeros(image.count)
        self.energy_kwh = capacity_kwh * rng.uniform(0.3, 0.8, image.count)
        self._capacity_kwh, self._rated_kw = capacity_kwh, rated_kw
        self._sites, self._site_of = sites, site_of
        self._target, self._soe = columns["target_power"], columns["soe"]
        self._kw_per_unit = 1 / factor_from_base(self._target.point.unit or "kW", 1e3)
        self._status, self._source = columns.get("status"), columns.get("command_source")
        self._blocks = columns.get("available_blocks")
        self._ready = state_code(self._status, "READY", READY)
        self._remote = state_code(self._source, "REMOTE", REMOTE)
        self._actual = [columns[n] for n in ACTUAL_POWER if n in columns and columns[n].point.access == "ro"]
        self._target.put(0)
        if self._status:
            self._status.put_raw(self._ready)
        if self._source:
            self._source.put_raw(self._remote)
        if self._blocks:
            self._blocks.put(BLOCKS)
        self.columns = {c.point.name for c in (self._target, self._soe, *self._actual)}
        self.columns |= {c.point.name for c in (self._status, self._source, self._blocks) if c}
        self._show()

    def set_soe(self, row: int, soe_pct: float) -> None:
        """Put a unit at a state of energy; for tests."""
        self.energy_kwh[row] = self._capacity_kwh[row] * soe_pct / 100
        self._show()

    def step(self, dt_s: float) -> None:
        """Move every unit towards its setpoint, move its energy, show both."""
        soe_pct = 100 * self.energy_kwh / self._capacity_kwh
        most = self._rated_kw.copy()
        if self._blocks:
            most *= np.clip(self._blocks.values() / BLOCKS, 0, 1)
        wanted = self._target.values() * self._kw_per_unit
        np.copyto(wanted, 0, where=~np.isfinite(wanted))
        if self._status:
            wanted[self._status.raw() != self._ready] = 0
        if self._source:
            wanted[self._source.raw() != self._remote] = 0
        charge_most = most * np.clip((100 - soe_pct) / TAPER_PCT, 0, 1)
        discharge_most = most * np.clip(soe_pct / TAPER_PCT, 0, 1)
        wanted = np.clip(wanted, -charge_most, discharge_most)
        slew = SLEW_PER_S * self._rated_kw * dt_s
        self.power_kw += np.clip((wanted - self.power_kw) * -np.expm1(-dt_s / RESPONSE_S), -slew, slew)
        self.power_kw = np.clip(self.power_kw, -charge_most, discharge_most)
        stored_kw = -np.where(self.power_kw > 0, self.power_kw / EFFICIENCY, self.power_kw * EFFICIENCY)
        self.energy_kwh = np.clip(self.energy_kwh + stored_kw * dt_s / 3600, 0, self._capacity_kwh)
        self._sites.battery_kw += np.bincount(
            self._site_of, weights=self.power_kw, minlength=len(self._sites.battery_kw)
        )
        self._show()

    def _show(self) -> None:
        self._soe.put(100 * self.energy_kwh / self._capacity_kwh)
        for column in self._actual:
            column.put(self.power_kw * factor_from_base(column.point.unit or "kW", 1e3))


def state_code(column: Column | None, label: str, default: int) -> int:
    """Return the raw value of a state by its label, whatever its case."""
    states = (column.point.states if column else None) or {}
    return next((raw for raw, text in states.items() if text.upper() == label), default)
