"""Power meters: three phases, all quantities consistent with each other and with what the site does.

Positive is import. A meter shows what its ``role`` says; a site's several meters of one role share it evenly:

* ``grid``, and no role: the site's load, minus what its batteries discharge, minus a metered sun
* ``load``: the load; ``pv``: minus the sun; ``bess``: minus what the batteries discharge

Quantities are kept in W, var, VA, V, A, Hz and Wh; a profile's points take them by name (QUANTITIES, ALIASES)
and are given them in their own unit. A quantity that no point wants is not encoded.
"""

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.sim.image import Image
from fluxfast.sim.sites import Floats, Noise, Sites
from fluxfast.sim.units import factor_from_base

NOMINAL_V: Final = 230.0
REACTIVE_SHARE: Final = 0.3  # var for each W of load
IMBALANCE: Final = 0.04
DEMAND_S: Final = 300.0
PHASES: Final = ("l1", "l2", "l3")
LOADS: Final = frozenset({"load", "consumption"})
SUNS: Final = frozenset({"pv", "solar", "generation", "production"})
BATTERIES: Final = frozenset({"bess", "battery", "storage"})

# What else a quantity is called, once `quantity_of` has made the spelling alike.
ALIASES: Final = {
    "grid_frequency": "frequency",
    "voltage_average": "voltage_ln_average",
    "voltage_l1": "voltage_l1_n",
    "voltage_l2": "voltage_l2_n",
    "voltage_l3": "voltage_l3_n",
    "current_neutral": "current_n",
    "power": "power_total",
    "reactive_power": "reactive_power_total",
    "apparent_power": "apparent_power_total",
    "power_factor_total": "power_factor",
    "energy": "energy_import",
}


def quantity_of(name: str) -> str:
    """Return the quantity that a point's name stands for: ``active_power_sum`` is ``power_total``."""
    text = re.sub(r"^(active|real)_", "", name.lower())
    text = re.sub(r"_(sum|tot|all)$", "_total", re.sub(r"_avg$", "_average", text))
    text = re.sub(r"_(?:phase_)?([abc])$", lambda m: f"_l{'abc'.index(m[1]) + 1}", text)
    return ALIASES.get(text, text)


class Meter:
    """All meters of one profile."""

    def __init__(
        self, image: Image, sites: Sites, site_of: NDArray[np.intp], kinds: list[str], share: Floats,
        site_has_sun: NDArray[np.bool_], rng: np.random.Generator,
    ) -> None:  # fmt: skip
        """Draw habits and the counters' start; ``share`` is 1 / meters of that role at that site."""
        count = image.count
        self._sites, self._site_of, self._share = sites, site_of, share
        self._load = np.array([k in ("grid", "load") for k in kinds], float)
        self._sun = np.array(
            [k == "pv" or (k == "grid" and site_has_sun[s]) for k, s in zip(kinds, site_of, strict=True)],
            float,
        )
        self._battery = np.array([k in ("grid", "battery") for k in kinds], float)
        self._noise = [Noise(rng, count) for _ in range(5)]
        start_wh = 1e3 * np.maximum(sites.size_kw[site_of], 1) * rng.uniform(500, 5000, count)
        self._counters = {name: np.floor(start_wh * part) for name, part in COUNTERS.items()}
        self._demand_w: Floats | None = None
        self._outputs = [
            (column, quantity, 100.0 if column.point.unit == "%" else factor_from_base(column.point.unit))
            for column, quantity in ((c, quantity_of(n)) for n, c in image.columns.items())
            if quantity in QUANTITIES and not column.is_text and column.point.access == "ro"
        ]
        self.columns = {column.point.name for column, _, _ in self._outputs}

    def step(self, now_s: float, dt_s: float) -> None:
        """Compute every quantity of this moment, count energy, show both."""
        q = self._phases(now_s)
        self._totals(q)
        self._count(q, dt_s)
        for column, quantity, factor in self._outputs:
            column.put(q[quantity] * factor)

    def _phases(self, now_s: float) -> dict[str, Floats]:
        sites, at = self._sites, self._site_of
        load = sites.load_kw[at]
        sun = sites.sun_kw[at] * self._sun
        total_w = 1e3 * self._share * (load * self._load - sun - sites.battery_kw[at] * self._battery)
        total_var = 1e3 * self._share * REACTIVE_SHARE * (load * self._load - 0.1 * sun)
        noise = [n.at(now_s) for n in self._noise]
        tilt = [IMBALANCE * noise[0], IMBALANCE * noise[1], -IMBALANCE * (noise[0] + noise[1])]
        dip = 0.01 * total_w / (1e3 * np.maximum(sites.size_kw[at], 1))  # volts sag a little under load
        q = {"frequency": sites.frequency_hz[at]}
        for i, phase in enumerate(PHASES):
            volts = NOMINAL_V * (1 + 0.008 * noise[2 + i] - dip)
            watts, var = total_w / 3 * (1 + tilt[i]), total_var / 3 * (1 + tilt[i])
            apparent = np.hypot(watts, var)
            q[f"voltage_{phase}_n"], q[f"current_{phase}"] = volts, apparent / volts
            q[f"power_{phase}"], q[f"reactive_power_{phase}"] = watts, var
            q[f"apparent_power_{phase}"] = apparent
            q[f"power_factor_{phase}"] = _ratio(watts, apparent)
        return q

    def _totals(self, q: dict[str, Floats]) -> None:
        for name in ("power", "reactive_power", "apparent_power"):
            q[f"{name}_total"] = q[f"{name}_l1"] + q[f"{name}_l2"] + q[f"{name}_l3"]
        q["power_factor"] = _ratio(q["power_total"], q["apparent_power_total"])
        v1, v2, v3 = (q[f"voltage_{p}_n"] for p in PHASES)
        i1, i2, i3 = (q[f"current_{p}"] for p in PHASES)
        for name, a, b in (("l1_l2", v1, v2), ("l2_l3", v2, v3), ("l3_l1", v3, v1)):
            q[f"voltage_{name}"] = np.sqrt(a * a + b * b + a * b)  # phases 120° apart
        q["voltage_ln_average"] = (v1 + v2 + v3) / 3
        q["voltage_ll_average"] = (q["voltage_l1_l2"] + q["voltage_l2_l3"] + q["voltage_l3_l1"]) / 3
        q["current_average"] = (i1 + i2 + i3) / 3
        q["current_n"] = np.sqrt(np.maximum(i1 * i1 + i2 * i2 + i3 * i3 - i1 * i2 - i2 * i3 - i3 * i1, 0))
        q["load_type"] = np.where(q["reactive_power_total"] < 0, 67.0, 76.0)  # C or L, as Acuvim spells it
        q["voltage_unbalance"] = _spread(v1, v2, v3)
        q["current_unbalance"] = _spread(i1, i2, i3)

    def _count(self, q: dict[str, Floats], dt_s: float) -> None:
        hours = dt_s / 3600
        counters = self._counters
        watts, var = q["power_total"], q["reactive_power_total"]
        counters["energy_import"] += np.maximum(watts, 0) * hours
        counters["energy_export"] -= np.minimum(watts, 0) * hours
        counters["reactive_energy_import"] += np.maximum(var, 0) * hours
        counters["reactive_energy_export"] -= np.minimum(var, 0) * hours
        counters["apparent_energy"] += q["apparent_power_total"] * hours
        q.update(counters)
        for kind in ("energy", "reactive_energy"):
            q[f"{kind}_total"] = counters[f"{kind}_import"] + counters[f"{kind}_export"]
            q[f"{kind}_net"] = counters[f"{kind}_import"] - counters[f"{kind}_export"]
        if self._demand_w is None:
            self._demand_w = np.array([watts, var, q["apparent_power_total"]])
        now = np.array([watts, var, q["apparent_power_total"]])
        self._demand_w += (now - self._demand_w) * -np.expm1(-dt_s / DEMAND_S)
        q["power_demand"], q["reactive_power_demand"], q["apparent_power_demand"] = self._demand_w


# What a counter starts at, as a part of the energy imported so far.
COUNTERS: Final = {
    "energy_import": 1.0,
    "energy_export": 0.1,
    "reactive_energy_import": 0.3,
    "reactive_energy_export": 0.01,
    "apparent_energy": 1.05,
}
QUANTITIES: Final = frozenset(
    {"frequency", "voltage_ln_average", "voltage_ll_average", "current_average", "current_n"}
    | {"voltage_unbalance", "current_unbalance", "voltage_l1_l2", "voltage_l2_l3", "voltage_l3_l1"}
    | {f"voltage_{p}_n" for p in PHASES}
    | {f"{n}_{p}" for n in ("power", "reactive_power", "apparent_power") for p in (*PHASES, "total")}
    | {"power_factor", *(f"power_factor_{p}" for p in PHASES), "load_type"}
    | {f"current_{p}" for p in PHASES}
    | {f"{n}_{k}" for n in ("energy", "reactive_energy") for k in ("import", "export", "total", "net")}
    | {"apparent_energy", "power_demand", "reactive_power_demand", "apparent_power_demand"}
)


def kind_of(role: str | None) -> str:
    """Return ``grid``, ``load``, ``pv`` or ``battery`` for a meter's role."""
    text = (role or "grid").lower()
    for kind, words in (("load", LOADS), ("pv", SUNS), ("battery", BATTERIES)):
        if text in words:
            return kind
    return "grid"


def _ratio(a: Floats, b: Floats) -> Floats:
    return np.divide(a, b, out=np.ones_like(a), where=b > 0)


def _spread(a: Floats, b: Floats, c: Floats) -> Floats:
    middle = (a + b + c) / 3
    most = np.maximum(np.maximum(abs(a - middle), abs(b - middle)), abs(c - middle))
    return np.divide(most, middle, out=np.zeros_like(middle), where=middle > 0)
