"""Logs of one site of two PowerPacks and a grid meter, written without a device."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluxfast.log import Column, Dataset, LogWriter
from fluxfast.table import quality

NOON_US = 1_790_035_200_000_000
TICK_US = 500_000
PACKS = ("b1", "b2")

PACK_COLUMNS = [
    Column("status", "int64", [{1: "READY"}]),
    Column("target_power", "int64"),
    Column("command_source", "int64", [{1: "REMOTE"}]),
    Column("soe", "int64"),
    Column("available_blocks", "int64"),
]
USUAL = {"status": 1, "target_power": 0, "command_source": 1, "soe": 50, "available_blocks": 4}


def site_file(folder: Path, control: str) -> Path:
    """Write a site file with this ``control:`` and return its path."""
    path = folder / "site.yaml"
    path.write_text(
        f"""
site: S
poll: {{every: 500ms}}
control: {control}
devices:
  bess:
    - {{id: "b{{n}}", count: 2, type: powerpack, capacity_kwh: 100, rated_power_kw: 100,
       modbus: {{host: 127.0.1.1, port: 5020}}}}
  meters:
    - {{id: m1, type: acuvim2, role: grid, modbus: {{host: 127.0.2.1, port: 5020}}}}
"""
    )
    return path


def write_log(
    path: Path,
    grid_kw: Sequence[float],
    packs: Mapping[str, NDArray[np.int64]] | None = None,
    *,
    tick_us: int = TICK_US,
    first_us: int = NOON_US,
    devices: Sequence[str] = PACKS,
    columns: Sequence[Column] = PACK_COLUMNS,
) -> None:
    """Write ticks of a meter (kW; nan: no answer) and of packs (values [ticks, 2]; usual if not given)."""
    n = len(grid_kw)
    values = {name: np.full((n, 2), usual) for name, usual in USUAL.items()} | dict(packs or {})
    datasets = [
        Dataset("powerpack", ["S"] * 2, devices, columns),
        Dataset("acuvim2", ["S"], ["m1"], [Column("power_total", "float64", metadata={"unit": "W"})]),
    ]
    log = LogWriter(
        path, datasets, tick_seconds=tick_us / 1e6,
        quality_names=quality.QUALITY_NAMES, reasons=quality.REASONS,
    )  # fmt: skip
    with log:
        for k, kw in enumerate(grid_kw):
            time_us = first_us + k * tick_us
            picked = [values[column.name][k] for column in columns]
            good, ones = np.zeros(2, np.uint8), np.ones((len(columns), 2), np.uint8)
            log.append(0, time_us, np.full(2, 9, np.float32), good, picked, ones)
            bad = np.isnan(kw)
            code = np.full(1, quality.TIMEOUT if bad else quality.GOOD, np.uint8)
            latency = np.full(1, np.nan if bad else 9, np.float32)
            while log.busy:  # a log drops what comes too fast
                time.sleep(0.001)
            log.append(1, time_us, latency, code, [np.array([kw * 1000])], np.array([[not bad]], np.uint8))
