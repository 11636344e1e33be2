"""Points that no model knows: each read-only number wanders slowly and smoothly inside its limits.

A point that clients may write keeps what they write; a state is its first state; a text the profile's name.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.sim.column import Column
from fluxfast.sim.image import Image

TURNS: Final = 20  # each step refreshes every 20th column, so that wide profiles stay cheap
USUAL: Final = {
    "V": (220.0, 240.0),
    "Hz": (49.9, 50.1),
    "%": (20.0, 80.0),
    "°C": (15.0, 35.0),
    "C": (15.0, 35.0),
}
OTHERWISE: Final = (0.0, 100.0)


class Wander:
    """All columns of one image that nothing else fills."""

    def __init__(self, image: Image, known: set[str], rng: np.random.Generator) -> None:
        """Draw where and how fast each value goes, and write what stands still."""
        self._turn = 0
        self._moving: list[tuple[Column, float, float, float, NDArray[np.float64]]] = []
        for name, column in image.columns.items():
            phases = rng.uniform(
                0, 2 * np.pi, image.count
            )  # drawn for all, so that no column depends on another
            period_s = float(rng.uniform(60, 600))
            if name in known:
                continue
            if column.is_text:
                column.put_text(image.profile.name)
            elif column.point.states:
                column.put_raw(next(iter(column.point.states)))
            elif column.is_bit or column.mask == 1 or column.point.type == "bool":
                column.put_raw((phases > np.pi).astype(np.uint8) if column.point.access == "ro" else 0)
            elif column.point.access != "ro":
                low, high = bounds(column)
                column.put(min(max(0.0, low), high))
            else:
                low, high = bounds(column)
                self._moving.append((column, (low + high) / 2, 0.4 * (high - low), period_s, phases))

    def step(self, now_s: float, everything: bool = False) -> None:
        """Move a twentieth of the columns, or all, to where they are at this moment."""
        for column, middle, reach, period_s, phases in self._moving if everything else self._mine():
            column.put(middle + reach * np.sin(2 * np.pi * now_s / period_s + phases))

    def _mine(self) -> list[tuple[Column, float, float, float, NDArray[np.float64]]]:
        self._turn = (self._turn + 1) % TURNS
        return self._moving[self._turn :: TURNS]


def bounds(column: Column) -> tuple[float, float]:
    """Return the plausible span: the limits, or what is usual for the unit, inside what the type holds."""
    point = column.point
    low, high = map(float, point.limits) if point.limits else USUAL.get(point.unit, OTHERWISE)
    ends = sorted(raw * column.scale + column.shift_value for raw in column.raw_range())
    low, high = max(low, ends[0]), min(high, ends[1])
    return (low, high) if low <= high else (ends[0], ends[1])
