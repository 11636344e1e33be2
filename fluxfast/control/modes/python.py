"""Modes that a user wrote: functions on columns, tried before they run and caught when they fail."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.config.modes import PythonMode
from fluxfast.control.modes.family import Booleans, Family
from fluxfast.control.modes.functions import load_function, reason
from fluxfast.control.modes.view import ARRAYS, Floats, View
from fluxfast.errors import ConfigError, Problem
from fluxfast.profiles.document import make_problem

MAX_EVENTS: Final = 1000  # kept until somebody takes them

# What a function is tried with: 2026-01-01, a site that imports 100 kW with its batteries half full.
_SAMPLE: Final = dict.fromkeys(ARRAYS, 100.0) | {
    "battery_kw": 0.0,
    "target_kw": 0.0,
    "soe_pct": 50.0,
    "capacity_kwh": 200.0,
    "frequency_hz": 50.0,
}
_SAMPLE_TIME_S: Final = 1_767_225_600.0


@dataclass
class _Call:
    """One function with one set of parameters, for all the modes that have just these."""

    mode: PythonMode
    function: Callable[..., Any]
    rows: NDArray[np.intp]
    sites: NDArray[np.intp]
    parameters: dict[str, Any] = field(init=False)
    is_wanted: bool = False  # whether any of its modes is active
    fails: bool = False  # which has been told

    def __post_init__(self) -> None:
        self.parameters = self.mode.parameters

    def run(self, view: View) -> Floats:
        """Return what it wants; raises whatever it raises, and ``TypeError`` for a wrong result."""
        result = self.function(view.of(self.sites), **self.parameters)
        # Of a masked array, what is masked would be taken for a number.
        if type(result) is not np.ndarray or result.dtype != np.float64:
            kind = result.dtype if type(result) is np.ndarray else type(result).__name__
            raise TypeError(f"it must return a float64 array, not {kind}")
        if result.shape != self.sites.shape:
            raise TypeError(f"it must return {len(self.sites)} rows, not an array of shape {result.shape}")
        if np.isinf(result).any():
            raise TypeError("it returned an infinite power")
        return result


class PythonModes(Family[PythonMode]):
    """Functions, called once for all sites that use them with the same parameters."""

    uses_load: ClassVar[bool] = True

    def _read(self, modes: Sequence[PythonMode]) -> None:
        self.events: deque[tuple[int, str]] = deque(maxlen=MAX_EVENTS)
        self._names = [mode.name for mode in modes]
        self._calls: list[_Call] = []
        self._target_kw = np.full(len(modes), np.nan)
        rows_of: dict[str, list[int]] = {}
        for row, mode in enumerate(modes):
            rows_of.setdefault(f"{mode.function}\0{sorted(mode.parameters.items())!r}", []).append(row)
        functions: dict[str, Callable[..., Any]] = {}
        problems: list[Problem] = []
        for rows in rows_of.values():
            mode = modes[rows[0]]
            try:
                if mode.function not in functions:
                    functions[mode.function] = load_function(mode)
                call = _Call(mode, functions[mode.function], np.array(rows), self.sites[rows])
                _try(call, 1 + int(self.sites.max()))
            except ConfigError as error:
                problems += error.problems
            else:
                self._calls.append(call)
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))

    def update(self, view: View, active: Booleans) -> None:
        """See which functions are wanted."""
        for call in self._calls:
            call.is_wanted = bool(active[call.rows].any())

    def target(self, view: View) -> Floats:
        """T = what the function returns; one that fails does not apply."""
        self._target_kw.fill(np.nan)
        for call in self._calls:
            if call.is_wanted:
                try:
                    self._target_kw[call.rows] = call.run(view)
                except (Exception, SystemExit) as error:
                    self._tell(call, error)
                else:
                    call.fails = False
        return self._target_kw

    def _tell(self, call: _Call, error: BaseException) -> None:
        if not call.fails:
            call.fails = True
            what = reason(error, call.mode.file)
            for row in call.rows:
                text = f"mode {self._names[row]} does not apply: {call.mode.function_name}(): {what}"
                self.events.append((int(self.sites[row]), text))


def _try(call: _Call, sites: int) -> None:
    """Call the function once; raise ``ConfigError`` when it could not be a mode."""
    arrays = {name: np.full(sites, value) for name, value in _SAMPLE.items()}
    try:
        call.run(View(time_s=_SAMPLE_TIME_S, dt_s=1.0, **arrays))
    except (Exception, SystemExit) as error:
        file = call.mode.file or "entry point"
        what = f"the trial run failed: {reason(error, call.mode.file)}"
        raise ConfigError([make_problem(file, None, f"{call.mode.function_name}()", what)]) from None
