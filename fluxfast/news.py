"""What is told when it changes: the quality of devices; the mode, the meter and the limits of sites.

Only the log's ``events`` need all of it. A tick in which nothing changes costs a comparison of columns.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.control import reasons
from fluxfast.controller import Controller
from fluxfast.table import Table, quality

QUIET_NS: Final = 10_000_000_000  # after a device or a site was told of; then what is true by then is told
NAMED: Final = 8  # devices of one table in one tick; of the others it is told how many

_UNREAD: Final = np.array([text == quality.reason(quality.NEVER) for text in quality.REASONS])
_HELD: Final = {
    reasons.HOLDING: "its meter is stale; the target is held",
    reasons.RAMP_DOWN: "its meter is stale; the target goes to 0",
}
_HELD_CODES: Final = np.array([code if code in _HELD else reasons.NONE for code in range(256)], np.uint8)
# Not those that come and go with every move: ramps, rests.
_LIMITS: Final = (
    reasons.IMPORT, reasons.EXPORT, reasons.CHARGE, reasons.DISCHARGE, reasons.GRID_RAMP,
    reasons.RATED, reasons.BLOCKS, reasons.SOE_MIN, reasons.SOE_MAX, reasons.RESERVE,
)  # fmt: skip
_WHAT: Final = reasons.TEXTS
_LIMIT_CODES: Final = np.array([code if code in _LIMITS else reasons.NONE for code in range(256)], np.uint8)


class _Told:
    """The code that was told of each row last, 0 before, and when."""

    def __init__(self, rows: int) -> None:
        self.codes = np.zeros(rows, np.uint8)
        self._times_ns = np.full(rows, -QUIET_NS)

    def changed(self, codes: NDArray[np.uint8], now_ns: int) -> NDArray[np.intp]:
        """Return the rows that have another code now and were not told of lately."""
        differs = codes != self.codes
        if not differs.any():
            return _NONE
        rows = np.flatnonzero(differs)
        return rows[now_ns - self._times_ns[rows] >= QUIET_NS]

    def tell(self, rows: NDArray[np.intp], codes: NDArray[np.uint8], now_ns: int) -> None:
        self.codes[rows], self._times_ns[rows] = codes[rows], now_ns


_NONE: Final = np.empty(0, np.intp)


class DeviceNews:
    """Tells when a device of a table turns good, uncertain or bad, or is so for another reason."""

    def __init__(self, table: Table, ids: list[str]) -> None:
        """At first all are taken for good; what was never read is no news."""
        self._table, self._ids = table, ids
        self._told = _Told(table.rows)

    def take(self, now_ns: int) -> list[tuple[int | None, str]]:
        """Return (row, text) for each device that has changed, and for many at once (None, how many)."""
        codes = self._table.row_quality
        rows = self._told.changed(codes, now_ns)
        if len(rows):
            rows = rows[~_UNREAD[codes[rows]]]
        if not len(rows):
            return []
        self._told.tell(rows, codes, now_ns)
        news: list[tuple[int | None, str]] = [
            (row, f"{self._ids[row]}: {_state(code)}")
            for row, code in zip(rows[:NAMED].tolist(), codes[rows[:NAMED]].tolist(), strict=True)
        ]
        if len(rest := rows[NAMED:]):
            found = zip(*np.unique(codes[rest], return_counts=True), strict=True)
            counts = sorted(((int(n), _state(int(code))) for code, n in found), reverse=True)
            states = ", ".join(f"{n:,} {state}" for n, state in counts)
            news.append((None, f"{self._table.name}: and {len(rest):,} more: {states}"))
        return news


def _state(code: int) -> str:
    why = quality.REASONS[code]
    return "good again" if why is None else f"{quality.QUALITY_NAMES[code]}: {why}"


class SiteNews:
    """Tells when a site changes its mode, loses its meter, meets a limit, or a mode of its own fails.

    Whoever stops a site says so (``operate.py``).
    """

    def __init__(self, controller: Controller) -> None:
        """Before the first decision only a mode that fails is news."""
        self._controller = controller
        self._mode: NDArray[np.int16] | None = None
        self._held = np.zeros(len(controller.plan.sites), np.uint8)
        self._limit = _Told(len(controller.plan.sites))

    def take(self, now_ns: int) -> list[tuple[str, str, str]]:
        """Return (kind, site, text) for what has changed since the decision before."""
        controller, mode, held = self._controller, self._mode, self._held
        self._mode = controller.loop.mode.copy()
        self._held = _HELD_CODES[controller.loop.reason]
        news = [(s, "mode", text) for s, text in controller.modes.take_events()]
        if mode is not None:
            for s in np.flatnonzero(self._mode != mode).tolist():
                news.append((s, "mode", f"{self._name(s, self._mode[s])}, before {self._name(s, mode[s])}"))
            for s in np.flatnonzero(self._held != held).tolist():
                news.append((s, "meter", _HELD.get(int(self._held[s]), "its meter is read again")))
        news += self._limits(now_ns)
        sites = controller.plan.sites
        return [(kind, sites[s].name, text) for s, kind, text in news]

    def _limits(self, now_ns: int) -> list[tuple[int, str, str]]:
        loop, sites = self._controller.loop, self._controller.columns.sites
        codes = _LIMIT_CODES[loop.reason]
        codes = np.where(codes != reasons.NONE, codes, _LIMIT_CODES[sites.reason])
        rows = self._limit.changed(codes, now_ns)
        before = self._limit.codes[rows]
        self._limit.tell(rows, codes, now_ns)
        return [
            (s, "limit", f"limited by {_WHAT[code]}" if code else f"no longer limited by {_WHAT[old]}")
            for s, code, old in zip(rows.tolist(), codes[rows].tolist(), before.tolist(), strict=True)
        ]

    def _name(self, site: int, position: int) -> str:
        return self._controller.plan.sites[site].control.modes[position].name if position >= 0 else "no mode"
