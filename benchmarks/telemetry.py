"""Realistic battery and meter telemetry for benchmarks of the log: 500 devices, 20 points, an hour at 1 s.

Seventeen points are quantised as scaled integer registers are, three are noisy IEEE floats as a meter sends
them: random walks around a base that differs by device.
"""

import numpy as np

# Decimals of the scaled integers; the others are floats of the device.
DECIMALS = {
    "p_w": 0, "q_var": 0, "soe_pct": 1, "soh_pct": 1, "v_a_v": 1, "v_b_v": 1, "v_c_v": 1,
    "i_a_a": 2, "i_b_a": 2, "i_c_a": 2, "freq_hz": 2, "dc_v": 1, "dc_a": 1, "t_min_c": 1, "t_max_c": 1,
    "cell_v_min": 3, "cell_v_max": 3,
}  # fmt: skip


def generate(devices=500, ticks=3600, seed=1, period_s=1.0):
    """Return (tick_us[ticks], arrival_us[ticks, devices], {column: float32[ticks, devices]})."""
    rng = np.random.default_rng(seed)
    tick_us = 1_790_000_000_000_000 + (np.arange(ticks) * period_s * 1e6).astype(np.int64)
    arrival_us = tick_us[:, None] + rng.gamma(2.0, 2500, size=(ticks, devices)).astype(np.int64)

    def walk(step, pull, base, spread):  # Ornstein-Uhlenbeck around a base that differs by device
        out, v = np.empty((ticks, devices), np.float32), np.zeros(devices)
        noise = rng.standard_normal((ticks, devices)).astype(np.float32)
        for i in range(ticks):
            v += -pull * v + step * noise[i]
            out[i] = v
        return out + base + spread * rng.standard_normal(devices).astype(np.float32)

    def quantised(x, step):
        return (np.round(x / step) * step).astype(np.float32)

    power = walk(400, 0.02, 0, 3000)
    volts = walk(0.2, 0.1, 0, 2)
    c = {
        "p_w": quantised(power, 10),
        "q_var": quantised(walk(100, 0.02, 0, 300), 10),
        "soe_pct": quantised(50 + np.cumsum(power, axis=0) * -1e-6 + 10 * rng.standard_normal(devices), 0.1),
        "soh_pct": quantised(np.full((ticks, devices), 97.3) + 0.5 * rng.standard_normal(devices), 0.1),
    }
    for phase in "abc":
        c[f"v_{phase}_v"] = quantised(230 + volts + walk(0.05, 0.2, 0, 0.5), 0.1)
    for phase in "abc":
        c[f"i_{phase}_a"] = quantised(power / 690 + walk(0.3, 0.1, 0, 0.5), 0.01)
    hertz = 50 + np.cumsum(rng.standard_normal(ticks) * 0.002)[:, None] * 0.3
    c["freq_hz"] = quantised(np.repeat(hertz, devices, 1), 0.01)
    c["dc_v"] = quantised(780 + power * -1e-3 + walk(0.3, 0.1, 0, 5), 0.1)
    c["dc_a"] = quantised(power / 780 + walk(0.1, 0.1, 0, 0.2), 0.1)
    c["t_min_c"] = quantised(24 + walk(0.01, 0.001, 0, 1), 0.1)
    c["t_max_c"] = quantised(27 + walk(0.01, 0.001, 0, 1), 0.1)
    c["cell_v_min"] = quantised(3.3 - power * 1e-6 + walk(0.0005, 0.05, 0, 0.01), 0.001)
    c["cell_v_max"] = quantised(3.34 - power * 1e-6 + walk(0.0005, 0.05, 0, 0.01), 0.001)
    c["pf"] = np.clip(power / (np.abs(power) + 300) + walk(0.002, 0.1, 0, 0.01), -1, 1).astype(np.float32)
    for name, sign in (("e_imp_kwh", 1), ("e_exp_kwh", -1)):
        flow = np.clip(sign * power, 0, None)
        c[name] = (1e4 + np.cumsum(flow, axis=0) / 3.6e6 + 1e3 * rng.random(devices)).astype(np.float32)
    return tick_us, arrival_us, c
