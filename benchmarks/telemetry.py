"""Battery and meter telemetry as registers have it, for the log's benchmarks.

Seventeen columns are quantised as scaled integers are, three are the noisy floats that a meter sends.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
FLOATS: Final = ("pf", "e_imp_kwh", "e_exp_kwh")  # of the device; logged as they come, float32
DECIMALS: Final = {"p_w": 0, "q_var": 0, "i_a_a": 2, "i_b_a": 2, "i_c_a": 2, "freq_hz": 2} | dict.fromkeys(
    ("cell_v_min", "cell_v_max"), 3
)  # others have 1
BAD: Final = 0.002  # of the rows


def generate(
    devices: int = 500, ticks: int = 3600, seed: int = 1, period_s: float = 1.0
) -> tuple[NDArray[np.int64], NDArray[np.float32], dict[str, Array]]:
    """Return (tick_us [ticks], latency_ms [ticks, devices], {column: [ticks, devices]})."""
    rng = np.random.default_rng(seed)
    tick_us = 1_790_000_000_000_000 + (np.arange(ticks) * period_s * 1e6).astype(np.int64)
    latency_ms = np.rint(rng.gamma(2.0, 25, size=(ticks, devices))).astype(np.float32) / np.float32(10)

    def walk(step: float, pull: float, base: float, spread: float) -> Array:
        """Return an Ornstein-Uhlenbeck walk around a base that differs by device."""
        out, v = np.empty((ticks, devices), np.float32), np.zeros(devices)
        noise = rng.standard_normal((ticks, devices)).astype(np.float32)
        for i in range(ticks):
            v += -pull * v + step * noise[i]
            out[i] = v
        return np.asarray(out + base + spread * rng.standard_normal(devices).astype(np.float32))

    power = walk(400, 0.02, 0, 3000)
    volts = walk(0.2, 0.1, 0, 2)
    soe = 50 + np.cumsum(power, axis=0) * -1e-6 + 10 * rng.standard_normal(devices)
    hertz = 50 + np.cumsum(rng.standard_normal(ticks) * 0.002)[:, None] * 0.3
    columns: dict[str, Array] = {"p_w": power / 10, "q_var": walk(100, 0.02, 0, 300) / 10, "soe_pct": soe}
    columns["soh_pct"] = np.full((ticks, devices), 97.3) + 0.5 * rng.standard_normal(devices)
    for phase in "abc":
        columns[f"v_{phase}_v"] = 230 + volts + walk(0.05, 0.2, 0, 0.5)
    for phase in "abc":
        columns[f"i_{phase}_a"] = power / 690 + walk(0.3, 0.1, 0, 0.5)
    columns["freq_hz"] = np.repeat(hertz, devices, 1)
    columns["dc_v"] = 780 + power * -1e-3 + walk(0.3, 0.1, 0, 5)
    columns["dc_a"] = power / 780 + walk(0.1, 0.1, 0, 0.2)
    columns["t_min_c"] = 24 + walk(0.01, 0.001, 0, 1)
    columns["t_max_c"] = 27 + walk(0.01, 0.001, 0, 1)
    columns["cell_v_min"] = 3.3 - power * 1e-6 + walk(0.0005, 0.05, 0, 0.01)
    columns["cell_v_max"] = 3.34 - power * 1e-6 + walk(0.0005, 0.05, 0, 0.01)
    for name, x in columns.items():
        columns[name] = np.round(x.astype(np.float64), DECIMALS.get(name, 1))
    for name in ("p_w", "q_var"):
        columns[name] *= 10  # in steps of 10 W
    columns["pf"] = np.clip(power / (np.abs(power) + 300) + walk(0.002, 0.1, 0, 0.01), -1, 1)
    for name, sign in (("e_imp_kwh", 1), ("e_exp_kwh", -1)):
        flow = np.clip(sign * power, 0, None)
        columns[name] = 1e4 + np.cumsum(flow, axis=0, dtype=np.float64) / 3.6e6 + 1e3 * rng.random(devices)
    for name in FLOATS:
        columns[name] = columns[name].astype(np.float32)
    return tick_us, latency_ms, columns


def bad_rows(ticks: int, devices: int, seed: int = 2) -> NDArray[np.bool_]:
    """Return which rows have no answer, [ticks, devices]."""
    return np.random.default_rng(seed).random((ticks, devices)) < BAD
