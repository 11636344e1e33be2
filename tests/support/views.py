"""Views and modes made in code, for tests of what sites want."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from fluxfast.config.entries import ControlEntry
from fluxfast.control.modes import Modes, View
from fluxfast.control.modes.view import ARRAYS
from fluxfast.profiles.document import parse_document
from fluxfast.profiles.findings import validate

KNOWN = dict.fromkeys(ARRAYS, 0.0) | {
    "soe_pct": 50.0,
    "energy_kwh": 100.0,
    "capacity_kwh": 200.0,
    "charge_kw": 100.0,
    "discharge_kw": 100.0,
    "frequency_hz": 50.0,
}


def view(time: float | str = 0.0, sites: int = 1, **columns: Any) -> View:
    """Return a view; a column is one value for all sites, or one for each. ISO times need a zone."""
    time_s = datetime.fromisoformat(time).timestamp() if isinstance(time, str) else time
    arrays = {name: np.full(sites, columns.pop(name, value), float) for name, value in KNOWN.items()}
    assert not columns, f"no such column: {columns}"
    return View(time_s=time_s, dt_s=0.5, **arrays)


def modes(*sites: str, folder: Path = Path(), time_zone: str = "UTC") -> Modes:
    """Return the modes of sites, each a YAML list."""
    made = []
    for text in sites:
        entry, findings = validate(ControlEntry, parse_document(f"modes: {text}", "test").data)
        assert entry is not None, findings
        made.append([mode.placed(folder, time_zone) for mode in entry.modes])
    return Modes(made)


def decide(asked: Modes, seen: View) -> list[tuple[float, int]]:
    """Return (target, mode index) of each site."""
    power, index = asked.decide(seen)
    return list(zip(power.tolist(), index.tolist(), strict=True))


def target(asked: Modes, seen: View) -> float | None:
    """Return the target of the only site; none without a mode."""
    ((power, index),) = decide(asked, seen)
    assert np.isnan(power) == (index == -1)
    return None if index == -1 else power
