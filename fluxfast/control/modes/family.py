"""What the modes of one type have in common."""

from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fluxfast.config.modes import Mode
from fluxfast.control.modes.view import Floats, View

M = TypeVar("M", bound=Mode)
Booleans = NDArray[np.bool_]


class Family(Generic[M]):
    """All modes of one type in all sites: a row for each, its parameters in columns."""

    uses_load: ClassVar[bool] = False  # whether the target depends on view.load_kw

    def __init__(self, modes: Sequence[M], sites: NDArray[np.intp]) -> None:
        """Take the modes; ``sites[row]`` is the row of the view that belongs to a mode."""
        self.sites = sites
        self._read(modes)

    def _read(self, modes: Sequence[M]) -> None:
        """Make columns of their parameters."""

    def update(self, view: View, active: Booleans) -> None:
        """Carry on what a mode remembers, once per decision; ``active``: switched on, and in its window."""

    def target(self, view: View) -> Floats:
        """Return the power each mode wants, float64 [rows]; nan where it does not apply. Changes nothing."""
        raise NotImplementedError


def column(values: Sequence[Decimal | None]) -> Floats:
    """Return a parameter as a column; nan where it is not given."""
    return np.array([np.nan if value is None else float(value) for value in values])
