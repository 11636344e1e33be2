"""The sites of a station as a sheet."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.status import SiteStatus
from fluxfast.top.devices import BAD, CLASS_OF, CLASSES, GOOD, SIGNS, UNCERTAIN, DeviceSheet
from fluxfast.top.sheet import Cell, Column, Sheet, number, ranks

_COUNTS: Final = ("devices", "good", "uncertain", "bad")
_KW: Final = ("target_kw", "setpoint_kw", "grid_kw")


class SiteSheet(Sheet):
    """A row per site: how its devices are, and what control does there."""

    searched = ("site", "mode", "why")

    def __init__(self, devices: DeviceSheet) -> None:
        """Take the sheet of all devices."""
        super().__init__()
        self._devices = devices
        self.names: list[str] = []
        self._place = np.empty(0, np.intp)  # of each device, that of its site
        self._counts: dict[str, NDArray[np.int64]] = {}
        self._control: dict[str, SiteStatus] = {}
        self._ranks = np.empty(0)

    def set_fleet(self) -> None:
        """Take the sites of the devices."""
        sites = self._devices.texts["site"]
        self.names = list(dict.fromkeys(sites))
        place = {name: n for n, name in enumerate(self.names)}
        self._place = np.array([place[site] for site in sites], np.intp)
        self._ranks = ranks(self.names)
        self._control = {}
        self.set_values()
        self._choose_columns()

    def set_values(self) -> None:
        """Count the devices by quality."""
        n = len(self.names)
        classes = CLASS_OF[self._devices.codes]
        by_class = np.bincount(self._place * 3 + classes, minlength=3 * n).reshape(n, 3)
        self._counts = {
            "devices": by_class.sum(axis=1),
            "good": by_class[:, GOOD],
            "uncertain": by_class[:, UNCERTAIN],
            "bad": by_class[:, BAD],
        }

    def set_status(self, status: dict[str, Any]) -> None:
        """Take what control does (View.status)."""
        decided = bool(self._control)
        self._control = {site["name"]: SiteStatus.from_dict(site) for site in status["control"]}
        if decided != bool(self._control):
            self._choose_columns()

    def _choose_columns(self) -> None:
        longest = min(max((len(name) for name in self.names), default=4), 40)
        control = [
            Column("mode", "mode", 10, 4, 20),
            Column("target_kw", "target kW", 9, 3, right=True),
            Column("setpoint_kw", "set kW", 8, 2, right=True),
            Column("grid_kw", "grid kW", 8, 1, right=True),
            Column("units", "units", 7, 5, right=True),
        ]
        self.columns = [
            Column("quality", "", 1, descending=True),
            Column("site", "site", min(longest, 14), 0, longest),
            Column("devices", "devices", 7, 6, right=True, descending=True),
            Column("good", "good", 6, 7, right=True, descending=True),
            Column("uncertain", "unc.", 5, 0, right=True, descending=True),
            Column("bad", "bad", 5, 0, right=True, descending=True),
            *(control if self._control else []),
            Column("why", "why", 10, 0, 60),
        ]

    def __len__(self) -> int:
        """Return how many sites there are."""
        return len(self.names)

    def name(self, row: int) -> str:
        """Return a site's name."""
        return self.names[row]

    def cell(self, row: int, key: str) -> Cell:
        """Return what stands in a column."""
        if key == "quality":
            class_ = int(self.values(key)[row])
            return SIGNS[class_], CLASSES[class_]
        if key == "site":
            return self.names[row], ""
        if key in _COUNTS:
            count = int(self._counts[key][row])
            return f"{count:,}", (key if count else "faint") if key != "devices" else ""
        site = self._control.get(self.names[row])
        if site is None:
            return ("observe", "faint") if key == "mode" else ("", "")
        if key in _KW:
            return number(getattr(site, key)), ""
        if key == "units":
            return f"{site.in_use}/{site.units}", "uncertain" if site.in_use < site.units else ""
        if key == "mode":
            shadow = " (shadow)" if site.action == "shadow" else ""
            return f"{site.mode or 'none'}{shadow}", "" if site.mode else "faint"
        return _why(site), "bad" if site.stopped else "uncertain"

    def values(self, key: str) -> NDArray[np.float64]:
        """Return what a column is sorted by."""
        if key == "quality":  # as its worst device
            bad, uncertain = self._counts["bad"] > 0, self._counts["uncertain"] > 0
            return np.where(bad, float(BAD), np.where(uncertain, float(UNCERTAIN), float(GOOD)))
        if key == "site":
            return self._ranks
        if key in _COUNTS:
            return self._counts[key].astype(np.float64)
        if key in _KW:
            of = [getattr(self._control.get(name), key, None) for name in self.names]
            return np.array([np.nan if value is None else value for value in of], np.float64)
        return ranks(self.cell(row, key)[0] for row in range(len(self)))


def _why(site: SiteStatus) -> str:
    if site.stopped:
        return "emergency stop"
    found = [*filter(None, [site.limit, site.unserved_why and f"unserved: {site.unserved_why}"])]
    found += [f"{units.count} {units.reason}" for units in site.out]
    return "; ".join(["meter stale", *found] if site.meter_stale else found)
